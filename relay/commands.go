package relay

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tandem/relay/netio"
)

// commands carry what control wants done to a worker's legs, between two batches: the packet path has no lock.
type commands struct {
	queue   chan func(now int64)
	waiting atomic.Bool // something was queued since the worker looked
	woken   atomic.Bool // since it looked, the worker was woken for that
}

// commandDepth bounds what control may have asked of a worker before it waits for it; commandsLate is how much of that may
// wait for the worker to wake up by itself.
const (
	commandDepth = 256
	commandsLate = commandDepth / 2
)

// ask has f run in the worker's thread, and neither waits for it nor wakes the worker, which costs more than most commands:
// what is asked before a packet was sent to us has happened when the packet is looked at, and nobody can tell sooner. Callers
// hold r.mu and so never find the relay closed.
func (w *worker) ask(f func(now int64)) {
	w.commands.queue <- f
	w.commands.waiting.Store(true)
	if len(w.commands.queue) >= commandsLate {
		w.hurry()
	}
}

// do is ask, and f has run when it returns. If the worker sleeps, it sleeps on, and f runs here: it must not touch the queue's way in
// or out.
func (w *worker) do(f func(now int64)) {
	if !w.queue.Borrow(func() { now := netio.Now(); w.obey(now); f(now) }) {
		w.order(f)
	}
}

// order is do by the worker itself.
func (w *worker) order(f func(now int64)) {
	wait := errand{over: make(chan struct{})}
	w.commands.queue <- func(now int64) { f(now); wait.done() }
	w.commands.waiting.Store(true)
	w.hurry()
	wait.await()
}

// errand is one wait for a worker.
type errand struct {
	state atomic.Uint32 // begins as errandOut
	over  chan struct{} // closed if somebody sleeps
}

const (
	errandOut uint32 = iota
	errandSlept
	errandDone
)

// yields is how often one who waits for a worker offers it the processor before going to sleep. A worker that was asleep on
// the same core has done the work after the first; on another it takes some microseconds, about as many as this. A sleeper's
// way back through Go's scheduler costs both threads more than the command itself.
const yields = 24

// await returns when the work is done.
func (e *errand) await() {
	for range yields {
		if e.state.Load() == errandDone {
			return
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) //nolint:errcheck // it never fails (sched_yield(2))
	}
	if e.state.CompareAndSwap(errandOut, errandSlept) {
		<-e.over
	}
}

// done ends the wait. Worker only.
func (e *errand) done() {
	if e.state.Swap(errandDone) == errandSlept {
		close(e.over)
	}
}

// hurry wakes the worker, unless it has been woken already.
func (w *worker) hurry() {
	if !w.commands.woken.Swap(true) {
		w.queue.Wake()
	}
}

// obey runs what control asked for. Worker only.
func (w *worker) obey(now int64) {
	if !w.commands.waiting.Load() {
		return
	}
	w.commands.woken.Store(false) // both before looking: what is queued from here on is seen next time, and wakes us again
	w.commands.waiting.Store(false)
	for {
		select {
		case command := <-w.commands.queue:
			command(now)
		default:
			return
		}
	}
}
