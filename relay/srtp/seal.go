package srtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

// SealRTP encrypts an RTP packet in place and appends MKI and tag within the capacity of pkt. hdr is the length of its
// header with CSRCs and extension; sequence number and SSRC are final. On Forward, pkt[:n] is the SRTP packet. On any other
// verdict pkt and tx are as before, and the packet must not be sent.
//
// The index is estimated as a sender does: forward by up to half of the sequence number space advances, anything else is
// older and is sealed only if it is within the window and was not sealed yet. No index is sealed twice.
//
// Verdicts: NoKey, TooShort, TooLong (also: too little capacity), BadHeader, SealFull, KeyExpired, AlreadySealed, TooOld.
func (c *Cipher) SealRTP(tx *TX, pkt []byte, hdr int) (n int, v verdict.Verdict) {
	if v = c.lengthRTP(pkt, hdr); v != verdict.Forward {
		return 0, v
	}
	l := c.rtp.from(len(pkt))
	if l.size > min(cap(pkt), maxPacket) {
		return 0, verdict.TooLong
	}
	seq, ssrc := binary.BigEndian.Uint16(pkt[2:]), binary.BigEndian.Uint32(pkt[8:])
	slot, source, v := tx.find(ssrc)
	if v != verdict.Forward {
		return 0, v
	}
	if tx.sealed >= lifeRTP {
		return 0, verdict.KeyExpired
	}
	index, v := source.index(seq)
	if v != verdict.Forward {
		return 0, v
	}

	// The index is spent before the cipher sees it: nothing after this line can fail.
	source.rtp.mark(index)
	tx.commit(slot, &source)
	tx.sealed++

	pkt = pkt[:l.size]
	copy(pkt[l.mki:], c.mki[:c.mkiLen])
	c.kernel.sealRTP(pkt, hdr, l, ssrc, index)
	return l.size, verdict.Forward
}

// SealRTCP encrypts a compound RTCP packet in place and appends SRTCP index, MKI and tag within the capacity of pkt. With
// UNENCRYPTED_SRTCP it authenticates only. On Forward, pkt[:n] is the SRTCP packet. On any other verdict pkt and tx are as
// before, and the packet must not be sent.
//
// Verdicts: NoKey, TooShort, TooLong (also: too little capacity), SealFull, KeyExpired.
func (c *Cipher) SealRTCP(tx *TX, pkt []byte) (n int, v verdict.Verdict) {
	if v = c.lengthRTCP(pkt); v != verdict.Forward {
		return 0, v
	}
	l := c.rtcp.from(len(pkt))
	if l.size > min(cap(pkt), maxPacket) {
		return 0, verdict.TooLong
	}
	ssrc := binary.BigEndian.Uint32(pkt[4:])
	slot, source, v := tx.find(ssrc)
	if v != verdict.Forward {
		return 0, v
	}
	if slot == int(tx.n) && slot >= MaxSSRC/2 {
		return 0, verdict.SealFull // the other half is media's: RTCP of a plain peer is easily forged
	}
	index := source.rtcp
	if tx.sealedRTCP >= lifeRTCP || index >= lifeRTCP {
		return 0, verdict.KeyExpired
	}

	// The index is spent before the cipher sees it: nothing after this line can fail.
	source.rtcp++
	tx.commit(slot, &source)
	tx.sealedRTCP++

	word := index | encryptedRTCP
	if c.unencryptedRTCP {
		word = index
	}
	pkt = pkt[:l.size]
	copy(pkt[l.mki:], c.mki[:c.mkiLen])
	binary.BigEndian.PutUint32(pkt[l.word:], word)
	c.kernel.sealRTCP(pkt, l, ssrc, word)
	return l.size, verdict.Forward
}
