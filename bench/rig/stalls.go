package rig

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Stalls is how a CPU treats a thread that looks at the clock for most of each millisecond and sleeps for the rest: what the host of a
// virtual machine, interrupts and the machine's own threads take of it while it is awake. That a sleeper is woken late is not in it. A
// thread that never sleeps finds several times as much where a host shares its processors: it is stopped more often.
type Stalls struct {
	Watched time.Duration
	Busy    time.Duration   // of it, without the sleep
	Gaps    []time.Duration // between two looks, those of stallFrom and more
}

// stallFrom is what a look at the clock and an ordinary interrupt do not take together.
const stallFrom = 20 * time.Microsecond

// watchPeriod and watchBusy are how the thread spends its time: busy as a relay is whose delay is measured.
const (
	watchPeriod = time.Millisecond
	watchBusy   = 7 * watchPeriod / 10
)

// Stalls watches the relay's CPU, which should have nothing else to do.
func (p *Place) Stalls(d time.Duration) (Stalls, error) {
	var s Stalls
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		if err := errors.Join(pinThread(0, p.options.RelayCPU), GoFirst()); err != nil {
			result <- fmt.Errorf("rig: watch the relay's CPU: %w", err)
			return
		}
		s = watch(d, monotonic, time.Sleep)
		result <- nil
	}()
	err := <-result
	return s, err
}

func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // there is such a clock
	return time.Duration(now.Nano())
}

func watch(d time.Duration, clock func() time.Duration, sleep func(time.Duration)) Stalls {
	s := Stalls{Gaps: make([]time.Duration, 0, 1<<16)} // no allocation while it watches
	began := clock()
	for last := began; last-began < d; {
		rest := last + watchBusy
		for last < rest {
			now := clock()
			if gap := now - last; gap >= stallFrom && len(s.Gaps) < cap(s.Gaps) {
				s.Gaps = append(s.Gaps, gap)
			}
			last = now
		}
		s.Busy += last - rest + watchBusy
		sleep(rest - watchBusy + watchPeriod - last) // not at all after a long gap
		last = clock()
		s.Watched = last - began
	}
	return s
}

// Add is both times together.
func (s *Stalls) Add(o Stalls) {
	s.Watched += o.Watched
	s.Busy += o.Busy
	s.Gaps = append(s.Gaps, o.Gaps...)
}

// Share is the part of the time awake that was taken.
func (s *Stalls) Share() float64 {
	var sum time.Duration
	for _, gap := range s.Gaps {
		sum += gap
	}
	return sum.Seconds() / max(s.Busy.Seconds(), 1e-9)
}

// Longest is the longest gap.
func (s *Stalls) Longest() time.Duration {
	if len(s.Gaps) == 0 {
		return 0
	}
	return slices.Max(s.Gaps)
}

// Floor is the delay, as a quantile, that the gaps alone make for who serves packets in their order, each at the same cost, and is busy for the
// share load of the time: what comes in a gap waits for its end, and for what came in it before. From the gap's length on the wait shrinks by 1 - load
// a second, so that gap g makes packets of (g - t)/(1 - load) wait for longer than t.
func (s *Stalls) Floor(quantile, load float64) time.Duration {
	late := time.Duration((1 - quantile) * (1 - load) * float64(s.Watched))
	gaps := slices.Sorted(slices.Values(s.Gaps))
	slices.Reverse(gaps)
	var sum time.Duration // of the gaps that are longer than the floor
	for i, gap := range gaps {
		sum += gap
		next := time.Duration(0)
		if i+1 < len(gaps) {
			next = gaps[i+1]
		}
		if t := (sum - late) / time.Duration(i+1); t >= next {
			return max(t, 0)
		}
	}
	return 0
}
