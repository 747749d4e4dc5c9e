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

// oldest returns the used port that a lease of one should reuse, on the queue of halves: half, its head, or one of a whole
// pair, which is split. -1: none has rested for Never. Fresh halves are gone when this is asked.
func (p *Pool) oldest(half int32) int32 {
	pair := p.pairs.head
	if pair >= 0 && p.rested(p.since(pair)) >= p.options.Never && (half < 0 || p.since(pair) < p.ports[half].released) {
		return p.split(pair)
	}
	if half >= 0 && p.rested(p.ports[half].released) >= p.options.Never {
		return half
	}
	// The last resort takes as long as pairs are many: a half that rests only because its partner came back later.
	for ; pair >= 0; pair = p.ports[pair].next {
		if p.rested(min(p.ports[pair].released, p.ports[pair+1].released)) >= p.options.Never {
			return p.split(pair)
		}
	}
	return -1
}

// split makes single halves of a whole pair and returns the one that has rested longer.
func (p *Pool) split(pair int32) int32 {
	p.pairs.remove(p.ports, pair)
	p.halves.insert(p.ports, pair)
	p.halves.insert(p.ports, pair+1)
	if p.ports[pair+1].released < p.ports[pair].released {
		return pair + 1
	}
	return pair
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

// insert puts n where its release belongs. It looks from the oldest on: what is inserted was chosen because it has rested
// longer than the others.
func (q *queue) insert(ports []port, n int32) {
	before := q.head
	for before >= 0 && ports[before].released <= ports[n].released {
		before = ports[before].next
	}
	if before < 0 {
		q.pushBack(ports, n)
		return
	}
	after := ports[before].prev
	ports[n].prev, ports[n].next = after, before
	ports[before].prev = n
	if after >= 0 {
		ports[after].next = n
	} else {
		q.head = n
	}
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
