package hop

import "time"

const (
	// forgetAfter is how many ticks an unused hop is kept: 10 minutes, longer than a call on hold is silent.
	forgetAfter = uint32(10 * time.Minute / tickEvery)

	// refreshAfter is how many ticks apart everything is asked again although no event said so: a path MTU that the
	// kernel learns, for one, comes without an event.
	refreshAfter = uint32(time.Minute / tickEvery)

	// maxProbes is how many hops of one neighbour are asked to send a packet through the kernel: one is enough to have
	// the neighbour verified, the others are there because a call may end before its next packet.
	maxProbes = 4
)

// age is what happens every tickEvery: hops nobody uses are forgotten, neighbours in use are kept alive.
func (r *resolver) age() {
	r.tick++
	for n := range r.hops {
		e := &r.hops[n]
		if !e.inUse {
			continue
		}
		if used := &r.records.records[n].used; used.Load() != 0 {
			used.Store(0)
			e.lastUsed = r.tick
		} else if r.tick-e.lastUsed >= forgetAfter {
			r.forget(uint32(n))
		}
	}
	for _, b := range r.neighbours {
		if b.state.stale {
			r.probe(b)
		}
	}
	if r.tick%refreshAfter == 0 {
		r.next.all = true
		r.later()
	}
}

// probe has a packet or two of a neighbour's hops sent through the kernel. A frame does not tell the kernel that the
// neighbour is in use: it would stay STALE until it is collected, and nobody would notice that it has gone. A packet of
// the UDP socket moves it on to DELAY and PROBE, and the answer, or its absence, comes back as an event.
func (r *resolver) probe(b *neighbour) {
	asked := 0
	for _, n := range b.hops {
		if r.hops[n].lastUsed == r.tick {
			r.records.records[n].probe.Store(1)
			if asked++; asked == maxProbes {
				return
			}
		}
	}
}

// forget gives a hop's record back.
func (r *resolver) forget(n uint32) {
	e := &r.hops[n]
	r.detach(n)
	r.records.forget(n, e.at)
	*e = entry{}
	r.free = append(r.free, n)
	r.records.full.Store(false)
}
