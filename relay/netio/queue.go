package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

const (
	bufferSize = Headroom + MaxDatagram + Tailroom // bytes of a packet's buffer in the slab

	// wakeGeneration marks the wake event among the events of ports, whose generations are never 0.
	wakeGeneration = 0

	// quietStep is how long Unbind sleeps between two looks at a queue that is inside its calls: about what a batch
	// takes there, and a thread that was preempted in the middle is not spun on.
	quietStep = 20 * time.Microsecond
)

// socketQueue is one worker's side of the sockets engine: an epoll set of its own, one slab of buffers, and the arrays
// of the batch calls.
//
// The epoll set is level-triggered. Edges would save one look at the socket per wake-up (BenchmarkForward shows no
// difference), but an edge is lost whenever recvmmsg returns fewer datagrams than there are, which it also does when an
// error ends it early; a port would then stay silent until the next datagram. With levels what one visit leaves behind
// is simply reported again.
type socketQueue struct {
	engine *sockets
	number int
	epoll  int
	calls  systemCalls

	events      [BatchSize]unix.EpollEvent // worker only
	next, ready int                        // worker only: events[next:ready] are not visited yet
	in, out     *messages                  // worker only
	slab        []byte                     // worker only: BatchSize buffers, what in points at
	run         [BatchSize]*Packet         // worker only: the packets behind out's messages
	stats       QueueStats                 // worker only

	section     atomic.Uint64 // odd while the worker uses descriptors from the port table; worker writes
	closedDrops atomic.Uint64 // drops of closed sockets that no datagram has reported; control side adds
	closed      atomic.Bool

	wakeLock  sync.Mutex // Wake against close: never write to a descriptor number that was given away
	wake      int        // eventfd; -1 after close
	wakeOne   [8]byte    // what Wake writes
	wakeCount [8]byte    // what drainWake reads; worker only
}

// systemCalls are the calls that can fail in ways a test cannot provoke from outside.
type systemCalls struct {
	receive func(fd int, into []mmsghdr) (int, unix.Errno)
	send    func(fd int, from []mmsghdr) (int, unix.Errno)
	wait    func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno)
}

func openSocketQueue(e *sockets, number int) (*socketQueue, error) {
	q := &socketQueue{
		engine: e,
		number: number,
		calls:  systemCalls{receive: receiveMessages, send: sendMessages, wait: waitEvents},
		slab:   make([]byte, BatchSize*bufferSize),
		out:    newSendMessages(),
		wake:   -1,
	}
	q.in = newReceiveMessages(q.slab)
	binary.NativeEndian.PutUint64(q.wakeOne[:], 1)
	var err error
	q.epoll, err = openFresh(e.registry, q.epollName(), func() (int, error) {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		return fd, os.NewSyscallError("epoll_create1", err)
	})
	if err != nil {
		return nil, err
	}
	q.wake, err = openFresh(e.registry, q.wakeName(), func() (int, error) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		return fd, os.NewSyscallError("eventfd", err)
	})
	if err != nil {
		return nil, errors.Join(err, e.registry.Close(q.epollName()))
	}
	if err := q.watch(q.wake, Local(number), wakeGeneration); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: epoll_ctl(ADD): %w", q.wakeName(), err), q.close())
	}
	return q, nil
}

func (q *socketQueue) epollName() string { return fmt.Sprintf("epoll/%d", q.number) }
func (q *socketQueue) wakeName() string  { return fmt.Sprintf("wake/%d", q.number) }

// openFresh opens a descriptor that is never taken over: a predecessor's epoll set would report its registrations, and
// its eventfd would still be written to. An inherited one is closed.
func openFresh(r *Registry, name string, create func() (int, error)) (int, error) {
	fd, inherited, err := r.Open(name, create)
	if err == nil && inherited {
		if err = r.Close(name); err == nil {
			fd, _, err = r.Open(name, create)
		}
	}
	return fd, err
}

