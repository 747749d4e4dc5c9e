package rtp

import "encoding/binary"

// RTCP packet types, and the feedback format and report blocks that carry sequence numbers.
const (
	typeSR    = 200 // RFC 3550 section 6.4.1
	typeRR    = 201 // section 6.4.2
	typeSDES  = 202 // section 6.5
	typeBYE   = 203 // section 6.6
	typeAPP   = 204 // section 6.7
	typeRTPFB = 205 // RFC 4585 section 6.2
	typePSFB  = 206 // section 6.3
	typeXR    = 207 // RFC 3611 section 2

	formatNACK = 1 // generic NACK of RTPFB, RFC 4585 section 6.2.1

	xrLossRLE    = 1 // RFC 3611 section 4.1
	xrDupRLE     = 2 // section 4.2
	xrReceipts   = 3 // section 4.3
	xrDLRR       = 5 // section 4.5
	xrStatistics = 6 // section 4.6
	xrVoIP       = 7 // section 4.7
)

// Layout of reports, in bytes.
const (
	srBlocks  = 28 // first report block of an SR: header 4, SSRC 4, sender info 20
	rrBlocks  = 8  // first report block of an RR
	blockLen  = 24 // one report block: SSRC 4, loss 4, extended highest sequence 4, jitter 4, LSR 4, DLSR 4
	blockHigh = 8  // the extended highest sequence number in it
	fbMedia   = 8  // media source SSRC of a feedback packet
	fbFCI     = 12 // its feedback control information
	dlrrLen   = 12 // one sub-block of DLRR
)

// Mapping says how an RTCP packet from one peer is told to the other, when the relay gave a stream other sequence numbers
// or another SSRC (RFC 3550 section 7.1: what a translator must keep consistent). "This side" sent the packet; the
// "opposite media" is what the relay sends to this side and the packet reports about. The zero value changes nothing.
type Mapping struct {
	SenderIn  uint32 // SSRC of this packet's sender as received
	SenderOut uint32 // the same as we send it on
	MediaOut  uint32 // SSRC of the opposite media as this side sees it
	MediaIn   uint32 // the same as its own sender knows it
	SeqOffset uint16 // what was added to the opposite media's sequence numbers on their way to this side
}

// RewriteRTCP applies m in place to a plain compound that ParseRTCP let through: sender SSRCs (SR, RR, SDES, BYE, APP, feedback,
// XR) from SenderIn to SenderOut; SSRCs in report blocks, feedback and XR blocks from MediaOut to MediaIn, and the sequence
// numbers about that media back to what its sender counted. Any other SSRC stays, and a part that does not fit its packet
// is left as it is. It never reads or writes outside b.
func RewriteRTCP(b []byte, m *Mapping) {
	if *m == (Mapping{}) {
		return
	}
	for len(b) > 0 {
		n := rtcpLen(b)
		if n == 0 {
			return
		}
		body := n
		if b[0]&0x20 != 0 {
			body = max(n-int(b[n-1]), rtcpHeaderLen)
		}
		m.packet(b[:body])
		b = b[n:]
	}
}

// packet rewrites one packet of the compound.
func (m *Mapping) packet(p []byte) {
	count := int(p[0] & 0x1f)
	switch p[1] {
	case typeSR:
		m.sender(p, 4)
		m.reports(p, srBlocks, count)
	case typeRR:
		m.sender(p, 4)
		m.reports(p, rrBlocks, count)
	case typeSDES:
		m.chunks(p, count)
	case typeBYE:
		for i := range count {
			m.sender(p, 4+4*i)
		}
	case typeAPP:
		m.sender(p, 4)
	case typeRTPFB:
		m.sender(p, 4)
		if m.media(p, fbMedia) && count == formatNACK {
			for at := fbFCI; at+4 <= len(p); at += 4 {
				m.shift(p, at)
			}
		}
	case typePSFB:
		m.sender(p, 4)
		m.media(p, fbMedia)
	case typeXR:
		m.sender(p, 4)
		m.extended(p)
	}
}

// reports rewrites count report blocks from offset at.
func (m *Mapping) reports(p []byte, at, count int) {
	for ; count > 0 && at+blockLen <= len(p); count-- {
		if m.media(p, at) {
			m.shiftExtended(p, at+blockHigh)
		}
		at += blockLen
	}
}

// chunks rewrites the SSRCs of an SDES packet: each chunk is an SSRC, items (type, length, text) up to a zero type, and
// zeros to the next multiple of four.
func (m *Mapping) chunks(p []byte, count int) {
	at := 4
	for ; count > 0 && at+4 <= len(p); count-- {
		m.sender(p, at)
		at += 4
		for at < len(p) && p[at] != 0 {
			if at+2 > len(p) {
				return
			}
			at += 2 + int(p[at+1])
		}
		at = (at + 4) &^ 3 // past the zero, then to the boundary
	}
}

// extended rewrites the report blocks of an XR packet: each has type, type-specific, length in words without the first.
func (m *Mapping) extended(p []byte) {
	for at := 8; at+4 <= len(p); {
		n := 4 * (int(binary.BigEndian.Uint16(p[at+2:])) + 1)
		if at+n > len(p) {
			return
		}
		block := p[at : at+n]
		switch block[0] {
		case xrLossRLE, xrDupRLE, xrReceipts, xrStatistics:
			if m.media(block, 4) && len(block) >= 12 {
				m.shift(block, 8)  // begin_seq
				m.shift(block, 10) // end_seq: one past the last
			}
		case xrVoIP:
			m.media(block, 4)
		case xrDLRR:
			for sub := 4; sub+dlrrLen <= len(block); sub += dlrrLen {
				m.media(block, sub)
			}
		}
		at += n
	}
}

// sender maps the SSRC at an offset if it is the packet's sender.
func (m *Mapping) sender(p []byte, at int) {
	if at+4 <= len(p) && binary.BigEndian.Uint32(p[at:]) == m.SenderIn {
		binary.BigEndian.PutUint32(p[at:], m.SenderOut)
	}
}

// media maps the SSRC at an offset if it is the opposite media, and tells whether it was.
func (m *Mapping) media(p []byte, at int) bool {
	if at+4 > len(p) || binary.BigEndian.Uint32(p[at:]) != m.MediaOut {
		return false
	}
	binary.BigEndian.PutUint32(p[at:], m.MediaIn)
	return true
}

// shift takes the offset off a 16-bit sequence number.
func (m *Mapping) shift(p []byte, at int) {
	binary.BigEndian.PutUint16(p[at:], binary.BigEndian.Uint16(p[at:])-m.SeqOffset)
}

// shiftExtended takes the offset off a 32-bit extended sequence number, as the signed number nearest to zero: the lower half is then the
// sender's own, and the difference of two reports, which is all that RFC 3550 section 6.4.4 computes with, stays exact
// also where only one of the two counts wraps. The cycle count may differ from the sender's by a constant.
func (m *Mapping) shiftExtended(p []byte, at int) {
	offset := uint32(int32(int16(m.SeqOffset)))
	binary.BigEndian.PutUint32(p[at:], binary.BigEndian.Uint32(p[at:])-offset)
}
