package relay

import (
	"tandem/relay/netio"
	"tandem/relay/rtp"
	"tandem/relay/srtp"
	"tandem/relay/verdict"
)

// jobs is the cryptography of a batch: the packets that need any, and where they stand in the batch.
type jobs struct {
	scratch *srtp.Scratch
	opens   [netio.BatchSize]srtp.OpenJob
	seals   [netio.BatchSize]srtp.SealJob
	at      [netio.BatchSize]uint8

	// Of a packet by itself.
	open srtp.OpenJob
	seal srtp.SealJob
}

// rxOf is what a leg's receive key has opened.
func (w *worker) rxOf(index uint32) srtp.Received {
	return srtp.Received{Now: &w.legs[index].rx, Rest: &w.rare[index].rx}
}

// txOf is what a leg's send key has sealed.
func (w *worker) txOf(index uint32) srtp.Sent {
	return srtp.Sent{Now: &w.legs[index].tx, Rest: &w.rare[index].tx}
}

// open authenticates and decrypts what came from SRTP peers: media all together, reports one by one.
func (w *worker) open(b *netio.Batch, now int64) {
	n := 0
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		s.fresh, s.late = true, false
		switch {
		case p.Verdict != verdict.Forward:
		case s.kind == rtp.RTCP:
			w.openRTCP(p, s, now)
		case s.leg.flags&secure == 0:
		case s.leg.flags&keyedRX == 0:
			p.Verdict = verdict.NoKey
		default:
			w.jobs.opens[n] = srtp.OpenJob{
				Key: &s.leg.rxKey, Keys: &w.cold[s.in()].said.rx, Received: w.rxOf(s.in()), Packet: p.Data, Header: s.view.Header,
			}
			w.jobs.at[n] = uint8(i)
			n++
		}
	}
	srtp.OpenBatch(w.jobs.opens[:n], w.jobs.scratch)
	for k := range n {
		j, i := &w.jobs.opens[k], w.jobs.at[k]
		p, s := &b.Packets[i], &w.steps[i]
		if j.Verdict != verdict.Forward {
			p.Verdict = w.openLate(j, s, now)
		}
		s.fresh = j.Fresh
		p.Data = p.Data[:j.N]
	}
}

// openLate tries the receive key that was replaced not long ago on a packet that the one of now did not open. The verdict is that
// of the key of now unless the other one opens it.
func (w *worker) openLate(j *srtp.OpenJob, s *step, now int64) verdict.Verdict {
	v := j.Verdict
	if s.leg.flags&retires == 0 || now >= w.keys[s.in()].retired.until {
		return v
	}
	r := w.keys[s.in()].retired
	j.Key, j.Keys, j.Received = &r.keys.rtp, &r.said, r.received()
	if srtp.OpenRTP(j, w.jobs.scratch) != verdict.Forward {
		return v
	}
	s.late, j.Fresh = true, false
	return verdict.Forward
}

// openRTCP authenticates and decrypts a report, and checks that it is one.
func (w *worker) openRTCP(p *netio.Packet, s *step, now int64) {
	if s.leg.flags&secure != 0 {
		if p.Verdict = w.openSRTCP(p, s, now); p.Verdict != verdict.Forward {
			return
		}
	}
	p.Verdict = rtp.ParseRTCP(p.Data)
}

func (w *worker) openSRTCP(p *netio.Packet, s *step, now int64) verdict.Verdict {
	if s.leg.flags&keyedRX == 0 {
		return verdict.NoKey
	}
	j := &w.jobs.open
	*j = srtp.OpenJob{Key: &w.reports[s.in()].rxKey, Keys: &w.cold[s.in()].said.rx, Received: w.rxOf(s.in()), Packet: p.Data}
	v := srtp.OpenRTCP(j, w.jobs.scratch)
	if v != verdict.Forward && s.leg.flags&retires != 0 && now < w.keys[s.in()].retired.until {
		r := w.keys[s.in()].retired
		j.Key, j.Keys, j.Received = &r.keys.rtcp, &r.said, r.received()
		if srtp.OpenRTCP(j, w.jobs.scratch) == verdict.Forward {
			v = verdict.Forward
		}
	}
	if v == verdict.Forward {
		p.Data = p.Data[:j.N]
	}
	return v
}

