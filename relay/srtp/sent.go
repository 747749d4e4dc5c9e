package srtp

import "tandem/relay/verdict"

// TXNow is what was sent under one key by the SSRC in use now, and the counters of all: 48 bytes, hot. It must live as long as
// the key does: a fresh one under a used key would seal indices a second time. It holds no pointer; the zero value is ready.
// One writer: the goroutine that seals.
type TXNow struct {
	rtp        window // indices sealed
	ssrc       uint32
	rtcp       uint32 // next SRTCP index
	sealed     uint64 // SRTP packets under this key
	sealedRTCP uint32 // SRTCP packets under this key
	n          uint8  // SSRCs known: this one and n-1 in TXRest
	marks      marks
	_          uint16
}

// TXRest is the other SSRCs. A leg that sends one SSRC never touches it.
type TXRest struct {
	sources [MaxSSRC - 1]txSource
}

// Sent is what was sent under one key: both halves of it, wherever they lie.
type Sent struct {
	Now  *TXNow
	Rest *TXRest
}

// txSource is one SSRC.
type txSource struct {
	rtp   window // indices sealed
	ssrc  uint32
	rtcp  uint32 // next SRTCP index
	marks marks  // without spoke the entry is carried over and may be overwritten
}

// at returns a copy of an entry: 0 is the one in use now.
func (t Sent) at(slot int) txSource {
	if slot > 0 {
		return t.Rest.sources[slot-1]
	}
	return txSource{rtp: t.Now.rtp, ssrc: t.Now.ssrc, rtcp: t.Now.rtcp, marks: t.Now.marks}
}

// put stores an entry.
func (t Sent) put(slot int, s *txSource) {
	if slot > 0 {
		t.Rest.sources[slot-1] = *s
		return
	}
	n := t.Now
	n.rtp, n.ssrc, n.rtcp, n.marks = s.rtp, s.ssrc, s.rtcp, s.marks
}

// find returns where ssrc is, and whether it is known there, like Received.find.
func (t Sent) find(ssrc uint32) (slot int, known bool, v verdict.Verdict) {
	n := int(t.Now.n)
	switch {
	case n == 0:
		return 0, false, verdict.Forward
	case t.Now.ssrc == ssrc:
		return 0, true, verdict.Forward
	}
	carried := -1
	if t.Now.marks&spoke == 0 {
		carried = 0
	}
	for i := range t.Rest.sources[:n-1] {
		s := &t.Rest.sources[i]
		if s.ssrc == ssrc {
			return i + 1, true, verdict.Forward
		}
		if s.marks&spoke == 0 {
			carried = i + 1
		}
	}
	switch {
	case n < MaxSSRC:
		return n, false, verdict.Forward
	case carried >= 0:
		return carried, false, verdict.Forward
	}
	return 0, false, verdict.SealFull
}

// entry returns a copy of what was found, fresh if it was unknown.
func (t Sent) entry(slot int, known bool, ssrc uint32) txSource {
	if !known {
		return txSource{ssrc: ssrc}
	}
	return t.at(slot)
}

// window returns an entry's window.
func (t Sent) window(slot int) *window {
	if slot > 0 {
		return &t.Rest.sources[slot-1].rtp
	}
	return &t.Now.rtp
}

// commit spends an index: its SSRC is the one in use from here on.
func (t Sent) commit(slot int, known bool, ssrc uint32, index uint64) {
	n := t.Now
	if slot > 0 || !known {
		s, was := t.entry(slot, known, ssrc), t.at(0)
		t.put(slot, &was)
		t.put(0, &s)
		n.n = max(n.n, uint8(slot)+1)
	}
	n.rtp.mark(index)
	n.marks |= spoke
	n.sealed++
}

// commitRTCP stores an entry whose SRTCP index was spent, where it was.
func (t Sent) commitRTCP(slot int, s *txSource) {
	s.marks |= spoke
	t.put(slot, s)
	t.Now.n = max(t.Now.n, uint8(slot)+1)
	t.Now.sealedRTCP++
}

// index returns the index that seq means to a sender who has used w, or why it must not be sealed: AlreadySealed, TooOld,
// KeyExpired.
func (w *window) index(seq uint16) (uint64, verdict.Verdict) {
	if w.next == 0 {
		return uint64(seq), verdict.Forward
	}
	index, v := follow(w.next-1, seq)
	switch {
	case v != verdict.Forward:
		return 0, v
	case index >= lifeRTP:
		return 0, verdict.KeyExpired
	}
	if v = w.check(index); v == verdict.Replayed {
		v = verdict.AlreadySealed
	}
	return index, v
}

// Rekey makes t the state of a new key, never of one that has sealed anything: the windows are fresh. Rollover counters and SRTCP
// indices continue if carry is set, as RFC 3711 sections 3.3.1 and 3.4 have it, and else start at 0.
func (t Sent) Rekey(carry bool) {
	n := t.Now.n
	var carried [MaxSSRC]txSource
	for slot := range int(n) {
		s := t.at(slot)
		carried[slot] = txSource{ssrc: s.ssrc, rtcp: s.rtcp, rtp: window{next: s.rtp.next}}
	}
	if *t.Now = (TXNow{}); n > 1 { // what was never used stays untouched
		*t.Rest = TXRest{}
	}
	if !carry {
		return
	}
	for slot := range carried[:n] {
		t.put(slot, &carried[slot])
	}
	t.Now.n = n
}

// Room reports whether packets of ssrc can be sealed: it is known, or the table has a place for it.
func (t Sent) Room(ssrc uint32) bool {
	_, _, v := t.find(ssrc)
	return v == verdict.Forward
}

// Next returns the sequence number after the highest one sealed for ssrc: an input that restarts has to be re-based to
// continue there. known is false, and any sequence number will do, while none was sealed.
func (t Sent) Next(ssrc uint32) (seq uint16, known bool) {
	slot, known, _ := t.find(ssrc)
	if !known {
		return 0, false
	}
	next := t.window(slot).next
	return uint16(next), next > 0
}

// Expiring reports whether the key is in the last sixteenth of its life, by packets or by index.
func (t Sent) Expiring() bool {
	n := t.Now
	if n.sealed >= expiringRTP || n.sealedRTCP >= expiringRTCP || n.rtp.next >= expiringRTP || n.rtcp >= expiringRTCP {
		return true
	}
	for i := 1; i < int(n.n); i++ {
		if s := &t.Rest.sources[i-1]; s.rtp.next >= expiringRTP || s.rtcp >= expiringRTCP {
			return true
		}
	}
	return false
}
