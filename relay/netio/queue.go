package netio

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

const bufferSize = Headroom + MaxDatagram + Tailroom // bytes of a packet's buffer in the slab

// socketQueue is one worker's side of the sockets engine: what it waits with, one slab of buffers, and the arrays of the
// batch calls.
type socketQueue struct {
	waiting
	engine *sockets
	calls  systemCalls

	events      [BatchSize]unix.EpollEvent // worker only
	next, ready int                        // worker only: events[next:ready] are not visited yet
	in, out     *messages                  // worker only
	slab        []byte                     // worker only: BatchSize buffers, what in points at
	run         [BatchSize]*Packet         // worker only: the packets behind out's messages
	stats       QueueStats                 // worker only

	section     section
	closedDrops atomic.Uint64 // drops of closed sockets that no datagram has reported; control side adds
}

// systemCalls are the calls that can fail in ways a test cannot provoke from outside.
type systemCalls struct {
	receive func(fd int, into []mmsghdr) (int, unix.Errno)
	send    func(fd int, from []mmsghdr) (int, unix.Errno)
	sendOne func(fd int, data []byte, to *sockaddr, length uint32) unix.Errno
	wait    func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno)

	openPort func(at *sockaddr, length uint32, tos int) (int, unix.Errno)
}

// kernelCalls are the real ones.
func kernelCalls() systemCalls {
	return systemCalls{receive: receiveMessages, send: sendMessages, sendOne: sendDatagram, wait: waitEvents, openPort: openPortSocket}
}

func openSocketQueue(e *sockets, number int) (*socketQueue, error) {
	q := &socketQueue{
		engine: e,
		calls:  kernelCalls(),
		slab:   make([]byte, BatchSize*bufferSize),
		out:    newSendMessages(),
	}
	q.in = newReceiveMessages(q.slab)
	return q, q.openWaiting(e.registry, number, e.poll)
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
	for timeout := 0; ; {
		if q.pace.due() {
			q.nap()
		}
		if timeout > 0 {
			q.lending.offer()
		}
		n, errno := q.calls.wait(q.epoll, q.events[:], timeout)
		if timeout > 0 {
			q.lending.reclaim()
		}
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("queue %d: epoll_wait: %w", q.number, errno)
		}
		q.pace.found(n)
		if n > 0 {
			q.ready = n
			return nil
		}
		left := rest.left()
		if left <= 0 {
			return nil
		}
		if q.pace.steady || q.pace.begin(Now()) {
			timeout = 0
			continue
		}
		timeout = milliseconds(left)
	}
}

// visit takes what the ready ports have until the batch is full, and reports whether Wake was among the events.
func (q *socketQueue) visit(b *Batch) (woken bool) {
	q.section.enter()
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
	q.section.leave()
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
	if a := q.in.ancillary(i); a.hasDrops && int32(a.drops-p.drops) > 0 {
		q.stats.Overflows += uint64(a.drops - p.drops)
		p.drops = a.drops
	}
	q.in.rearm(i)
}

// Send implements Queue. Neighbours in the batch that leave by the same port go in one call; the order is kept.
func (q *socketQueue) Send(b *Batch) {
	q.section.enter()
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
		length := q.out.names[n].put(&pkt.Dst, q.engine.ipv6(out.Slot()))
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
	q.section.leave()
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
			q.stats.Sent[Socket] += uint64(sent)
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
