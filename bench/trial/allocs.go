package trial

import (
	"context"
	"time"

	"tandem/bench/report"
)

// allocMargin lengthens a run whose forwards are counted to a million: a few packets may be lost.
const allocMargin = 1.01

// quiet is the run at a rate that leaves room: for the delay, and with counting for allocations.
func (l *live) quiet(ctx context.Context, rate float64, d time.Duration, counting bool, m *report.Measures) (outcome, error) {
	o, err := l.fit(ctx, rate, d)
	if err != nil || !counting || !o.counters.TellsAllocs {
		return o, err
	}
	m.Allocations, err = l.idle(ctx, o.took)
	if err != nil {
		return o, err
	}
	m.Allocations.Forwards, m.Allocations.Busy = o.counters.Forwarded, o.counters.Allocs
	difference := float64(m.Allocations.Busy) - float64(m.Allocations.Idle)
	m.Allocs = &difference
	return o, nil
}

// idle counts what the relay allocates in an interval without traffic. The counters are read as often as around a run, so
// that reading them cancels out.
func (l *live) idle(ctx context.Context, d time.Duration) (*report.Allocations, error) {
	before, err := l.subject.Counters(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := l.subject.Counters(ctx)
	if err != nil {
		return nil, err
	}
	return &report.Allocations{Seconds: d.Seconds(), IdleSeconds: time.Since(began).Seconds(), Idle: after.Since(before).Allocs}, nil
}
