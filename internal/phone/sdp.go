package phone

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	payloadPCMU  = 0   // static (RFC 3551 section 6)
	payloadEvent = 101 // telephone-event (RFC 4733), where we choose the number
)

// flow is a direction as its sender sees it (RFC 3264 section 5.1).
type flow string

const (
	sendrecv flow = "sendrecv"
	sendonly flow = "sendonly"
	recvonly flow = "recvonly"
	inactive flow = "inactive"
)

func (f flow) sends() bool    { return f == sendrecv || f == sendonly }
func (f flow) receives() bool { return f == sendrecv || f == recvonly }

// answer is what remains of f when the other side's offer is o (RFC 3264 section 6.1).
func (f flow) answer(o flow) flow {
	sends, receives := f.sends() && o.receives(), f.receives() && o.sends()
	switch {
	case sends && receives:
		return sendrecv
	case sends:
		return sendonly
	case receives:
		return recvonly
	}
	return inactive
}

// description is what a phone says or understands of SDP (RFC 4566): one audio stream.
type description struct {
	id      uint64 // of o=
	version uint64 // of o=, raised with each change
	rtp     netip.AddrPort
	rtcp    netip.AddrPort
	secure  bool // RTP/SAVP
	keys    []key
	flow    flow
	event   int      // payload type of telephone-event; -1: none
	others  []string // refused m-lines before and after the audio, as they are to be answered
	place   int      // of the audio among them
}

// key is one a=crypto line (RFC 4568 section 9.1). inline is the master key and salt in base64.
type key struct {
	tag    string
	suite  string
	inline string
}

