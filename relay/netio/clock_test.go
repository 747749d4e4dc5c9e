package netio

import "testing"

func TestNowIsTheKernelsMonotonicClock(t *testing.T) {
	// The two clocks are read in turns, so each reading lies between its neighbours whatever the machine does; the
	// start-up skew is what passed between the two readings that set the base.
	const skew = int64(1e9)
	kernel := readMonotonic()
	for range 1000 {
		now := Now()
		next := readMonotonic()
		if now < kernel-skew || now > next+skew {
			t.Fatalf("Now %d is not between %d and %d", now, kernel, next)
		}
		kernel = next
	}
}

func TestNowNeverRunsBackAndDoesNotAllocate(t *testing.T) {
	last := Now()
	n := testing.AllocsPerRun(1000, func() {
		now := Now()
		if now < last {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	})
	if n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		_ = Now()
	}
}
