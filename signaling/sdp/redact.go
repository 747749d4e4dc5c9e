package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// mask stands where a key stood.
const mask = "***"

// shortestSecret is the run of base64 that is taken for a key on a line that speaks of keys, "inline:" or not: 12 bytes,
// well below the shortest master key, and longer than any part of a suite's name.
const shortestSecret = 16

// String returns the attribute without its key.
func (c Crypto) String() string {
	b := []byte("crypto:" + strconv.Itoa(c.Tag) + " " + printable(c.Suite))
	if len(c.Key) > 0 {
		b = append(b, " inline:"+mask...)
	}
	c.Params = nil // their values are the peer's free text
	b = c.appendSuffix(b)
	if c.Err != nil {
		b = append(b, " ("+c.Err.Error()+")"...)
	}
	return string(b)
}

// Format writes String for every verb: %d and %#v would print the fields.
func (c Crypto) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String.
func (c Crypto) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON fails. A JSON log would print the key, and a redacted key written into stored state would be lost without
// a word: whoever stores a key stores Line.
func (c Crypto) MarshalJSON() ([]byte, error) {
	return nil, errors.New("sdp: a Crypto has no JSON form because of its key: log String, store Line")
}

// printable returns a peer's word for an error message, or what it is not: a word out of place may be a key.
func printable(word string) string {
	const longest = 40 // the longest suite has 23
	plain := len(word) <= longest && (strings.Contains(word, "_") || len(word) < shortestSecret)
	for i := 0; i < len(word); i++ {
		plain = plain && (letter(word[i]) || digit(word[i]) || word[i] == '_' || word[i] == '-')
	}
	if !plain {
		return "(not a plain name)"
	}
	return word
}

// keyless returns a session parameter, or only its name when a key may be in it.
func keyless(param string) string {
	name, value, _ := strings.Cut(param, "=")
	if strings.Contains(strings.ToLower(param), "inline") || len(value) >= shortestSecret || len(name) >= 2*shortestSecret {
		return printable(name)
	}
	return param
}

// Redact returns a copy of a body, or of a whole SIP message, with its keys replaced: what follows inline: and other
// base64 on a=crypto lines (Lync's a=cryptoscale too), a=key-mgmt, k= and a=ice-pwd. Other bytes stay as they are.
func Redact(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		end := bytes.IndexAny(b, "\r\n") + 1
		if end == 0 {
			end = len(b)
		}
		out = redactLine(out, b[:end])
		b = b[end:]
	}
	return out
}

// redactLine appends one line, its end included.
func redactLine(out, l []byte) []byte {
	text := bytes.TrimRight(l, "\r\n")
	end := l[len(text):]
	lower := bytes.ToLower(bytes.TrimLeft(text, " \t"))
	switch {
	case hasFold(lower, "k="), hasFold(lower, "a=key-mgmt"), hasFold(lower, "a=ice-pwd"):
		name := bytes.IndexByte(text, ':') + 1
		if name == 0 {
			name = bytes.IndexByte(text, '=') + 1
		}
		out = append(append(out, text[:name]...), mask...)
	case bytes.Contains(lower, []byte("crypto")), bytes.Contains(lower, []byte("inline")):
		out = redactKeys(out, text)
	default:
		out = append(out, text...)
	}
	return append(out, end...)
}

// redactKeys masks the word behind every "inline:" up to its | or ;, and every other long run of base64.
func redactKeys(out, text []byte) []byte {
	const method = "inline:"
	for i := 0; i < len(text); {
		if hasFold(text[i:], method) {
			out = append(append(out, text[i:i+len(method)]...), mask...)
			i += len(method)
			for i < len(text) && strings.IndexByte(" \t|;", text[i]) < 0 {
				i++
			}
			continue
		}
		run := i
		for run < len(text) && base64Byte(text[run]) && !(run > i && hasFold(text[run:], method)) {
			run++
		}
		switch {
		case run-i >= shortestSecret:
			out = append(out, mask...)
		case run > i:
			out = append(out, text[i:run]...)
		default:
			out = append(out, text[i])
			run++
		}
		i = run
	}
	return out
}

func hasFold(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && bytes.EqualFold(text[:len(prefix)], []byte(prefix))
}

func base64Byte(c byte) bool {
	return letter(c) || digit(c) || c == '+' || c == '/' || c == '='
}
