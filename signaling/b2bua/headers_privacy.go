package b2bua

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// privacy is what a Privacy header asks for (RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044 section 7.2).
type privacy []string

// known privacy values.
var privacies = []string{"header", "session", "user", "none", "critical", "id", "history"}

func privacyOf(m sip.Message) privacy {
	p, _ := readPrivacy(m)
	return p
}

// readPrivacy also tells of values that nobody here knows: one of them, as it came.
func readPrivacy(m sip.Message) (p privacy, unknown string) {
	for _, h := range headers(m, headerPrivacy) {
		for v := range strings.FieldsFuncSeq(h.Value(), func(r rune) bool { return strings.ContainsRune(";, \t", r) }) {
			switch known := strings.ToLower(v); {
			case !slices.Contains(privacies, known):
				unknown = v
			case !slices.Contains(p, known):
				p = append(p, known)
			}
		}
	}
	return p, unknown
}

// private refuses an INVITE whose caller would rather not call than go without a privacy that we do not know (RFC 3323
// sections 4.2 and 5: "critical"). False: it was refused.
func (c *call) private(req *sip.Request) bool {
	p, unknown := readPrivacy(req)
	if unknown == "" || !slices.Contains(p, "critical") {
		return true
	}
	c.reject(500, "critical privacy that is not known here: "+clip(unknown, maxToken), func(res *sip.Response) {
		res.Reason = "Critical Privacy Not Supported"
		if isToken(unknown) {
			res.Reason += ": " + unknown
		}
	})
	return false
}

func (p privacy) has(values ...string) bool {
	return !slices.Contains(p, "none") && slices.ContainsFunc(values, func(v string) bool { return slices.Contains(p, v) })
}

// header is the value that goes on. What it asks of header and session is done already: nothing of either side crosses.
func (p privacy) header() string { return strings.Join(p, ";") }
