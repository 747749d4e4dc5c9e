// Package sdp reads session descriptions (RFC 8866) line by line and writes those of our own legs.
//
// One side's body is read leniently, one audio m-line is picked, and a body for the other side is written with our
// address, ports, keys and direction. What describes the audio itself (rtpmap, fmtp, ptime, ...) crosses unchanged and in
// its order; what describes the network of the body's author never does: topology.go says which line is which, and
// TestNothingOfOneSideReachesTheOther holds it to that. A key in a body is never printed: see redact.go.
//
// What to answer, which codec or key to take and when a body counts as changed is the caller's decision (signaling/b2bua).
// No socket, no clock and no call state live here.
package sdp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Bounds of a body. The largest seen from real peers (video, ICE candidates of a dozen interfaces) stay below a tenth.
const (
	MaxBytes = 64 << 10 // a body of a SIP message that fits a UDP datagram fits here
	MaxLines = 2000
	MaxMedia = 32
)

// Session is one body. It keeps every line in order; it does not change after Read and may be shared.
type Session struct {
	text   string // as it was read; every text below is a part of it
	lines  []line
	head   []line   // before the first m=
	blocks [][]line // one an m-line, which comes first
	media  []Media
}

// line is "kind=text" without line end and outer blanks.
type line struct {
	text   string
	number uint16 // in the body, from 1 to MaxLines
	kind   byte
}

// Read parses a body. It takes LF, CRLF, CR or a mixture as line ends, blanks around a line, empty lines, no final line
// end, missing o=, s=, c= and t=, and any media type, bandwidth or attribute. It refuses what is no SDP (RFC 8866
// section 5): no v=0 at the start, a line that is not letter=value, control characters, an m= or c= line without its
// fields, and more than MaxBytes, MaxLines or MaxMedia. The error names the line.
func Read(b []byte) (*Session, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("sdp: body of %d bytes: at most %d are read", len(b), MaxBytes)
	}
	s := &Session{text: string(b)}
	if err := s.split(s.text); err != nil {
		return nil, err
	}
	if err := s.group(); err != nil {
		return nil, err
	}
	return s, nil
}

// split cuts the body into lines.
func (s *Session) split(body string) error {
	s.lines = make([]line, 0, min(strings.Count(body, "\n")+1, MaxLines))
	for number := 1; body != ""; number++ {
		if number > MaxLines {
			return fmt.Errorf("sdp: line %d: at most %d lines are read", number, MaxLines)
		}
		var raw string
		raw, body = cutLine(body)
		if raw = trim(raw); raw == "" {
			continue
		}
		if err := checkLine(raw); err != nil {
			return fmt.Errorf("sdp: line %d: %w", number, err)
		}
		if len(s.lines) == 0 && (raw[0] != 'v' || trim(raw[2:]) != "0") {
			return fmt.Errorf("sdp: line %d: a body starts with v=0", number)
		}
		s.lines = append(s.lines, line{kind: raw[0], text: trim(raw[2:]), number: uint16(number)})
	}
	if len(s.lines) == 0 {
		return errors.New("sdp: empty body")
	}
	return nil
}

// cutLine returns the first line without its end, and the rest. A lone CR ends a line too: kept inside a line it would
// let a peer smuggle a second one into a body that we write.
func cutLine(body string) (first, rest string) {
	end := 0
	for end < len(body) && body[end] != '\r' && body[end] != '\n' {
		end++
	}
	first, rest = body[:end], body[end:]
	if strings.HasPrefix(rest, "\r\n") {
		return first, rest[2:]
	}
	return first, rest[min(1, len(rest)):]
}

// checkLine refuses what no lenient reading can make sense of. Its errors never quote the line: it may hold a key.
func checkLine(raw string) error {
	if len(raw) < 2 || raw[1] != '=' || !letter(raw[0]) {
		return errors.New("want one letter, =, value")
	}
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("control character 0x%02x in %c=", c, raw[0])
		}
	}
	return nil
}

