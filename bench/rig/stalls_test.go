package rig

import (
	"slices"
	"testing"
	"time"
)

const us = time.Microsecond

func TestAWatchSeesTheGapsBetweenLooksAndNotItsOwnSleep(t *testing.T) {
	// The first look is the beginning, and the one after each sleep begins anew.
	looks := []time.Duration{0, 1, 2, 102, 103, 122, 143, 703, 1050, 1051, 7051, 7060, 7075, 7760, 10_000_000}
	for i := range looks {
		looks[i] *= us
	}
	i := -1
	var slept []time.Duration
	s := watch(10*time.Second, func() time.Duration { i++; return looks[i] }, func(d time.Duration) { slept = append(slept, d) })
	if want := []time.Duration{100 * us, 21 * us, 560 * us, 6000 * us, 685 * us}; !slices.Equal(s.Gaps, want) || s.Watched != 10*time.Second || s.Busy != (703+6001+700)*us {
		t.Errorf("gaps %v in %s of %s, want %v", s.Gaps, s.Busy, s.Watched, want)
	}
	if want := []time.Duration{297 * us, -5001 * us, 300 * us}; !slices.Equal(slept, want) {
		t.Errorf("slept %v, want %v", slept, want)
	}
	if s.Longest() != 6000*us {
		t.Errorf("longest: %s", s.Longest())
	}
}

// The twin counts packets: one each microsecond, in a queue that is served in order.
func TestTheFloorIsWhatAQueueBehindTheGapsHas(t *testing.T) {
	for name, c := range map[string]struct {
		load float64
		gaps []int // in us, one at the beginning of each tenth of a second
	}{
		"none":            {0.7, nil},
		"one":             {0.7, []int{10_000}},
		"several, idle":   {0, []int{4000, 30, 2000, 500, 700, 100}},
		"several, busy":   {0.7, []int{4000, 30, 2000, 500, 700, 100, 100, 100}},
		"many small ones": {0.5, []int{200, 200, 210, 190, 200, 205, 195, 200, 200, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			const tenth, tenths = 100_000, 10
			s := Stalls{Watched: tenths * tenth * us}
			var waits []float64
			for k := range tenths {
				busy := 0.0 // how long the one who serves is not free yet
				if k < len(c.gaps) {
					s.Gaps = append(s.Gaps, time.Duration(c.gaps[k])*us)
					busy = float64(c.gaps[k])
				}
				for range tenth {
					waits = append(waits, busy)
					busy = max(0, busy+c.load-1)
				}
			}
			slices.Sort(waits)
			for _, quantile := range []float64{0.5, 0.99, 0.999} {
				want := time.Duration(waits[int(quantile*float64(len(waits)))] * float64(us))
				if got := s.Floor(quantile, c.load); (got - want).Abs() > 3*us {
					t.Errorf("%v: %s, want %s", quantile, got, want)
				}
			}
		})
	}
}

func TestTheRelaysCPUIsWatchedForAsLongAsAsked(t *testing.T) {
	place := build(t)
	s, err := place.Stalls(50 * time.Millisecond)
	if err != nil || s.Watched < 50*time.Millisecond || s.Share() < 0 || s.Share() > 1 {
		t.Errorf("watched %s, share %v, %v", s.Watched, s.Share(), err)
	}
	s.Add(s)
	if s.Watched < 100*time.Millisecond {
		t.Errorf("twice: %s", s.Watched)
	}
}
