package hop

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	// MaxHops is how many destinations a table holds: more than a relay of 20,000 calls has peers, and 4 MB. What comes
	// beyond is sent by the UDP socket and counted.
	MaxHops = 1<<16 - 1

	indexBits = 17 // of the hash index: at most half full, so that a search looks at one or two entries
	indexSize = 1 << indexBits

	// maxPending is how many unknown destinations wait for the resolver at most. One that finds no room asks again with
	// its next packet, 20 ms later.
	maxPending = 256
)

// destination is what a hop is found by.
type destination struct {
	slot int
	ip   [16]byte // IPv4-mapped for IPv4
}

// records is the memory that the packet path and the resolver share.
//
// A record is written only by the resolver, between two steps of its generation: odd while it writes, even after. A
// reader that sees another generation after reading than before has read nothing. All words are atomics, so that this
// is a protocol and not a race.
type records struct {
	index   []atomic.Uint32 // resolver writes: entry of the hash table -> record, 0: free
	records []record        // entry 0 is never used
	seed    maphash.Seed    // secret, or a peer could choose destinations that collide
	states  [States]atomic.Int64
	refused atomic.Uint64
	written uint32      // generation of the last write, even; resolver only
	full    atomic.Bool // no record is free: asking the resolver is of no use

	// What Find hands to the resolver. The packet path only ever tries the lock.
	mu      sync.Mutex
	pending [maxPending]destination
	waiting int
	wake    chan struct{} // holds one token when something is pending
}

// record is one hop in a cache line.
type record struct {
	name   atomic.Uint64 // incarnation << 32 | generation; odd also while the record is free
	ip     [2]atomic.Uint64
	where  atomic.Uint64 // slot << 32 | ifindex
	how    atomic.Uint64 // MTU << 8 | State
	srcMAC atomic.Uint64
	dstMAC atomic.Uint64
	used   atomic.Uint32 // packet path sets, resolver clears
	probe  atomic.Uint32 // resolver sets, packet path clears
}

func (t *records) init() {
	t.index = make([]atomic.Uint32, indexSize)
	t.records = make([]record, MaxHops+1)
	t.seed = maphash.MakeSeed()
	t.wake = make(chan struct{}, 1)
}

// makeRef joins a record's index and the incarnation it was used in.
func makeRef(index uint32, incarnation uint16) Ref { return Ref(uint32(incarnation)<<16 | index) }

func (r Ref) index() uint32       { return uint32(r) & 0xffff }
func (r Ref) incarnation() uint16 { return uint16(r >> 16) }

// Find returns the hop from local address slot to dst. False means that it is not known yet and the packet goes by the
// UDP socket; the resolver was told, and a later packet will find it. Any thread may call it; it never waits.
func (t *records) Find(slot int, dst *[16]byte) (Ref, bool) {
	if r := t.search(slot, dst); r != 0 {
		return r, true
	}
	if t.full.Load() {
		t.refused.Add(1)
		return 0, false
	}
	t.ask(destination{slot, *dst})
	return 0, false
}

// Generation returns a number that changes whenever the hop does, and that no two hops share: what was made from the
// result of Read is good as long as Generation returns the same. It is 0 for a hop that was forgotten.
func (t *records) Generation(r Ref) uint32 {
	name := t.records[r.index()].name.Load()
	if uint16(name>>32) != r.incarnation() {
		return 0
	}
	return uint32(name)
}

// Read copies the hop and returns its generation. When the hop is just being written, or was forgotten, h is Unresolved
// and the generation 0: this packet goes by the UDP socket, and the next one calls Find.
func (t *records) Read(r Ref, h *Hop) uint32 {
	rec := &t.records[r.index()]
	name := rec.name.Load()
	where, how := rec.where.Load(), rec.how.Load()
	src, dst := rec.srcMAC.Load(), rec.dstMAC.Load()
	if uint16(name>>32) != r.incarnation() || name&1 != 0 || rec.name.Load() != name {
		*h = Hop{}
		return 0
	}
	h.State = State(how)
	h.MTU = int32(how >> 8)
	h.Ifindex = int32(uint32(where))
	unpackMAC(&h.SrcMAC, src)
	unpackMAC(&h.DstMAC, dst)
	return uint32(name)
}

// Probe marks the hop as used. True, at most once every 5 s on average, means that this packet must go by the UDP socket
// although the hop is Ready: the kernel has not heard of the neighbour for a while and verifies it only for packets of
// its own. The engine calls it for every frame it is about to make.
func (t *records) Probe(r Ref) bool {
	rec := &t.records[r.index()]
	if rec.used.Load() == 0 {
		rec.used.Store(1)
	}
	return rec.probe.Load() != 0 && rec.probe.Swap(0) != 0
}

// search looks the destination up in the hash table: linear probing, at most half full.
func (t *records) search(slot int, dst *[16]byte) Ref {
	high, low := binary.BigEndian.Uint64(dst[:8]), binary.BigEndian.Uint64(dst[8:])
	for i, steps := t.home(slot, dst), 0; steps < indexSize; i, steps = (i+1)%indexSize, steps+1 {
		n := t.index[i].Load()
		if n == 0 {
			return 0
		}
		rec := &t.records[n]
		name := rec.name.Load()
		same := rec.ip[0].Load() == high && rec.ip[1].Load() == low && int(rec.where.Load()>>32) == slot
		if same && name&1 == 0 && rec.name.Load() == name {
			return makeRef(n, uint16(name>>32))
		}
	}
	return 0
}

