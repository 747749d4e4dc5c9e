package srtp

import (
	"crypto/subtle"

	"tandem/relay/verdict"
)

// Sizes in bytes.
const (
	headerRTP  = 12   // RFC 3550 section 5.1 without CSRCs
	headerRTCP = 8    // the part of the first RTCP packet that stays in the clear, RFC 3711 section 3.4
	maxPacket  = 2048 // a receive buffer of the relay; also far below the 2^16 blocks of a counter-mode packet
)

// layout is where a protected packet's trailing fields start. The orders differ:
//
//	         AES-CM, RFC 3711 figures 1 and 2    AES-GCM, RFC 7714 sections 8.2 and 9.2
//	SRTP     payload | MKI | tag                 payload | tag | MKI
//	SRTCP    body | E+index | MKI | tag          body | tag | E+index | MKI
type layout struct {
	end  int // of the payload or body: it starts the trailer
	tag  int
	word int // E bit and SRTCP index; SRTCP only
	mki  int
	size int // of the whole packet
}

// trailers returns the layouts of an SRTP and an SRTCP packet whose payload ends at 0: their sizes are what sealing adds.
func trailers(s Suite, mki int) (rtp, rtcp layout) {
	tag, tagRTCP := s.TagRTP(), s.TagRTCP()
	if s.isGCM() {
		rtp = layout{tag: 0, mki: tag, size: tag + mki}
		rtcp = layout{tag: 0, word: tagRTCP, mki: tagRTCP + wordRTCP, size: tagRTCP + wordRTCP + mki}
		return rtp, rtcp
	}
	rtp = layout{mki: 0, tag: mki, size: mki + tag}
	rtcp = layout{word: 0, mki: wordRTCP, tag: wordRTCP + mki, size: wordRTCP + mki + tagRTCP}
	return rtp, rtcp
}

// from returns the layout of a packet whose payload ends at end.
func (l layout) from(end int) layout {
	return layout{end: end, tag: end + l.tag, word: end + l.word, mki: end + l.mki, size: end + l.size}
}

// lengthRTP checks the lengths that both directions depend on.
func (c *Cipher) lengthRTP(pkt []byte, hdr int) verdict.Verdict {
	switch {
	case c.kernel == nil:
		return verdict.NoKey
	case len(pkt) < headerRTP:
		return verdict.TooShort
	case len(pkt) > maxPacket:
		return verdict.TooLong
	case hdr < headerRTP || hdr > len(pkt):
		return verdict.BadHeader
	}
	return verdict.Forward
}

func (c *Cipher) lengthRTCP(pkt []byte) verdict.Verdict {
	switch {
	case c.kernel == nil:
		return verdict.NoKey
	case len(pkt) < headerRTCP:
		return verdict.TooShort
	case len(pkt) > maxPacket:
		return verdict.TooLong
	}
	return verdict.Forward
}

// mkiMatches compares the packet's MKI with the negotiated one; it is true when none was negotiated.
func (c *Cipher) mkiMatches(pkt []byte, l layout) bool {
	n := int(c.mkiLen)
	if n == 0 {
		return true
	}
	return subtle.ConstantTimeCompare(pkt[l.mki:l.mki+n], c.mki[:n]) == 1
}
