package soak

import (
	"context"
	"time"

	"tandem/bench/calls"
)

const (
	lookEvery = time.Second
	tellEvery = 20 * time.Second

	// restMost is how long the planes may take to come to rest: INVITE transactions stay for 32 s (RFC 6026, timer L).
	restMost = 60 * time.Second

	spareGoroutines = 15 // connections of those who ask
)

// sample is a plane's memory at one moment.
type sample struct {
	at    time.Duration // since the beginning
	bytes map[string]float64
}

// watch looks at memory once a second until the function that it returns is called, which returns what was seen. A plane
// that ends is not seen: its calls fail.
func (s *stage) watch(ctx context.Context, o *Options, c *churn, began time.Time) (stop func() []sample) {
	done, over := make(chan struct{}), make(chan []sample)
	go func() {
		var seen []sample
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		last := began
		for {
			select {
			case now := <-tick.C:
				m := s.memory(now.Sub(began))
				if now.Sub(began) < o.For { // afterwards calls only end
					seen = append(seen, m)
				}
				if now.Sub(last) >= tellEvery {
					last = now
					up, begun, failed := c.up()
					o.Log("%4.0f s: %d calls up, %d begun, %d failed; relay %.0f MB, sip %.0f MB", now.Sub(began).Seconds(), up, begun, failed,
						m.bytes[relayPart]/(1<<20), m.bytes[sipPart]/(1<<20))
				}
			case <-done:
				over <- seen
				return
			case <-ctx.Done():
				<-done
				over <- seen
				return
			}
		}
	}()
	return func() []sample {
		close(done)
		return <-over
	}
}

func (s *stage) memory(at time.Duration) sample {
	m := sample{at, map[string]float64{}}
	for _, p := range s.planes {
		if used, err := calls.SessionMemory(p.cmd.Process.Pid); err == nil {
			m.bytes[p.name] = float64(used)
		}
	}
	return m
}

// rest waits until nothing is left of the calls, or for long enough, and reads the planes' numbers.
func (s *stage) rest(ctx context.Context, before readings) (r readings, err error) {
	for end := time.Now().Add(restMost); ; {
		if r, err = s.read(ctx); err != nil || len(r.left(before)) == 0 || time.Now().After(end) {
			return r, err
		}
		select {
		case <-time.After(lookEvery / 4):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
}
