package netio

import "time"

// Pacing. Being woken costs a thread more than its work on a few packets does: on a virtual machine some 30 us of processor time,
// with the thread that does the device's receive work. A worker whose traffic is steady can do without. It sleeps for a moment by
// the clock, looks (with funnel and xdp a busy poll that makes the device deliver what it has), and asks to be woken only when
// nothing came for a while.
const (
	// shortestNap is about what a timer costs to set, and to be woken by.
	shortestNap = 20 * time.Microsecond

	// napStep is by how much a nap becomes longer or shorter.
	napStep = 5 * time.Microsecond

	// fewPackets and manyPackets after a nap make the next one longer and shorter. With sixteen packets what a nap costs is little beside
	// what they do. A worker with little to do waits for more: at 36,000/s that saves a third of a forward, and costs half a
	// millisecond.
	fewPackets, manyPackets       = 12, 20
	fewWithLittle, manyWithLittle = 32, 52

	// steadyPackets is over how many packets it is judged whether traffic is steady, and emptyNaps how many naps in a row may end
	// with nothing before the worker waits to be woken.
	steadyPackets = 16
	emptyNaps     = 8

	// napsJudged is over what time of naps and work a worker judges how busy it is: with less than half as much work as naps it has
	// little to do. However busy, it naps: a processor that never rests is one that a host with others to serve takes away.
	napsJudged = time.Millisecond
)

// pace decides how a worker waits. The zero value never naps.
type pace struct {
	longest time.Duration // 0: never nap
	length  time.Duration // of the next nap
	steady  bool          // the worker naps between its looks
	full    bool          // the last look left something behind
	packets int           // while not steady: what looks have found, since
	since   int64         // on the clock of Now
	empty   int           // naps in a row that ended with nothing

	awake       int64 // since when the last nap is over, on the clock of Now
	work, slept int64 // ns since it was judged how busy the worker is
	little      bool  // so little to do that long naps are worth their delay
}

// makePace returns one that naps for so long at most; 0: never.
func makePace(longest time.Duration) pace {
	return pace{longest: longest}
}

// begin tells whether to nap from now on, at a moment with nothing to do: as many packets came as there would have been naps. It
// counts packets, not looks, because a device that waits to be polled delivers many at once while nobody does.
func (p *pace) begin(now int64) bool {
	if p.longest == 0 || p.packets < steadyPackets {
		return false
	}
	p.steady = now-p.since <= int64(p.packets)*int64(p.longest)
	p.packets, p.since, p.empty = 0, now, 0
	p.awake, p.work, p.slept = now, 0, 0
	return p.steady
}

// due tells whether the next look is by the clock.
func (p *pace) due() bool { return p.steady && !p.full }

// nap sleeps until the next look.
func (p *pace) nap() {
	lay := Now()
	nap(int64(p.length))
	p.napped(lay, Now())
}

// napped takes notice of a nap, on the clock of Now.
func (p *pace) napped(lay, woke int64) {
	p.work, p.slept, p.awake = p.work+lay-p.awake, p.slept+woke-lay, woke
	if p.work+p.slept >= int64(napsJudged) {
		p.little = 2*p.work < p.slept
		p.work, p.slept = 0, 0
	}
}

// found takes notice of what a look brought.
func (p *pace) found(packets int) {
	p.full = packets >= BatchSize
	if !p.steady {
		p.packets += packets
		return
	}
	if packets > 0 {
		p.empty = 0
	} else if p.empty++; p.empty == emptyNaps {
		p.steady, p.packets = false, 0
	}
	few, many := fewPackets, manyPackets
	if p.little {
		few, many = fewWithLittle, manyWithLittle
	}
	if packets < few {
		p.length += napStep
	} else if packets > many {
		p.length -= napStep
	}
	p.length = min(max(p.length, shortestNap), p.longest)
}
