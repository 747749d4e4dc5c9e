package b2bua

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// party is one address of a header, taken apart: what may cross, and nothing else of it.
type party struct {
	display   string // re-encoded, the inside of a quoted string
	user      string // plain, without parameters
	tel       bool   // a tel: URI; user is the number then
	anonymous bool   // it names nobody
	params    sip.HeaderParams
	address   sip.Uri // as it came
}

// parties reads the addresses of a header in their order. What is malformed, beyond the bounds, or of a scheme that has no
// number is left out, and counted once for the message.
func (c *call) parties(m sip.Message, name string) (list []party) {
	whole := true
	for _, h := range headers(m, name) {
		value, ok := clean(h.Value())
		if whole = whole && ok; !ok {
			continue
		}
		for _, text := range splitValues(value) {
			x, ok := readParty(text)
			if !ok || len(list) >= maxParties {
				whole = false
				continue
			}
			list = append(list, x)
		}
	}
	if !whole {
		c.b.count(DropHeader)
		c.log.Info("header not passed on whole", "header", name)
	}
	return list
}

func readParty(text string) (party, bool) {
	if len(text) > maxPartyText {
		return party{}, false
	}
	var u sip.Uri
	var params sip.HeaderParams
	display, err := sip.ParseAddressValue(text, &u, &params)
	if err != nil {
		return party{}, false
	}
	return partyOf(display, &u, params)
}

// partyOf judges an address that the stack has parsed.
func partyOf(display string, u *sip.Uri, params sip.HeaderParams) (party, bool) {
	x := party{display: displayName(display), user: number(u), params: params, address: *u}
	switch scheme := strings.ToLower(u.Scheme); {
	case scheme == "tel":
		x.tel = true
		return x, isNumber(x.user)
	case scheme != "sip" && scheme != "sips", u.Host == "":
		return party{}, false
	}
	x.anonymous = isAnonymous(u)
	return x, true
}

// hide makes a party nobody.
func (x *party) hide() { x.anonymous, x.tel, x.display = true, false, "Anonymous" }

// uri is a parameter of the address, embedded a header that a request to it would carry; "" without one.
func (x *party) uri(name string) string {
	v, _ := param(x.address.UriParams, name)
	return unescape(v)
}

func (x *party) embedded(name string) string {
	v, _ := param(x.address.Headers, name)
	v, ok := clean(unescape(v))
	if !ok {
		return ""
	}
	return v
}

// isNumber reports the digits of a tel: URI (RFC 3966 section 3), visual separators gone.
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	return digits != "" && strings.Trim(digits, "0123456789*#ABCDabcd") == ""
}

// splitValues splits a header at its commas; those inside quotes and angle brackets are no ends.
func splitValues(value string) (list []string) {
	quoted, angle, begin := false, false, 0
	for i := 0; i < len(value); i++ {
		switch ch := value[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '<':
			angle = true
		case ch == '>':
			angle = false
		case ch == ',' && !angle:
			list, begin = append(list, strings.TrimSpace(value[begin:i])), i+1
		}
	}
	return append(list, strings.TrimSpace(value[begin:]))
}

// escapeHeader writes a value into the header part of a URI: unreserved characters as they are (RFC 3261 section 25.1, hvalue).
func escapeHeader(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch >= '0' && ch <= '9', ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', strings.IndexByte("-_.!~*'()", ch) >= 0:
			b.WriteByte(ch)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[ch>>4])
			b.WriteByte(hex[ch&15])
		}
	}
	return b.String()
}
