package trial

import (
	"context"
	"fmt"
	"time"

	"tandem/bench/load"
	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
	"tandem/internal/control"
)

// Sessions opens many idle sessions through the control socket, reads the relay's memory, and closes them.
func Sessions(ctx context.Context, place *rig.Place, t *subject.Tandem, count int) (s report.Sessions, err error) {
	s = report.Sessions{Count: count, InFlight: subject.InFlight}
	calls, err := load.Make(2*count, load.Both, "", place.PeerAddresses()[:len(place.PeerAddresses())/2])
	if err != nil {
		return s, err
	}
	if err := t.Start(ctx, place); err != nil {
		return s, err
	}
	defer func() {
		if stopped := t.Stop(); err == nil {
			err = stopped
		}
	}()
	s.Engine = t.Name()
	before, err := place.CPU(t.Process())
	if err != nil {
		return s, err
	}
	began := time.Now()
	if err := t.Open(ctx, calls); err != nil {
		return s, err
	}
	s.OpensPerS = float64(count) / time.Since(began).Seconds()
	after, err := place.CPU(t.Process())
	if err != nil {
		return s, err
	}
	stats, err := t.Client().Stats(ctx)
	if err != nil {
		return s, err
	}
	if stats.Sessions != count {
		return s, fmt.Errorf("%d sessions were opened, but the relay has %d", count, stats.Sessions)
	}
	began = time.Now()
	err = subject.InParallel(ctx, count, func(ctx context.Context, i int) error {
		_, err := t.Client().CloseSession(ctx, control.Ref{ID: subject.SessionID(i)})
		return err
	})
	if err != nil {
		return s, fmt.Errorf("close: %w", err)
	}
	s.ClosesPerS = float64(count) / time.Since(began).Seconds()
	s.RSSBefore, s.RSSAfter = float64(before.RSS)/(1<<20), float64(after.RSS)/(1<<20)
	s.BytesPerIdle = (float64(after.RSS) - float64(before.RSS)) / float64(count)
	return s, nil
}
