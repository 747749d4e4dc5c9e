package b2bua

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
)

// Headers that say who calls and who was called before, by the policy of the trunk that gets them. Each is read, bounded and
// written anew; none is copied. The host of every address becomes the one by which we are known there, so that they tell of
// people and nothing of networks (TestHeadersThatCrossNameNoHostOfTheOtherSide).
//
// What never crosses: P-Preferred-Identity, which is a wish to the first proxy and nobody's assertion (RFC 3325 section 9.2);
// Call-Info and Alert-Info, whose URIs a phone would fetch from the other side's network (RFC 3261 section 20.9); Via, Route,
// User-Agent, Organization and every header that is not named here.

// Bounds of what is told.
const (
	maxParties   = 20   // addresses of one header: a call that was diverted more often is a loop
	maxPartyText = 1024 // bytes of one of them as it came
	maxToken     = 64   // bytes of a parameter
)

// Names of headers.
const (
	headerPAI       = "P-Asserted-Identity"
	headerPrivacy   = "Privacy"
	headerHistory   = "History-Info"
	headerDiversion = "Diversion"
	headerReferred  = "Referred-By"
)

// addTold adds to an INVITE of ours what its trunk is told beside numbers and SDP.
func (c *call) addTold(at *attempt, out *sip.Request) {
	p, in := &at.turn.trunk.Policy, c.a.open.in.Req
	t := teller{c: c, p: p, host: c.ourHost(at), privacy: privacyOf(in)}
	if v := t.privacy.header(); v != "" {
		out.AppendHeader(sip.NewHeader(headerPrivacy, v))
	}
	if p.PAI && c.a.trunk.Policy.Trusted {
		t.assert(in, out)
	}
	if p.History {
		t.history(at.turn, in, out)
		t.referred(in, out)
	}
	if p.Diversion {
		t.diversion(in, out)
	}
	c.addIdentity(at, out, t.hides())
	c.addPlace(p, out)
}

// heardFrom notes who answers, as the side that answers asserts it (RFC 3325 section 5), for the responses to the caller.
func (c *call) heardFrom(from *leg, res *sip.Response) {
	p := &c.a.trunk.Policy
	if res.StatusCode == 100 || res.StatusCode >= 300 || !p.PAI || !from.trunk.Policy.Trusted || first(res, headerPAI) == nil {
		return
	}
	t := teller{c: c, p: p, host: c.b.host(p.Listener), privacy: privacyOf(res)}
	if p.Domain != "" {
		t.host = bracket(p.Domain)
	}
	told := sip.NewResponse(res.StatusCode, "")
	if v := t.privacy.header(); v != "" {
		told.AppendHeader(sip.NewHeader(headerPrivacy, v))
	}
	t.assert(res, told)
	c.connected = told.Headers()
}

// addHeard adds that to a response to the caller.
func (c *call) addHeard(l *leg, out *sip.Response) {
	if l == c.a {
		for _, h := range c.connected {
			out.AppendHeader(h)
		}
	}
}

// ourHost is how we are called in addresses towards a trunk.
func (c *call) ourHost(at *attempt) string {
	if d := at.turn.trunk.Policy.Domain; d != "" {
		return bracket(d)
	}
	return c.b.host(at.turn.trunk.Policy.Listener)
}

// shownFrom is the From of an INVITE towards a trunk: the caller, unless who asked to stay hidden would be shown to a peer that is
// not trusted with it.
func (c *call) shownFrom(at *attempt, from string) string {
	t := teller{p: &at.turn.trunk.Policy, privacy: privacyOf(c.a.open.in.Req)}
	if t.hides() {
		return `"Anonymous" <sip:anonymous@` + anonymousHost + ">"
	}
	return from
}

// teller writes the headers of one message towards one trunk.
type teller struct {
	c       *call
	p       *config.Trunk
	host    string
	privacy privacy
}

// hides reports that this peer must not learn who calls.
func (t *teller) hides() bool { return !t.p.Trusted && t.privacy.has("id", "user", "header") }

