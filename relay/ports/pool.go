package ports

import (
	"fmt"
	"time"
)

// advance takes the time of a call. A clock that went back counts as standing still: rests get longer, never shorter.
func (p *Pool) advance(now int64) { p.clock = max(p.clock, now) }

// number returns the port number of index n.
func (p *Pool) number(n int32) uint16 { return p.options.Low + uint16(n) }

// partner returns the index of the other half of n's pair, or -1 if that is outside the range.
func (p *Pool) partner(n int32) int32 {
	other := n + 1
	if p.number(n)%2 == 1 {
		other = n - 1
	}
	if other < 0 || int(other) >= len(p.ports) {
		return -1
	}
	return other
}

// lease marks n as given out. It is on no list any more.
func (p *Pool) lease(n int32) {
	p.ports[n].state = leased
	p.free--
}

// split leases the half of a whole pair that has rested longer; neither is fresh, those are taken before. The other one
// becomes a single half at the front of the queue, and the order holds: the pair was chosen because it had rested longer than any half.
func (p *Pool) split(pair int32) uint16 {
	p.pairs.remove(p.ports, pair)
	n, other := pair, pair+1
	if p.ports[other].released < p.ports[n].released {
		n, other = other, n
	}
	p.halves.pushFront(p.ports, other)
	p.lease(n)
	return p.number(n)
}

// takePair takes a whole pair off its queue; a half that was never used is on a list of its own too.
func (p *Pool) takePair(pair int32) {
	p.pairs.remove(p.ports, pair)
	for n := pair; n <= pair+1; n++ {
		if p.ports[n].state == fresh {
			p.removeFreshHalf(n)
		}
	}
}

// since returns the later release of a whole pair of which at least one half was used.
func (p *Pool) since(pair int32) int64 {
	a, b := &p.ports[pair], &p.ports[pair+1]
	switch {
	case a.state == fresh:
		return b.released
	case b.state == fresh:
		return a.released
	}
	return max(a.released, b.released)
}

// rested returns how long a port has rested that was released then.
func (p *Pool) rested(released int64) time.Duration { return time.Duration(p.clock - released) }

// mayReuse tells whether what was released then may be leased, and whether that is early.
func (p *Pool) mayReuse(what string, released int64) (early bool, err error) {
	rest := p.rested(released)
	if rest < p.options.Never {
		return false, p.none(what)
	}
	return rest < p.options.Prefer, nil
}

// tooFresh counts the free ports that may not be leased yet, from the latest release back. It takes as long as they are many.
func (p *Pool) tooFresh() int {
	count := 0
	for n := p.halves.tail; n >= 0 && p.rested(p.ports[n].released) < p.options.Never; n = p.ports[n].prev {
		count++
	}
	for pair := p.pairs.tail; pair >= 0 && p.rested(p.since(pair)) < p.options.Never; pair = p.ports[pair].prev {
		for _, half := range [2]*port{&p.ports[pair], &p.ports[pair+1]} {
			if half.state == resting && p.rested(half.released) < p.options.Never {
				count++
			}
		}
	}
	return count
}

// none is the error of a lease that failed.
func (p *Pool) none(what string) error {
	rest := p.tooFresh()
	return fmt.Errorf("ports %d-%d: no %s to lease: %d leased, %d at rest for less than %s, %d free: %w", p.options.Low,
		p.options.High, what, len(p.ports)-p.free, rest, p.options.Never, p.free-rest, ErrNone)
}

// takeFreshPair takes a whole pair at random from those never used; -1: there is none.
func (p *Pool) takeFreshPair() int32 {
	if len(p.freshPairs) == 0 {
		return -1
	}
	i, last := p.rand.IntN(len(p.freshPairs)), len(p.freshPairs)-1
	n := p.freshPairs[i]
	p.freshPairs[i] = p.freshPairs[last]
	p.freshPairs = p.freshPairs[:last]
	return n
}

// takeFreshHalf takes a single port at random from those never used; -1: there is none. If its partner rests, their pair
// is whole no more, and the partner a single half.
func (p *Pool) takeFreshHalf() int32 {
	if len(p.freshHalves) == 0 {
		return -1
	}
	n := p.freshHalves[p.rand.IntN(len(p.freshHalves))]
	p.removeFreshHalf(n)
	if partner := p.partner(n); partner >= 0 && p.ports[partner].state == resting {
		p.pairs.remove(p.ports, min(n, partner))
		p.halves.insert(p.ports, partner)
	}
	return n
}

func (p *Pool) addFreshHalf(n int32) {
	p.ports[n].at = int32(len(p.freshHalves))
	p.freshHalves = append(p.freshHalves, n)
}

func (p *Pool) removeFreshHalf(n int32) {
	at, last := p.ports[n].at, len(p.freshHalves)-1
	moved := p.freshHalves[last]
	p.freshHalves[at], p.ports[moved].at = moved, at
	p.freshHalves = p.freshHalves[:last]
}

// queue is a list of ports by time of release, the oldest first, linked through the ports themselves: insertion and removal
// take the same time with 60,000 ports as with two.
type queue struct{ head, tail int32 }

func (q *queue) init() { q.head, q.tail = -1, -1 }

func (q *queue) pushBack(ports []port, n int32) {
	ports[n].prev, ports[n].next = q.tail, -1
	if q.tail >= 0 {
		ports[q.tail].next = n
	} else {
		q.head = n
	}
	q.tail = n
}

func (q *queue) pushFront(ports []port, n int32) {
	ports[n].prev, ports[n].next = -1, q.head
	if q.head >= 0 {
		ports[q.head].prev = n
	} else {
		q.tail = n
	}
	q.head = n
}

// insert puts n where its release belongs. It looks from the latest back: a pair of which one half was never used is
// split by the very next lease of one port.
func (q *queue) insert(ports []port, n int32) {
	after := q.tail
	for after >= 0 && ports[after].released > ports[n].released {
		after = ports[after].prev
	}
	if after < 0 {
		q.pushFront(ports, n)
		return
	}
	if ports[after].next < 0 {
		q.pushBack(ports, n)
		return
	}
	before := ports[after].next
	ports[n].prev, ports[n].next = after, before
	ports[after].next, ports[before].prev = n, n
}

func (q *queue) remove(ports []port, n int32) {
	prev, next := ports[n].prev, ports[n].next
	if prev >= 0 {
		ports[prev].next = next
	} else {
		q.head = next
	}
	if next >= 0 {
		ports[next].prev = prev
	} else {
		q.tail = prev
	}
}
