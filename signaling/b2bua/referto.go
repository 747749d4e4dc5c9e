package b2bua

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Bounds of a transfer's target.
const (
	maxReferTo  = 2048 // bytes of Refer-To: Teams writes 400 and more
	maxReplaces = 1024 // bytes of Replaces
)

// target is where a REFER leads (RFC 3515 section 2.1).
type target struct {
	uri      sip.Uri // without headers
	number   string
	replaces *replaces // a call that the new one takes the place of; nil: none
}

// replaces names a dialog as its other end sees it (RFC 3891 section 6.1): toTag is the tag of whoever gets the INVITE.
type replaces struct {
	callID, toTag, fromTag string
	early                  bool // only if it is not answered yet
}

// referTo reads Refer-To: one, a SIP or tel URI, for an INVITE.
func referTo(req *sip.Request) (target, error) {
	list := named(req, "Refer-To")
	if len(list) != 1 {
		return target{}, fmt.Errorf("%d Refer-To headers, want one", len(list))
	}
	if len(list[0]) > maxReferTo {
		return target{}, fmt.Errorf("Refer-To of %d bytes, at most %d are read", len(list[0]), maxReferTo)
	}
	var t target
	var ps sip.HeaderParams
	if _, err := sip.ParseAddressValue(list[0], &t.uri, &ps); err != nil {
		return target{}, fmt.Errorf("Refer-To: %w", err)
	}
	switch s := strings.ToLower(t.uri.Scheme); s {
	case "sip", "sips", "tel":
	default:
		return target{}, fmt.Errorf("Refer-To leads to a %q URI", clip(s, opaqueText))
	}
	if m, ok := param(t.uri.UriParams, "method"); ok && !strings.EqualFold(m, "INVITE") {
		return target{}, errors.New("Refer-To asks for another method than INVITE")
	}
	if v, ok := param(t.uri.Headers, "Replaces"); ok {
		r, err := parseReplaces(unescape(v))
		if err != nil {
			return target{}, err
		}
		t.replaces = &r
	}
	t.uri.Headers = nil
	if t.number = number(&t.uri); t.number == "" {
		return target{}, errors.New("Refer-To names nobody")
	}
	return t, nil
}

// parseReplaces reads the value of a Replaces header.
func parseReplaces(v string) (r replaces, err error) {
	if len(v) > maxReplaces {
		return r, fmt.Errorf("the Replaces header has %d bytes, at most %d are read", len(v), maxReplaces)
	}
	id, rest, _ := strings.Cut(v, ";")
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
	if r.callID == "" || r.toTag == "" || r.fromTag == "" || strings.ContainsAny(v, "\r\n\x00,<>\"") {
		return r, errors.New("the Replaces header wants a Call-ID, a to-tag and a from-tag")
	}
	return r, nil
}

// header is the value of a Replaces header.
func (r replaces) header() string {
	v := r.callID + ";to-tag=" + r.toTag + ";from-tag=" + r.fromTag
	if r.early {
		v += ";early-only"
	}
	return v
}