// group cuts the lines at the m= lines and reads each media description.
func (s *Session) group() error {
	starts := make([]int, 0, 4)
	for i := range s.lines {
		if s.lines[i].kind == 'm' {
			starts = append(starts, i)
		}
	}
	if len(starts) > MaxMedia {
		return fmt.Errorf("sdp: line %d: at most %d m= lines are read", s.lines[starts[MaxMedia]].number, MaxMedia)
	}
	s.head = s.lines
	if len(starts) > 0 {
		s.head = s.lines[:starts[0]]
	}
	whole := Media{} // what the session's part says holds for each m-line that does not say otherwise
	if err := whole.readLines(s.head); err != nil {
		return err
	}
	s.blocks, s.media = make([][]line, len(starts)), make([]Media, len(starts))
	for n, from := range starts {
		to := len(s.lines)
		if n+1 < len(starts) {
			to = starts[n+1]
		}
		s.blocks[n] = s.lines[from:to]
		if err := s.media[n].read(s.blocks[n], &whole); err != nil {
			return err
		}
	}
	return nil
}

// Text returns the body as it was read. Keys are in it.
func (s *Session) Text() string { return s.text }

// Media returns the media descriptions in the order of their m-lines. The slice belongs to the session: read only.
func (s *Session) Media() []Media { return s.media }

// has tells whether i is the index of an m-line. A nil session has none.
func (s *Session) has(i int) bool { return s != nil && i >= 0 && i < len(s.media) }

// Bytes returns every line as it was read, outer blanks removed, each ended by CRLF. Keys are in it.
func (s *Session) Bytes() []byte {
	b := make([]byte, 0, written(s.lines))
	for i := range s.lines {
		b = s.lines[i].appendTo(b)
	}
	return b
}

// String returns the body with its keys replaced.
func (s Session) String() string { return string(Redact(s.Bytes())) }

// Format writes String for every verb, so that no key is printed by %v or %d of the fields.
func (s Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Equal tells whether two bodies say the same, line for line. With ignoreVersion the version in o= may differ: a peer
// that repeats its offer should keep the version and one that changes it should raise it (RFC 3264 section 8), but peers
// do neither, so the lines decide and not the number.
func Equal(a, b *Session, ignoreVersion bool) bool {
	if len(a.lines) != len(b.lines) {
		return false
	}
	for i := range a.lines {
		x, y := a.lines[i], b.lines[i]
		if x.kind != y.kind {
			return false
		}
		if ignoreVersion && x.kind == 'o' {
			x.text, y.text = withoutVersion(x.text), withoutVersion(y.text)
		}
		if x.text != y.text {
			return false
		}
	}
	return true
}

// withoutVersion blanks the third field of an o= line: username, id, version, nettype, addrtype, address.
func withoutVersion(origin string) string {
	fields := strings.Fields(origin)
	if len(fields) < 3 {
		return origin
	}
	fields[2] = ""
	return strings.Join(fields, " ")
}

// appendTo writes the line with its end.
func (l *line) appendTo(b []byte) []byte {
	b = append(append(b, l.kind, '='), l.text...)
	return append(b, "\r\n"...)
}

// written is the size of lines with their ends.
func written(lines []line) int {
	size := 0
	for i := range lines {
		size += len("a=") + len(lines[i].text) + len("\r\n")
	}
	return size
}

// attribute splits the text of an a= line: "name:value" or "name". Both come without outer blanks.
func (l line) attribute() (name, value string) {
	name, value, _ = strings.Cut(l.text, ":")
	return trim(name), trim(value)
}

// trim removes blanks from both ends, where as a rule there are none.
func trim(s string) string {
	for s != "" && blank(s[0]) {
		s = s[1:]
	}
	for s != "" && blank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }

// number reads a decimal number at the start of a field that ends there or at a blank; ok is false when there is none.
func number(field string, bits int) (n uint64, rest string, ok bool) {
	end := 0
	for end < len(field) && !blank(field[end]) {
		end++
	}
	n, ok = decimal(field[:end], bits)
	return n, trim(field[end:]), ok
}

// decimal reads a text of digits alone as a number of so many bits, 32 at most. strconv.ParseUint would do, but it makes an
// error of every empty text, and an rtpmap without channels is the rule.
func decimal(text string, bits int) (n uint64, ok bool) {
	for i := 0; i < len(text); i++ {
		if !digit(text[i]) {
			return 0, false
		}
		n = n*10 + uint64(text[i]-'0')
		if n >= 1<<bits {
			return 0, false
		}
	}
	return n, text != ""
}
