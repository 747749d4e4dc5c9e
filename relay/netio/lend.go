package netio

import (
	"runtime"
	"sync/atomic"

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

// yieldsEach is after how many looks Go's scheduler gets its turn too: who is waited for may need this very thread.
const yieldsEach = 64

// yieldUntil waits for something that takes others a few instructions, and offers them the processor meanwhile: on another core they
// need no more than that, on this one they have done it after the first offer. It does not sleep, however long they were interrupted,
// because a sleep can last for milliseconds more.
func yieldUntil(done func() bool) {
	for looks := 1; !done(); looks++ {
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it never fails
		if looks%yieldsEach == 0 {
			runtime.Gosched()
		}
	}
}