// write makes the body.
func (d *description) write() []byte {
	var b bytes.Buffer
	family, proto := "IP4", "RTP/AVP"
	if d.rtp.Addr().Is6() {
		family = "IP6"
	}
	if d.secure {
		proto = "RTP/SAVP"
	}
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\n", d.id, d.version, family, d.rtp.Addr())
	fmt.Fprintf(&b, "c=IN %s %s\r\nt=0 0\r\n", family, d.rtp.Addr())
	for _, line := range d.others[:d.place] {
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	fmt.Fprintf(&b, "m=audio %d %s %d", d.rtp.Port(), proto, payloadPCMU)
	if d.event >= 0 {
		fmt.Fprintf(&b, " %d", d.event)
	}
	fmt.Fprintf(&b, "\r\na=rtpmap:%d PCMU/8000\r\n", payloadPCMU)
	if d.event >= 0 {
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", d.event, d.event)
	}
	fmt.Fprintf(&b, "a=ptime:20\r\na=rtcp:%d\r\n", d.rtcp.Port())
	for _, k := range d.keys {
		fmt.Fprintf(&b, "a=crypto:%s %s inline:%s\r\n", k.tag, k.suite, k.inline)
	}
	fmt.Fprintf(&b, "a=%s\r\n", d.flow)
	for _, line := range d.others[d.place:] {
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	return b.Bytes()
}

// scan reads a body. Of several audio streams the first that is not refused counts.
func scan(body []byte) (description, error) {
	s := scanner{d: description{flow: sendrecv, event: -1}}
	for line := range bytes.Lines(body) {
		text := strings.TrimRight(string(line), "\r\n")
		if len(text) < 2 || text[1] != '=' {
			continue
		}
		var err error
		switch value := text[2:]; text[0] {
		case 'c':
			err = s.connection(value)
		case 'm':
			err = s.media(value)
		case 'a':
			s.attribute(value)
		}
		if err != nil {
			return description{}, fmt.Errorf("sdp: %q: %w", text, err)
		}
	}
	return s.finish()
}

// scanner is what was read so far.
type scanner struct {
	d        description
	session  netip.Addr // c= before the first m=
	addr     netip.Addr // c= of the audio
	port     uint16
	rtcpPort uint16
	pcmu     bool
	inMedia  bool
	found    bool // an audio line was taken
	ours     bool // and the attributes that come belong to it
}

// connection reads "IN IP4 192.0.2.1".
func (s *scanner) connection(value string) error {
	fields := strings.Fields(value)
	if len(fields) != 3 {
		return errors.New("want IN, the family and the address")
	}
	addr, err := netip.ParseAddr(fields[2])
	if err != nil {
		return err
	}
	switch {
	case s.ours:
		s.addr = addr
	case !s.inMedia:
		s.session = addr
	}
	return nil
}

// media reads "audio 49170 RTP/AVP 0 101".
func (s *scanner) media(value string) error {
	fields := strings.Fields(value)
	if len(fields) < 4 {
		return errors.New("want the type, a port, the profile and formats")
	}
	port, err := strconv.ParseUint(fields[1], 10, 16)
	if err != nil {
		return err
	}
	s.inMedia, s.ours = true, false
	proto := fields[2]
	if s.found || port == 0 || fields[0] != "audio" || proto != "RTP/AVP" && proto != "RTP/SAVP" {
		s.d.others = append(s.d.others, fmt.Sprintf("m=%s 0 %s %s", fields[0], proto, fields[3]))
		return nil
	}
	s.found, s.ours = true, true
	s.port, s.d.secure, s.d.place = uint16(port), proto == "RTP/SAVP", len(s.d.others)
	for _, format := range fields[3:] {
		s.pcmu = s.pcmu || format == "0"
	}
	return nil
}

// attribute reads the ones that matter. A direction may stand at the session, too.
func (s *scanner) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	switch f := flow(name); f {
	case sendrecv, sendonly, recvonly, inactive:
		if s.ours || !s.inMedia {
			s.d.flow = f
		}
	}
	if !s.ours {
		return
	}
	switch name {
	case "rtcp":
		first, _, _ := strings.Cut(rest, " ")
		if port, err := strconv.ParseUint(first, 10, 16); err == nil {
			s.rtcpPort = uint16(port)
		}
	case "rtpmap":
		number, encoding, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseUint(number, 10, 7); err == nil && strings.EqualFold(encoding, "telephone-event/8000") {
			s.d.event = int(n)
		}
	case "crypto":
		if k, ok := scanKey(rest); ok {
			s.d.keys = append(s.d.keys, k)
		}
	}
}

// scanKey reads "1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|2^31". Lines with an MKI, several keys or session parameters are
// not for us.
func scanKey(value string) (key, bool) {
	fields := strings.Fields(value)
	if len(fields) != 3 {
		return key{}, false
	}
	inline, ok := strings.CutPrefix(fields[2], "inline:")
	if !ok || strings.Contains(inline, ";") {
		return key{}, false
	}
	inline, further, _ := strings.Cut(inline, "|")
	if strings.ContainsAny(further, ":|") {
		return key{}, false
	}
	return key{tag: fields[0], suite: fields[1], inline: inline}, true
}

// finish puts the parts together.
func (s *scanner) finish() (description, error) {
	switch {
	case !s.found:
		return description{}, errors.New("sdp: no audio over RTP/AVP or RTP/SAVP")
	case !s.pcmu:
		return description{}, errors.New("sdp: no PCMU among the formats")
	}
	if !s.addr.IsValid() {
		s.addr = s.session
	}
	if !s.addr.IsValid() {
		return description{}, errors.New("sdp: no c= line")
	}
	if s.addr.IsUnspecified() { // hold as in RFC 2543
		s.d.flow = s.d.flow.deaf()
	}
	if s.rtcpPort == 0 {
		s.rtcpPort = s.port + 1
	}
	s.d.rtp = netip.AddrPortFrom(s.addr.Unmap(), s.port)
	s.d.rtcp = netip.AddrPortFrom(s.addr.Unmap(), s.rtcpPort)
	return s.d, nil
}

// deaf is the direction of somebody who gives no address to send to.
func (f flow) deaf() flow {
	if f.sends() {
		return sendonly
	}
	return inactive
}
