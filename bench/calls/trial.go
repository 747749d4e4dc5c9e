package calls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tandem/bench/report"
)

// Options say what is compared.
type Options struct {
	Scene  Scene
	Rate   float64       // calls a second for all rounds; 0: searched
	For    time.Duration // how long the run of a round lasts, and how long a rate that was found must hold
	Rounds int
	Within time.Duration // for the whole search, both sides, all rounds; 0: as long as one of usual length could take
	Quick  bool          // short steps of the search: good for a look, not for a figure
	Rest   bool          // look afterwards whether memory and goroutines return to the start: two minutes
	Log    func(format string, arguments ...any)
}

// equalShare of the lower of two highest rates is what both carry for the comparison of CPU.
const equalShare = 0.90

const (
	step      = 5 * time.Second
	quickStep = 2 * time.Second

	// A search of usual length: runs by steps, runs for long, and what each of them takes for starting, warming up and ending.
	usualSteps  = 20
	usualVerify = 4
	around      = 12 * time.Second // more after an overload, whose calls fail late
)

// check refuses what cannot be measured.
func (o *Options) check() error {
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("%d rounds: at least 1", o.Rounds)
	case o.Rate != 0 && (o.Rate < 1 || o.Rate > mostRate):
		return fmt.Errorf("a rate of %v calls/s: give 1 to %d, or leave it out to search", o.Rate, mostRate)
	case o.Within < 0:
		return fmt.Errorf("a search within %s: a time in the future, or leave it out", o.Within)
	case o.For < time.Second:
		return fmt.Errorf("runs of %s: at least a second", o.For)
	}
	return nil
}

// contender is one side over all rounds.
type contender struct {
	gateway Gateway
	version string
	found   []found
	rounds  []Outcome
	rest    *Rest

	oddities []string // of overloaded gateways in the search
}

// mostOddities are enough to see what a gateway does.
const mostOddities = 6

// Compare measures Tandem, and a rival beside it unless that is nil, in turn: A B A B. A comparison that ended early returns
// what it had found by then with its error, if that is anything.
func Compare(ctx context.Context, o Options, ours *Tandem, rival Gateway) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	sides := []*contender{{gateway: ours}}
	if rival != nil {
		sides = append(sides, &contender{gateway: rival})
	}
	if err := o.compare(ctx, sides); err != nil {
		return o.unfinished(sides, err), err
	}
	return o.result(sides), nil
}

func (o *Options) compare(ctx context.Context, sides []*contender) error {
	inTurn := func(f func(*contender, int) error) error {
		for round := range o.Rounds {
			for _, s := range sides {
				if err := f(s, round); err != nil {
					return fmt.Errorf("%s: %w", s.gateway.Name(), err)
				}
			}
		}
		return nil
	}
	if o.Rate == 0 {
		end, turns := time.Now().Add(o.within(len(sides))), o.Rounds*len(sides)
		err := inTurn(func(s *contender, round int) error {
			share := time.Until(end) / time.Duration(turns) // of what is left: whoever is quick leaves more to the others
			turns--
			return o.search(ctx, s, round, share)
		})
		if err != nil {
			return err
		}
	}
	rate := o.equalRate(sides)
	return inTurn(func(s *contender, round int) error { return o.measure(ctx, s, round, rate) })
}

// plan is the search of a round.
func (o *Options) plan() search {
	if o.Quick {
		return search{guess: firstRate, spread: farther, resolution: coarse, step: quickStep}
	}
	return search{guess: firstRate, spread: farther, resolution: resolution, step: step, verify: o.For}
}

// within is how long the searches of all sides may take.
func (o *Options) within(sides int) time.Duration {
	if o.Within > 0 {
		return o.Within
	}
	p := o.plan()
	one := usualSteps * (p.step + around)
	if p.verify > 0 {
		one += usualVerify * (p.verify + around)
	}
	return one * time.Duration(o.Rounds*sides)
}

