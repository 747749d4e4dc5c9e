package sdp

import "strings"

// What crosses from one side to the other, line by line. Of the session's part and of other m-lines: nothing. Of the
// audio block:
//
//	m=            the payload types, each once; port and profile are ours
//	b=            AS, TIAS, CT, RR and RS with a number
//	a= ours       direction, rtcp, rtcp-mux, crypto: dropped, written anew from Side
//	a= audio      the names in audioAttributes, unless an IP address is in the value
//	a= network    the names in networkAttributes, ice-* and x-*: dropped
//	a= unknown    crosses when name and value are made of plain words and numbers. Whatever might be an address, a host or a
//	              user (dots, colons, @, letters mixed with digits or dashes) drops the line: RFC 8866 section 5.13 obliges
//	              a receiver to live without an attribute, nobody can take back a leaked name.
//	others        i=, c=, k= and unknown types: dropped
//
// Of the block of a fax (fax.go): b= likewise, and the attributes of T.38 by name, if their values are words and numbers.

// audioAttributes describe the audio or its RTCP reports, by lower-case name.
var audioAttributes = map[string]bool{
	"rtpmap": true, "fmtp": true, "ptime": true, "maxptime": true, "minptime": true, "mptime": true, "maxprate": true,
	"rtcp-fb": true, "rtcp-xr": true, "rtcp-rsize": true, "extmap": true, "extmap-allow-mixed": true,
	"silencesupp": true, "ecan": true, "gpmd": true, "vsel": true, "pmft": true,
	"lang": true, "sdplang": true, "content": true, "curr": true, "des": true, "conf": true,
}

// networkAttributes tell of addresses, identities, keys or capabilities of their author, or are written anew by us.
var networkAttributes = map[string]bool{
	"rtcp": true, "rtcp-mux": true, "rtcp-mux-only": true, "crypto": true, "cryptoscale": true, "key-mgmt": true, "zrtp-hash": true,
	"sendrecv": true, "sendonly": true, "recvonly": true, "inactive": true,
	"candidate": true, "remote-candidates": true, "remote-candidate": true, "end-of-candidates": true, "altc": true, "alt": true,
	"fingerprint": true, "setup": true, "connection": true, "tls-id": true, "dtls-id": true, "identity": true, "direction": true,
	"ssrc": true, "ssrc-group": true, "msid": true, "msid-semantic": true, "mid": true, "group": true, "bundle-only": true,
	"source-filter": true, "ts-refclk": true, "tool": true, "cat": true, "keywds": true, "label": true, "nortpproxy": true,
	"acap": true, "tcap": true, "pcfg": true, "acfg": true, "csup": true, "creq": true, "sqn": true, "cdsc": true, "cpar": true,
}

// bandwidths are the b= modifiers that mean the same on both sides (RFC 8866 section 5.8, RFC 3890, RFC 3556).
var bandwidths = map[string]bool{"AS": true, "TIAS": true, "CT": true, "RR": true, "RS": true}

// crosses tells whether an attribute of the audio block may be shown to the other side. name is in lower case.
func crosses(name, value string) bool {
	switch {
	case networkAttributes[name], strings.HasPrefix(name, "x-"), strings.HasPrefix(name, "ice-"):
		return false
	case name == "extmap": // a URN names a standard, a URL names somebody's host
		uri := strings.Fields(value)
		return len(uri) >= 2 && strings.HasPrefix(uri[1], "urn:") && !hasAddress(value)
	case audioAttributes[name]:
		return !hasAddress(value)
	}
	return plainName(name) && plainWords(value)
}

// bandwidthCrosses tells whether a b= line may be shown to the other side.
func bandwidthCrosses(text string) bool {
	modifier, value, _ := strings.Cut(text, ":")
	_, rest, ok := number(value, 32)
	return ok && rest == "" && bandwidths[modifier]
}

// hasAddress tells whether an IP address may be in a text: three dots in a run of digits and dots, or two colons in a
// run of hexadecimal digits and colons. It errs on the side of yes.
func hasAddress(text string) bool {
	dots, colons := 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		hex := digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
		switch {
		case c == '.':
			dots, colons = dots+1, 0
		case c == ':':
			dots, colons = 0, colons+1
		case digit(c):
		case hex:
			dots = 0
		default:
			dots, colons = 0, 0
		}
		if dots == 3 || colons == 2 {
			return true
		}
	}
	return false
}

// plainName tells whether an unknown attribute's name is a token of letters, digits and dashes.
func plainName(name string) bool {
	for i := 0; i < len(name); i++ {
		if !letter(name[i]) && !digit(name[i]) && name[i] != '-' {
			return false
		}
	}
	return name != ""
}

// plainWords tells whether a text consists of words of letters alone and of numbers, apart from each other.
func plainWords(text string) bool {
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t,;=/", r) })
	for _, w := range words {
		if w != "-" && !plainWord(w) && !plainNumber(w) {
			return false
		}
	}
	return true
}

func plainWord(w string) bool {
	const longest = 24 // beyond it stands an identifier or a secret
	for i := 0; i < len(w); i++ {
		if !letter(w[i]) {
			return false
		}
	}
	return len(w) <= longest
}

// plainNumber takes up to nine digits and a decimal point: not an IPv4 address as one number, nor a telephone number.
func plainNumber(w string) bool {
	whole, fraction, _ := strings.Cut(w, ".")
	digits := whole + fraction
	for i := 0; i < len(digits); i++ {
		if !digit(digits[i]) {
			return false
		}
	}
	return whole != "" && len(digits) <= 9
}
