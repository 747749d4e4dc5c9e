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

func (c *Cipher) layoutRTP(end int) layout {
	tag, mki := c.suite.TagRTP(), int(c.mkiLen)
	l := layout{end: end, size: end + tag + mki}
	if c.suite.isGCM() {
		l.tag, l.mki = end, end+tag
	} else {
		l.mki, l.tag = end, end+mki
	}
	return l
}

func (c *Cipher) layoutRTCP(end int) layout {
	tag, mki := c.suite.TagRTCP(), int(c.mkiLen)
	l := layout{end: end, size: end + tag + wordRTCP + mki}
	if c.suite.isGCM() {
		l.tag, l.word, l.mki = end, end+tag, end+tag+wordRTCP
	} else {
		l.word, l.mki, l.tag = end, end+wordRTCP, end+wordRTCP+mki
	}
	return l
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
	return subtle.ConstantTimeCompare(pkt[l.mki:l.mki+n], c.mki[:n]) == 1
}
