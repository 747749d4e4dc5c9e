package control

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

// scanner walks over JSON (RFC 8259) in place. Its steps say whether what stands there is well-formed and leave the words
// for what is not to encoding/json: see syntax. It accepts exactly what encoding/json does.
type scanner struct {
	text  []byte
	at    int // index of the next byte
	depth int // lists and objects that are open
}

const maxDepth = 10000 // of nested lists and objects: encoding/json's own bound

// next skips white space and returns the byte there without taking it; 0, which begins no value, at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// take skips white space and takes c, if c is there.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// enter takes the opening bracket that next returned.
func (s *scanner) enter() (ok bool) {
	s.at++
	s.depth++
	return s.depth <= maxDepth
}

// more steps from one member or element to the next: over the comma between two, or over the closing bracket. first tells
// that none came before.
func (s *scanner) more(closing byte, first bool) (another, ok bool) {
	switch c := s.next(); {
	case c == closing:
		s.at++
		s.depth--
		return false, true
	case first:
		return true, true
	case c == ',':
		s.at++
		return true, true
	}
	return true, false
}

// quoted takes a string and returns it with its quotes. plain: it has no escape and is ASCII, so it stands for itself.
func (s *scanner) quoted() (token []byte, plain, ok bool) {
	if !s.take('"') {
		return nil, false, false
	}
	start := s.at - 1
	for plain = true; ; s.at++ {
		s.at += ordinary(s.text[s.at:])
		if s.at == len(s.text) {
			return nil, false, false
		}
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start:s.at], plain, true
		case c >= utf8.RuneSelf:
			plain = false
		case c == '\\':
			plain = false
			if !s.escape() {
				return nil, false, false
			}
		default:
			return nil, false, false // a control character
		}
	}
}

// The same byte eight times over, for eight bytes of text at once.
const (
	eachOne   = 0x0101010101010101
	eachHigh  = 0x80 * eachOne
	eachSpace = ' ' * eachOne
	eachQuote = '"' * eachOne
	eachSlash = '\\' * eachOne
	eachAmp   = '&' * eachOne
	eachLess  = '<' * eachOne
	eachTwo   = 0x02 * eachOne
)