// seal writes the sending leg's numbers and encrypts for SRTP peers: media all together, reports one by one.
func (w *worker) seal(b *netio.Batch) {
	n := 0
	for i := range b.N {
		p, s := &b.Packets[i], &w.steps[i]
		switch {
		case p.Verdict != verdict.Forward:
		case s.kind == rtp.RTCP:
			w.sealRTCP(p, s.peer)
		case s.to.flags&secure == 0:
		case s.to.flags&keyedTX == 0:
			p.Verdict = verdict.NoKey
		default:
			if n > 0 && s.to.out.restarts(s.view.SSRC, s.view.Seq) {
				w.sealNow(b, n) // where the new run begins depends on what was sealed
				n = 0
			}
			w.number(s.peer, p.Data, s.view)
			w.jobs.seals[n] = w.sealJob(s.peer, p.Data, s.view.Header)
			w.jobs.at[n] = uint8(i)
			n++
		}
	}
	w.sealNow(b, n)
}

// sealNow seals the media gathered so far.
func (w *worker) sealNow(b *netio.Batch, n int) {
	srtp.SealBatch(w.jobs.seals[:n], w.jobs.scratch)
	for k := range n {
		j, p := &w.jobs.seals[k], &b.Packets[w.jobs.at[k]]
		if p.Verdict = j.Verdict; p.Verdict == verdict.Forward {
			p.Data = p.Data[:j.N]
		}
	}
}

// number writes the SSRC and the sequence number under which a packet leaves.
func (w *worker) number(index uint32, data []byte, v rtp.View) {
	ssrc, seq := w.legs[index].out.follow(v.SSRC, v.Seq, w.txOf(index))
	rtp.PutSSRC(data, ssrc)
	rtp.PutSeq(data, seq)
}

func (w *worker) sealJob(index uint32, data []byte, header int) srtp.SealJob {
	return srtp.SealJob{Key: &w.legs[index].txKey, Keys: &w.cold[index].said.tx, Sent: w.txOf(index), Packet: data, Header: header}
}

// sealRTP numbers and encrypts a single packet of media for the peer of a leg.
func (w *worker) sealRTP(p *netio.Packet, index uint32, v rtp.View) {
	switch l := &w.legs[index]; {
	case l.flags&secure == 0:
		return
	case l.flags&keyedTX == 0:
		p.Verdict = verdict.NoKey
		return
	}
	w.number(index, p.Data, v)
	j := &w.jobs.seal
	*j = w.sealJob(index, p.Data, v.Header)
	if p.Verdict = srtp.SealRTP(j, w.jobs.scratch); p.Verdict == verdict.Forward {
		p.Data = p.Data[:j.N]
	}
}

// sealRTCP maps the SSRCs and sequence numbers of a compound packet from the other leg and encrypts it.
func (w *worker) sealRTCP(p *netio.Packet, index uint32) {
	l := &w.legs[index]
	from := &w.legs[l.peer]
	if l.out.begun || from.out.begun {
		rtp.RewriteRTCP(p.Data, &rtp.Mapping{
			SenderIn: l.out.in, SenderOut: l.out.out,
			MediaOut: from.out.out, MediaIn: from.out.in,
			SeqOffset: from.out.offset,
		})
	}
	switch {
	case l.flags&secure == 0:
		return
	case l.flags&keyedTX == 0:
		p.Verdict = verdict.NoKey
		return
	}
	j := &w.jobs.seal
	*j = srtp.SealJob{Key: &w.reports[index].txKey, Keys: &w.cold[index].said.tx, Sent: w.txOf(index), Packet: p.Data}
	if p.Verdict = srtp.SealRTCP(j, w.jobs.scratch); p.Verdict == verdict.Forward {
		p.Data = p.Data[:j.N]
	}
}
