package netio

import (
	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
	"tandem/relay/verdict"
)

// Send implements Queue. A packet whose next hop is on a device with a ring of this worker's leaves by it, from the frame that it
// was received in where it can; all others leave as the funnel's do.
func (q *xdpQueue) Send(b *Batch) {
	q.section.enter()
	frames := 0
	for i := range b.Packets[:b.N] {
		p := &b.Packets[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		x, word := q.engine.bound(p.Out)
		if word == 0 {
			p.Verdict = verdict.SendFailed
			continue
		}
		way := q.choose(x, uint32(word>>32), p)
		if way == Frame && x.egress != 0 {
			if way = q.place(x, p); way == XDP {
				continue
			}
		}
		frames = q.sendBy(way, frames, p, x, word)
	}
	for _, r := range q.rings { // before the frames: a flow that overflowed a ring stays in order
		if r.placed > 0 {
			q.kick(r)
		}
	}
	if frames > 0 {
		q.flush(frames)
	}
	q.section.leave()
}

// place puts the packet with its headers into a ring, or returns the other way that it takes.
func (q *xdpQueue) place(x *exit, p *Packet) Way {
	rings := q.out[x.egress-1]
	if len(rings) == 0 {
		return Frame // the device's queues are other workers'
	}
	r := rings[0]
	for _, other := range rings[1:] { // more than one only with more queues than workers
		if other.socket.Holds(p.Data) {
			r = other
		}
	}
	if r.gone {
		return Frame
	}
	vlan, size := q.engine.leave[x.egress-1].vlan, x.template.Len()
	if vlan != 0 {
		size += frame.TagSize
	}
	b := r.socket.Send(size, p.Data)
	if b == nil {
		q.kick(r)
		if b = r.socket.Send(size, p.Data); b == nil {
			return FrameFull
		}
	}
	if vlan != 0 {
		x.template.Put(b[frame.TagSize:])
		frame.Tag(b, vlan)
	} else {
		x.template.Put(b)
	}
	r.placed++
	return XDP
}

// kick lets the kernel send what is in the ring. What it does not take now stays there, and is taken with the next kick.
func (q *xdpQueue) kick(r *ring) {
	if r.placed > 0 {
		q.stats.SendCalls++
		q.stats.SendPackets += uint64(r.placed)
		q.stats.Sent[XDP] += uint64(r.placed)
		r.placed = 0
	}
	if errno := r.socket.Kick(); errno == unix.ENXIO && !r.gone {
		r.gone = true
		q.xdp.log.Warn("the device is gone: its packets take the funnel's ways from now on; restart to have AF_XDP on it again",
			"device", q.xdp.devices[r.device].Name, "queue", r.queue)
	}
}
