package phone

import (
	"net/url"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// replaced names a call as its other end sees it (RFC 3891 section 6.1): toTag is the tag of whoever gets the INVITE.
type replaced struct {
	callID, toTag, fromTag string
	early                  bool // only if it is not answered yet
}

// replacing finds the call whose place an INVITE wants (RFC 3891 section 3). The status is 0, or that of the refusal; the call
// is nil for an ordinary INVITE.
func (p *Phone) replacing(req *sip.Request) (c *Call, code int) {
	list := req.GetHeaders("Replaces")
	if len(list) == 0 {
		return nil, 0
	}
	r, ok := readReplaces(list[0].Value())
	if !ok || len(list) > 1 {
		return nil, 400
	}
	if c = p.find(dialogID{r.callID, r.toTag}); c == nil {
		return nil, 481
	}
	switch theirs, _ := c.d.remote.Params.Get("tag"); {
	case theirs != r.fromTag:
		return nil, 481
	case r.early: // this phone files a call once it is answered
		return nil, 486
	}
	return c, 0
}

// readReplaces reads the value of a Replaces header.
func readReplaces(value string) (r replaced, ok bool) {
	id, rest, _ := strings.Cut(value, ";")
	r.callID = strings.TrimSpace(id)
	for p := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(p, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "to-tag":
			r.toTag = value
		case "from-tag":
			r.fromTag = value
		case "early-only":
			r.early = true
		}
	}
	return r, r.callID != "" && r.toTag != "" && r.fromTag != ""
}

// escaped is the value of the header as it stands in a URI.
func (r replaced) escaped() string {
	return url.QueryEscape(r.callID + ";to-tag=" + r.toTag + ";from-tag=" + r.fromTag)
}

// unescaped is a header value that stood in a URI; "" if it is not one.
func unescaped(s string) string {
	s, err := url.PathUnescape(s) // a plus sign is one there
	if err != nil || strings.ContainsAny(s, "\r\n\x00") {
		return ""
	}
	return s
}
