package trial

import (
	"context"
	"fmt"
	"time"

	"tandem/bench/load"
	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
)

// Compare measures ours, beside a rival if there is one: rounds of searches first, then rounds at one equal rate. Notes say
// what a reader must know; conditions are left to the caller.
func Compare(ctx context.Context, o Options, ours subject.Subject, rival subject.Subject) (report.Comparison, error) {
	if err := o.check(); err != nil {
		return report.Comparison{}, err
	}
	t := trial{Options: o, plan: o.plan()}
	sides := []*contender{{subject: ours}}
	if o.Mode == load.SRTP {
		t.note("the legs of a call have different suites (tags of 10 and of 4 bytes): between equal ones rtpengine forwards unopened")
	}
	if rival != nil {
		sides = append(sides, &contender{subject: rival, rival: true})
	}
	if o.Rate == 0 {
		t.note(fmt.Sprintf("a rate is carried without loss when at most %.0e of the packets are lost and 99 %% of them are delayed by less than %s: "+
			"with a socket a port, seconds of packets wait in buffers before the first is dropped", Lossless, Late))
		if err := t.inTurn(func(s *contender, round int) error { return t.search(ctx, s, round) }, sides); err != nil {
			return report.Comparison{}, err
		}
	}
	rate := t.equalRate(sides)
	if err := t.inTurn(func(s *contender, round int) error {
		if err := t.watch(); err != nil {
			return err
		}
		return t.measure(ctx, s, round, rate)
	}, sides); err != nil {
		return report.Comparison{}, err
	}
	rounds := make([]report.Round, o.Rounds)
	for i := range rounds {
		rounds[i].Tandem = sides[0].rounds[i]
		if rival != nil {
			rounds[i].Rival = &sides[1].rounds[i]
		}
	}
	c := report.Compare(rounds)
	c.Notes, c.Stalls = t.notes, t.found()
	return c, nil
}

// watch looks at the relay's CPU, which has nothing to do between two turns.
func (t *trial) watch() error {
	if t.plan.watch == 0 {
		return nil
	}
	s, err := t.Place.Stalls(t.plan.watch)
	t.stalls.Add(s)
	return err
}

// found is what watch saw.
func (t *trial) found() *report.Stalls {
	s := &t.stalls
	if s.Watched == 0 {
		return nil
	}
	return &report.Stalls{
		Seconds: s.Watched.Seconds(), Share: s.Share(), Longest: micro(s.Longest()),
		P99: micro(s.Floor(0.99, delayShare)), P999: micro(s.Floor(0.999, delayShare)),
	}
}

type trial struct {
	Options
	plan   plan
	notes  []string
	stalls rig.Stalls
}

// contender is one side over all rounds.
type contender struct {
	subject  subject.Subject
	rival    bool
	lossless []float64 // by round
	rounds   []report.Measures
}

// inTurn calls f for every side of every round: A B A B.
func (t *trial) inTurn(f func(*contender, int) error, sides []*contender) error {
	for round := range t.Rounds {
		for _, s := range sides {
			if err := f(s, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// note says something once.
func (t *trial) note(text string) {
	for _, n := range t.notes {
		if n == text {
			return
		}
	}
	t.notes = append(t.notes, text)
}

// search finds the lossless rate of a side in a round. Later rounds begin where the one before ended.
func (t *trial) search(ctx context.Context, s *contender, round int) error {
	plan := t.plan.first
	if round > 0 {
		plan = t.plan.again
		plan.Guess = s.lossless[round-1]
	}
	found, err := plan.Run(ctx, func(ctx context.Context, rate float64, d time.Duration) (out Outcome, err error) {
		// A relay of its own for every step: an overload leaves traces. A socket of rtpengine that overflowed, for one, is
		// never read again.
		err = with(ctx, &t.Options, s.subject, func(l *live) (err error) {
			out, err = l.offer(ctx, rate, d)
			return err
		})
		t.Log("search %d  %-10s %8.0f packets/s for %s: loss %.1e, p99 %s %s", round+1, s.subject.Name(), rate, d, out.Loss, out.Delay.Round(time.Microsecond), out.Limit)
		return out, err
	})
	if err != nil {
		return err
	}
	if found.Limit != "" {
		if s.rival && !t.Quick {
			return fmt.Errorf("%s carried %.0f packets/s, and the rig could not offer more: %s: a ratio would flatter us; try again when the machine is quiet",
				s.subject.Name(), found.Rate, found.Limit)
		}
		t.note(s.subject.Name() + " may carry more than its lossless rate says, the rig could not offer it: " + found.Limit)
	}
	if !found.Verified {
		t.note("a lossless rate of " + s.subject.Name() + " held for a step only: there was no time to verify it")
	}
	s.lossless = append(s.lossless, found.Rate)
	return nil
}

// equalRate is what every side carries: 90 % of the lowest median, or what was asked for.
func (t *trial) equalRate(sides []*contender) float64 {
	if t.Rate > 0 {
		return t.Rate
	}
	lowest := report.Median(sides[0].lossless)
	for _, s := range sides[1:] {
		lowest = min(lowest, report.Median(s.lossless))
	}
	return lowest * equalShare
}

// measure is a side's turn in a round: the run at the equal rate, then the one for the delay.
func (t *trial) measure(ctx context.Context, s *contender, round int, rate float64) error {
	return with(ctx, &t.Options, s.subject, func(l *live) error {
		o, err := l.fit(ctx, rate, t.plan.equal)
		if err != nil {
			return err
		}
		m := l.measures(&o)
		quiet := rate
		if s.lossless != nil {
			m.LosslessPPS = s.lossless[round]
			quiet = delayShare * report.Median(s.lossless)
		}
		duration, first := t.plan.delay, round == 0 && m.BatchIn != nil // allocations once, of a side that tells
		if first {
			duration = max(duration, time.Duration(t.plan.allocForwards/quiet*allocMargin*float64(time.Second)))
		}
		if s.lossless != nil || first {
			if o, err = l.quiet(ctx, quiet, duration, first, &m); err != nil {
				return err
			}
		}
		if s.lossless != nil {
			m.Delay = &report.Delay{
				OfferedPPS: o.load.Rate, Loss: o.load.Loss(), P50: micro(o.load.Delay.P50), P99: micro(o.load.Delay.P99),
				P999: micro(o.load.Delay.P999), Max: micro(o.load.Delay.Max), Untimed: untimed(&o.load),
			}
		}
		t.Log("round %d   %-10s %8.0f packets/s: loss %.1e, %5.0f ns per forward, delay %.0f / %.0f / %.0f us, %s",
			round+1, s.subject.Name(), m.OfferedPPS, m.Loss, m.NSPerForward, m.P50, m.P99, m.P999, m.Path)
		s.rounds = append(s.rounds, m)
		return nil
	})
}