// search finds the highest rate of a side in a round. Every step has a gateway of its own: an overload leaves traces.
func (o *Options) search(ctx context.Context, s *contender, round int, within time.Duration) error {
	plan := o.plan()
	plan.within = max(within, time.Second)
	if round > 0 {
		plan.guess, plan.spread = s.found[round-1].rate, nearer
	}
	f, err := plan.run(ctx, func(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
		out, err := o.step(ctx, s.gateway, rate, d)
		s.version = s.gateway.Version()
		s.remember(rate, &out)
		o.Log("search %d  %-18s %5.0f calls/s for %s: %s", round+1, s.gateway.Name(), rate, d, out.sentence())
		return out, err
	})
	if err != nil {
		return err
	}
	if f.cut != "" {
		o.Log("search %d  %-18s ended %s", round+1, s.gateway.Name(), f.cut)
	}
	s.found = append(s.found, f)
	return nil
}

// step offers a rate to a fresh gateway. How one ends that was offered too much is not an error of the measurement.
func (o *Options) step(ctx context.Context, g Gateway, rate float64, d time.Duration) (out Outcome, err error) {
	offered := false
	err = with(ctx, o.Scene, g, func() (err error) {
		out, err = offer(ctx, o.Scene, g, rate, d, settle)
		offered = err == nil
		return err
	})
	if offered && ctx.Err() == nil && !out.held() && errors.Is(err, errFarewell) {
		out.Farewell, err = err.Error(), nil
	}
	return out, err
}

// remember keeps what a gateway did under an overload beyond failing calls.
func (s *contender) remember(rate float64, out *Outcome) {
	for _, what := range []string{out.Broke, out.leftover(), out.Farewell} {
		if what != "" && len(s.oddities) < mostOddities {
			s.oddities = append(s.oddities, fmt.Sprintf("offered %.0f calls/s: %s", rate, what))
		}
	}
}

// sentence is a run in the log.
func (o *Outcome) sentence() string {
	text := fmt.Sprintf("%d failed, p99 %.0f ms, sipps' CPU %.0f %%", o.Failed, o.P99, o.Load)
	if why := o.fault(); why != "" {
		text += "; not carried: " + why
	}
	if why := o.doubt(); why != "" {
		text += "; " + why
	}
	return text
}

// unfinished is the result of a comparison that an error ended, nil if nothing was found.
func (o *Options) unfinished(sides []*contender, why error) *Result {
	for _, s := range sides {
		if s.found == nil && s.rounds == nil {
			return nil
		}
	}
	r := o.result(sides)
	r.Unfinished = strings.TrimSpace(why.Error())
	return r
}

// equalRate is what every side carries: what was asked for, or 90 % of the lowest median.
func (o *Options) equalRate(sides []*contender) float64 {
	if o.Rate > 0 {
		return o.Rate
	}
	lowest := report.Median(sides[0].rates())
	for _, s := range sides[1:] {
		lowest = min(lowest, report.Median(s.rates()))
	}
	return max(1, float64(int(lowest*equalShare)))
}

func (s *contender) rates() (all []float64) {
	for _, f := range s.found {
		all = append(all, f.rate)
	}
	return all
}

// measure is a side's turn in a round.
func (o *Options) measure(ctx context.Context, s *contender, round int, rate float64) error {
	err := with(ctx, o.Scene, s.gateway, func() error {
		s.version = s.gateway.Version()
		start, err := s.gateway.Books(ctx)
		if err != nil {
			return err
		}
		var out Outcome
		for range spoiltTries {
			if out, err = offer(ctx, o.Scene, s.gateway, rate, o.For, drained); err != nil {
				return err
			}
			if out.Starved == 0 || out.Broke != "" || o.Quick {
				break
			}
			o.Log("round %d   %-18s %s", round+1, s.gateway.Name(), out.limit())
		}
		s.rounds = append(s.rounds, out)
		o.Log("round %d   %-18s %5.0f calls/s for %s: %.0f begun, %.3f CPU-seconds per 1,000, set-up p50 %.1f ms, %.0f MB, %s",
			round+1, s.gateway.Name(), rate, o.For, out.Began, out.PerThousand(), out.P50, mega(out.Memory), out.sentence())
		if round == o.Rounds-1 && o.Rest && out.Broke == "" && start.Goroutines != nil {
			s.rest, err = rest(ctx, s.gateway, start, o.Log)
		}
		return err
	})
	if len(s.rounds) > round && !s.rounds[round].held() && ctx.Err() == nil && errors.Is(err, errFarewell) {
		s.rounds[round].Farewell, err = err.Error(), nil
	}
	return err
}
