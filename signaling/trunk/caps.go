package trunk

import (
	"fmt"
	"time"
)

// Ask is what one call wants of a trunk.
type Ask struct {
	Bandwidth int  // of its media, one way, kbit/s on the wire; 0: none, or not told
	Emergency bool // no cap holds it back; it counts all the same
}

// View is what routing needs to know of a trunk at one moment.
type View struct {
	State State         // its place in the order of trying
	Rest  time.Duration // for which the peer still asks to be left alone (Retry-After); 0: it does not
	Full  string        // which cap holds, as "all 30 places are taken"; empty: there is room
}

// caps are the limits of a trunk's policy; 0: none.
type caps struct {
	calls     int // at once
	rate      int // in any second
	bandwidth int // kbit/s
}

// places are the calls that a trunk carries, and when the last of them began. Emergency calls are among them. The zero value
// carries none.
type places struct {
	calls     int
	bandwidth int // kbit/s
	rate      ring
	flow      flow
	refused   uint64 // asks that a cap turned away
}

// full names the cap by which a call that wants so much bandwidth finds no room; empty: it finds some.
func (p *places) full(c caps, bandwidth int, at time.Duration) string {
	switch {
	case c.calls > 0 && p.calls >= c.calls:
		return fmt.Sprintf("all %d places are taken", c.calls)
	case c.bandwidth > 0 && p.bandwidth >= c.bandwidth:
		return fmt.Sprintf("all %d kbit/s are taken", c.bandwidth)
	case c.bandwidth > 0 && bandwidth > c.bandwidth-p.bandwidth:
		return fmt.Sprintf("%d of %d kbit/s are taken, the call needs %d", p.bandwidth, c.bandwidth, bandwidth)
	case c.rate > 0 && p.rate.full(c.rate, at):
		return fmt.Sprintf("%d calls began within a second, which is the most", c.rate)
	}
	return ""
}

// Look is the trunk's view for one call's routing; false: there is no such trunk. It promises nothing: only Take does.
func (t *Table) Look(name string, now time.Time) (View, bool) {
	tr, ok := t.byName[name]
	if !ok {
		return View{}, false
	}
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	return View{
		State: l.health.State(now), Rest: l.health.Resting(now), Full: l.places.full(l.caps, 1, l.at(now)),
	}, true
}

// Take gives one call its place: one of max_calls, of max_cps in any second, and its share of max_bandwidth. A call that
// enters takes one as well as one that leaves. False says which cap holds, nothing was taken then, and nothing is to be
// given back. The place is the call's until Give. The rate is exact in the order in which calls come to Take: a moment
// before that of the call ahead counts as that one's.
func (tr *Trunk) Take(a Ask, now time.Time) (why string, ok bool) {
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	p, at := &l.places, l.at(now)
	if why := p.full(l.caps, a.Bandwidth, at); why != "" && !a.Emergency {
		p.refused++
		return why, false
	}
	l.latest = at
	p.calls++
	p.bandwidth += max(0, a.Bandwidth)
	p.rate.add(l.caps.rate, at)
	p.flow.add(at)
	return "", true
}

// Pace counts a call that begins because one in progress asks for it, a transfer: that one holds its place already, and only
// max_cps bounds how fast it may ask. False says so; nothing is to be given back.
func (tr *Trunk) Pace(a Ask, now time.Time) (why string, ok bool) {
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	p, at := &l.places, l.at(now)
	if why := p.full(caps{rate: l.caps.rate}, 0, at); why != "" && !a.Emergency {
		p.refused++
		return why, false
	}
	l.latest = at
	p.rate.add(l.caps.rate, at)
	p.flow.add(at)
	return "", true
}

// Give returns the place that Take gave for the same Ask. One too many is ignored: it must not lend a place that does not
// exist.
func (tr *Trunk) Give(a Ask) {
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.places
	if p.calls == 0 {
		return
	}
	p.calls--
	p.bandwidth = max(0, p.bandwidth-max(0, a.Bandwidth))
	if p.calls == 0 {
		p.bandwidth = 0
	}
}

// Active is the number of places taken.
func (tr *Trunk) Active() int {
	tr.live.mu.Lock()
	defer tr.live.mu.Unlock()
	return tr.live.places.calls
}

// window is that of max_cps: in any second, from its begin to just before its end, no more calls begin.
const window = time.Second

// ring holds when the last calls began: as many as one second may see, which is all that the next one's verdict needs.
// Moments are those of live.at and never go backwards.
type ring struct {
	began []time.Duration // oldest at next, and on around
	next  int
}

// full reports that size calls began within the second that ends now.
func (r *ring) full(size int, at time.Duration) bool {
	if r.fit(size); len(r.began) < size {
		return false
	}
	return at-r.began[r.next] < window
}

// add notes that a call begins, in the place of the oldest one if there are size of them.
func (r *ring) add(size int, at time.Duration) {
	if r.fit(size); size == 0 {
		return
	}
	if len(r.began) < size {
		r.began = append(r.began, at) // until it is full for the first time next is 0 and the order that of the slice
		return
	}
	r.began[r.next] = at
	r.next = (r.next + 1) % size
}

// fit keeps the youngest moments when a reload made the cap smaller, and all of them when it made it larger.
func (r *ring) fit(size int) {
	if len(r.began) < size && r.next == 0 || len(r.began) == size {
		return
	}
	sorted := append(append(make([]time.Duration, 0, len(r.began)), r.began[r.next:]...), r.began[:r.next]...)
	r.began, r.next = sorted[max(0, len(sorted)-size):], 0
}

// How finely the calls of the last second are counted for people to read.
const (
	flowSlots = 10
	flowSlot  = window / flowSlots
)

// flow counts the calls that began within the last second, with or without a cap, to a tenth of a second.
type flow struct {
	slots [flowSlots]uint32
	last  int64 // the number of the youngest slot
}

// add counts one call.
func (f *flow) add(at time.Duration) {
	f.turn(at)
	f.slots[f.last%flowSlots]++
}

// sum is the number of calls of the last second.
func (f *flow) sum(at time.Duration) (n int) {
	f.turn(at)
	for _, s := range f.slots {
		n += int(s)
	}
	return n
}

// turn empties the slots that came between the last call and now.
func (f *flow) turn(at time.Duration) {
	slot := int64(at / flowSlot)
	for n := min(slot-f.last, flowSlots); n > 0; n-- {
		f.slots[(slot-n+1)%flowSlots] = 0
	}
	f.last = max(f.last, slot)
}
