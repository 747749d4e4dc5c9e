package b2bua

import (
	"os"
	"slices"
	"sync"
)

// crew are the goroutines in which calls run: one for each call that has something to do at this moment, and those that had and wait
// for more. A call that only talks has none, and no stack. The one that rested last works next: its stack is as deep as a
// call needs it.
type crew struct {
	mu    sync.Mutex
	idle  []*worker
	spare int  // the fewest that were idle since the last look: nobody needed them
	home  bool // nobody rests any more
}

// worker is one of them, with the call that it shall go on with; nil: it is not needed any more.
type worker struct{ calls chan *call }

// employ gives a call that has something to do to a worker.
func (b *B2BUA) employ(c *call) {
	if w := b.crew.pick(); w != nil {
		w.calls <- c
		return
	}
	b.work.Go(func() { b.serve(c) })
}

// serve is a worker, from its first call on.
func (b *B2BUA) serve(c *call) {
	w := &worker{calls: make(chan *call, 1)}
	deepen()
	for c != nil {
		c.work()
		if !b.crew.rest(w) {
			return
		}
		c = <-w.calls
	}
}

// pick takes the worker that rested last; nil without one.
func (w *crew) pick() *worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.idle)
	if n == 0 {
		return nil
	}
	last := w.idle[n-1]
	w.idle[n-1] = nil
	w.idle = w.idle[:n-1]
	w.spare = min(w.spare, n-1)
	return last
}

// rest takes a worker back. False: it may go.
func (w *crew) rest(one *worker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.home {
		w.idle = append(w.idle, one)
	}
	return !w.home
}

// thin sends those home that nobody needed since the last time, and all sends everybody, for ever.
func (w *crew) thin(all bool) {
	w.mu.Lock()
	w.home = w.home || all
	n := w.spare
	if all {
		n = len(w.idle)
	}
	gone := slices.Clone(w.idle[:n])
	w.idle = slices.Delete(w.idle, 0, n)
	w.spare = len(w.idle)
	w.mu.Unlock()
	for _, one := range gone {
		one.calls <- nil
	}
}

// stackRoom is how deep a call's stack goes, in bytes: an answer that goes through the media, the relay and the other side's
// transaction down to its socket.
const stackRoom = 12 << 10

// deepen makes room on the stack in one step. Growing it by doubling as it fills up copies it four times.
//
//go:noinline
func deepen() (last byte) {
	var room [stackRoom]byte
	return room[len(os.Args)%stackRoom]
}
