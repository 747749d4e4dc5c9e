package srtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

const encryptedRTCP = 1 << 31 // the E bit of the SRTCP word, RFC 3711 section 3.4

// OpenRTP verifies and decrypts an SRTP packet in place.
//
// Verdicts: NoKey, TooShort, TooLong, BadHeader, BadMKI, SSRCFull, KeyExpired, Replayed, TooOld, BadTag.
func OpenRTP(j *OpenJob, s *Scratch) verdict.Verdict {
	s.single.ready = false
	p := &s.plan
	j.look(p)
	j.open(s, p, &s.single)
	return j.Verdict
}

// plan is what a first look at a packet says. It is good until another packet of its key is opened.
type plan struct {
	layout
	index     uint64 // that may be used; the likeliest of them
	opened    uint64 // packets opened under the key so far, of both kinds
	ssrc      uint32
	slot      uint8 // of the SSRC
	known     bool
	unsettled bool            // there may be further indices
	verdict   verdict.Verdict // why no index may be used
}

// look fills in p. It writes nothing else.
func (j *OpenJob) look(p *plan) {
	pkt := j.Packet
	p.unsettled, p.opened = false, j.Now.all()
	if p.verdict = j.Key.lengthRTP(pkt, j.Header); p.verdict != verdict.Forward {
		return
	}
	p.layout = j.Key.layoutRTP(len(pkt) - j.Key.trailerRTP())
	if p.end < j.Header {
		p.verdict = verdict.TooShort
		return
	}
	if !j.Key.mkiMatches(j.Keys, pkt, p.layout) {
		p.verdict = verdict.BadMKI
		return
	}
	seq := binary.BigEndian.Uint16(pkt[2:])
	p.ssrc, p.index = binary.BigEndian.Uint32(pkt[8:]), uint64(seq)
	slot, known, v := j.find(p.ssrc)
	p.slot, p.known, p.verdict = uint8(slot), known, v
	switch {
	case v == verdict.Forward && j.Now.n == 0:
		p.unsettled = seq < halfSeq // nobody was heard under this key: its first packets, and with them a wrap, may have been lost
	case v != verdict.Forward || !known:
	case j.unsettled(slot):
		p.unsettled = true
		source := j.at(slot)
		list, n := source.candidates(seq)
		p.index, p.verdict = j.window(slot).first(list[:n])
	default:
		if w := j.window(slot); w.next > 0 {
			p.index = estimate(w.next-1, seq)
		}
		p.verdict = j.window(slot).mayOpen(p.index)
	}
	if v == verdict.Forward && j.Now.opened >= lifeRTP {
		p.verdict, p.unsettled = verdict.KeyExpired, false
	}
}

// open does what p says. tag may hold the packet's HMAC for one rollover counter.
func (j *OpenJob) open(s *Scratch, p *plan, tag *proof) {
	if j.N, j.Index, j.Fresh, j.Verdict = 0, 0, false, p.verdict; p.verdict != verdict.Forward {
		return
	}
	if !j.Key.openRTP(s, j.Packet, j.Header, p.layout, p.ssrc, p.index, tag) {
		if j.Verdict = verdict.BadTag; !p.unsettled || !j.another(s, p, tag) {
			return
		}
	}

	// Proven: from here on state changes.
	j.Fresh = !p.known || p.index >= j.window(int(p.slot)).next
	j.commit(int(p.slot), p.known, p.ssrc, p.index)
	j.N, j.Index, j.Verdict = p.end, p.index, verdict.Forward
}

// another looks for another index whose tag verifies, after the first one failed.
func (j *OpenJob) another(s *Scratch, p *plan, tag *proof) bool {
	failed := p.index
	source := j.entry(int(p.slot), p.known, p.ssrc)
	list, n := source.candidates(uint16(failed))
	if j.Now.n == 0 {
		list[1], n = failed|1<<16, 2
	}
	for _, p.index = range list[:n] {
		if p.index == failed || j.window(int(p.slot)).mayOpen(p.index) != verdict.Forward {
			continue
		}
		if j.Key.openRTP(s, j.Packet, j.Header, p.layout, p.ssrc, p.index, tag) {
			return true
		}
	}
	return false
}

// first returns the first index that may be used, or why the likeliest may not.
func (w *window) first(list []uint64) (index uint64, v verdict.Verdict) {
	for i, index := range list {
		may := w.mayOpen(index)
		if may == verdict.Forward {
			return index, may
		}
		if i == 0 {
			v = may
		}
	}
	return 0, v
}

// mayOpen reports whether index may be used: Forward, KeyExpired, Replayed, TooOld.
func (w *window) mayOpen(index uint64) verdict.Verdict {
	if index >= lifeRTP {
		return verdict.KeyExpired
	}
	return w.check(index)
}

// OpenRTCP verifies and decrypts an SRTCP packet in place, with the schedule of SRTCP. On Forward, Packet[:N] is the compound
// RTCP packet, whose inner lengths nobody has checked yet.
//
// Verdicts: NoKey, TooShort, TooLong, BadMKI, Unencrypted, SSRCFull, KeyExpired, Replayed, TooOld, BadTag.
func OpenRTCP(j *OpenJob, s *Scratch) verdict.Verdict {
	j.N, j.Index, j.Fresh = 0, 0, false
	j.Verdict = j.openRTCP(s)
	return j.Verdict
}

func (j *OpenJob) openRTCP(s *Scratch) verdict.Verdict {
	k, pkt := j.Key, j.Packet
	if v := k.lengthRTCP(pkt); v != verdict.Forward {
		return v
	}
	l := k.layoutRTCP(len(pkt) - k.trailerRTCP())
	if l.end < headerRTCP {
		return verdict.TooShort
	}
	if !k.mkiMatches(j.Keys, pkt, l) {
		return verdict.BadMKI
	}
	ssrc, word := binary.BigEndian.Uint32(pkt[4:]), binary.BigEndian.Uint32(pkt[l.word:])
	if word&encryptedRTCP == 0 && !k.mayBeClear() {
		return verdict.Unencrypted
	}
	slot, known, v := j.find(ssrc)
	if v != verdict.Forward {
		return v
	}
	source := j.entry(slot, known, ssrc)
	if j.Now.openedRTCP >= lifeRTCP {
		return verdict.KeyExpired
	}
	index := uint64(word &^ encryptedRTCP)
	if v = source.rtcp.check(index); v != verdict.Forward {
		return v
	}
	if !k.openRTCP(s, pkt, l, ssrc, word) {
		return verdict.BadTag
	}

	// Proven: from here on state changes.
	source.rtcp.mark(index)
	j.commitRTCP(slot, &source)
	j.N = l.end
	return verdict.Forward
}
