package netio

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
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
		yieldUntil(func() bool { return l.state.Load() == returned })
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
	// yields is how often one who waits for another's few instructions offers it the processor before going to sleep: on another core
	// it needs no more than that, and on this one it comes to its end after the first.
	yields = 100

	// yieldStep is how long the sleep is, by the clock of Go's timers: whoever is waited for was interrupted.
	yieldStep = 20 * time.Microsecond
)

// yieldUntil waits for something that takes others a few microseconds.
func yieldUntil(done func() bool) {
	for range yields {
		if done() {
			return
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it never fails
	}
	for !done() {
		runtime.Gosched()
		time.Sleep(yieldStep)
	}
}
