package relay

import (
	"sync/atomic"

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
	var done atomic.Bool
	w.ask(func(now int64) { f(now); done.Store(true) })
	w.hurry()
	netio.Await(done.Load)
}

// hurry wakes the worker, unless it has been woken already.
func (w *worker) hurry() {
	if !w.commands.woken.Swap(true) {
		w.queue.Wake()
	}
}

// obey runs what control asked for. Worker only.
func (w *worker) obey(now int64) {
	if w.commands.woken.Load() { // also when nothing waits: what a wake was for may have been done before it came
		w.commands.woken.Store(false)
	}
	if !w.commands.waiting.Load() {
		return
	}
	w.commands.waiting.Store(false) // both before looking: what is queued from here on is seen next time, and wakes us again
	for {
		select {
		case command := <-w.commands.queue:
			command(now)
		default:
			return
		}
	}
}