// watch makes the queue see what comes to fd. An event carries the port and its generation, not the descriptor, whose
// number may mean another socket by the time the event is read.
func (q *socketQueue) watch(fd int, l Local, generation uint32) error {
	return unix.EpollCtl(q.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l), Pad: int32(generation)})
}

// unwatch takes fd out of the epoll set. Closing would do that only if no other process held the same socket.
func (q *socketQueue) unwatch(fd int) {
	_ = unix.EpollCtl(q.epoll, unix.EPOLL_CTL_DEL, fd, nil) // ENOENT when watch had failed: then there is nothing to undo
}

// awaitQuiet returns when the queue is outside the calls it may be in now. A queue that waits for events is outside.
func (q *socketQueue) awaitQuiet() {
	before := q.section.Load()
	if before%2 == 0 {
		return
	}
	runtime.Gosched()
	for q.section.Load() == before {
		time.Sleep(quietStep)
	}
}

// Recv implements Queue. One round visits every ready port once; ports that a full batch had no room for come first in
// the next.
func (q *socketQueue) Recv(b *Batch, wait time.Duration) error {
	b.N = 0
	rest := patience{wait: wait}
	for {
		if q.closed.Load() {
			return fmt.Errorf("queue %d: receive: %w", q.number, ErrClosed)
		}
		if q.next == q.ready {
			if err := q.poll(&rest); err != nil {
				return err
			}
			if q.ready == 0 {
				return nil
			}
		}
		woken := q.visit(b)
		if woken || b.N > 0 || rest.left() <= 0 {
			return nil
		}
		// Readiness without a datagram: an event of a port that is gone, or a checksum that was wrong.
	}
}

// poll looks for ready ports, and only if there are none waits for them: looking costs less than waiting, and under
// load there always are some.
func (q *socketQueue) poll(rest *patience) error {
	q.next, q.ready = 0, 0
	for milliseconds := 0; ; {
		n, errno := q.calls.wait(q.epoll, q.events[:], milliseconds)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("queue %d: epoll_wait: %w", q.number, errno)
		}
		if n > 0 {
			q.ready = n
			return nil
		}
		left := rest.left()
		if left <= 0 {
			return nil
		}
		// At least 1, else the last fraction of a millisecond would be spent spinning.
		milliseconds = int(min(max(left/time.Millisecond, 1), math.MaxInt32))
	}
}

// patience is what is left of a Recv's wait. The clock is read only once there was nothing to receive.
type patience struct {
	wait  time.Duration
	until int64 // end of the wait on the clock of Now; 0 before the first look at the clock
}

func (p *patience) left() time.Duration {
	if p.wait <= 0 {
		return 0
	}
	now := Now()
	if p.until == 0 {
		p.until = now + int64(p.wait)
	}
	return time.Duration(p.until - now)
}

// visit takes what the ready ports have until the batch is full, and reports whether Wake was among the events.
func (q *socketQueue) visit(b *Batch) (woken bool) {
	q.section.Add(1)
	for q.next < q.ready && b.N < BatchSize {
		event := &q.events[q.next]
		q.next++
		l, generation := Local(uint32(event.Fd)), uint32(event.Pad)
		if generation == wakeGeneration {
			q.drainWake()
			woken = true
			continue
		}
		p := q.engine.port(l)
		if socket := p.socket.Load(); uint32(socket>>32) == generation {
			q.receive(b, l, p, int(uint32(socket)))
		}
	}
	q.section.Add(1)
	return woken
}

// receive adds what the port has to the batch, perVisit datagrams at most. An error is the socket's pending one (and
// gone by having been returned), or nothing to read after all: what is left is reported by the next poll.
func (q *socketQueue) receive(b *Batch, l Local, p *port, fd int) {
	room := min(perVisit, BatchSize-b.N)
	n, errno := q.calls.receive(fd, q.in.headers[b.N:b.N+room])
	if errno != 0 || n == 0 {
		return
	}
	q.stats.RecvCalls++
	q.stats.RecvPackets += uint64(n)
	for range n {
		q.accept(b, l, p)
	}
}

