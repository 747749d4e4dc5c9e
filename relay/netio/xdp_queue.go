package netio

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
	"tandem/relay/verdict"
)

const (
	// ringGeneration marks the events of AF_XDP sockets.
	ringGeneration = inputGeneration + 1

	// perLook is how many packets one look takes from a ring, others' among them: a flood for another worker must not keep this
	// one from its own.
	perLook = 2 * BatchSize

	// socketsEvery is how often the funnel's sockets are looked at while the rings never run dry: a look is a system call for
	// each, and what comes by them is rare. When a ring runs dry the wait tells.
	socketsEvery = 16

	// stuckWait is how long a worker sleeps at most while the device has not taken all that it was given.
	stuckWait = time.Millisecond
)

// xdpQueue is one worker's side of the engine: the rings of its queues, and of the other workers to and from it, beside a
// funnel's queue.
type xdpQueue struct {
	*funnelQueue
	xdp *xdp

	rings    []*ring
	out      [][]*ring         // by egress: those of rings whose device it is
	turn     int               // worker only: the ring that is looked at first
	looks    uint32            // worker only
	readable bool              // worker only: a funnel's socket has something, the last wait or poll said
	reported []unix.EpollEvent // worker only

	datagram frame.Datagram // worker only: of the packet that is looked at
	inbox    []*handover    // from each other worker
	outbox   []handover     // by worker; the one to itself stays empty
	told     []bool         // worker only, by worker: something was put into its ring since it was published
	doorbell doorbell       // of this worker, for the others
	pilot    pilot          // worker only
}

// Recv implements Queue. It looks before it waits: at its rings, which is no system call, at what other workers have for it, and
// now and then at the funnel's sockets.
func (q *xdpQueue) Recv(b *Batch, wait time.Duration) error {
	b.N = 0
	if q.closed.Load() {
		return fmt.Errorf("queue %d: receive: %w", q.number, ErrClosed)
	}
	q.giveBack()
	rest := patience{wait: wait}
	for woken := false; ; {
		if q.pace.due() {
			q.nap()
		}
		if q.pace.steady { // after a full batch too: the device has kept what the last poll had no room for
			q.poll()
		}
		nobodys := q.stats.Unmatched
		// Each way in comes first now and then: one that never runs dry must not keep the others out of the batch.
		if q.looks++; q.readable && q.looks%2 != 0 || q.looks%socketsEvery == 0 {
			q.look(b)
			q.readable = b.N == BatchSize
		}
		if q.looks%2 == 0 {
			q.takeHanded(b)
		}
		others := q.lookAtRings(b)
		q.takeHanded(b)
		if q.readable && b.N == 0 && others == 0 {
			q.look(b)
			q.readable = b.N == BatchSize
		}
		if q.pilot.trying() {
			q.learn()
		}
		q.pace.found(b.N + others + int(q.stats.Unmatched-nobodys)) // what has come, whoever it is for
		if b.N > 0 || others > 0 || q.pace.full || woken {          // full of what is nobody's: control has its turn
			return nil
		}
		left := rest.left()
		if left <= 0 {
			q.look(b)
			return nil
		}
		if q.pace.steady || q.pace.begin(Now()) {
			if !q.pilot.missing() {
				continue
			}
			q.pace.steady = false
			q.teach()
		}
		if q.pilot.trying() {
			left = min(left, pilotTry)
		}
		var err error
		if woken, err = q.await(left); err != nil {
			return err
		}
	}
}

// giveBack ends the last batch: its frames and places may be used again.
func (q *xdpQueue) giveBack() {
	for _, r := range q.rings {
		r.socket.GiveBack()
		r.socket.Refill()
		if r.socket.Unsent() {
			q.kick(r)
		}
	}
	for _, h := range q.inbox {
		h.done()
	}
}

// lookAtRings takes what the rings have, up to what is free in the batch, and returns how many packets were other workers'. Which
// ring comes first alternates.
func (q *xdpQueue) lookAtRings(b *Batch) (others int) {
	for i := range q.rings {
		r := q.rings[(q.turn+i)%len(q.rings)]
		taken := 0
		for ; taken < perLook && b.N < BatchSize; taken++ {
			data := r.socket.Receive()
			if data == nil {
				break
			}
			others += q.accept(b, data)
		}
		if taken > 0 {
			r.socket.Received()
			q.stats.RecvCalls++
		}
	}
	q.turn++
	if others > 0 {
		q.tell()
	}
	return others
}

