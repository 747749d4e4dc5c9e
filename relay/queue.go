package relay

import (
	"sync"
	"sync/atomic"

	"tandem/relay/netio"
	"tandem/relay/rtp"
	"tandem/relay/verdict"
)

// beside is what stands beside the packet path: a queue that takes packets out of it (STUN, DTLS, capture) and one that
// brings packets of our own (originated RTCP). Both are bounded and preallocated; the worker never waits on either.
type beside struct {
	diverting bool // somebody reads the divert queue; worker only
	diverted  ring
	injected  ring
	producer  sync.Mutex // of injected: more than one goroutine may inject

	own   netio.Batch // for injected packets; its buffers are below
	slab  [injectBatch][netio.Headroom + netio.MaxDatagram + netio.Tailroom]byte
	sent  uint64 // injected packets sent
	stuck uint64 // injected packets that could not be sent
}

// injectBatch bounds what injected packets cost before received ones get their turn again.
const injectBatch = 8

// minRTCP is the least that can be anything here: an RTCP header with its sender, in bytes.
const minRTCP = 8

// ringSlots is the depth of a queue: at 2 KB a slot, 128 KB. A power of two.
const ringSlots = 64

// slot is one datagram in a ring.
type slot struct {
	leg     uint32
	session uint64 // the leg's session when the packet was queued
	kind    rtp.Kind
	address netio.Addr // divert: where it came from
	n       int
	data    [netio.MaxDatagram]byte
}

// ring is a bounded queue with one producer and one consumer. The zero value is empty.
type ring struct {
	slots []slot
	head  atomic.Uint32 // consumer
	tail  atomic.Uint32 // producer
}

// waiting tells the consumer whether there is something to take.
func (r *ring) waiting() bool { return r.head.Load() != r.tail.Load() }

// reserve returns the next free slot, or nil when the queue is full. publish makes it visible to the consumer.
func (r *ring) reserve() *slot {
	tail := r.tail.Load()
	if int(tail-r.head.Load()) >= len(r.slots) {
		return nil
	}
	return &r.slots[tail%uint32(len(r.slots))]
}

func (r *ring) publish() { r.tail.Add(1) }

// next returns the oldest slot, or nil. release gives it back to the producer.
func (r *ring) next() *slot {
	head := r.head.Load()
	if head == r.tail.Load() {
		return nil
	}
	return &r.slots[head%uint32(len(r.slots))]
}

func (r *ring) release() { r.head.Add(1) }

// divert hands a packet that is neither RTP nor RTCP to whoever asked for such packets. Until somebody does, it is dropped
// under the name of what it is.
func (q *beside) divert(s *step, session uint64, p *netio.Packet) verdict.Verdict {
	if !q.diverting {
		switch s.kind {
		case rtp.STUN:
			return verdict.STUN
		case rtp.DTLS:
			return verdict.DTLS
		}
		if len(p.Data) < minRTCP {
			return verdict.TooShort
		}
		return verdict.NotRTP
	}
	to := q.diverted.reserve()
	if to == nil {
		return verdict.DivertFull
	}
	to.leg, to.session, to.kind, to.address = s.in(), session, s.kind, p.Src
	to.n = copy(to.data[:], p.Data)
	q.diverted.publish()
	return verdict.Diverted
}

// inject queues an RTP or RTCP packet of our own to be sent to the peer of a leg, sealed like any other. It reports false
// when the queue is full or the packet too long. Any goroutine may call it.
func (w *worker) inject(leg uint32, session uint64, kind rtp.Kind, data []byte) bool {
	if len(data) > netio.MaxDatagram {
		return false
	}
	w.beside.producer.Lock()
	defer w.beside.producer.Unlock()
	to := w.beside.injected.reserve()
	if to == nil {
		return false
	}
	to.leg, to.session, to.kind = leg, session, kind
	to.n = copy(to.data[:], data)
	w.beside.injected.publish()
	w.queue.Wake()
	return true
}

// originate seals and sends what was injected. These packets were never received, so they count in sums of their own.
func (w *worker) originate() {
	q := &w.beside
	q.own.N = 0
	for q.own.N < injectBatch {
		from := q.injected.next()
		if from == nil {
			break
		}
		p := &q.own.Packets[q.own.N]
		p.Data = append(q.slab[q.own.N][netio.Headroom:netio.Headroom], from.data[:from.n]...)
		p.Verdict = w.address(from, p)
		q.injected.release()
		q.own.N++
	}
	w.queue.Send(&q.own)
	for i := range q.own.N {
		if q.own.Packets[i].Verdict == verdict.Forward {
			q.sent++
		} else {
			q.stuck++
		}
	}
}

// address finds where an injected packet leaves, and seals it.
func (w *worker) address(from *slot, p *netio.Packet) verdict.Verdict {
	l, k := &w.legs[from.leg], &w.cold[from.leg]
	if k.session != from.session || l.peer == 0 {
		return verdict.Unleased
	}
	to, ok := l.pin.SendTo()
	p.Out = l.rtp
	if from.kind == rtp.RTCP {
		to, ok = l.pin.SendRTCPTo(&k.pin)
		p.Out = l.reportPort()
	}
	switch {
	case !ok:
		return verdict.NoDestination
	case l.flags&opaque != 0:
		return verdict.Held // no place for RTP or RTCP
	}
	p.Dst, p.Verdict = netio.Addr(to), verdict.Forward
	if from.kind == rtp.RTCP {
		w.sealRTCP(p, from.leg)
		return p.Verdict
	}
	view, bad := rtp.Parse(p.Data)
	if bad != verdict.Forward {
		return bad
	}
	w.sealRTP(p, from.leg, view)
	return p.Verdict
}
