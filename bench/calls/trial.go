package calls

import (
	"context"
	"fmt"
	"time"

	"tandem/bench/report"
)

// Options say what is compared.
type Options struct {
	Scene  Scene
	Rate   float64       // calls a second for all rounds; 0: searched
	For    time.Duration // how long the run of a round lasts, and how long a rate that was found must hold
	Rounds int
	Quick  bool // short steps of the search: good for a look, not for a figure
	Rest   bool // look afterwards whether memory and goroutines return to the start: two minutes
	Log    func(format string, arguments ...any)
}

// equalShare of the lower of two highest rates is what both carry for the comparison of CPU.
const equalShare = 0.90

const (
	step      = 5 * time.Second
	quickStep = 2 * time.Second
)

// check refuses what cannot be measured.
func (o *Options) check() error {
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("%d rounds: at least 1", o.Rounds)
	case o.Rate != 0 && (o.Rate < 1 || o.Rate > mostRate):
		return fmt.Errorf("a rate of %v calls/s: give 1 to %d, or leave it out to search", o.Rate, mostRate)
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
}

// Compare measures Tandem, and a rival beside it unless that is nil, in turn: A B A B.
func Compare(ctx context.Context, o Options, ours *Tandem, rival Gateway) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	sides := []*contender{{gateway: ours}}
	if rival != nil {
		sides = append(sides, &contender{gateway: rival})
	}
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
		if err := inTurn(func(s *contender, round int) error { return o.search(ctx, s, round) }); err != nil {
			return nil, err
		}
	}
	rate := o.equalRate(sides)
	err := inTurn(func(s *contender, round int) error { return o.measure(ctx, s, round, rate) })
	if err != nil {
		return nil, err
	}
	return o.result(sides), nil
}

// search finds the highest rate of a side in a round. Every step has a gateway of its own: an overload leaves traces.
func (o *Options) search(ctx context.Context, s *contender, round int) error {
	plan := search{guess: firstRate, spread: farther, resolution: resolution, step: step, verify: o.For}
	if o.Quick {
		plan.resolution, plan.step, plan.verify = coarse, quickStep, 0
	}
	if round > 0 {
		plan.guess, plan.spread = s.found[round-1].rate, nearer
	}
	f, err := plan.run(ctx, func(ctx context.Context, rate float64, d time.Duration) (out Outcome, err error) {
		err = with(ctx, o.Scene, s.gateway, func() (err error) {
			out, err = offer(ctx, o.Scene, s.gateway, rate, d)
			return err
		})
		o.Log("search %d  %-18s %5.0f calls/s for %s: %d failed, p99 %.0f ms, sipps' CPU %.0f %% %s%s", round+1, s.gateway.Name(), rate, d,
			out.Failed, out.P99, out.Load, out.limit(), out.Problem)
		return out, err
	})
	if err != nil {
		return err
	}
	s.found = append(s.found, f)
	return nil
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
	return with(ctx, o.Scene, s.gateway, func() error {
		s.version = s.gateway.Version()
		start, err := s.gateway.Books(ctx)
		if err != nil {
			return err
		}
		var out Outcome
		for range spoiltTries {
			if out, err = offer(ctx, o.Scene, s.gateway, rate, o.For); err != nil {
				return err
			}
			if out.Starved == 0 || o.Quick {
				break
			}
			o.Log("round %d   %-18s %s", round+1, s.gateway.Name(), out.limit())
		}
		s.rounds = append(s.rounds, out)
		o.Log("round %d   %-18s %5.0f calls/s for %s: %d failed, %.3f CPU-seconds per 1,000, set-up p50 %.1f ms p99 %.1f ms, %.0f MB, sipps' CPU %.0f %% %s%s",
			round+1, s.gateway.Name(), rate, o.For, out.Failed, out.PerThousand(), out.P50, out.P99, mega(out.Memory), out.Load, out.limit(), out.Problem)
		if round == o.Rounds-1 && o.Rest && start.Goroutines != nil {
			s.rest, err = rest(ctx, s.gateway, start, o.Log)
		}
		return err
	})
}
