package netio

import "time"

// Pacing. Being woken costs a thread more than its work on a few packets does, on a virtual machine some 30 us of processor time
// with the thread that does the device's receive work. A worker whose traffic is steady can do without: it sleeps for a moment by
// the clock, then takes what has come, and asks to be woken only when nothing came for a while.
const (
	// shortestNap is about what a timer costs to set, and to be woken by.
	shortestNap = 20 * time.Microsecond

	// longestNap bounds the delay that pacing adds: a tenth of what a listener's jitter buffer sees as noise.
	longestNap = 100 * time.Microsecond

	// napStep is by how much a nap becomes longer or shorter.
	napStep = 10 * time.Microsecond

	// fewPackets and manyPackets after a nap make the next one longer and shorter: below, the cost per packet is that of
	// sleeping; above, a batch does not take them all.
	fewPackets  = 16
	manyPackets = 48

	// steadyLooks is how many looks in a row must have found something before a worker naps, and emptyNaps how many naps may
	// end with nothing before it waits to be woken.
	steadyLooks = 8
	emptyNaps   = 4
)

// pace decides how a worker waits. The zero value has seen nothing; without on it never naps.
type pace struct {
	on     bool
	length time.Duration // of the next nap; 0: none was taken yet
	looks  int           // in a row that found something
	empty  int           // naps in a row that ended with nothing
	napped bool          // the last wait was a nap
}

// wait returns how long to nap now that there is nothing, or 0 to wait for an event.
func (p *pace) wait() time.Duration {
	p.napped = p.on && p.looks >= steadyLooks
	if !p.napped {
		return 0
	}
	return max(p.length, shortestNap)
}

// found takes notice of what came after a wait, or without one.
func (p *pace) found(packets int) {
	if packets == 0 {
		if !p.napped {
			p.looks = 0
		} else if p.empty++; p.empty >= emptyNaps {
			p.looks, p.empty = 0, 0
		}
		return
	}
	p.looks, p.empty = min(p.looks+1, steadyLooks), 0
	switch {
	case !p.napped:
	case packets < fewPackets:
		p.length = min(max(p.length, shortestNap)+napStep, longestNap)
	case packets > manyPackets:
		p.length = max(p.length-napStep, shortestNap)
	}
	p.napped = false
}
