package netio

import (
	"sync/atomic"
)

// A device decides by a packet's addresses which of its queues gets it, and with it which worker; the lease decides which worker
// the packet belongs to, because a session's state has one writer. Where the two differ, the worker that received the packet
// copies it into a ring that only it writes and only the other one reads. Nobody takes a lock, and nobody waits: a full ring is
// a drop that is counted.

// handoverDepth is how many packets one worker may have waiting for another: four batches, longer than a worker is away from its
// queue between two looks. A ring that is never used costs address space only, one in use 560 KB.
const handoverDepth = 4 * BatchSize

// handover is the ring from one worker to another.
type handover struct {
	places []handed
	wrote  uint32 // producer only: packets put in, published or not
	seen   uint32 // producer only: the consumer's count as it was read last

	_        [cacheLine]byte
	filled   atomic.Uint32 // producer: packets put in
	_        [cacheLine]byte
	emptied  atomic.Uint32 // consumer: packets that are done with
	borrowed uint32        // consumer only: packets taken, done with or not
	_        [cacheLine]byte
}

// handed is a packet in its place.
type handed struct {
	in     Local
	src    Addr
	length uint16
	buffer [bufferSize]byte
}

// newHandovers maps the memory of n rings, all of one producer. The function returned gives it back.
func newHandovers(n int) ([]handover, func() error, error) {
	places, unmap, err := mapPrivate[handed](n * handoverDepth)
	if err != nil {
		return nil, nil, err
	}
	rings := make([]handover, n)
	for i := range rings {
		rings[i].places = places[i*handoverDepth:][:handoverDepth:handoverDepth]
	}
	return rings, unmap, nil
}

// put copies a packet into the ring, or returns false when it is full. The consumer sees it after publish.
func (h *handover) put(in Local, src *Addr, data []byte) bool {
	if h.wrote-h.seen == handoverDepth {
		if h.seen = h.emptied.Load(); h.wrote-h.seen == handoverDepth {
			return false
		}
	}
	p := &h.places[h.wrote%handoverDepth]
	p.in, p.src = in, *src
	p.length = uint16(copy(p.buffer[Headroom:Headroom+MaxDatagram], data))
	h.wrote++
	return true
}

func (h *handover) publish() { h.filled.Store(h.wrote) }

// take returns the next packet, or nil when there is none. It is the consumer's until done.
func (h *handover) take() *handed {
	if h.borrowed == h.filled.Load() {
		return nil
	}
	p := &h.places[h.borrowed%handoverDepth]
	h.borrowed++
	return p
}

// data is the packet in its buffer, with room around it.
func (p *handed) data() []byte {
	return p.buffer[Headroom : Headroom+int(p.length) : Headroom+MaxDatagram+Tailroom]
}

// done gives the places of everything that was taken back to the producer.
func (h *handover) done() {
	if h.borrowed != h.emptied.Load() {
		h.emptied.Store(h.borrowed)
	}
}

// doorbell is how a worker learns that others have put something into its rings. The order keeps a packet from being left lying:
// the producer publishes, then rings, then looks whether the consumer sleeps; the consumer says that it will sleep, then looks
// whether somebody rang.
type doorbell struct {
	_     [cacheLine]byte
	rang  atomic.Uint32
	sleep atomic.Uint32 // 1 while the consumer waits, or is about to
	_     [cacheLine]byte
}

// ring tells the consumer, and wakes it by its event descriptor when it sleeps.
func (d *doorbell) ring(event int, one *[8]byte) {
	d.rang.Store(1)
	if d.sleep.Load() == 1 && d.sleep.Swap(0) == 1 {
		writeEvent(event, one)
	}
}

// answered tells whether somebody rang since the last time.
func (d *doorbell) answered() bool {
	return d.rang.Load() == 1 && d.rang.Swap(0) == 1
}

// fallAsleep returns false when somebody has rung: then there is something to take, and no sleep.
func (d *doorbell) fallAsleep() bool {
	d.sleep.Store(1)
	if d.rang.Load() == 1 {
		d.sleep.Store(0)
		return false
	}
	return true
}

func (d *doorbell) awake() { d.sleep.Store(0) }
