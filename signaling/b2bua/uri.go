package b2bua

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emiago/sipgo/sip"
)

// Bounds of what is carried from one side to the other.
const (
	maxUser    = 128 // bytes of a number or user part: E.164 needs 16
	maxDisplay = 128 // runes of a display name
)

// number is the user part of a URI in plain characters: unescaped, without parameters (";phone-context=..." names a
// domain of the other side). A telephone number loses its visual separators (RFC 3966 section 5.1.1), in a SIP URI too: a
// rule that refuses +43900 must not let +43-900 pass.
func number(u *sip.Uri) string {
	if strings.EqualFold(u.Scheme, "tel") {
		n, _, _ := strings.Cut(u.Raw(), ";")
		return clip(strings.Map(dialled, unescape(n)), maxUser)
	}
	user, _, _ := strings.Cut(u.User, ";")
	if user = unescape(user); strings.Trim(user, "+0123456789*#"+separators) == "" && strings.ContainsAny(user, "0123456789") {
		user = strings.Map(dialled, user)
	}
	return clip(user, maxUser)
}

const separators = "-.() "

// dialled leaves separators out.
func dialled(r rune) rune {
	if strings.ContainsRune(separators, r) {
		return -1
	}
	return r
}

// unescape resolves %HH (RFC 3261 section 19.1.2). A broken escape stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2]); hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// escapeUser writes a user part: unreserved and user-unreserved characters as they are, all else as %HH (RFC 3261 section
// 25.1). Of the latter ";" and "?" are escaped as well: peers take them for the end of the user part.
func escapeUser(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-_.!~*'()&=+$,/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// displayName re-encodes a display name as the inside of a quoted string. The stack hands over what stood between the
// quotes, or before the "<", with its backslashes.
func displayName(raw string) string {
	var b strings.Builder
	n := 0
	escaped := false
	for _, r := range raw {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		escaped = false
		if r == utf8.RuneError || unicode.IsControl(r) {
			continue
		}
		if n++; n > maxDisplay {
			break
		}
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// nameAddr writes a From or To value without parameters.
func nameAddr(display, uri string) string {
	if display == "" {
		return "<" + uri + ">"
	}
	return `"` + display + `" <` + uri + ">"
}

// sipURI writes sip:user@host; user is plain, host may carry a port.
func sipURI(user, host string) string {
	if user == "" {
		return "sip:" + host
	}
	return "sip:" + escapeUser(user) + "@" + host
}

// userPhone says that the user part is a telephone number (RFC 3261 section 19.1.1).
const userPhone = ";user=phone"

// phoneParam is userPhone behind a global number ("+" and up to 15 digits, E.164), and nothing behind any other user part.
// Teams and Lync want it, and to every other peer it says only what is so.
func phoneParam(user string) string {
	digits, ok := strings.CutPrefix(user, "+")
	if !ok || digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return userPhone
}

// bracket puts an IPv6 address into brackets.
func bracket(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// hostOf is the host of "host", "host:port", "[v6]:port", brackets kept.
func hostOf(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		return hostport[:i]
	}
	return hostport
}

// param is a parameter by its name in any case: the stack compares them by the byte.
func param(ps sip.HeaderParams, name string) (string, bool) {
	for _, kv := range ps {
		if strings.EqualFold(kv.K, name) {
			return kv.V, true
		}
	}
	return "", false
}

// fromTag and toTag are a message's tags, "" without one.
func fromTag(m sip.Message) string {
	if h := m.From(); h != nil {
		tag, _ := param(h.Params, "tag")
		return tag
	}
	return ""
}

func toTag(m sip.Message) string {
	if h := m.To(); h != nil {
		tag, _ := param(h.Params, "tag")
		return tag
	}
	return ""
}

// callID is a message's Call-ID, "" without one.
func callID(m sip.Message) string {
	if h := m.CallID(); h != nil {
		return h.Value()
	}
	return ""
}

// cseq is a message's CSeq number, 0 without one.
func cseq(m sip.Message) uint32 {
	if h := m.CSeq(); h != nil {
		return h.SeqNo
	}
	return 0
}