// assert passes P-Asserted-Identity on: one sip: or sips: address and one tel: address at most (RFC 3325 section 9.1).
func (t *teller) assert(in, out sip.Message) {
	if t.hides() {
		return
	}
	var sips, tels int
	for _, x := range t.c.parties(in, headerPAI) {
		n := &sips
		if x.tel {
			n = &tels
		}
		if *n++; *n > 1 {
			continue
		}
		out.AppendHeader(sip.NewHeader(headerPAI, t.write(&x, "")))
	}
}

// diversion passes Diversion on (RFC 5806 section 3).
func (t *teller) diversion(in, out sip.Message) {
	for _, x := range t.c.parties(in, headerDiversion) {
		if p, ok := param(x.params, "privacy"); ok && !strings.EqualFold(p, "off") && !t.p.Trusted {
			x.hide()
		}
		v := t.write(&x, "")
		for _, name := range []string{"reason", "counter", "limit", "privacy", "screen"} {
			if p, ok := param(x.params, name); ok && isToken(p) {
				v += ";" + name + "=" + p
			}
		}
		out.AppendHeader(sip.NewHeader(headerDiversion, v))
	}
}

// referred passes on who transferred the call (RFC 3892 section 3). Its cid parameter names a signed body, which would not be
// true any more.
func (t *teller) referred(in, out sip.Message) {
	h, ok := first(in, headerReferred).(*sip.ReferredByHeader)
	if !ok || first(out, headerReferred) != nil || t.hides() {
		return
	}
	if x, ok := partyOf(h.DisplayName, &h.Address, nil); ok {
		out.AppendHeader(sip.NewHeader(headerReferred, t.write(&x, "")))
	}
}

// first is the first header of a name; nil without one.
func first(m sip.Message, name string) sip.Header {
	for _, h := range every(m) {
		if isNamed(h, name) {
			return h
		}
	}
	return nil
}

// headers are all of a name; nil without any. The stack's own search makes lower case of every name it passes, and a call
// asks some forty times, mostly for what is not there.
func headers(m sip.Message, name string) (list []sip.Header) {
	for _, h := range every(m) {
		if isNamed(h, name) {
			list = append(list, h)
		}
	}
	return list
}

// every header of a message; sip.Message does not say that it can tell.
func every(m sip.Message) []sip.Header {
	switch m := m.(type) {
	case *sip.Request:
		return m.Headers()
	case *sip.Response:
		return m.Headers()
	}
	return nil // there is no third kind
}

func isNamed(h sip.Header, name string) bool {
	n := h.Name()
	return len(n) == len(name) && strings.EqualFold(n, name)
}

// write is one address with our host, extra standing inside its brackets. The number by which the caller is known gets the
// form that the trunk's rules gave it.
func (t *teller) write(x *party, extra string) string {
	user, c := x.user, t.c
	if user != "" && user == c.rec.Caller && !x.tel {
		user = c.caller
	} else if t.p.RemovePlus && !x.tel {
		user = strings.TrimPrefix(user, "+")
	}
	switch {
	case x.anonymous:
		return nameAddr(x.display, "sip:anonymous@"+anonymousHost+extra)
	case x.tel:
		return nameAddr(x.display, "tel:"+user+extra)
	}
	return nameAddr(x.display, sipURI(user, t.host)+phoneParam(user)+extra)
}

// isToken reports a short token (RFC 3261 section 25.1), isIndex one of digits and dots (RFC 7044 section 5.1).
func isToken(s string) bool {
	return s != "" && len(s) <= maxToken && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") == ""
}

func isIndex(s string) bool {
	return s != "" && len(s) <= maxToken && strings.Trim(s, "0123456789.") == ""
}

// value is the reason as it stands in a header, without any text.
func (r reason) value() string { return r.protocol + ";cause=" + strconv.Itoa(r.cause) }

// reasonsOf reads a value of Reason that stood in a URI.
func reasonsOf(value string) []reason {
	if value == "" {
		return nil
	}
	m := sip.NewRequest(sip.INVITE, sip.Uri{})
	m.AppendHeader(sip.NewHeader("Reason", value))
	return reasons(m)
}

// clean is a header value that may be read further; false: it is too long, or no text.
func clean(value string) (string, bool) {
	if len(value) > maxParties*maxPartyText {
		return "", false
	}
	return guard.Clean(value)
}
