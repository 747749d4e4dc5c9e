// Package rtp is a view over the bytes of RTP and RTCP packets: it finds offsets, judges lengths and rewrites fields in
// place. It never copies, keeps or allocates.
//
// The failure it prevents: a header that lies about its length (CSRC count, extension, padding, RTCP length) makes a later
// step read or decrypt past the packet; TestEveryLengthOfEveryHeaderShape walks all of them. What does not live here: SRTP,
// sequence arithmetic, whose packet it is, and padding of a packet that is still encrypted.
package rtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

// MinRTP is the length of the fixed RTP header (RFC 3550 section 5.1), in bytes: what is shorter is no RTP packet.
const MinRTP = 12

// Sizes and fields of the RTP header, in bytes.
const (
	csrcLen      = 4
	extensionLen = 4 // profile and length of an extension (section 5.3.1), before its words
	version      = 2

	offSeq  = 2
	offSSRC = 8
)

// Kind is what a datagram on a media port claims to be.
type Kind uint8

// The kinds. Other is everything without a meaning on a media port, ZRTP and TURN channels included.
const (
	Other Kind = iota
	Short      // empty, or one byte that would begin RTP or RTCP
	RTP
	RTCP
	STUN
	DTLS
)

var kindNames = [...]string{Other: "other", Short: "short", RTP: "rtp", RTCP: "rtcp", STUN: "stun", DTLS: "dtls"}

// String returns the kind's name for logs and tests.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Classify tells kinds apart by the first byte (RFC 7983 section 7), and RTCP from RTP by the second (RFC 5761 section 4:
// payload types 64 to 95 with the marker bit are RTCP packet types 192 to 223). It holds for SRTP and SRTCP too: both bytes
// stay in the clear. It is a first look, not a judgement: Parse and ParseRTCP judge.
func Classify(b []byte) Kind {
	if len(b) == 0 {
		return Short
	}
	switch first := b[0]; {
	case first <= 3:
		return STUN
	case first >= 20 && first <= 63:
		return DTLS
	case first < 128 || first > 191:
		return Other
	}
	if len(b) < 2 {
		return Short
	}
	if b[1] >= 192 && b[1] <= 223 {
		return RTCP
	}
	return RTP
}

// View is the parsed header of one RTP or SRTP packet. It holds no reference to the bytes.
type View struct {
	Header    int // offset of the payload, bytes: CSRC list and extension included
	SSRC      uint32
	Timestamp uint32
	Seq       uint16
	PT        uint8 // payload type, 7 bits
	Marker    bool
	Padding   bool // the P bit; the padding itself is judged by PayloadLen, after decryption
}

// Parse finds the header of an RTP or SRTP packet (RFC 3550 section 5.1; RFC 3711 leaves header and extension in the
// clear). TooShort: less than the fixed header. BadHeader: another version, or a CSRC list or extension that reaches past
// the end. An empty payload is a packet like any other.
func Parse(b []byte) (View, verdict.Verdict) {
	if len(b) < MinRTP {
		return View{}, verdict.TooShort
	}
	if b[0]>>6 != version {
		return View{}, verdict.BadHeader
	}
	header := MinRTP + csrcLen*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if header+extensionLen > len(b) {
			return View{}, verdict.BadHeader
		}
		header += extensionLen + 4*int(binary.BigEndian.Uint16(b[header+2:]))
	}
	if header > len(b) {
		return View{}, verdict.BadHeader
	}
	return View{
		Header:    header,
		SSRC:      binary.BigEndian.Uint32(b[offSSRC:]),
		Timestamp: binary.BigEndian.Uint32(b[4:]),
		Seq:       binary.BigEndian.Uint16(b[offSeq:]),
		PT:        b[1] & 0x7f,
		Marker:    b[1]&0x80 != 0,
		Padding:   b[0]&0x20 != 0,
	}, verdict.Forward
}

// PayloadLen returns the bytes of payload of a plain packet, without its padding (RFC 3550 section 5.1). BadHeader: a
// padding length of 0 or one that reaches into the header. v must be the view of b.
func PayloadLen(b []byte, v View) (int, verdict.Verdict) {
	payload := len(b) - v.Header
	if payload < 0 {
		return 0, verdict.BadHeader
	}
	if !v.Padding {
		return payload, verdict.Forward
	}
	if payload == 0 {
		return 0, verdict.BadHeader
	}
	padding := int(b[len(b)-1])
	if padding == 0 || padding > payload {
		return 0, verdict.BadHeader
	}
	return payload - padding, verdict.Forward
}

// PutSeq writes the sequence number of a packet that Parse let through.
func PutSeq(b []byte, seq uint16) { binary.BigEndian.PutUint16(b[offSeq:], seq) }

// PutSSRC writes the SSRC of a packet that Parse let through.
func PutSSRC(b []byte, ssrc uint32) { binary.BigEndian.PutUint32(b[offSSRC:], ssrc) }

// SSRC reads the SSRC of a packet of at least MinRTP bytes.
func SSRC(b []byte) uint32 { return binary.BigEndian.Uint32(b[offSSRC:]) }
