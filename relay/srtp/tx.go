package srtp

import "tandem/relay/verdict"

// TX is what was sent under one key. It must live as long as the key does: a fresh TX under a used key would seal indices
// a second time. It holds no pointer; the zero value is ready. One writer: the goroutine that seals.
type TX struct {
	sealed     uint64 // SRTP packets
	sealedRTCP uint64 // SRTCP packets
	n          uint64 // entries of sources in use
	sources    [MaxSSRC]txSource
}

// txSource is one SSRC.
type txSource struct {
	ssrc  uint32
	rtcp  uint32 // next SRTCP index
	rtp   window // indices sealed
	spoke bool   // a packet was sealed under this key; without it the entry is carried over and may be overwritten
}

// find returns the entry of ssrc as a copy and where to put it back, like RX.find.
func (tx *TX) find(ssrc uint32) (int, txSource, verdict.Verdict) {
	carried := -1
	for i := range tx.sources[:tx.n] {
		s := &tx.sources[i]
		if s.ssrc == ssrc {
			return i, *s, verdict.Forward
		}
		if !s.spoke {
			carried = i
		}
	}
	switch {
	case tx.n < MaxSSRC:
		return int(tx.n), txSource{ssrc: ssrc}, verdict.Forward
	case carried >= 0:
		return carried, txSource{ssrc: ssrc}, verdict.Forward
	}
	return 0, txSource{}, verdict.SealFull
}

// commit stores an entry whose next index is about to be sealed.
func (tx *TX) commit(slot int, s *txSource) {
	s.spoke = true
	tx.sources[slot] = *s
	tx.n = max(tx.n, uint64(slot)+1)
}

// index returns the index that seq means, or why it must not be sealed: AlreadySealed, TooOld, KeyExpired.
func (s *txSource) index(seq uint16) (uint64, verdict.Verdict) {
	if s.rtp.next == 0 {
		return uint64(seq), verdict.Forward
	}
	index, v := follow(s.rtp.next-1, seq)
	if v != verdict.Forward {
		return 0, v
	}
	if index >= lifeRTP {
		return 0, verdict.KeyExpired
	}
	if v = s.rtp.check(index); v == verdict.Replayed {
		v = verdict.AlreadySealed
	}
	return index, v
}

// Carry makes tx the state of a new key that continues the rollover counters and SRTCP indices of old, as RFC 3711 sections
// 3.3.1 and 3.4 have it (the zero TX starts them at 0). It is for a new key only: the windows are fresh.
func (tx *TX) Carry(old *TX) {
	if tx == old {
		return // the key did not change: what it sealed stays sealed
	}
	var fresh TX
	for i := range old.sources[:old.n] {
		s := &old.sources[i]
		fresh.sources[i] = txSource{ssrc: s.ssrc, rtcp: s.rtcp, rtp: window{next: s.rtp.next}}
	}
	fresh.n = old.n
	*tx = fresh
}

// Room reports whether packets of ssrc can be sealed: it is known, or the table has a place for it.
func (tx *TX) Room(ssrc uint32) bool {
	_, _, v := tx.find(ssrc)
	return v == verdict.Forward
}

// Next returns the sequence number after the highest one sealed for ssrc: an input that restarts has to be re-based to
// continue there. known is false, and any sequence number will do, while none was sealed.
func (tx *TX) Next(ssrc uint32) (seq uint16, known bool) {
	_, s, _ := tx.find(ssrc)
	return uint16(s.rtp.next), s.rtp.next > 0
}

// Expiring reports whether the key is in the last sixteenth of its life, by packets or by index.
func (tx *TX) Expiring() bool {
	if tx.sealed >= expiringRTP || tx.sealedRTCP >= expiringRTCP {
		return true
	}
	for i := range tx.sources[:tx.n] {
		s := &tx.sources[i]
		if s.rtp.next >= expiringRTP || s.rtcp >= expiringRTCP {
			return true
		}
	}
	return false
}
