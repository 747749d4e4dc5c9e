package sdp

import (
	"slices"
	"strings"
)

// A fax as data is an m-line of its own kind, m=image with UDPTL (ITU-T T.38 annex D, RFC 3362): it takes the place of the audio
// for as long as the fax lasts, in the audio's own line or beside it with the audio's port at 0. Whoever passes one on shows
// our address and port, and of the author the attributes that describe the fax.

// Names of the m-line, in small letters.
const (
	faxType   = "image"
	faxProto  = "udptl" // neither TCP nor DTLS (RFC 7345)
	faxFormat = "t38"
)

// faxAttributes are those of T.38 table D.1 and RFC 3362, by lower-case name, with the two spellings of the bit rate.
var faxAttributes = map[string]bool{
	"t38faxversion": true, "t38maxbitrate": true, "t38faxmaxbitrate": true, "t38faxfillbitremoval": true, "t38faxtranscodingmmr": true,
	"t38faxtranscodingjbig": true, "t38faxratemanagement": true, "t38faxmaxbuffer": true, "t38faxmaxdatagram": true, "t38faxmaxifp": true,
	"t38faxudpec": true, "t38faxudpecdepth": true, "t38faxudpfecmaxspan": true, "t38vendorinfo": true, "t38modemtype": true,
}

// Fax tells whether the line is T.38 over UDPTL.
func (m Media) Fax() bool {
	return strings.EqualFold(m.Type, faxType) && strings.EqualFold(m.Proto, faxProto) &&
		slices.ContainsFunc(m.Formats, func(f string) bool { return strings.EqualFold(f, faxFormat) })
}

// Fax returns the index of the first active m-line of T.38. Whether there is active audio beside it is Audio's answer.
func (s *Session) Fax() (index int, ok bool) {
	index = slices.IndexFunc(s.media, func(m Media) bool { return m.Fax() && !m.Rejected() })
	return max(index, 0), index >= 0
}

// Place returns the m-line of s in which a later body of the dialog should have its audio, or its fax: slot, the line in use, if
// it is of that kind, else the first that is. Without one the line in use changes its kind (RFC 3264 section 8.3.3).
func (s *Session) Place(fax bool, slot int) int {
	fits := func(m Media) bool { return m.Fax() == fax && (fax || strings.EqualFold(m.Type, "audio")) }
	if s.has(slot) && fits(s.media[slot]) {
		return slot
	}
	if i := slices.IndexFunc(s.media, fits); i >= 0 {
		return i
	}
	return slot
}

// usable tells whether the line has something that can be sent.
func (m *Media) usable() bool { return !m.Rejected() && (len(m.Payloads) > 0 || m.Fax()) }

// appendFax writes the block of a fax: what crosses of the block that it was read from, and our port.
func appendFax(b []byte, block []line, side Side) []byte {
	b = appendHeadOf(b, faxType, side.Port, faxProto)
	b = append(append(append(b, ' '), faxFormat...), "\r\n"...)
	if side.Port == 0 {
		return b
	}
	b = appendBandwidth(b, block)
	for i := range block {
		l := &block[i]
		if name, value := l.attribute(); l.kind == 'a' && faxAttributes[strings.ToLower(name)] && faxWords(value) {
			b = l.appendTo(b)
		}
	}
	if side.Direction != Sendrecv {
		b = append(append(append(b, "a="...), side.Direction.String()...), "\r\n"...)
	}
	return b
}

// faxWords tells whether a value is made as those of T.38 are: words of letters and digits, and numbers. No address is.
func faxWords(text string) bool {
	const longest = 24 // transferredTCF, t38UDPRedundancy; beyond it stands an identifier
	for w := range strings.FieldsSeq(text) {
		for i := 0; i < len(w); i++ {
			if !letter(w[i]) && !digit(w[i]) {
				return false
			}
		}
		if len(w) > longest {
			return false
		}
	}
	return true
}
