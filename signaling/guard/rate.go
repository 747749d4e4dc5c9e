package guard

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	rateSets          = 1024 // sets of rateWays sources: 4,096 sources, 96 KiB a class, and never more
	rateWays          = 4
	rateBurst         = 2 * time.Second // what a quiet source may send at once, in time at its rate
	strangersTogether = 20              // all strangers together get this many times the rate of one: they are only ever refused
)

// rates holds one token bucket per source in a table of fixed size. A full set evicts the source that is closest to a full
// bucket, the one of which least is forgotten. The zero value is not ready; see newRates.
type rates struct {
	mu       sync.Mutex
	seed     maphash.Seed
	interval int64 // nanoseconds a message costs
	burst    int64 // nanoseconds of credit of a quiet source
	sets     [][rateWays]bucket
}

// bucket is the generic cell rate algorithm (ITU-T I.371): one number says when the source would be back at rest.
type bucket struct {
	source [16]byte
	rest   int64 // nanoseconds of the caller's clock
}

func newRates(seed maphash.Seed, perSecond, sets int) *rates {
	return &rates{seed: seed, interval: int64(time.Second) / int64(max(1, perSecond)), burst: int64(rateBurst), sets: make([][rateWays]bucket, sets)}
}

// take charges one message of src at now and returns 0, or charges nothing and returns how long to wait.
func (r *rates) take(now int64, src netip.Addr) time.Duration {
	key := sourceKey(src)
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.find(key)
	rest := max(b.rest, now) + r.interval
	if wait := rest - now - max(r.burst, r.interval); wait > 0 {
		return time.Duration(wait)
	}
	b.source, b.rest = key, rest
	return 0
}

// find returns the bucket of key, or the one that it may take over, emptied.
func (r *rates) find(key [16]byte) *bucket {
	if len(r.sets) == 1 {
		return &r.sets[0][0] // the crowd: everybody shares it
	}
	set := &r.sets[maphash.Comparable(r.seed, key)%uint64(len(r.sets))]
	oldest := &set[0]
	for i := range set {
		if set[i].source == key {
			return &set[i]
		}
		if set[i].rest < oldest.rest {
			oldest = &set[i]
		}
	}
	*oldest = bucket{}
	return oldest
}

// sourceKey is what counts as one source: an IPv4 address, or the /64 that an IPv6 host owns entirely.
func sourceKey(a netip.Addr) [16]byte {
	a = a.Unmap()
	b := a.As16()
	if a.Is6() {
		clear(b[8:])
	}
	return b
}

// charge takes one message of src from its class. A stranger pays twice: for itself and for all strangers.
func (l *listener) charge(src netip.Addr) time.Duration {
	s, now := l.stack, monotonic()
	if s.opt.Known(l.Name, src) {
		return s.trunks.take(now, src)
	}
	if wait := s.strangers.take(now, src); wait > 0 {
		return wait
	}
	return s.crowd.take(now, src)
}

// epoch turns Go's monotonic clock into a number; only differences of monotonic() mean anything.
var epoch = time.Now()

func monotonic() int64 { return int64(time.Since(epoch)) }