// ordinary counts the bytes before the first one that means something within a string: a quote, a backslash, a control
// character, or what is not ASCII.
func ordinary(b []byte) int {
	n := 0
	for ; n+8 <= len(b); n += 8 {
		if odd := special(binary.LittleEndian.Uint64(b[n:])); odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return n
}

// special has the high bit of the first byte of w that is not ordinary, none below, and anything above; 0: all eight are.
func special(w uint64) uint64 {
	quote, slash := w^eachQuote, w^eachSlash
	// x-1 borrows into the high bit where x is 0, w-' ' where w is less: above the lowest of them it may err.
	return (w | (w - eachSpace) | (quote - eachOne) | (slash - eachOne)) & eachHigh
}

// markup is special for what encoding/json escapes beyond what it must.
func markup(w uint64) uint64 {
	amp, angle := w^eachAmp, w&^eachTwo^eachLess // < and > differ in that bit alone
	return ((amp - eachOne) | (angle - eachOne)) & eachHigh
}

// escape goes from the backslash to the last byte of its escape.
func (s *scanner) escape() bool {
	s.at++
	if s.at >= len(s.text) {
		return false
	}
	switch s.text[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			s.at++
			if s.at >= len(s.text) || !isHex(s.text[s.at]) {
				return false
			}
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number takes a number and returns it as it stands.
func (s *scanner) number() (token []byte, ok bool) {
	s.next()
	start := s.at
	s.option('-')
	if !s.option('0') && !s.digits() {
		return nil, false
	}
	if s.option('.') && !s.digits() {
		return nil, false
	}
	if s.option('e') || s.option('E') {
		if !s.option('+') {
			s.option('-')
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.text[start:s.at], true
}

// option takes c, if it is the very next byte.
func (s *scanner) option(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// digits takes one digit or more.
func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && isDigit(s.text[s.at]) {
		s.at++
	}
	return s.at > start
}

// word takes true, false or null.
func (s *scanner) word() (token string, ok bool) {
	switch s.next() {
	case 't':
		token = "true"
	case 'f':
		token = "false"
	case 'n':
		token = "null"
	default:
		return "", false
	}
	if rest := s.text[s.at:]; len(rest) < len(token) || string(rest[:len(token)]) != token {
		return "", false
	}
	s.at += len(token)
	return token, true
}

// value takes any value and returns it as it stands.
func (s *scanner) value() (raw []byte, ok bool) {
	s.next()
	start := s.at
	if !s.skip() {
		return nil, false
	}
	return s.text[start:s.at], true
}

// skip takes any value.
func (s *scanner) skip() (ok bool) {
	switch c := s.next(); {
	case c == '"':
		_, _, ok = s.quoted()
	case c == '-' || isDigit(c):
		_, ok = s.number()
	case c == '{':
		ok = s.enter() && s.skipObject()
	case c == '[':
		ok = s.enter() && s.skipList()
	default:
		_, ok = s.word()
	}
	return ok
}

func (s *scanner) skipObject() bool {
	for first := true; ; first = false {
		another, ok := s.more('}', first)
		if !ok || !another {
			return ok
		}
		if _, _, ok := s.quoted(); !ok || !s.take(':') || !s.skip() {
			return false
		}
	}
}

func (s *scanner) skipList() bool {
	for first := true; ; first = false {
		another, ok := s.more(']', first)
		if !ok || !another {
			return ok
		}
		if !s.skip() {
			return false
		}
	}
}

// ended tells that nothing but white space is left.
func (s *scanner) ended() bool {
	s.next()
	return s.at == len(s.text)
}

// unquote is the text of a string that quoted returned.
func unquote(token []byte, plain bool) string {
	inner := token[1 : len(token)-1]
	if plain {
		return familiar(inner)
	}
	if text, ok := unescape(inner); ok {
		return text
	}
	var text string
	if err := json.Unmarshal(token, &text); err != nil {
		return string(token) // quoted took it, so encoding/json does
	}
	return text
}

// usualText is the bytes of an escaped text that take no memory but their own: more than signalling notes of a call.
const usualText = 1 << 10

// unescape undoes the escapes that only say "the next byte, as it is": those of JSON inside a string. Of any other escape, and
// of what is not ASCII, it keeps its hands.
func unescape(inner []byte) (text string, ok bool) {
	var room [usualText]byte
	out := room[:0]
	for len(inner) > 0 {
		var n int
		if len(inner) >= 8 { // eight bytes are copied, whatever they are, and those before the escape count
			w := binary.LittleEndian.Uint64(inner)
			n = bits.TrailingZeros64(special(w)) / 8
			out = binary.LittleEndian.AppendUint64(out, w)[:len(out)+n]
			if n == 8 {
				inner = inner[n:]
				continue
			}
		} else if n = ordinary(inner); n > 0 {
			out = append(out, inner[:n]...)
		}
		if inner = inner[n:]; len(inner) == 0 {
			break
		}
		if inner[0] != '\\' {
			return "", false
		}
		c := inner[1] // quoted saw that a byte follows
		if c != '"' && c != '\\' && c != '/' {
			return "", false
		}
		out = append(out, c)
		inner = inner[2:]
	}
	return string(out), true
}

// spells tells that a string which quoted returned is word, without making a string of it.
func spells(token []byte, plain bool, word string) bool {
	if plain {
		return string(token[1:len(token)-1]) == word
	}
	return unquote(token, false) == word
}

// syntax is encoding/json's error for a text that the scanner did not take.
func syntax(text []byte) error {
	return json.Unmarshal(text, new(json.RawMessage))
}
