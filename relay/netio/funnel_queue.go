package netio

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

// funnelQueue is one worker's side of the funnel: a socket per address family that all its ports share, and a packet
// socket for what leaves as frames.
type funnelQueue struct {
	waiting
	engine *funnel
	calls  systemCalls

	inputs []funnelInput // one or two: IPv4, IPv6
	turn   int           // worker only: the input that is looked at first
	packet int           // AF_PACKET socket

	in, out *messages          // worker only; out is frames
	slab    []byte             // worker only: BatchSize buffers that in points at, and as many for frames that begin elsewhere
	ways    [BatchSize]Way     // worker only: why out's messages are frames: Frame or FrameFull
	run     [BatchSize]*Packet // worker only: the packets behind out's messages
	to      sockaddr           // worker only: destination of a single datagram
	from    sockaddr           // worker only: what a port's own socket is bound to
	own     ownSockets         // worker only
	events  [4]unix.EpollEvent // worker only: more than there are
	stats   QueueStats         // worker only

	section section // what Unbind awaits
}

// funnelInput is the socket of one address family.
type funnelInput struct {
	name  string
	fd    int
	drops uint32 // SO_RXQ_OVFL count seen last; worker only
}

// inputGeneration marks the events of a queue's sockets: anything but wakeGeneration.
const inputGeneration = wakeGeneration + 1

func openFunnelQueue(e *funnel, number, workers, rcvBuf int) (*funnelQueue, error) {
	q := &funnelQueue{
		engine: e,
		calls:  kernelCalls(),
		slab:   make([]byte, 2*BatchSize*bufferSize),
		out:    newSendMessages(),
		own:    makeOwnSockets(workers),
	}
	q.in = newReceiveMessages(q.slab)
	if err := q.openWaiting(e.registry, number, e.poll); err != nil {
		return nil, err
	}
	if err := q.openSockets(rcvBuf); err != nil {
		return nil, errors.Join(fmt.Errorf("queue %d: %w", number, err), q.closeAll())
	}
	return q, nil
}

func (q *funnelQueue) packetName() string { return fmt.Sprintf("packet/%d", q.number) }

// closeAll gives the queue's descriptors back. Its ports are unbound and nothing is steered to it any more.
func (q *funnelQueue) closeAll() error {
	if q.closed.Load() {
		return nil
	}
	var errs []error
	for i := range q.inputs {
		q.unwatch(q.inputs[i].fd)
		errs = append(errs, q.registry.Close(q.inputs[i].name))
	}
	if q.packet > 0 {
		errs = append(errs, q.registry.Close(q.packetName()))
	}
	return errors.Join(append(errs, q.closeWaiting())...)
}

// Recv implements Queue. It looks before it waits: under load there always is something, and a look is the receive itself.
func (q *funnelQueue) Recv(b *Batch, wait time.Duration) error {
	b.N = 0
	rest := patience{wait: wait}
	for woken := false; ; {
		if q.closed.Load() {
			return fmt.Errorf("queue %d: receive: %w", q.number, ErrClosed)
		}
		if q.pace.due() {
			q.nap()
		}
		nobodys := q.stats.Unmatched
		q.look(b)
		q.pace.found(b.N + int(q.stats.Unmatched-nobodys)) // what has come, whoever it is for
		if b.N > 0 || q.pace.full || woken {               // full of what is nobody's: control has its turn
			return nil
		}
		left := rest.left()
		if left <= 0 {
			return nil
		}
		if q.pace.steady || q.pace.begin(Now()) {
			continue
		}
		var err error
		if woken, err = q.await(left); err != nil {
			return err
		}
	}
}

// look takes what the sockets have, up to what is free in the batch. Which family comes first alternates, so that neither starves the other.
func (q *funnelQueue) look(b *Batch) {
	room := BatchSize - b.N
	taken := 0 // messages filled; those that are not ours have no packet
	for i := range q.inputs {
		input := &q.inputs[(q.turn+i)%len(q.inputs)]
		if taken == room {
			break
		}
		n, errno := q.calls.receive(input.fd, q.in.headers[taken:room])
		if errno != 0 {
			continue // EAGAIN, or the socket's pending error, which is gone by having been returned
		}
		q.stats.RecvCalls++
		for range n {
			q.accept(b, taken, input)
			taken++
		}
	}
	q.turn++
}

// accept makes the datagram in message i the batch's next packet, if it came to a port of ours.
func (q *funnelQueue) accept(b *Batch, i int, input *funnelInput) {
	a := q.in.ancillary(i)
	truncated := q.in.headers[i].header.Flags&unix.MSG_TRUNC != 0
	q.in.rearm(i)
	if a.hasDrops && a.drops != input.drops {
		q.stats.Overflows += uint64(a.drops - input.drops) // 32 bits that wrap
		input.drops = a.drops
	}
	slot, ours := q.engine.slots.find(&a.to.IP)
	if !ours || !q.engine.steer.Leased(slot, a.to.Port, q.number) {
		q.stats.Unmatched++ // somebody wrote to the socket's own port, or the port was unbound meanwhile
		return
	}
	p := &b.Packets[b.N]
	b.N++
	q.stats.RecvPackets++
	start := i*bufferSize + Headroom
	length := int(q.in.headers[i].length)
	p.Data = q.slab[start : start+length : start+MaxDatagram+Tailroom]
	p.In = MakeLocal(slot, a.to.Port)
	p.Src = q.in.names[i].addr()
	p.Out, p.Dst = 0, Addr{}
	p.Verdict = verdict.Forward
	if truncated {
		p.Verdict = verdict.TooLong
	}
}

// await waits until a socket has something, Wake is called or the time is over.
func (q *funnelQueue) await(left time.Duration) (woken bool, err error) {
	q.lending.offer()
	n, errno := q.calls.wait(q.epoll, q.events[:], milliseconds(left))
	q.lending.reclaim()
	if errno != 0 && errno != unix.EINTR {
		return false, fmt.Errorf("queue %d: epoll_wait: %w", q.number, errno)
	}
	for i := range q.events[:n] {
		if uint32(q.events[i].Pad) == wakeGeneration {
			q.drainWake()
			woken = true
		}
	}
	return woken, nil
}

// Stats implements Queue.
func (q *funnelQueue) Stats() QueueStats { return q.stats }
