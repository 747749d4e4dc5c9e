package netio

import (
	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

// Send implements Queue. Packets whose next hop is known leave as frames, all in one call and in order; the others leave
// one by one by the socket of their port, where the kernel does what a frame cannot.
func (q *funnelQueue) Send(b *Batch) {
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
		frames = q.sendBy(q.choose(x, uint32(word>>32), p), frames, p, x, word)
	}
	if frames > 0 {
		q.flush(frames)
	}
	q.section.leave()
}

// sendBy sends the packet by a socket, or makes it the next of the frames to be sent. It returns how many those are.
func (q *funnelQueue) sendBy(way Way, frames int, p *Packet, x *exit, word uint64) int {
	if way != Frame && way != FrameFull {
		q.sendBySocket(p, x, word, way)
		return frames
	}
	q.makeFrame(frames, x, p)
	q.run[frames], q.ways[frames] = p, way
	return frames + 1
}

// choose returns the way for a packet that leaves by x.
func (q *funnelQueue) choose(x *exit, lease uint32, p *Packet) Way {
	e := q.engine
	if e.udp[p.Out.Slot()] {
		return SocketConfigured
	}
	if !x.fits(lease, &p.Dst, e.hops) {
		if q.to.put(&p.Dst, e.ipv6(p.Out.Slot())) == 0 {
			return SocketUnresolved // not an address to send to, as the socket's turn will show
		}
		x.renew(e, lease, p.Out, &p.Dst)
	}
	switch {
	case x.way != Frame:
		return x.way
	case len(p.Data) > int(x.room):
		return SocketTooLong
	case e.hops.Probe(x.hop):
		return SocketUnresolved // the kernel is to verify its neighbour with this one
	}
	return Frame
}

// makeFrame completes the packet's headers before its data and makes that message n. A packet whose data does not lie in
// this queue's memory (it was not received here) is copied into it: one for which choose says Frame fits there.
func (q *funnelQueue) makeFrame(n int, x *exit, p *Packet) {
	size := uint(x.template.Len())
	start, length := offsetIn(q.slab, p.Data), uint(len(p.Data))
	if start >= uint(len(q.slab)) {
		start = uint(BatchSize+n)*bufferSize + Headroom
		copy(q.slab[start:], p.Data)
	}
	frame := q.slab[start-size : start+length]
	x.template.Put(frame)
	q.out.point(n, frame)
	q.out.headers[n].header.Namelen = q.out.names[n].putLink(x.ifindex, q.engine.ipv6(p.Out.Slot()))
}

// sendBySocket sends one packet by its port's own socket, and counts why it was not a frame.
func (q *funnelQueue) sendBySocket(p *Packet, x *exit, word uint64, way Way) {
	length := q.to.put(&p.Dst, q.engine.ipv6(p.Out.Slot()))
	if length == 0 {
		p.Verdict = verdict.SendFailed
		return
	}
	fd, ok := q.socketOf(x, p.Out, word)
	if !ok {
		p.Verdict = verdict.SendFailed
		return
	}
	if errno := q.calls.sendOne(fd, p.Data, &q.to, length); errno != 0 {
		p.Verdict = verdict.SendFailed
		return
	}
	q.stats.SendCalls++
	q.stats.SendPackets++
	q.stats.Sent[way]++
}

// flush sends the first n messages of out as frames. The kernel stops at a frame it refuses and says why only when asked
// to begin with it; that one is dealt with and the others go on.
func (q *funnelQueue) flush(n int) {
	for done := 0; done < n; {
		sent, errno := q.calls.send(q.packet, q.out.headers[done:n])
		if sent > 0 {
			q.stats.SendCalls++
			q.stats.SendPackets += uint64(sent)
			for _, way := range q.ways[done : done+sent] {
				q.stats.Sent[way]++
			}
			done += sent
			continue
		}
		if errno == unix.EINTR {
			continue
		}
		q.refused(q.run[done], errno)
		done++
	}
}

// refused deals with a packet whose frame the kernel did not take. The news that explain it may not have arrived yet: a
// device that is gone or down, a smaller MTU. Then the socket takes the way that the kernel knows already. A full queue of
// the device (ENOBUFS) is no reason to try again.
func (q *funnelQueue) refused(p *Packet, errno unix.Errno) {
	way := SocketUnresolved
	switch errno {
	case unix.ENXIO, unix.ENETDOWN:
	case unix.EMSGSIZE:
		way = SocketTooLong
	default:
		p.Verdict = verdict.SendFailed
		return
	}
	if x, word := q.engine.bound(p.Out); word != 0 {
		q.sendBySocket(p, x, word, way)
		return
	}
	p.Verdict = verdict.SendFailed // unbound between the two
}
