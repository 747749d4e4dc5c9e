package b2bua

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Identity headers (STIR, RFC 8224) are the one thing that crosses byte for byte: a signature is good for nothing else.
const (
	headerIdentity = "Identity"
	headerDate     = "Date"
	maxIdentities  = 4       // a caller's, and those of who diverted the call (RFC 8946)
	maxIdentity    = 4 << 10 // bytes of one: with a certificate's URL they have some 800
)

// addIdentity passes Identity on. It signs the caller's number and the called one: where either is not what it was, or the
// caller is hidden, or it signs keys of the media, which are ours now, it would be a lie and stays here.
func (c *call) addIdentity(at *attempt, out *sip.Request, hidden bool) {
	in := c.a.open.in.Req
	list := headers(in, headerIdentity)
	if len(list) == 0 || !at.turn.trunk.Policy.Identity {
		return
	}
	why := ""
	switch {
	case hidden:
		why = "the caller is hidden"
	case !sameNumber(number(&in.From().Address), c.caller):
		why = "the caller's number was changed"
	case !sameNumber(number(&in.To().Address), c.called):
		why = "the called number was changed"
	case len(list) > maxIdentities:
		why = "there are too many"
	}
	for _, h := range list {
		switch v := h.Value(); {
		case why != "":
		case len(v) > maxIdentity, !isWire(v):
			why = "it is malformed"
		case signsMedia(v):
			why = "it signs keys of the media"
		}
	}
	if why != "" {
		c.b.count(DropIdentity)
		c.log.Info("identity not passed on", "trunk", at.turn.trunk.Name, "why", why)
		return
	}
	for _, h := range list {
		out.AppendHeader(sip.NewHeader(headerIdentity, h.Value()))
	}
	if d := first(in, headerDate); d != nil { // the moment that was signed (RFC 8224 section 4.1)
		if when, err := http.ParseTime(d.Value()); err == nil {
			out.AppendHeader(sip.NewHeader(headerDate, when.UTC().Format(http.TimeFormat)))
		}
	}
}

// sameNumber compares as a signature does: digits alone (RFC 8224 section 8.3). What is no number has a host, and hosts are
// never the same on both sides.
func sameNumber(a, b string) bool {
	digits := func(s string) string { return strings.TrimPrefix(s, "+") }
	return isNumber(a) && digits(a) == digits(b)
}

// isWire reports a value that can be written as it is: printable ASCII in one line.
func isWire(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// signsMedia reports a passport with keys of the media in it (RFC 8225 section 5.2.2, claim mky). One without its payload, the
// compact form, has none (RFC 8224 section 7).
func signsMedia(value string) bool {
	token, _, _ := strings.Cut(value, ";")
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 || parts[1] == "" {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	return err == nil && strings.Contains(string(payload), `"mky"`)
}
