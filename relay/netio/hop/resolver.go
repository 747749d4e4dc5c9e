package hop

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// settle is how long a change waits for the next one: a routing daemon changes many routes at once.
	settle = 20 * time.Millisecond

	// restFactor is how many times longer than a pass the pause after it is: whatever the network does, the resolver
	// uses at most a tenth of a processor for looking at hops again.
	restFactor = 9

	// sliceSize is how many hops a pass looks at before events have their turn: about a millisecond.
	sliceSize = 64

	// maxPrefixes is how many changed routes are remembered one by one; with more, every hop is looked at.
	maxPrefixes = 32
)

// asker answers what the kernel knows. An error means that there is no such thing, or no answer: both are Unresolved.
type asker interface {
	route(src, dst netip.Addr) (route, error)
	device(index int32) (device, error)
	neighbour(key neighbourKey) (neighbourState, error)
	policies() (set map[uint32]policy, block bool, err error)
}

// resolver is the one writer of the table. Everything in it but the counters belongs to its goroutine.
type resolver struct {
	records   *records
	ask       asker
	log       *slog.Logger
	addresses []netip.Addr // by slot
	udp       []bool       // by slot, or nil

	hops       []entry // by record; entry 0 is never used
	free       []uint32
	devices    map[int32]device // asked for once, again after an event
	neighbours map[neighbourKey]*neighbour
	policies   policies
	blind      bool // no events come any more: nothing can be kept current

	next    changes // what happened since the pass began
	pass    pass
	resting bool        // the timer runs: settling, or pausing after a pass
	rest    *time.Timer // runs out when the next pass may begin
	tick    uint32

	resolutions, resyncs atomic.Uint64
	turned               func() // called after every turn, for tests; nil otherwise
}

// entry is what the resolver knows of a hop beyond its record.
type entry struct {
	inUse     bool
	state     State // Ready: the device and the neighbour decide
	at        destination
	lastUsed  uint32 // tick
	device    int32
	mtu       int32 // the route's, 0: none of its own
	neighbour *neighbour
	place     int // in neighbour.hops
}

// neighbour is a link address that hops share: a gateway, or a destination on the link.
type neighbour struct {
	key   neighbourKey
	known bool // state is the kernel's, kept current by events
	state neighbourState
	hops  []uint32
}

// changes is what happened and was not looked at yet.
type changes struct {
	all      bool
	prefixes []netip.Prefix // routes that changed: the hops inside are concerned
}

func (c *changes) any() bool { return c.all || len(c.prefixes) > 0 }

func (c *changes) concern(a netip.Addr) bool {
	return c.all || slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (c *changes) add(p netip.Prefix) {
	switch {
	case c.all || slices.Contains(c.prefixes, p):
	case len(c.prefixes) == maxPrefixes:
		c.all = true
	default:
		c.prefixes = append(c.prefixes, p)
	}
}

// pass is one walk over all hops, in slices.
type pass struct {
	changes
	cursor int // the next record to look at; 0: no pass is under way
	spent  time.Duration
}

func newResolver(r *records, o Options, k asker, log *slog.Logger) *resolver {
	v := &resolver{
		records: r, ask: k, log: log, udp: o.UDP,
		hops:       make([]entry, 1),
		devices:    make(map[int32]device),
		neighbours: make(map[neighbourKey]*neighbour),
		rest:       time.NewTimer(settle),
	}
	v.rest.Stop()
	for _, a := range o.Addresses {
		v.addresses = append(v.addresses, a.Unmap())
	}
	return v
}

// run is the resolver's goroutine. Between two slices of a pass everything else has its turn.
func (r *resolver) run(events <-chan []event, ticks <-chan time.Time, done <-chan struct{}) {
	pending := new([maxPending]destination)
	always := make(chan struct{})
	close(always)
	for {
		var work <-chan struct{}
		if r.pass.cursor > 0 {
			work = always
		}
		select {
		case <-done:
			return
		case <-r.records.wake:
			for _, d := range pending[:r.records.take(pending)] {
				r.admit(d)
			}
		case e := <-events:
			r.hear(e)
		case <-ticks:
			r.age()
		case <-r.rest.C:
			r.begin()
		case <-work:
			r.slice()
		}
		if r.turned != nil {
			r.turned()
		}
	}
}

// admit makes a hop of a destination that the packet path did not find, unless it is there by now.
func (r *resolver) admit(d destination) {
	if d.slot < 0 || d.slot >= len(r.addresses) || r.records.search(d.slot, &d.ip) != 0 {
		return
	}
	n := uint32(len(r.hops))
	if last := len(r.free) - 1; last >= 0 {
		n, r.free = r.free[last], r.free[:last]
	} else if n > MaxHops {
		r.records.full.Store(true)
		r.records.refused.Add(1)
		return
	} else {
		r.hops = append(r.hops, entry{})
	}
	r.hops[n] = entry{inUse: true, at: d, lastUsed: r.tick}
	r.records.enter(n, d)
	r.resolve(n)
}

// later makes sure that a pass will come for what r.next holds. One that is under way is followed by the next anyway.
func (r *resolver) later() {
	if r.pass.cursor == 0 && !r.resting {
		r.resting = true
		r.rest.Reset(settle)
	}
}

// begin starts a pass over all hops for what has happened so far, if anything has.
func (r *resolver) begin() {
	r.resting = false
	if r.next.any() {
		r.pass = pass{changes: r.next, cursor: 1}
		r.next = changes{}
	}
}

// slice looks at the next hops of the pass and, after the last, lets it rest.
func (r *resolver) slice() {
	start := time.Now()
	end := min(r.pass.cursor+sliceSize, len(r.hops))
	for n := r.pass.cursor; n < end; n++ {
		if e := &r.hops[n]; e.inUse && r.pass.concern(e.at.addr()) {
			r.resolve(uint32(n))
		}
	}
	r.pass.cursor = end
	r.pass.spent += time.Since(start)
	if end == len(r.hops) {
		r.pass.cursor = 0
		r.resting = true
		r.rest.Reset(max(settle, restFactor*r.pass.spent))
	}
}
