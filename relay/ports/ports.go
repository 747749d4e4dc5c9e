// Package ports leases UDP ports, one by one or in even and odd pairs, and lets them rest after use.
//
// The failure it prevents: a call that gets the port of one that has just ended hears the late packets of the old peer, and the
// old peer's address may be learned as the new one's. So never-used ports go first, at random, which keeps them hard to
// guess; then the one that has rested longest. TestNoPortIsLeasedTwiceNorTooEarly proves it over random histories. What does not live here:
// sockets. A port that somebody else has bound comes back by Refuse.
package ports

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Rest of a released port that suits telephony.
const (
	DefaultPrefer = 60 * time.Second // longer than any peer goes on sending after a BYE was lost
	DefaultNever  = 5 * time.Second  // what is in flight or queued when a call ends has arrived by then
)

// Errors that callers tell apart.
var (
	ErrNone      = errors.New("no free port")
	ErrNotLeased = errors.New("port is not leased")
)

// Options describe a pool. Ports from Low to High, both included, are leased; the even and odd of a pair must both be among
// them. A released port rests for Prefer if others are free, and for Never in any case.
type Options struct {
	Low, High     uint16
	Prefer, Never time.Duration
	Rand          *rand.Rand // nil: seeded by the operating system
}

// port is what the pool knows of one port.
type port struct {
	state    state
	released int64 // time of the release, ns, while resting
	at       int32 // index in freshHalves, while on it
	prev     int32 // neighbours in the queue that it is on; -1: none
	next     int32
}

// state is what a port is doing. A pair is whole when neither half is leased.
type state uint8

const (
	fresh   state = iota // never used
	leased               // given out
	resting              // released, and not leased since
)

// Pool is the ports of one address. It is not safe for concurrent use. Times are nanoseconds of a clock that never goes
// back.
type Pool struct {
	options Options
	rand    *rand.Rand
	ports   []port // by number, from Low
	free    int    // ports not leased
	clock   int64  // the latest time seen

	freshPairs  []int32 // first ports of whole pairs never used, in no order
	freshHalves []int32 // other ports never used, in no order: at most one, those whose partner was refused, and the edges
	pairs       queue   // first ports of whole pairs of which one was used, by the later release
	halves      queue   // released ports whose partner is leased or outside the range, by release
}

// New returns a pool with all ports free, or an error that names the option.
func New(o Options) (*Pool, error) {
	switch {
	case o.Low == 0:
		return nil, fmt.Errorf("ports: range %d-%d begins with port 0, which nobody can bind", o.Low, o.High)
	case o.Low > o.High:
		return nil, fmt.Errorf("ports: range %d-%d is empty", o.Low, o.High)
	case o.Never < 0 || o.Prefer < o.Never:
		return nil, fmt.Errorf("ports: rest must be 0 <= never <= prefer, not never %s and prefer %s", o.Never, o.Prefer)
	}
	p := &Pool{options: o, rand: o.Rand, ports: make([]port, int(o.High)-int(o.Low)+1)}
	if p.rand == nil {
		var seed [32]byte
		crand.Read(seed[:]) // never fails: the program ends instead
		p.rand = rand.New(rand.NewChaCha8(seed))
	}
	p.free = len(p.ports)
	p.pairs.init()
	p.halves.init()
	for i := range p.ports {
		n := int32(i)
		switch partner := p.partner(n); {
		case partner < 0:
			p.addFreshHalf(n)
		case partner > n:
			p.freshPairs = append(p.freshPairs, n)
		}
	}
	return p, nil
}

// LeasePair leases an even port and the next one. early tells that one of them rested for less than Prefer. The error
// wraps ErrNone and says how many ports there are and what they do.
func (p *Pool) LeasePair(now int64) (rtp uint16, early bool, err error) {
	p.advance(now)
	n := p.takeFreshPair()
	if n < 0 {
		if n = p.pairs.head; n < 0 || p.rested(p.since(n)) < p.options.Never {
			return 0, false, p.none("pair")
		}
		early = p.rested(p.since(n)) < p.options.Prefer
		p.takePair(n)
	}
	p.lease(n)
	p.lease(n + 1)
	return p.number(n), early, nil
}

// LeaseOne leases a single port, even or odd, for RTP and RTCP on one port. It takes the other half of a pair that is split
// already if it can, so that pairs stay whole for those who need them. early and err are those of LeasePair.
func (p *Pool) LeaseOne(now int64) (number uint16, early bool, err error) {
	p.advance(now)
	if n := p.takeFreshHalf(); n >= 0 {
		p.lease(n)
		return p.number(n), false, nil
	}
	half := p.halves.head
	if half < 0 || p.rested(p.ports[half].released) < p.options.Prefer {
		if n := p.takeFreshPair(); n >= 0 {
			n += int32(p.rand.IntN(2))
			p.lease(n)
			p.addFreshHalf(p.partner(n))
			return p.number(n), false, nil
		}
		half = p.oldest(half)
	}
	if half < 0 {
		return 0, false, p.none("port")
	}
	p.halves.remove(p.ports, half)
	p.lease(half)
	return p.number(half), p.rested(p.ports[half].released) < p.options.Prefer, nil
}

// Release gives one port back, to rest from now on; a pair is two calls. ErrNotLeased: it was not leased, and nothing changed.
func (p *Pool) Release(now int64, number uint16) error {
	p.advance(now)
	n := int32(number) - int32(p.options.Low)
	if n < 0 || int(n) >= len(p.ports) || p.ports[n].state != leased {
		return fmt.Errorf("ports %d-%d: release %d: %w", p.options.Low, p.options.High, number, ErrNotLeased)
	}
	p.ports[n].state, p.ports[n].released = resting, p.clock
	p.free++
	partner := p.partner(n)
	if partner < 0 || p.ports[partner].state == leased {
		p.halves.pushBack(p.ports, n)
		return nil
	}
	if p.ports[partner].state == resting {
		p.halves.remove(p.ports, partner)
	}
	p.pairs.pushBack(p.ports, min(n, partner))
	return nil
}

// Refuse gives back a leased port that could not be bound, because another program has it: it rests like a released one, so that
// others are tried before. ErrNotLeased as for Release.
func (p *Pool) Refuse(now int64, number uint16) error { return p.Release(now, number) }

// Free returns how many ports could be leased one by one now: those never used, and those that rested for Never.
func (p *Pool) Free(now int64) int {
	p.advance(now)
	return p.free - p.tooFresh()
}
