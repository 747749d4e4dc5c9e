package relay

import "sync/atomic"

// commands carry what control wants done in a worker's thread, between two batches: the packet path has no lock.
type commands struct {
	queue   chan func(now int64)
	waiting atomic.Bool // something was queued since the worker looked: it has been woken already
}

// commandDepth bounds what control may have asked of a worker before it waits for it.
const commandDepth = 256

// ask has f run in the worker's thread and does not wait for it. What is asked before a packet was sent to us has happened
// when the packet is looked at. Callers hold r.mu and so never find the relay closed.
func (w *worker) ask(f func(now int64)) {
	w.commands.queue <- f
	if !w.commands.waiting.Swap(true) {
		w.queue.Wake()
	}
}

// do is ask, and waits until f has run.
func (w *worker) do(f func(now int64)) {
	done := make(chan struct{})
	w.ask(func(now int64) { f(now); close(done) })
	<-done
}

// obey runs what control asked for. Worker only.
func (w *worker) obey(now int64) {
	if !w.commands.waiting.Load() {
		return
	}
	w.commands.waiting.Store(false) // before looking: what is queued from here on wakes us again
	for {
		select {
		case command := <-w.commands.queue:
			command(now)
		default:
			return
		}
	}
}
