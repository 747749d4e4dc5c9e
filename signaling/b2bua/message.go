package b2bua

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// anonymousHost is the host of a caller who withholds the number (RFC 3323 section 4.1.1.3). It names nobody, so it may
// cross.
const anonymousHost = "anonymous.invalid"

// respond answers a request. with may add headers and a body.
func (c *call) respond(in *guard.Inbound, code int, with func(*sip.Response)) error {
	return c.b.respond(in, code, with)
}

func (b *B2BUA) respond(in *guard.Inbound, code int, with func(*sip.Response)) error {
	res := in.Response(code, reasonPhrase(code))
	if with != nil {
		with(res)
	}
	return in.Respond(res)
}

// addOurs adds what every request that opens or renews a dialog carries: our Contact and what we can do.
func (c *call) addOurs(m sip.Message, tr *trunk.Trunk, listener string) {
	c.addContact(m, listener)
	m.AppendHeader(allowHeader)
	m.AppendHeader(supportedHeader(&tr.Policy))
}

// Headers that are the same in each message. Messages share them; nobody changes a header of a message.
var (
	allowHeader   = sip.NewHeader("Allow", allow)
	allSupported  = sip.NewHeader("Supported", optionRel+", "+optionTimer+", "+optionReplaces)
	someSupported = sip.NewHeader("Supported", optionTimer+", "+optionReplaces)
	typeSDP       = sip.ContentTypeHeader(contentSDP)
)

// addContact adds our Contact: the listener's advertised host and port, and its transport. That is what peers know us by;
// Teams wants our name there and never an address. We end every dialog ourselves, so there is no Record-Route of ours.
func (c *call) addContact(m sip.Message, listener string) {
	m.AppendHeader(c.b.contact(listener))
}

// plate is what stands at a listener's door. It is made once, and shared by messages like the headers above.
type plate struct {
	host    string
	contact *sip.ContactHeader
}

func (b *B2BUA) plate(listener string) *plate {
	if p, ok := b.plates.Load(listener); ok {
		return p.(*plate)
	}
	shown := b.o.Stack.Contact(listener)
	p := &plate{host: hostOf(shown), contact: &sip.ContactHeader{}}
	if err := sip.ParseUri("sip:"+shown, &p.contact.Address); err != nil {
		b.log.Error("contact not usable", "listener", listener, "contact", shown, "error", err)
	}
	if t := b.o.Config.SIP.Listeners[listener].Transport; t != "" {
		p.contact.Address.UriParams.Add("transport", t)
	}
	b.plates.Store(listener, p)
	return p
}

func (b *B2BUA) contact(listener string) *sip.ContactHeader { return b.plate(listener).contact }

// host is how we are called in From and Warning on a listener: its advertised host.
func (b *B2BUA) host(listener string) string { return b.plate(listener).host }

// setSDP puts a body of ours into a message.
func setSDP(m sip.Message, body []byte) {
	m.AppendHeader(&typeSDP)
	m.SetBody(body)
}

// hasSDP reports a response that carries SDP.
func hasSDP(res *sip.Response) bool {
	ct := res.ContentType()
	return len(res.Body()) > 0 && ct != nil && isSDP(ct.Value())
}

// isAnonymous reports a From that withholds the caller.
func isAnonymous(u *sip.Uri) bool {
	return strings.EqualFold(u.Host, anonymousHost)
}

// quote writes a quoted-string (RFC 3261 section 25.1).
func quote(s string) string { return `"` + displayName(s) + `"` }

// retryAfter adds a Retry-After in seconds.
func retryAfter(seconds int) func(*sip.Response) {
	return func(res *sip.Response) { res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(seconds))) }
}

// reason is one value of a Reason header (RFC 3326): SIP with a status, or Q.850 with a cause.
type reason struct {
	protocol string
	cause    int
	text     string // ours; a peer's text is not kept: it names hosts
}

func (r reason) header() sip.Header {
	v := fmt.Sprintf("%s;cause=%d", r.protocol, r.cause)
	if r.text != "" {
		v += ";text=" + quote(r.text)
	}
	return sip.NewHeader("Reason", v)
}

// Reason header values.
const (
	protocolSIP  = "SIP"
	protocolQ850 = "Q.850"
	maxReasons   = 4 // values read from one message
)

func reasonSIP(code int, text string) []reason { return []reason{{protocolSIP, code, text}} }

// reasons reads the Reason headers of a message: protocols SIP and Q.850 with their causes, the rest is left out.
func reasons(m sip.Message) []reason {
	var list []reason
	for _, h := range headers(m, "Reason") {
		for v := range strings.SplitSeq(h.Value(), ",") {
			protocol, rest, _ := strings.Cut(v, ";")
			r := reason{}
			switch protocol = strings.TrimSpace(protocol); {
			case strings.EqualFold(protocol, protocolSIP):
				r.protocol = protocolSIP
			case strings.EqualFold(protocol, protocolQ850):
				r.protocol = protocolQ850
			default:
				continue
			}
			for p := range strings.SplitSeq(rest, ";") {
				name, value, _ := strings.Cut(p, "=")
				if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n > 0 && n < 1000 &&
					strings.EqualFold(strings.TrimSpace(name), "cause") {
					r.cause = n
				}
			}
			if r.cause != 0 && len(list) < maxReasons {
				list = append(list, r)
			}
		}
	}
	return list
}

// copyReason passes the Reason of one message on, re-encoded.
func copyReason(from, to sip.Message) {
	for _, r := range reasons(from) {
		to.AppendHeader(r.header())
	}
}

// q850 is the Q.850 cause of a message, 0 without one.
func q850(m sip.Message) int {
	for _, r := range reasons(m) {
		if r.protocol == protocolQ850 {
			return r.cause
		}
	}
	return 0
}

// seconds reads a Retry-After; false without one. Comment and parameters are left out.
func seconds(m sip.Message) (int, bool) {
	hs := headers(m, "Retry-After")
	if len(hs) == 0 {
		return 0, false
	}
	v := hs[0].Value()
	if i := strings.IndexAny(v, "; (\t"); i >= 0 {
		v = v[:i]
	}
	n, err := strconv.ParseUint(v, 10, 31) // beyond its range the largest: who asks for an age means a long time
	return int(n), err == nil || errors.Is(err, strconv.ErrRange)
}

func copyRetryAfter(from, to sip.Message) {
	if n, ok := seconds(from); ok {
		to.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(n)))
	}
}

// reasonPhrase is the text of a status (RFC 3261 section 21). A peer's own text is not passed on: it names hosts.
func reasonPhrase(code int) string {
	if p, ok := phrases[code]; ok {
		return p
	}
	switch {
	case code < 200:
		return "Session Progress"
	case code < 300:
		return "OK"
	case code < 500:
		return "Request Failure"
	case code < 600:
		return "Server Failure"
	}
	return "Global Failure"
}

// phrases is read only.
var phrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 199: "Early Dialog Terminated",
	200: "OK", 202: "Accepted",
	400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	408: "Request Timeout", 410: "Gone", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
	415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
	422: "Session Interval Too Small", 429: "Provide Referrer Identity", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete",
	485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
	500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
	504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}
