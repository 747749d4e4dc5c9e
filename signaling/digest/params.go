package digest

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of one header value. Real ones have some 300 bytes and ten parameters.
const (
	maxValue  = 4096 // bytes
	maxParams = 24
)

var errOtherScheme = errors.New("the scheme is not Digest")

// parse reads "Digest name=value, ..." into its parameters, names in lower case, quotes and escapes removed. It is strict
// where leniency would let two readers see two things: no name twice, no character after a closing quote, no control
// character, no quote that stays open. A value may be quoted or not whatever its parameter, because peers differ there.
func parse(value string) (map[string]string, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("%d bytes are too many, %d are allowed", len(value), maxValue)
	}
	first, rest, ok := strings.Cut(trim(value), " ")
	if !strings.EqualFold(first, scheme) {
		return nil, errOtherScheme
	}
	if !ok {
		return nil, errors.New("there are no parameters")
	}
	params := make(map[string]string, 12)
	for {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.ToLower(trim(name))
		if !ok || !isToken(name) {
			return nil, errors.New("a parameter is not name=value")
		}
		text, after, err := readValue(trim(after))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, twice := params[name]; twice {
			return nil, fmt.Errorf("%s stands there twice", name)
		}
		if params[name] = text; len(params) > maxParams {
			return nil, fmt.Errorf("more than %d parameters", maxParams)
		}
		if after = trim(after); after == "" {
			return params, nil
		}
		if after[0] != ',' {
			return nil, fmt.Errorf("%s: something follows its value", name)
		}
		rest = after[1:]
	}
}

// readValue takes a token or a quoted string from the front of s (RFC 3261 section 25.1).
func readValue(s string) (value, rest string, err error) {
	if s == "" || s[0] != '"' {
		end := 0
		for end < len(s) && isTokenByte(s[end]) {
			end++
		}
		if end == 0 {
			return "", "", errors.New("it has no value")
		}
		return s[:end], s[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s) && s[i+1] != '\t' && !isControl(s[i+1]):
			i++
			b.WriteByte(s[i])
		case c == '\\' || isControl(c):
			return "", "", errors.New("there is a control character in it")
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("its quote is not closed")
}

// quote writes a value as a quoted string; ok is false for what cannot stand in one.
func quote(s string) (quoted string, ok bool) {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if isControl(s[i]) {
			return "", false
		}
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String(), true
}

func trim(s string) string { return strings.Trim(s, " \t") }

// isControl tells of what may not stand in a quoted string; a tab may.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenByte follows RFC 3261 section 25.1.
func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("-.!%*_+`'~", c) >= 0
}