// home is the entry where the search for a destination begins.
func (t *records) home(slot int, dst *[16]byte) uint32 {
	const spread = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: slots end up far from each other
	return uint32((maphash.Bytes(t.seed, dst[:]) + uint64(slot)*spread) >> (64 - indexBits))
}

// ask hands a destination to the resolver, or drops the question when it would have to wait.
func (t *records) ask(d destination) {
	if !t.mu.TryLock() {
		return
	}
	if t.waiting < maxPending {
		t.pending[t.waiting] = d
		t.waiting++
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take moves what is pending into the resolver's memory.
func (t *records) take(into *[maxPending]destination) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.waiting
	copy(into[:], t.pending[:n])
	t.waiting = 0
	return n
}

// The rest is the resolver's.

// enter gives a destination the free record n.
func (t *records) enter(n uint32, d destination) Ref {
	rec := &t.records[n]
	name := rec.name.Load() | 1
	rec.name.Store(name)
	rec.ip[0].Store(binary.BigEndian.Uint64(d.ip[:8]))
	rec.ip[1].Store(binary.BigEndian.Uint64(d.ip[8:]))
	rec.where.Store(uint64(d.slot) << 32)
	rec.how.Store(uint64(Unresolved))
	rec.used.Store(1)
	rec.probe.Store(0)
	rec.name.Store(t.following(name))
	t.states[Unresolved].Add(1)

	i := t.home(d.slot, &d.ip)
	for t.index[i].Load() != 0 {
		i = (i + 1) % indexSize
	}
	t.index[i].Store(n)
	return makeRef(n, uint16(name>>32))
}

// publish writes what was found out about a hop. The generation stays as it is when nothing changed.
func (t *records) publish(n uint32, h *Hop) {
	rec := &t.records[n]
	where := rec.where.Load()>>32<<32 | uint64(uint32(h.Ifindex))
	how := uint64(uint32(h.MTU))<<8 | uint64(h.State)
	src, dst := packMAC(h.SrcMAC), packMAC(h.DstMAC)
	was := rec.how.Load()
	if rec.where.Load() == where && was == how && rec.srcMAC.Load() == src && rec.dstMAC.Load() == dst {
		return
	}
	name := rec.name.Load() | 1
	rec.name.Store(name)
	rec.where.Store(where)
	rec.how.Store(how)
	rec.srcMAC.Store(src)
	rec.dstMAC.Store(dst)
	rec.name.Store(t.following(name))
	t.states[State(was)].Add(-1)
	t.states[h.State].Add(1)
}

// forget takes record n out of the index and makes every Ref to it invalid: the incarnation is another one. The record
// counts as being written until enter gives it away again, or a search that began before could still hand it out.
func (t *records) forget(n uint32, d destination) {
	rec := &t.records[n]
	incarnation := uint16(rec.name.Load()>>32) + 1
	t.unlink(n, d)
	t.states[State(rec.how.Load())].Add(-1)
	rec.name.Store(uint64(incarnation)<<32 | 1)
}

// unlink takes record n out of the index and closes the gap, so that searches stay short for ever. A search that runs
// meanwhile may miss an entry that moves; it takes the destination for unknown, and the resolver knows better.
func (t *records) unlink(n uint32, d destination) {
	gap := t.home(d.slot, &d.ip)
	for t.index[gap].Load() != n {
		gap = (gap + 1) % indexSize
	}
	for i := (gap + 1) % indexSize; ; i = (i + 1) % indexSize {
		m := t.index[i].Load()
		if m == 0 {
			break
		}
		other := t.destination(m)
		home := t.home(other.slot, &other.ip)
		// m may move into the gap unless its home lies after the gap on the way to i.
		if (i-home)%indexSize >= (i-gap)%indexSize {
			t.index[gap].Store(m)
			gap = i
		}
	}
	t.index[gap].Store(0)
}

// destination returns what record n stands for.
func (t *records) destination(n uint32) destination {
	rec := &t.records[n]
	d := destination{slot: int(rec.where.Load() >> 32)}
	binary.BigEndian.PutUint64(d.ip[:8], rec.ip[0].Load())
	binary.BigEndian.PutUint64(d.ip[8:], rec.ip[1].Load())
	return d
}

// following returns the name after a write that began with the odd name. Generations count through the whole table, so
// that those of two hops are never the same; 0 is left out, it means "none".
func (t *records) following(name uint64) uint64 {
	if t.written += 2; t.written == 0 {
		t.written = 2
	}
	return name>>32<<32 | uint64(t.written)
}

func packMAC(m [6]byte) uint64 {
	return uint64(binary.BigEndian.Uint16(m[:]))<<32 | uint64(binary.BigEndian.Uint32(m[2:]))
}

func unpackMAC(m *[6]byte, word uint64) {
	binary.BigEndian.PutUint16(m[:], uint16(word>>32))
	binary.BigEndian.PutUint32(m[2:], uint32(word))
}
