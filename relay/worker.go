package relay

import (
	"runtime"
	"time"

	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/rtp"
	"tandem/relay/verdict"
)

// worker is one core of the packet path: it owns the legs whose ports it receives from, and nothing else touches them.
type worker struct {
	id    int
	relay *Relay
	queue netio.Queue
	table [][]uint32 // by address slot and port: leg index << 1, | 1 on an RTCP port; only entries of our ports are ours
	legs  []leg      // the arena, shared by all workers; only our legs are ours
	keys  []keys     // beside the arena
	seed  uint64     // of the strangers' buckets

	batch  netio.Batch
	steps  [netio.BatchSize]step
	beside beside // the queues beside the path

	commands chan func(now int64) // from control, run between batches
	mine     []uint32             // indices of our legs, for the watch
	watchAt  int                  // where in mine the watch goes on
	watchDue int64

	received uint64
	inBytes  uint64
	outBytes uint64
	counts   verdict.Counters
}

// step is what the passes over a batch know of one packet.
type step struct {
	leg, to *leg
	key     uint32 // index of leg
	kind    rtp.Kind
	view    rtp.View
	fresh   bool
	late    bool // sealed with the receive key before this one
}

// run is the worker's life: packets, then what control wants, then the watch. It ends when quit is closed.
func (w *worker) run(quit <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		if err := w.queue.Recv(&w.batch, watchEvery); err != nil {
			w.relay.log.Error("receive failed", "worker", w.id, "error", err)
			select {
			case <-quit:
				return
			case <-time.After(faultPause):
			}
		}
		now := netio.Now()
		if w.batch.N > 0 {
			w.forward(now)
		}
		if w.beside.injected.waiting() {
			w.originate()
		}
		for more := true; more; {
			select {
			case command := <-w.commands:
				command(now)
			case <-quit:
				return
			default:
				more = false
			}
		}
		w.watch(now)
	}
}

// faultPause keeps a broken engine from spinning.
const faultPause = 100 * time.Millisecond

// forward is the way of a batch: received, looked up, judged, opened, mapped, sealed, sent, counted. It works in passes,
// so that cache misses overlap and the packets' cryptography can run side by side.
func (w *worker) forward(now int64) {
	b := &w.batch
	w.find(b)
	w.admit(b, now)
	w.open(b, now)
	w.judge(b, now)
	w.seal(b)
	w.queue.Send(b)
	w.count(b)
}

// find looks up every packet's leg, and touches it.
func (w *worker) find(b *netio.Batch) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		w.inBytes += uint64(len(p.Data))
		ref := w.table[p.In.Slot()][p.In.Port()]
		if ref == 0 {
			s.leg = nil
			if p.Verdict == verdict.Forward {
				p.Verdict = verdict.Unleased
			}
			continue
		}
		s.key = ref >> 1
		s.leg = &w.legs[s.key]
		s.to = &w.legs[s.leg.peer]
		if p.Verdict != verdict.Forward {
			continue // too long for its buffer
		}
		if s.kind = rtp.Classify(p.Data); s.kind == rtp.RTP && ref&1 != 0 {
			s.kind = rtp.Other // media on an RTCP port
		} else if s.kind == rtp.RTCP && ref&1 == 0 && s.leg.flags&muxed == 0 {
			s.kind = rtp.Other // RTCP on a port that is not shared
		}
	}
}

// admit parses the headers and asks the pin, before any cryptography, whether the source may speak at all.
func (w *worker) admit(b *netio.Batch, now int64) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		switch s.kind {
		case rtp.RTP:
			if s.view, p.Verdict = rtp.Parse(p.Data); p.Verdict == verdict.Forward {
				p.Verdict = s.leg.pin.Glance(now, &s.leg.policy, pin.Addr(p.Src), w.seed)
			}
		case rtp.RTCP:
			if len(p.Data) < minRTCP {
				p.Verdict = verdict.TooShort
			} else {
				p.Verdict = s.leg.pin.GlanceRTCP(now, &s.leg.policy, pin.Addr(p.Src), w.seed)
			}
		default:
			p.Verdict = w.beside.divert(s, p)
		}
	}
}

// open authenticates and decrypts what came from SRTP peers.
func (w *worker) open(b *netio.Batch, now int64) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		n := 0
		if s.kind == rtp.RTCP {
			if n, p.Verdict = s.leg.openRTCP(&w.keys[s.key], p.Data, now); p.Verdict == verdict.Forward {
				p.Verdict = rtp.ParseRTCP(p.Data[:n])
			}
		} else {
			if n, s.fresh, s.late, p.Verdict = s.leg.open(&w.keys[s.key], p.Data, s.view, now); p.Verdict == verdict.Forward {
				_, p.Verdict = rtp.PayloadLen(p.Data[:n], s.view)
			}
		}
		if p.Verdict == verdict.Forward {
			p.Data = p.Data[:n]
		}
	}
}

