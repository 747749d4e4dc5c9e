package relay

import (
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/rtp"
	"tandem/relay/verdict"
)

// step is what the passes over a batch know of one packet.
type step struct {
	leg   *leg   // it came to
	to    *leg   // it leaves by
	ref   uint32 // the table's word: index of leg << 1, | 1 on its RTCP port; 0: no leg has the port
	peer  uint32 // index of to
	kind  rtp.Kind
	fresh bool // newer than all before it
	late  bool // sealed with the receive key before this one
	plain bool // crosses as it is: nobody looks for RTP in it
	view  rtp.View
}

// in is the index of the leg that the packet came to.
func (s *step) in() uint32 { return s.ref >> 1 }

// forward is the way of a batch: received, looked up, judged, opened, mapped, sealed, sent, counted. It works in passes,
// so that cache misses overlap and the packets' cryptography runs side by side. Their order stays.
func (w *worker) forward(now int64) {
	b := &w.batch
	w.find(b)
	w.touch(b)
	w.admit(b, now)
	w.open(b, now) // crypt.go, like seal
	w.judge(b, now)
	w.seal(b)
	w.queue.Send(b)
	w.count(b)
}

// find looks up every packet's leg and the one that it would leave by.
func (w *worker) find(b *netio.Batch) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		w.inBytes += uint64(len(p.Data))
		s.ref = w.table[p.In.Slot()][p.In.Port()]
		if s.ref == 0 && p.Verdict == verdict.Forward {
			p.Verdict = verdict.Unleased
		}
	}
	for i := range b.N {
		s := &w.steps[i]
		s.peer = s.in() ^ 1
		s.leg, s.to = &w.legs[s.in()], &w.legs[s.peer]
	}
}

// touch reads a word of every line of the legs that the packets will need. With many calls each is a cache miss, and here, where no
// read waits for another, they overlap: with 100,000 plain calls the whole way takes a third of the time that it takes without
// this pass, with SRTP half, and with 100 calls there is no difference (BenchmarkWorker).
func (w *worker) touch(b *netio.Batch) {
	sum := byte(0)
	for i := range b.N {
		s := &w.steps[i]
		sum += byte(s.leg.flags) + byte(s.leg.heard) + byte(s.leg.quality.SSRC()) + byte(s.to.flags) + byte(s.to.heard)
		if s.leg.flags&secure != 0 {
			sum += netio.Touch(&s.leg.rx) + netio.Touch(&s.leg.rxKey)
		}
		if s.to.flags&secure != 0 {
			sum += netio.Touch(&s.to.tx) + netio.Touch(&s.to.txKey)
		}
	}
	w.touched = sum
}

// admit parses the headers and asks the pin, before any cryptography, whether the source may speak at all.
func (w *worker) admit(b *netio.Batch, now int64) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		switch s.kind = s.classify(p); {
		case s.plain:
			p.Verdict = w.admitOpaque(p, s, now) // opaque.go
		case s.kind == rtp.RTP:
			if s.view, p.Verdict = rtp.Parse(p.Data); p.Verdict == verdict.Forward {
				p.Verdict = s.leg.pin.Glance(now, &w.cold[s.in()].pin, pin.Addr(p.Src), w.seed)
			}
		case s.kind == rtp.RTCP:
			if len(p.Data) < minRTCP {
				p.Verdict = verdict.TooShort
			} else {
				p.Verdict = s.leg.pin.GlanceRTCP(now, &w.cold[s.in()].pin, pin.Addr(p.Src), w.seed)
			}
		default:
			p.Verdict = w.beside.divert(s, w.cold[s.in()].session, p)
		}
	}
}

// classify tells what a packet claims to be, on the port that it came to.
func (s *step) classify(p *netio.Packet) rtp.Kind {
	if s.plain = false; s.leg.flags&opaque != 0 {
		s.plain = s.ref&1 == 0
		return rtp.Other // an opaque stream has no reports
	}
	kind := rtp.Classify(p.Data)
	switch onRTCP := s.ref&1 != 0; {
	case kind == rtp.RTP && onRTCP:
		return rtp.Other // media on an RTCP port
	case kind == rtp.RTCP && !onRTCP && s.leg.flags&muxed == 0:
		return rtp.Other // RTCP on a port that is not shared
	}
	return kind
}

