package rtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

// MinRTCP is the shortest datagram taken for RTCP, in bytes: a header and one SSRC. Four bytes (an empty BYE) say nothing
// that a relay needs, and are what attackers send to provoke an answer or to move an address.
const MinRTCP = 8

// rtcpHeaderLen is the common part of every RTCP packet: version, padding, count, type and length (RFC 3550 section 6.4.1).
const rtcpHeaderLen = 4

// ParseRTCP judges a plain compound RTCP packet (RFC 3550 section 6.1 and appendix A.2): every packet has version 2, the
// lengths add up to the end exactly, and only the last one may be padded, by a non-zero multiple of four within its body.
// Reduced-size compounds (RFC 5506) and unknown packet types are fine. TooShort: less than 8 bytes. BadRTCP: the rest.
// Of SRTCP only the first packet's header and SSRC are in the clear: judge it after opening.
func ParseRTCP(b []byte) verdict.Verdict {
	if len(b) < MinRTCP {
		return verdict.TooShort
	}
	for len(b) > 0 {
		n := rtcpLen(b)
		if n == 0 {
			return verdict.BadRTCP
		}
		if b[0]&0x20 != 0 {
			padding := int(b[n-1])
			if n != len(b) || padding == 0 || padding%4 != 0 || padding > n-rtcpHeaderLen {
				return verdict.BadRTCP
			}
		}
		b = b[n:]
	}
	return verdict.Forward
}

// rtcpLen returns the bytes of the first packet in b, header included; 0 if b does not begin with a whole packet.
func rtcpLen(b []byte) int {
	if len(b) < rtcpHeaderLen || b[0]>>6 != version {
		return 0
	}
	n := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
	if n > len(b) {
		return 0
	}
	return n
}