// accept makes what a ring had the batch's next packet, or gives it to the worker that has leased its port; then it returns 1.
func (q *xdpQueue) accept(b *Batch, data []byte) int {
	d := &q.datagram
	if !frame.Parse(data, d) {
		q.stats.Unmatched++ // shorter than its IP header says: the program does not compare that
		return 0
	}
	e := q.engine
	slot, ours := e.slots.find(&d.Dst)
	if _, forged := e.slots.find(&d.Src); !ours || forged { // the wire does not bring what we sent, and the kernel would not take it
		q.stats.Unmatched++
		return 0
	}
	owner, leased := e.steer.Owner(slot, d.DstPort)
	if !leased || owner != q.number && owner >= len(q.outbox) {
		q.stats.Unmatched++ // unbound since the program saw it
		return 0
	}
	payload := data[d.Start : d.Start+d.Len : cap(data)]
	if owner == q.number {
		q.add(b, payload, MakeLocal(slot, d.DstPort), &Addr{IP: d.Src, Port: d.SrcPort})
		return 0
	}
	if !q.outbox[owner].put(MakeLocal(slot, d.DstPort), &Addr{IP: d.Src, Port: d.SrcPort}, payload) {
		q.stats.Overflows++
		return 1
	}
	q.told[owner] = true
	q.stats.HandedOver++
	return 1
}

// add makes data the batch's next packet.
func (q *xdpQueue) add(b *Batch, data []byte, in Local, src *Addr) {
	p := &b.Packets[b.N]
	b.N++
	q.stats.RecvPackets++
	p.Data, p.In, p.Src = data, in, *src
	p.Out, p.Dst = 0, Addr{}
	p.Verdict = verdict.Forward
}

// tell publishes what was put into other workers' rings.
func (q *xdpQueue) tell() {
	for to, any := range q.told {
		if any {
			q.told[to] = false
			q.outbox[to].publish()
			other := q.xdp.queues[to]
			other.doorbell.ring(other.wake, &q.wakeOne)
		}
	}
}

// takeHanded adds what other workers have received for this one, up to what is free in the batch.
func (q *xdpQueue) takeHanded(b *Batch) {
	if !q.doorbell.answered() {
		return
	}
	for _, h := range q.inbox {
		for b.N < BatchSize {
			p := h.take()
			if p == nil {
				break
			}
			if !q.engine.steer.Leased(p.in.Slot(), p.in.Port(), q.number) {
				q.stats.Unmatched++ // unbound meanwhile
				continue
			}
			q.add(b, p.data(), p.in, &p.src)
		}
	}
	if b.N == BatchSize {
		q.doorbell.rang.Store(1) // something may be left: look again
	}
}

// await waits until a ring or a socket has something, another worker or Wake rings, or the time is over.
func (q *xdpQueue) await(left time.Duration) (woken bool, err error) {
	for _, r := range q.rings {
		if r.gone {
			continue
		}
		if r.socket.Unsent() {
			if q.kick(r); r.socket.Unsent() {
				left = min(left, stuckWait)
			}
		}
		r.socket.Look()
		if r.socket.Waiting() {
			return false, nil
		}
	}
	if !q.doorbell.fallAsleep() {
		return false, nil
	}
	q.lending.offer()
	n, errno := q.calls.wait(q.epoll, q.reported, milliseconds(left))
	q.lending.reclaim()
	q.doorbell.awake()
	if errno != 0 && errno != unix.EINTR {
		return false, fmt.Errorf("queue %d: epoll_wait: %w", q.number, errno)
	}
	for i := range q.reported[:n] {
		switch uint32(q.reported[i].Pad) {
		case wakeGeneration:
			q.drainWake()
			woken = true
		case inputGeneration:
			q.readable = true
		}
	}
	return woken, nil
}

// poll makes the devices deliver what they have.
func (q *xdpQueue) poll() {
	if q.pilot.fd != 0 {
		q.readable = peek(q.pilot.fd) || q.readable
		return
	}
	for _, r := range q.rings {
		r.socket.Look()
	}
}

// Stats implements Queue.
func (q *xdpQueue) Stats() QueueStats {
	stats := q.stats
	if q.closed.Load() {
		return stats
	}
	for _, r := range q.rings {
		s := r.socket.Statistics()
		stats.Overflows += s.Dropped
		stats.Invalid += s.Invalid
		stats.Starved += s.Starved
	}
	return stats
}
