package netio

import (
	"sync/atomic"
	"time"
)

// lending lets somebody else have what is a worker's alone while the worker sleeps: to wake it costs both threads more than most of
// what is wanted of it. A worker that has packets lends nothing and waits for nobody; one that wakes up to find its things lent
// waits for the end of that one loan.
type lending struct{ state atomic.Uint32 }

const (
	awake    uint32 = iota // the worker has everything
	asleep                 // it has offered it
	lent                   // somebody has it
	returned               // somebody had it when the worker woke up, and is done
)

// offer begins a time in which others may borrow. Worker only.
func (l *lending) offer() { l.state.Store(asleep) }

// reclaim ends it. Worker only.
func (l *lending) reclaim() {
	if l.state.Swap(awake) == lent {
		Await(func() bool { return l.state.Load() == returned })
		l.state.Store(awake)
	}
}

// borrow runs f if there is an offer, and tells whether there was one. Any goroutine may call it.
func (l *lending) borrow(f func()) bool {
	if !l.state.CompareAndSwap(asleep, lent) {
		return false
	}
	f()
	if !l.state.CompareAndSwap(lent, asleep) {
		l.state.Store(returned)
	}
	return true
}

const (
	// spins is how often one who waits for another's few instructions looks before going to sleep, some 2 us: on another core they take
	// no longer.
	spins = 1000

	// awaitFirst and awaitLongest are how long the sleep is between two looks then, twice as long each time: whoever is waited for needs
	// this processor, or was interrupted.
	awaitFirst, awaitLongest = 20 * time.Microsecond, time.Millisecond
)

// Await returns when done does what takes other threads a few instructions. It sleeps by the clock and not by sched_yield(2), after which
// whoever yields comes last, or by Go's timers, which may be milliseconds late.
func Await(done func() bool) {
	for range spins {
		if done() {
			return
		}
	}
	for length := awaitFirst; !done(); length = min(2*length, awaitLongest) {
		nap(int64(length))
	}
}
