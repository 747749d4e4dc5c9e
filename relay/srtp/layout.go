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
}

// trailerRTP is what sealing appends to an RTP packet, in bytes.
func (k *Schedule) trailerRTP() int { return k.tagRTP() + k.mki() }

// layoutRTP returns the layout of an SRTP packet whose payload ends at end.
func (k *Schedule) layoutRTP(end int) layout {
	if k.Suite().isGCM() {
		return layout{end: end, tag: end, mki: end + k.tagRTP()}
	}
	return layout{end: end, mki: end, tag: end + k.mki()}
}

// trailerRTCP is what sealing appends to a compound RTCP packet, in bytes.
func (k *Schedule) trailerRTCP() int { return k.Suite().TagRTCP() + wordRTCP + k.mki() }

// layoutRTCP returns the layout of an SRTCP packet whose body ends at end.
func (k *Schedule) layoutRTCP(end int) layout {
	if k.Suite().isGCM() {
		return layout{end: end, tag: end, word: end + tagGCM, mki: end + tagGCM + wordRTCP}
	}
	return layout{end: end, word: end, mki: end + wordRTCP, tag: end + wordRTCP + k.mki()}
}

// lengthRTP checks the lengths that both directions depend on.
func (k *Schedule) lengthRTP(pkt []byte, hdr int) verdict.Verdict {
	switch {
	case k.Suite() == None:
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

func (k *Schedule) lengthRTCP(pkt []byte) verdict.Verdict {
	switch {
	case k.Suite() == None:
		return verdict.NoKey
	case len(pkt) < headerRTCP:
		return verdict.TooShort
	case len(pkt) > maxPacket:
		return verdict.TooLong
	}
	return verdict.Forward
}

// mkiMatches compares the packet's MKI with the negotiated one; it is true when none was negotiated.
func (k *Schedule) mkiMatches(keys *Keys, pkt []byte, l layout) bool {
	n := k.mki()
	if n == 0 {
		return true
	}
	return subtle.ConstantTimeCompare(pkt[l.mki:l.mki+n], keys.mki[:n]) == 1
}

// putMKI writes the negotiated MKI, if there is one.
func (k *Schedule) putMKI(keys *Keys, pkt []byte, l layout) {
	if n := k.mki(); n > 0 {
		copy(pkt[l.mki:], keys.mki[:n])
	}
}
