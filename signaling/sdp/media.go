package sdp

import (
	"fmt"
	"net/netip"
	"strings"
)

// Media is one media description, as far as a relay needs it.
type Media struct {
	Type      string   // "audio", "video", "image", "application", as written
	Port      uint16   // 0: rejected or switched off
	Proto     string   // "RTP/AVP", "RTP/SAVP", as written
	Formats   []string // as written, payload types with RTP
	Addr      string   // c= of the media, else of the session: IP literal or FQDN without TTL; empty when there is none
	Hold      bool     // Addr is 0.0.0.0 or ::, hold as in RFC 2543
	Direction Direction
	RTCPAddr  string // a=rtcp (RFC 3605), usually empty
	RTCPPort  uint16 // a=rtcp, else 0: Port+1, or Port with Mux
	Mux       bool   // a=rtcp-mux (RFC 5761)
	Crypto    []Crypto
	Payloads  []Payload // in the order of Formats, each type once; none unless the profile is RTP
	PTime     int       // milliseconds; 0: not given
	AS        int       // b=AS of the media, else of the session: kbit/s with all overhead down to IP (RFC 8866 section 5.8); 0: not given
	TIAS      int       // b=TIAS likewise: bit/s without overhead (RFC 3890 section 6.2)
}

// Payload is one payload type of an RTP m-line.
type Payload struct {
	Type     uint8
	Name     string // encoding name, as written
	Clock    uint32 // Hz; 0: unknown
	Channels uint8
	FMTP     string // value of a=fmtp behind the payload type
}

// Secure tells whether the profile is RTP/SAVP or RTP/SAVPF. A line of another profile with a=crypto is an
// opportunistic offer (RFC 8643) and not secure until answered with a key.
func (m Media) Secure() bool {
	return strings.EqualFold(m.Proto, "RTP/SAVP") || strings.EqualFold(m.Proto, "RTP/SAVPF")
}

// Rejected tells whether the line is refused or switched off (RFC 3264 sections 6 and 8.2).
func (m Media) Rejected() bool { return m.Port == 0 }

// Flow is Direction with hold by address folded in: who gives 0.0.0.0 does not want to receive (RFC 3264 section 8.4).
func (m Media) Flow() Direction {
	return flow(m.Direction.Sends(), m.Direction.Receives() && !m.Hold)
}

// feedback tells whether the profile is one with early RTCP feedback (RFC 4585, RFC 5124).
func (m *Media) feedback() bool {
	return strings.EqualFold(m.Proto, "RTP/AVPF") || strings.EqualFold(m.Proto, "RTP/SAVPF")
}

// rtp tells whether the profile is one that we relay. DTLS-SRTP (UDP/TLS/RTP/SAVP) is none.
func (m *Media) rtp() bool {
	return strings.EqualFold(m.Proto, "RTP/AVP") || m.feedback() || m.Secure()
}

// read fills m from the lines of its block, the m= line first. whole is what the session's part says.
func (m *Media) read(block []line, whole *Media) error {
	if err := m.readHead(block[0]); err != nil {
		return err
	}
	m.Addr, m.Direction = whole.Addr, whole.Direction
	if m.rtp() {
		m.Payloads = readFormats(m.Formats)
	}
	if err := m.readLines(block[1:]); err != nil {
		return err
	}
	m.fillStatic()
	if m.AS == 0 {
		m.AS = whole.AS
	}
	if m.TIAS == 0 {
		m.TIAS = whole.TIAS
	}
	ip, err := netip.ParseAddr(m.Addr)
	m.Hold = err == nil && ip.IsUnspecified()
	return nil
}

// readHead reads "audio 49170/2 RTP/AVP 0 8".
func (m *Media) readHead(l line) error {
	fields := strings.Fields(l.text)
	if len(fields) < 3 {
		return fmt.Errorf("sdp: line %d: want m=type port protocol formats", l.number)
	}
	port, _, _ := strings.Cut(fields[1], "/")
	n, ok := decimal(port, 16)
	if !ok {
		return fmt.Errorf("sdp: line %d: the port of the m= line is not a number from 0 to 65535", l.number)
	}
	m.Type, m.Port, m.Proto, m.Formats = fields[0], uint16(n), fields[2], fields[3:]
	return nil
}

// readLines reads what follows an m= line, or the session's part of a body. Of a repeated line the last one counts.
func (m *Media) readLines(lines []line) error {
	for _, l := range lines {
		switch l.kind {
		case 'c':
			addr, err := readConnection(l)
			if err != nil {
				return err
			}
			m.Addr = addr
		case 'b':
			m.readBandwidth(l.text)
		case 'a':
			m.readAttribute(l.attribute())
		}
	}
	return nil
}

// readConnection reads "IN IP4 224.2.1.1/127/3" and returns the address.
func readConnection(l line) (string, error) {
	host := thirdField(l.text)
	if host == "" {
		return "", fmt.Errorf("sdp: line %d: want c=IN IP4 address or c=IN IP6 address", l.number)
	}
	addr, _, _ := strings.Cut(host, "/")
	return addr, nil
}

