package b2bua

import (
	"math"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// A node that gets more calls than it has processor time for would make all of them wait: within seconds callers repeat their
// INVITEs, which is more work, and in the end hardly any call is set up in time. So it refuses as many new calls as it takes
// to serve the others promptly (local overload control, RFC 6357), with a 503 and no Retry-After: the peer takes its next node
// for this call and goes on to send us others (RFC 3261 section 21.5.4). Calls that are up, and emergency calls, are not touched.
//
// A new call has to wait for those that came before it and whose INVITE has not left yet. At the rate at which INVITEs leave, so many of
// them are as long a wait as is good for anybody, and nobody beyond is taken. A burst makes calls wait too and ends by itself: only when
// there were too many for a second are calls refused.
const (
	pressureGoal     = 200 * time.Millisecond // wait: it comes again with each step of a call, of which a caller should not notice more than a second
	pressureFloor    = 50                     // calls that may always wait: when few come, the rate says little
	pressureInterval = 100 * time.Millisecond // over which the rate is measured
	pressureWeight   = 0.25                   // of an interval in the rate
	pressurePatience = 10                     // intervals until refusals begin, and until they are over
)

// pressure decides which new calls are refused because the node is overloaded. Its zero value refuses none.
type pressure struct {
	mu      sync.Mutex
	began   time.Time // of the interval
	inside  int       // calls whose INVITE has not left
	least   int       // of them at any moment of the interval
	left    int       // INVITEs that left in it
	refused int       // calls that were refused in it
	rate    float64   // of them in an interval, on average
	tense   int       // intervals in a row in which there always were too many
	calm    int       // intervals in a row in which nobody was refused
	over    bool      // too many are refused
}

// enter is a new call. It returns whether to take it, and what changed about that for all. Who is taken must leave.
func (p *pressure) enter(now time.Time) (ok bool, turned overload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if passed := now.Sub(p.began); passed >= pressureInterval {
		turned = p.adjust(float64(passed) / float64(pressureInterval))
		p.began, p.left, p.refused, p.least = now, 0, 0, p.inside
	}
	if ok = !p.over || p.inside < p.room(); ok {
		p.inside++
	} else {
		p.refused++
	}
	return ok, turned
}

// room is how many calls may wait.
func (p *pressure) room() int {
	return max(pressureFloor, int(p.rate*float64(pressureGoal)/float64(pressureInterval)))
}

// leave is a call whose INVITE left, or that ended without.
func (p *pressure) leave() {
	p.add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

func (p *pressure) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inside
}

func (p *pressure) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inside += n
	p.least = min(p.least, p.inside)
}

// overload says whether calls are refused from now on.
type overload uint8

const (
	overloadSame overload = iota
	overloadBegins
	overloadEnds
)

// adjust ends a time of so many intervals; without a call nobody looks.
func (p *pressure) adjust(passed float64) overload {
	fresh := math.Pow(1-pressureWeight, passed)
	p.rate = fresh*p.rate + (1-fresh)*float64(p.left)/passed
	p.tense, p.calm = p.tense+1, p.calm+int(passed)
	if p.least < p.room() {
		p.tense = 0
	}
	if p.refused > 0 { // at the beginning of a time that may be long
		p.calm = int(passed) - 1
	}
	switch {
	case !p.over && p.tense >= pressurePatience:
		p.over, p.calm = true, 0
		return overloadBegins
	case p.over && p.calm >= pressurePatience:
		p.over = false
		return overloadEnds
	}
	return overloadSame
}

// crowd lets a new call in, or answers that it is one too many. inside: it counts as one that waits. Before a call is made of it, for
// under overload most of the work may be to refuse.
func (b *B2BUA) crowd(v *view, from *trunk.Trunk, in *guard.Inbound) (inside, ok bool) {
	inside, turned := b.pressure.enter(time.Now()) // Options.Now may not be a clock that runs
	switch turned {
	case overloadBegins:
		b.log.Warn("overload: new calls wait too long for their turn, or for the relay; some are refused with 503", "waiting", b.pressure.waiting())
	case overloadEnds:
		b.log.Warn("overload is over", "refused_since_start", b.counters.drops[DropOverload].Load())
	}
	if inside || b.precious(v, from, in.Req) {
		return inside, true
	}
	b.count(DropOverload)
	b.answer(in, 503, nil)
	return false, false
}

// precious tells a call that is never refused for want of time: to an emergency route, or to take the place of one that is up.
func (b *B2BUA) precious(v *view, from *trunk.Trunk, req *sip.Request) bool {
	if len(values(req, "Replaces")) > 0 {
		return true
	}
	now := b.o.Now()
	board := func(name string) (trunk.View, bool) { return v.trunks.Look(name, now) }
	called := route.Call{Trunk: from.Name, Called: number(&req.Recipient), Caller: number(&req.From().Address)}
	return v.routes.Plan(called, board, b.random).Emergency
}

// away is that a call's INVITE has left, or never will.
func (c *call) away() {
	if c.inside {
		c.inside = false
		c.b.pressure.leave()
	}
}

// aside is that the call waits for somebody else, a name server, until the function is called that it returns: that wait says nothing
// about this node.
func (c *call) aside() (back func()) {
	if !c.inside {
		return func() {}
	}
	c.b.pressure.add(-1)
	return func() { c.b.pressure.add(1) }
}
