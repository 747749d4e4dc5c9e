package guard

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// refusal is an answer that guard gives by itself.
type refusal struct {
	code   int
	reason string
	extra  []sip.Header
}

const unsupportedScheme = 416 // RFC 3261 section 21.4.14; sipgo has another name for it

// registered are the methods that exist (IANA SIP parameters, Methods); any other is not understood at all.
var registered = []string{"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH",
	"REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}

// validate applies RFC 3261 sections 8.2 and 16.3 in their order, and tells how to refuse.
func (l *listener) validate(req *sip.Request) (refusal, bool) {
	bad := func(code int, reason string, extra ...sip.Header) (refusal, bool) {
		return refusal{code, reason, extra}, true
	}
	if req.SipVersion != "SIP/2.0" {
		req.SipVersion = "SIP/2.0" // the version of our answer
		return bad(sip.StatusVersionNotSupported, "Version Not Supported")
	}
	if missing := incomplete(req); missing != "" {
		return bad(sip.StatusBadRequest, missing)
	}
	if req.CSeq().MethodName != req.Method {
		return bad(sip.StatusBadRequest, "CSeq Method Mismatch")
	}
	if code, reason := l.method(string(req.Method)); code != 0 {
		return bad(code, reason, sip.NewHeader("Allow", l.stack.Allow()))
	}
	switch req.Recipient.Scheme {
	case "sip", "sips", "tel", "":
	default:
		return bad(unsupportedScheme, "Unsupported URI Scheme")
	}
	// OPTIONS is answered by whoever the hops run out at (RFC 3261 section 11).
	if hops := req.MaxForwards(); hops != nil && hops.Val() == 0 && req.Method != sip.OPTIONS {
		return bad(sip.StatusTooManyHops, "Too Many Hops")
	}
	if req.IsAck() || req.IsCancel() {
		return refusal{}, false // neither may be refused for an extension (RFC 3261 section 8.2.2.3)
	}
	if tags := l.notSupported(req); tags != "" {
		return bad(sip.StatusBadExtension, "Bad Extension", sip.NewHeader("Unsupported", tags))
	}
	return refusal{}, false
}

// incomplete names what is missing from a request, or there more than once.
func incomplete(req *sip.Request) string {
	var to, from, callID, cseq, hops, length int
	for _, h := range req.Headers() {
		switch h.(type) {
		case *sip.ToHeader:
			to++
		case *sip.FromHeader:
			from++
		case *sip.CallIDHeader:
			callID++
		case *sip.CSeqHeader:
			cseq++
		case *sip.MaxForwardsHeader:
			hops++
		case *sip.ContentLengthHeader:
			length++
		}
	}
	for _, c := range []struct {
		name   string
		n      int
		needed bool
	}{{"To", to, true}, {"From", from, true}, {"Call-ID", callID, true}, {"CSeq", cseq, true},
		{"Max-Forwards", hops, false}, {"Content-Length", length, false}} {
		if c.n == 0 && c.needed {
			return "Missing " + c.name
		}
		if c.n > 1 {
			return "Multiple " + c.name
		}
	}
	if tag, ok := req.From().Params.Get("tag"); !ok || tag == "" {
		return "Missing From Tag"
	}
	return ""
}

// method tells whether a method is known and taken: 501 for the first, 405 for the second (RFC 3261 section 8.2.1).
func (l *listener) method(m string) (int, string) {
	for _, taken := range l.stack.opt.Methods {
		if m == taken {
			return 0, ""
		}
	}
	for _, known := range registered {
		if m == known {
			return sip.StatusMethodNotAllowed, "Method Not Allowed"
		}
	}
	return sip.StatusNotImplemented, "Not Implemented"
}

// Allow is the value of our Allow header.
func (s *Stack) Allow() string { return strings.Join(s.opt.Methods, ", ") }

// notSupported lists the option tags that a request requires and we have not, for Unsupported.
func (l *listener) notSupported(req *sip.Request) string {
	var unknown []string
	for _, h := range req.Headers() {
		if !strings.EqualFold(h.Name(), "Require") {
			continue
		}
		for tag := range strings.SplitSeq(h.Value(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" && !l.understands(tag) {
				unknown = append(unknown, tag)
			}
		}
	}
	return strings.Join(unknown, ", ")
}

func (l *listener) understands(tag string) bool {
	for _, s := range l.stack.opt.Supported {
		if strings.EqualFold(s, tag) {
			return true
		}
	}
	return false
}
