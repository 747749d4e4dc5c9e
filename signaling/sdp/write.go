package sdp

import (
	"net/netip"
	"strconv"
	"strings"
)

// Side is how one of our legs shows itself in a body that we write.
type Side struct {
	Origin    Origin
	Addr      netip.Addr // for o= and c=; the zero Addr is written 0.0.0.0
	Port      uint16     // of RTP; 0 switches the audio off
	RTCPPort  uint16     // written when it is neither 0 nor Port+1 and there is no Mux
	Mux       bool       // a=rtcp-mux
	Secure    bool       // profile of an offer: RTP/SAVP instead of RTP/AVP
	Crypto    []Crypto   // a=crypto lines; without Secure they make the offer an opportunistic one (RFC 8643)
	Direction Direction
}

// Origin is what o= says beside our address. Version rises by one with every body of a dialog that differs from the one
// before (RFC 3264 section 8).
type Origin struct {
	ID      uint64
	Version uint64
}

// Offer writes an offer with one m-line: payload types and attributes of from's m-line audio, the rest from side. AVPF
// stays AVPF. It returns nil when from has no such m-line. Here and below, audio may as well be the line of a fax (Media.Fax),
// which is written as one: neither keys nor RTCP.
func Offer(from *Session, audio int, side Side) []byte {
	return Update(from, audio, side, nil, -1)
}

// Update writes an offer within a dialog, where m-lines never vanish and keep their order (RFC 3264 section 8). before is
// the last body sent to or received from this peer, slot its audio line: the audio goes there and all other lines of
// before are repeated with port 0. With a slot that before does not have the audio becomes the last line.
func Update(from *Session, audio int, side Side, before *Session, slot int) []byte {
	if !from.has(audio) {
		return nil
	}
	m := &from.media[audio]
	b := appendHead(make([]byte, 0, side.room(from.blocks[audio], before)), side)
	if before != nil {
		for i := range before.media {
			if i == slot {
				b = appendMedia(b, from.blocks[audio], m, profile(side.Secure, m.feedback()), side)
			} else {
				b = appendRefused(b, &before.media[i])
			}
		}
	}
	if !before.has(slot) {
		b = appendMedia(b, from.blocks[audio], m, profile(side.Secure, m.feedback()), side)
	}
	return b
}

// Answer writes the answer to offer: the same m-lines in the same order and with the same profile (RFC 3264 section 6).
// Line offeredAudio is accepted with the payload types and attributes of answer's line answeredAudio and the rest from
// side; all others are refused with port 0. So is the audio when answer is nil, has no such line or refuses it, or side has
// no port, or one line is audio and the other a fax.
func Answer(offer *Session, offeredAudio int, answer *Session, answeredAudio int, side Side) []byte {
	accepted := side.Port != 0 && answer.has(answeredAudio) &&
		answer.media[answeredAudio].usable()
	var block []line
	if accepted {
		block = answer.blocks[answeredAudio]
	}
	b := appendHead(make([]byte, 0, side.room(block, offer)), side)
	for i := range offer.media {
		m := &offer.media[i]
		if i == offeredAudio && accepted && !m.Rejected() && m.Fax() == answer.media[answeredAudio].Fax() {
			b = appendMedia(b, block, &answer.media[answeredAudio], m.Proto, side)
		} else {
			b = appendRefused(b, m)
		}
	}
	return b
}

// Sizes of what we write by ourselves, for one buffer that need not grow.
const (
	roomHead   = 192 // session's part: twice an IPv6 address, two numbers of 20 digits, 50 letters
	roomMedia  = 64  // port, profile, a=rtcp or a=rtcp-mux, direction
	roomCrypto = 128 // tag, suite, 44 bytes of key in base64; not an MKI
)

// room is the size of a body with one block of lines, and with the m-lines of another body refused beside it. It is a
// guess, for the most part too high: some lines do not cross.
func (s *Side) room(block []line, others *Session) int {
	size := roomHead + written(block) + roomMedia + len(s.Crypto)*roomCrypto
	if others != nil && len(others.media) > 1 {
		for _, o := range others.blocks {
			size += written(o[:1])
		}
	}
	return size
}

func profile(secure, feedback bool) string {
	switch {
	case secure && feedback:
		return "RTP/SAVPF"
	case secure:
		return "RTP/SAVP"
	case feedback:
		return "RTP/AVPF"
	}
	return "RTP/AVP"
}

