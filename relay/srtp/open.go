package srtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

const encryptedRTCP = 1 << 31 // the E bit of the SRTCP word, RFC 3711 section 3.4

// OpenRTP verifies and decrypts an SRTP packet in place. pkt is the whole packet, hdr the length of its header with CSRCs
// and extension. On Forward, pkt[:n] is the RTP packet and index its 48-bit index (rollover counter, sequence number). On
// any other verdict pkt and rx are as before.
//
// Verdicts: NoKey, TooShort, TooLong, BadHeader, BadMKI, SSRCFull, KeyExpired, Replayed, TooOld, BadTag.
func (c *Cipher) OpenRTP(rx *RX, pkt []byte, hdr int) (n int, index uint64, v verdict.Verdict) {
	if v = c.lengthRTP(pkt, hdr); v != verdict.Forward {
		return 0, 0, v
	}
	l := c.rtp.from(len(pkt) - c.rtp.size)
	if l.end < hdr {
		return 0, 0, verdict.TooShort
	}
	if !c.mkiMatches(pkt, l) {
		return 0, 0, verdict.BadMKI
	}
	seq, ssrc := binary.BigEndian.Uint16(pkt[2:]), binary.BigEndian.Uint32(pkt[8:])
	slot, source, v := rx.find(ssrc)
	if v != verdict.Forward {
		return 0, 0, v
	}
	if rx.opened >= lifeRTP {
		return 0, 0, verdict.KeyExpired
	}

	index, v = c.prove(&source, pkt, hdr, l, seq)
	if v != verdict.Forward {
		return 0, 0, v
	}

	// Proven: from here on state changes.
	source.rtp.mark(index)
	source.retry = false
	rx.commit(slot, &source)
	rx.opened++
	return l.end, index, verdict.Forward
}

// prove returns the first index that may be used and whose tag verifies. Otherwise it returns BadTag if any tag was
// checked, and if none was, why the likeliest index may not be used.
func (c *Cipher) prove(s *rxSource, pkt []byte, hdr int, l layout, seq uint16) (uint64, verdict.Verdict) {
	refused := verdict.Forward
	list, n := s.candidates(seq)
	for _, index := range list[:n] {
		v := s.rtp.check(index)
		if index >= lifeRTP {
			v = verdict.KeyExpired
		}
		if v != verdict.Forward {
			if refused == verdict.Forward {
				refused = v
			}
			continue
		}
		if c.kernel.openRTP(pkt, hdr, l, s.ssrc, index) {
			return index, verdict.Forward
		}
		refused = verdict.BadTag
	}
	return 0, refused
}

// OpenRTCP verifies and decrypts an SRTCP packet in place. On Forward, pkt[:n] is the compound RTCP packet, whose inner
// lengths nobody has checked yet. On any other verdict pkt and rx are as before.
//
// Verdicts: NoKey, TooShort, TooLong, BadMKI, Unencrypted, SSRCFull, KeyExpired, Replayed, TooOld, BadTag.
func (c *Cipher) OpenRTCP(rx *RX, pkt []byte) (n int, v verdict.Verdict) {
	if v = c.lengthRTCP(pkt); v != verdict.Forward {
		return 0, v
	}
	l := c.rtcp.from(len(pkt) - c.rtcp.size)
	if l.end < headerRTCP {
		return 0, verdict.TooShort
	}
	if !c.mkiMatches(pkt, l) {
		return 0, verdict.BadMKI
	}
	ssrc, word := binary.BigEndian.Uint32(pkt[4:]), binary.BigEndian.Uint32(pkt[l.word:])
	if word&encryptedRTCP == 0 && !c.unencryptedRTCP {
		return 0, verdict.Unencrypted
	}
	slot, source, v := rx.find(ssrc)
	if v != verdict.Forward {
		return 0, v
	}
	if rx.openedRTCP >= lifeRTCP {
		return 0, verdict.KeyExpired
	}
	index := uint64(word &^ encryptedRTCP)
	if v = source.rtcp.check(index); v != verdict.Forward {
		return 0, v
	}
	if !c.kernel.openRTCP(pkt, l, ssrc, word) {
		return 0, verdict.BadTag
	}

	// Proven: from here on state changes.
	source.rtcp.mark(index)
	rx.commit(slot, &source)
	rx.openedRTCP++
	return l.end, verdict.Forward
}
