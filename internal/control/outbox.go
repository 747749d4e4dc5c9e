package control

import (
	"io"
	"sync"
	"time"
)

// transport is what a connection needs of a net.Conn.
type transport interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

const (
	writeStall  = 5 * time.Second // a peer that takes none of a write for this long is disconnected, or up to a second later:
	stallSlack  = 5               // a deadline has a fifth of it to spare, and serves every write within that time
	writeChunk  = 64 << 10        // bytes of one write: what a stall is judged by
	maxWaiting  = 64 << 10        // bytes that wait beside a write; who has more to say waits for that write
	writeBuffer = 8 << 10         // bytes that are sent without waiting for more: the peer reads while we go on
)

// outbox gathers the lines that many goroutines have for one connection and sends those that are ready with one write. It
// has no goroutine: whoever flushes writes, for all. Its zero value lacks only nc and stall.
type outbox struct {
	nc    transport
	stall time.Duration // writeStall, or a test's

	mu      sync.Mutex
	taken   sync.Cond // waiting was taken to be written, or the end; its L is &mu
	waiting []byte    // lines
	spare   []byte    // the buffer that was written before
	writing bool      // somebody writes, and takes what waits as well
	err     error     // of a write: nothing is sent any more

	deadline time.Time // of nc; whoever writes
}

func newOutbox(nc transport, stall time.Duration) *outbox {
	o := &outbox{nc: nc, stall: stall}
	o.taken.L = &o.mu
	return o
}

// add lets encode append a line. It waits while too much is waiting already, which a write's stall bounds. What is added
// after a failure is dropped. full: enough waits to be flushed now.
func (o *outbox) add(encode func(b []byte) []byte) (full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing && len(o.waiting) >= maxWaiting {
		o.taken.Wait()
	}
	if o.err != nil {
		return false
	}
	o.waiting = encode(o.waiting)
	return len(o.waiting) >= writeBuffer
}

// flush sends what waits. While another goroutine writes it returns at once: that one sends this too.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing {
		return nil
	}
	for o.err == nil && len(o.waiting) > 0 {
		out := o.waiting
		o.waiting, o.spare = o.spare, nil
		o.writing = true
		o.taken.Broadcast()
		o.mu.Unlock()
		err := o.write(out)
		o.mu.Lock()
		o.writing, o.err = false, err
		if cap(out) <= keepBuffer+maxWaiting {
			o.spare = out[:0]
		}
	}
	if o.err != nil {
		o.waiting, o.spare = nil, nil
		o.taken.Broadcast()
	}
	return o.err
}

// write sends lines, each part of them within its time.
func (o *outbox) write(lines []byte) error {
	for len(lines) > 0 {
		n := min(len(lines), writeChunk)
		if err := o.extend(); err != nil {
			return err
		}
		if _, err := o.nc.Write(lines[:n]); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

// extend gives a write its time. Most find that the one before left enough.
func (o *outbox) extend() error {
	now := time.Now()
	if o.deadline.Sub(now) >= o.stall {
		return nil
	}
	o.deadline = now.Add(o.stall + o.stall/stallSlack)
	return o.nc.SetWriteDeadline(o.deadline)
}