// judge takes each packet that proved itself as evidence, measures it, and decides whether it may go on to the other leg.
func (w *worker) judge(b *netio.Batch, now int64) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		l := s.leg
		if s.kind == rtp.RTCP {
			if p.Verdict = l.pin.JudgeRTCP(now, &l.policy, pin.Addr(p.Src)); p.Verdict != verdict.Forward {
				continue
			}
			l.in.RTCP++
		} else if p.Verdict = w.judgeRTP(l, p, s, now); p.Verdict != verdict.Forward {
			continue
		}
		l.heard, l.told = now, 0
		l.in.Packets++
		l.in.Bytes += uint64(len(p.Data))
		p.Verdict = w.route(p, s)
	}
}

// judgeRTP gives the pin its evidence and the quality counters their packet.
func (w *worker) judgeRTP(l *leg, p *netio.Packet, s *step, now int64) verdict.Verdict {
	if s.late { // proves who held the key before: heard from where that was, and no evidence
		if src := pin.Addr(p.Src); src != w.keys[s.key].retired.from && src != l.policy.Signalled {
			return verdict.Stranger
		}
		return w.hear(l, s, now)
	}
	moved, v := l.pin.Judge(now, &l.policy, pin.Addr(p.Src), pin.Evidence{
		Seq:           s.view.Seq,
		SSRC:          s.view.SSRC,
		KnownPT:       l.knows(s.view.PT),
		Authenticated: l.flags&secure != 0,
		Fresh:         s.fresh,
	})
	if moved {
		w.relay.events.post(event{kind: pinned, session: l.session, leg: s.key, address: p.Src})
	}
	if disputed := l.pin.Contested(); disputed != (l.flags&contested != 0) {
		if l.flags ^= contested; disputed {
			w.relay.events.post(event{kind: disputedBy, session: l.session, leg: s.key, address: p.Src})
		}
	}
	if v != verdict.Forward {
		return v
	}
	return w.hear(l, s, now)
}

// hear notes who speaks and how well.
func (w *worker) hear(l *leg, s *step, now int64) verdict.Verdict {
	if l.ssrc != s.view.SSRC {
		l.ssrc = s.view.SSRC
		w.relay.events.post(event{kind: newSSRC, session: l.session, leg: s.key, ssrc: l.ssrc})
	}
	l.quality.Update(now, s.view.SSRC, s.view.Seq, s.view.Timestamp, l.clockOf(s.view.PT))
	return verdict.Forward
}

// route finds where a packet leaves: held and unanswered legs end its way, RTCP keeps flowing while media is held.
func (w *worker) route(p *netio.Packet, s *step) verdict.Verdict {
	to, ok := pin.Addr{}, false
	if s.kind == rtp.RTCP {
		p.Out = s.to.reports()
		to, ok = s.to.pin.SendRTCPTo(&s.to.policy)
	} else {
		if s.leg.flags&hears == 0 || s.to.flags&speaks == 0 {
			return verdict.Held
		}
		p.Out = s.to.rtp
		to, ok = s.to.pin.SendTo(&s.to.policy)
	}
	if !ok {
		return verdict.NoDestination
	}
	p.Dst = netio.Addr(to)
	return verdict.Forward
}

// seal writes the sending leg's numbers and encrypts for SRTP peers.
func (w *worker) seal(b *netio.Batch) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		n := 0
		k := &w.keys[s.leg.peer]
		if s.kind == rtp.RTCP {
			n, p.Verdict = s.to.sealRTCP(k, p.Data, s.leg)
		} else {
			n, p.Verdict = s.to.seal(k, p.Data, s.view)
		}
		if p.Verdict == verdict.Forward {
			p.Data = p.Data[:n]
		}
	}
}

// count gives every packet of the batch exactly one verdict: received == forwarded + drops.
func (w *worker) count(b *netio.Batch) {
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		w.received++
		w.counts[p.Verdict]++
		if s.leg == nil {
			continue
		}
		if p.Verdict != verdict.Forward {
			s.leg.drops[p.Verdict]++
			continue
		}
		w.outBytes += uint64(len(p.Data))
		s.to.sent.Packets++
		s.to.sent.Bytes += uint64(len(p.Data))
		if s.kind == rtp.RTCP {
			s.to.sent.RTCP++
		}
	}
}
