package b2bua

import (
	"slices"
	"strconv"
	"strings"

	"tandem/signaling/sdp"
)

// An answer may name formats beyond the offer (RFC 3264 section 6.1). To the side that made the offer they are of no use: it may
// not be sent them, and one that takes the first format for the codec of the call stays silent. So only those
// that were offered go on to it, and an answer with none of them is no answer: each side would speak what the other never
// heard of.

// staticTypes are payload types whose codec is fixed (RFC 3551 section 6); the others are what a=rtpmap says.
const staticTypes = 96

// offeredOnly leaves the formats out of an answer that were not offered. by is what the other side offered; it decides in most
// cases, our own offer in the rest.
func (m *Media) offeredOnly(by *Media) error {
	got, asked := m.mline(), by.mline()
	if m.Fax || got == nil || asked != nil && len(beyond(got.Payloads, asked.Payloads)) == 0 {
		return nil
	}
	sent, err := readSDP(m.Sent)
	if err != nil || m.Slot >= len(sent.Media()) {
		return nil // not an answer to an offer of ours: there is nothing to hold against it
	}
	offered := sent.Media()[m.Slot].Payloads
	drop := beyond(got.Payloads, offered)
	if len(drop) == 0 {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(got.Payloads), func(p sdp.Payload) bool { return slices.Contains(drop, p.Type) })
	if !slices.ContainsFunc(rest, audible) && slices.ContainsFunc(offered, audible) {
		return refuse(488, "the answer takes no codec that was offered")
	}
	s, err := readSDP(lacking(m.Received, m.Audio, drop))
	if err != nil || m.Audio >= len(s.Media()) {
		return refuse(488, "the answer names codecs that were not offered")
	}
	m.hear(s, m.Audio)
	return nil
}

// beyond lists the payload types of an answer that no format of the offer stands for.
func beyond(answer, offer []sdp.Payload) (drop []uint8) {
	for i := range answer {
		p := &answer[i]
		if !slices.ContainsFunc(offer, func(o sdp.Payload) bool { return sameCodec(p, &o) }) {
			drop = append(drop, p.Type)
		}
	}
	return drop
}

// sameCodec compares two formats: by number where that says what it is, else by name and clock, for an answer may number a codec
// otherwise than the offer did.
func sameCodec(p, o *sdp.Payload) bool {
	named := p.Name != "" && strings.EqualFold(p.Name, o.Name)
	if p.Type == o.Type {
		return p.Type < staticTypes || named || p.Name == "" || o.Name == ""
	}
	return named && p.Clock == o.Clock
}

// audible reports a format that carries speech: neither keys (RFC 4733) nor comfort noise (RFC 3389).
func audible(p sdp.Payload) bool {
	return !strings.EqualFold(p.Name, "telephone-event") && !strings.EqualFold(p.Name, "CN")
}

// lacking is a body whose m-line at index has lost some formats, with their attributes.
func lacking(body string, index int, drop []uint8) string {
	gone := func(format string) bool {
		n, err := strconv.ParseUint(format, 10, 7)
		return err == nil && slices.Contains(drop, uint8(n))
	}
	var b strings.Builder
	at := -1
	for l := range strings.FieldsFuncSeq(body, func(r rune) bool { return r == '\r' || r == '\n' }) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "m=") {
			at++
			if f := strings.Fields(l); at == index && len(f) > 3 {
				l = strings.Join(append(f[:3], slices.DeleteFunc(f[3:], gone)...), " ")
			}
		} else if format, ok := formatOf(l); ok && at == index && gone(format) {
			continue
		}
		b.WriteString(l + "\r\n")
	}
	return b.String()
}

// formatOf is the payload type that an attribute is about.
func formatOf(line string) (string, bool) {
	name, value, _ := strings.Cut(line, ":")
	switch strings.ToLower(name) {
	case "a=rtpmap", "a=fmtp", "a=rtcp-fb":
		f := strings.Fields(value)
		return strings.Join(f[:min(len(f), 1)], ""), len(f) > 0
	}
	return "", false
}