// appendHead writes the session's part. Nothing in it comes from the other side.
func appendHead(b []byte, side Side) []byte {
	addr := side.Addr.Unmap().WithZone("")
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	family := "IN IP4 "
	if addr.Is6() {
		family = "IN IP6 "
	}
	b = append(b, "v=0\r\no=- "...)
	b = strconv.AppendUint(b, side.Origin.ID, 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, side.Origin.Version, 10)
	b = append(b, ' ')
	b = addr.AppendTo(append(b, family...))
	b = append(b, "\r\ns=-\r\nc="...)
	b = addr.AppendTo(append(b, family...))
	return append(b, "\r\nt=0 0\r\n"...)
}

// appendMedia writes the block that m was read from as what it is.
func appendMedia(b []byte, block []line, m *Media, proto string, side Side) []byte {
	if m.Fax() {
		return appendFax(b, block[1:], side)
	}
	return appendAudio(b, block, m, proto, side)
}

// appendHeadOf begins an m= line: all but its formats.
func appendHeadOf(b []byte, kind string, port uint16, proto string) []byte {
	b = append(append(append(b, "m="...), kind...), ' ')
	b = strconv.AppendUint(b, uint64(port), 10)
	return append(append(b, ' '), proto...)
}

// appendAudio writes the audio block: what crosses of the block that m was read from, then what is ours.
func appendAudio(b []byte, block []line, m *Media, proto string, side Side) []byte {
	if len(m.Payloads) == 0 {
		return append(appendHeadOf(b, "audio", 0, proto), " 0\r\n"...) // nothing to be sent: refused
	}
	b = appendHeadOf(b, "audio", side.Port, proto)
	for _, p := range m.Payloads {
		b = strconv.AppendUint(append(b, ' '), uint64(p.Type), 10)
	}
	b = append(b, "\r\n"...)
	if side.Port == 0 {
		return b
	}
	b = appendCrossing(b, block[1:], m)
	return appendSide(b, side)
}

// appendCrossing writes the lines of the other side that may be shown, b= before a= as the grammar has it.
func appendCrossing(b []byte, lines []line, m *Media) []byte {
	b = appendBandwidth(b, lines)
	var mapped, formatted [128]bool
	for i := range lines {
		l := &lines[i]
		if l.kind != 'a' {
			continue
		}
		name, value := l.attribute()
		name = strings.ToLower(name)
		if !crosses(name, value) {
			continue
		}
		switch name {
		case "rtpmap":
			if !m.first(&mapped, value) {
				continue
			}
		case "fmtp":
			if !m.first(&formatted, value) {
				continue
			}
		case "rtcp-fb":
			if p, _ := m.payload(value); p == nil && !strings.HasPrefix(value, "*") {
				continue
			}
		}
		b = l.appendTo(b)
	}
	return b
}

func appendBandwidth(b []byte, lines []line) []byte {
	for i := range lines {
		if l := &lines[i]; l.kind == 'b' && bandwidthCrosses(l.text) {
			b = l.appendTo(b)
		}
	}
	return b
}

// first tells whether value is about a payload type of m and the first such line: a second rtpmap makes peers refuse the
// whole body, and a second fmtp is not allowed (RFC 8866 section 6.15).
func (m *Media) first(seen *[128]bool, value string) bool {
	p, _ := m.payload(value)
	if p == nil || seen[p.Type] {
		return false
	}
	seen[p.Type] = true
	return true
}

// appendSide writes the attributes that are ours.
func appendSide(b []byte, side Side) []byte {
	switch {
	case side.Mux:
		b = append(b, "a=rtcp-mux\r\n"...)
	case side.RTCPPort != 0 && uint32(side.RTCPPort) != uint32(side.Port)+1:
		b = strconv.AppendUint(append(b, "a=rtcp:"...), uint64(side.RTCPPort), 10)
		b = append(b, "\r\n"...)
	}
	for _, c := range side.Crypto {
		b = append(c.appendLine(b), "\r\n"...)
	}
	b = append(append(b, "a="...), side.Direction.String()...)
	return append(b, "\r\n"...)
}

// appendRefused repeats an m-line of the peer's dialog with port 0 and nothing else.
func appendRefused(b []byte, m *Media) []byte {
	b = append(append(b, "m="...), m.Type...)
	b = append(append(b, " 0 "...), m.Proto...)
	if len(m.Formats) == 0 {
		b = append(b, " 0"...) // the grammar wants one
	}
	for _, f := range m.Formats {
		b = append(append(b, ' '), f...)
	}
	return append(b, "\r\n"...)
}