// judge takes each packet that proved itself as evidence, measures it, and decides whether it may go on to the other leg.
func (w *worker) judge(b *netio.Batch, now int64) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		l := s.leg
		switch {
		case s.plain:
			p.Verdict = w.judgeOpaque(l, p, s, now)
		case s.kind == rtp.RTCP:
			p.Verdict = w.judgeRTCP(l, p, s, now)
		default:
			p.Verdict = w.judgeRTP(l, p, s, now)
		}
		if p.Verdict != verdict.Forward {
			continue
		}
		l.heard = now
		l.in++
		l.inBytes += uint64(len(p.Data))
		p.Verdict = w.route(p, s)
	}
}

// judgeRTCP asks the pin. Reports never move it.
func (w *worker) judgeRTCP(l *leg, p *netio.Packet, s *step, now int64) verdict.Verdict {
	k := &w.cold[s.in()]
	v := l.pin.JudgeRTCP(now, &k.pin, pin.Addr(p.Src))
	if v == verdict.Forward {
		k.inRTCP++
	}
	return v
}

// judgeRTP gives the pin its evidence and the quality counters their packet.
func (w *worker) judgeRTP(l *leg, p *netio.Packet, s *step, now int64) verdict.Verdict {
	if _, v := rtp.PayloadLen(p.Data, s.view); v != verdict.Forward {
		return v
	}
	k := &w.cold[s.in()]
	if s.late { // proves who held the key before: heard from where that was, and no evidence
		if src := pin.Addr(p.Src); src != w.keys[s.in()].retired.from && src != k.pin.Policy().Signalled {
			return verdict.Stranger
		}
		w.hear(l, s, now)
		return verdict.Forward
	}
	disputed := l.pin.Contested()
	moved, v := l.pin.Judge(now, &k.pin, pin.Addr(p.Src), pin.Evidence{
		Seq:           s.view.Seq,
		SSRC:          s.view.SSRC,
		KnownPT:       l.knows(s.view.PT),
		Authenticated: l.flags&secure != 0,
		Fresh:         s.fresh,
	})
	if moved || disputed != l.pin.Contested() {
		w.tellPin(l, p, s, moved, disputed)
	}
	if v == verdict.Forward {
		w.hear(l, s, now)
	}
	return v
}

// tellPin tells of what a packet did to the pin: moved it, or made two candidates of one (disputed: there were two before).
func (w *worker) tellPin(l *leg, p *netio.Packet, s *step, moved, disputed bool) {
	session := w.cold[s.in()].session
	if moved {
		w.relay.events.post(event{kind: pinned, session: session, leg: s.in(), address: p.Src})
	}
	if !disputed && l.pin.Contested() {
		w.relay.events.post(event{kind: disputedBy, session: session, leg: s.in(), address: p.Src})
	}
}

// hear notes who speaks and how well.
func (w *worker) hear(l *leg, s *step, now int64) {
	another := l.quality.SSRC() != s.view.SSRC
	l.quality.Update(now, s.view.SSRC, s.view.Seq, s.view.Timestamp, l.clockOf(&w.rare[s.in()], s.view.PT))
	if another {
		w.announce(s.in())
	}
}

// route finds where a packet leaves: held and unanswered legs end its way, RTCP keeps flowing while media is held.
func (w *worker) route(p *netio.Packet, s *step) verdict.Verdict {
	to, ok := s.to.pin.SendTo()
	p.Out = s.to.rtp
	if s.kind == rtp.RTCP {
		p.Out = s.to.reportPort()
		to, ok = s.to.pin.SendRTCPTo(&w.cold[s.peer].pin)
	} else if s.leg.flags&hears == 0 || s.to.flags&speaks == 0 {
		return verdict.Held
	}
	if !ok {
		return verdict.NoDestination
	}
	p.Dst = netio.Addr(to)
	return verdict.Forward
}

// count gives every packet of the batch exactly one verdict: received == forwarded + drops.
func (w *worker) count(b *netio.Batch) {
	w.received += uint64(b.N)
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		w.counts[p.Verdict]++
		if s.ref == 0 {
			continue
		}
		if p.Verdict != verdict.Forward {
			w.cold[s.in()].drops[p.Verdict]++
			continue
		}
		w.outBytes += uint64(len(p.Data))
		s.to.sent++
		s.to.sentBytes += uint64(len(p.Data))
		switch {
		case s.kind == rtp.RTCP:
			w.cold[s.peer].sentRTCP++
		case s.plain:
			w.cold[s.peer].sentOpaque++
		}
	}
}