// accept makes the datagram in the batch's next message a packet.
func (q *socketQueue) accept(b *Batch, l Local, p *port) {
	i := b.N
	b.N++
	header := &q.in.headers[i].header
	pkt := &b.Packets[i]
	start := i*bufferSize + Headroom
	length := int(q.in.headers[i].length)
	pkt.Data = q.slab[start : start+length : start+MaxDatagram+Tailroom]
	pkt.In = l
	pkt.Src = q.in.names[i].addr()
	pkt.Out, pkt.Dst = 0, Addr{}
	pkt.Verdict = verdict.Forward
	if header.Flags&unix.MSG_TRUNC != 0 {
		pkt.Verdict = verdict.TooLong
	}
	// A datagram carries the count of the moment it was queued, which for one that waited in an inherited socket lies
	// before the count that Bind began with. The count is 32 bits wide and wraps.
	if drops, ok := q.in.drops(i); ok && int32(drops-p.drops) > 0 {
		q.stats.Overflows += uint64(drops - p.drops)
		p.drops = drops
	}
	q.in.rearm(i)
}

// Send implements Queue. Neighbours in the batch that leave by the same port go in one call; the order is kept.
func (q *socketQueue) Send(b *Batch) {
	q.section.Add(1)
	n, fd, out := 0, -1, Local(0)
	for i := range b.Packets[:b.N] {
		pkt := &b.Packets[i]
		if pkt.Verdict != verdict.Forward {
			continue
		}
		if n > 0 && pkt.Out != out {
			q.flush(fd, n)
			n = 0
		}
		if n == 0 {
			var bound bool
			if fd, bound = q.engine.descriptor(pkt.Out); !bound {
				pkt.Verdict = verdict.SendFailed
				continue
			}
			out = pkt.Out
		}
		length := q.out.names[n].put(&pkt.Dst, q.engine.addresses[out.Slot()].Is6())
		if length == 0 {
			pkt.Verdict = verdict.SendFailed
			continue
		}
		q.out.headers[n].header.Namelen = length
		q.out.point(n, pkt.Data)
		q.run[n] = pkt
		n++
	}
	if n > 0 {
		q.flush(fd, n)
	}
	q.section.Add(1)
}

// flush sends the first n messages of out by fd. The kernel stops at a message it refuses and says why only when asked
// to begin with it; that message fails and the others go on.
func (q *socketQueue) flush(fd, n int) {
	retried := -1
	for done := 0; done < n; {
		sent, errno := q.calls.send(fd, q.out.headers[done:n])
		switch {
		case sent > 0:
			q.stats.SendCalls++
			q.stats.SendPackets += uint64(sent)
			done += sent
		case errno == unix.EINTR:
		case errno == unix.ECONNREFUSED && retried != done:
			// An ICMP error for an earlier packet, delivered to this one that the kernel has not tried yet.
			retried = done
		default:
			q.run[done].Verdict = verdict.SendFailed
			done++
		}
	}
}

// Stats implements Queue.
func (q *socketQueue) Stats() QueueStats {
	stats := q.stats
	stats.Overflows += q.closedDrops.Load()
	return stats
}

// Wake implements Queue. A wake that finds no Recv waiting ends the next one that would wait.
func (q *socketQueue) Wake() {
	q.wakeLock.Lock()
	defer q.wakeLock.Unlock()
	if q.wake >= 0 {
		_, _ = unix.Write(q.wake, q.wakeOne[:]) // EAGAIN means the counter is full: the queue wakes anyway
	}
}

// drainWake takes back all wakes up to now. The descriptor is the worker's to read until close, which the worker's end
// precedes.
func (q *socketQueue) drainWake() {
	_, _ = unix.Read(q.wake, q.wakeCount[:]) // EAGAIN: it was drained before
}

// close gives the queue's own descriptors back. Its ports are unbound.
func (q *socketQueue) close() error {
	q.wakeLock.Lock()
	defer q.wakeLock.Unlock()
	if q.closed.Swap(true) {
		return nil
	}
	q.wake = -1
	return errors.Join(q.engine.registry.Close(q.wakeName()), q.engine.registry.Close(q.epollName()))
}