// thirdField returns the address of "IN IP4 address" and what else has that form; empty when there is none.
func thirdField(text string) string {
	n := 0
	for field := range strings.FieldsSeq(text) {
		if n++; n == 3 {
			return field
		}
	}
	return ""
}

// readBandwidth takes the two modifiers that say what the media needs. What is malformed is as good as absent.
func (m *Media) readBandwidth(text string) {
	modifier, value, _ := strings.Cut(text, ":")
	n, ok := decimal(value, 31)
	switch {
	case !ok:
	case modifier == "AS":
		m.AS = int(n)
	case modifier == "TIAS":
		m.TIAS = int(n)
	}
}

// readAttribute takes what a relay needs from one attribute. What is malformed is as good as absent, but for a=crypto,
// which is kept with its error.
func (m *Media) readAttribute(name, value string) {
	switch strings.ToLower(name) {
	case "rtcp":
		m.readRTCP(value)
	case "rtcp-mux":
		m.Mux = true
	case "crypto":
		m.readCrypto(value)
	case "ptime":
		if n, _, ok := number(value, 16); ok {
			m.PTime = int(n)
		}
	case "rtpmap":
		m.readMap(value)
	case "fmtp":
		if p, params := m.payload(value); p != nil && p.FMTP == "" {
			p.FMTP = params
		}
	default:
		if d, ok := ParseDirection(name); ok {
			m.Direction = d
		}
	}
}

// readRTCP reads "53020" or "53020 IN IP4 126.16.64.4" (RFC 3605 section 2.1).
func (m *Media) readRTCP(value string) {
	port, rest, ok := number(value, 16)
	if !ok {
		return
	}
	m.RTCPPort, m.RTCPAddr = uint16(port), thirdField(rest)
}

// readCrypto keeps one a=crypto line. A tag used twice cannot be answered, so the second holder of it is unusable.
func (m *Media) readCrypto(value string) {
	c, _ := ParseCrypto(value)
	for i := range m.Crypto {
		if c.Err == nil && m.Crypto[i].Tag == c.Tag {
			c.Err = fmt.Errorf("a=crypto:%d: %w: an earlier line has the same tag", c.Tag, ErrCryptoSyntax)
		}
	}
	m.Crypto = append(m.Crypto, c)
}

// readMap reads "101 telephone-event/8000/1". Of two lines for one payload type the first counts, as with fmtp.
func (m *Media) readMap(value string) {
	p, encoding := m.payload(value)
	if p == nil || p.Name != "" {
		return
	}
	name, rest, _ := strings.Cut(encoding, "/")
	clock, channels, _ := strings.Cut(rest, "/")
	p.Name, p.Clock, p.Channels = trim(name), 0, 1
	if hz, ok := decimal(trim(clock), 32); ok {
		p.Clock = uint32(hz)
	}
	if n, ok := decimal(trim(channels), 8); ok && n > 0 {
		p.Channels = uint8(n)
	}
}

// payload splits "101 rest" and finds the payload type; nil when the m= line does not list it.
func (m *Media) payload(value string) (*Payload, string) {
	pt, rest, ok := number(value, 7)
	if !ok {
		return nil, ""
	}
	for i := range m.Payloads {
		if m.Payloads[i].Type == uint8(pt) {
			return &m.Payloads[i], rest
		}
	}
	return nil, ""
}

// readFormats turns the formats of an m= line into payloads: each type from 0 to 127 once, other words left out.
func readFormats(formats []string) []Payload {
	var seen [128]bool
	payloads := make([]Payload, 0, min(len(formats), len(seen)))
	for _, f := range formats {
		pt, ok := decimal(f, 7)
		if !ok || seen[pt] {
			continue
		}
		seen[pt] = true
		payloads = append(payloads, Payload{Type: uint8(pt), Channels: 1})
	}
	return payloads
}

// fillStatic names the payload types that came without an rtpmap.
func (m *Media) fillStatic() {
	for i := range m.Payloads {
		p := &m.Payloads[i]
		if p.Name == "" && int(p.Type) < len(static) {
			p.Name, p.Clock, p.Channels = static[p.Type].name, static[p.Type].clock, max(static[p.Type].channels, 1)
		}
	}
}

// static are the audio payload types that need no rtpmap (RFC 3551 table 4). G722 has the clock of an old mistake.
var static = [...]struct {
	name     string
	clock    uint32
	channels uint8
}{
	0:  {"PCMU", 8000, 1},
	3:  {"GSM", 8000, 1},
	4:  {"G723", 8000, 1},
	5:  {"DVI4", 8000, 1},
	6:  {"DVI4", 16000, 1},
	7:  {"LPC", 8000, 1},
	8:  {"PCMA", 8000, 1},
	9:  {"G722", 8000, 1},
	10: {"L16", 44100, 2},
	11: {"L16", 44100, 1},
	12: {"QCELP", 8000, 1},
	13: {"CN", 8000, 1},
	14: {"MPA", 90000, 1},
	15: {"G728", 8000, 1},
	16: {"DVI4", 11025, 1},
	17: {"DVI4", 22050, 1},
	18: {"G729", 8000, 1},
}
