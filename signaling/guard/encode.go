package guard

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/emiago/sipgo/sip"
)

const (
	maxClean     = 8192 // bytes of a header value that we pass on
	branchRandom = 16   // random bytes of a branch: a response that carries it can only come from who saw the request
)

// errInjected is a message of ours that would not be read back as what it is.
var errInjected = errors.New("a header of this message contains a line break or is not valid SIP; clean what comes from a peer")

// encodeRequest and encodeResponse serialise a message and prove that nothing was smuggled in: as many lines as headers, and a
// head that our own filter accepts.
func encodeRequest(req *sip.Request) ([]byte, error) {
	b := roomFor(req.Headers(), req.Body())
	return seal(appendHeaders(appendRequestLine(b, req), req.Headers()), len(req.Headers()), req.Body())
}

func encodeResponse(res *sip.Response) ([]byte, error) {
	b := roomFor(res.Headers(), res.Body())
	return seal(appendHeaders(appendStatusLine(b, res), res.Headers()), len(res.Headers()), res.Body())
}

const lineRoom = 64 // bytes of an ordinary line; a message that needs more has its buffer grown once

// roomFor is the one buffer of a message, which is what a transaction keeps.
func roomFor(headers []sip.Header, body []byte) []byte {
	return make([]byte, 0, lineRoom*(len(headers)+1)+len(body))
}

// seal ends a head of so many headers, judges it, and adds the body.
func seal(head []byte, headers int, body []byte) ([]byte, error) {
	head = append(head, "\r\n"...)
	g, out := inspect(head)
	switch {
	case out != Delivered:
		return nil, fmt.Errorf("%w (%s)", errInjected, out)
	case g.lines != headers || g.size != len(head):
		return nil, errInjected
	case g.length != len(body):
		return nil, fmt.Errorf("Content-Length %d with a body of %d bytes; set the body by SetBody", g.length, len(body))
	}
	return append(head, body...), nil
}

// newBranch makes a branch that nobody can guess (RFC 3261 section 8.1.1.7).
func newBranch() string {
	var random [branchRandom]byte
	rand.Read(random[:]) // crypto/rand does not fail
	b := make([]byte, 0, len(sip.RFC3261BranchMagicCookie)+2*branchRandom)
	return string(hex.AppendEncode(append(b, sip.RFC3261BranchMagicCookie...), random[:]))
}

// via is our hop for a request that leaves by l.
func (l *listener) via(branch string) *sip.ViaHeader {
	return &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: l.proto, Host: l.host, Port: l.port,
		Params: sip.HeaderParams{{K: "rport"}, {K: "branch", V: branch}}} // RFC 3581 section 3
}

// prepare returns a copy of req that is ready to leave by l: our Via alone, and the headers that every request has. The
// caller's req is not changed.
func (l *listener) prepare(req *sip.Request, branch string) *sip.Request {
	out := sip.NewRequest(req.Method, req.Recipient)
	out.AppendHeader(l.via(branch))
	for _, h := range req.Headers() {
		if _, ok := h.(*sip.ViaHeader); !ok {
			out.AppendHeader(h)
		}
	}
	if !has(out, "Max-Forwards") {
		hops := sip.MaxForwardsHeader(maxForwards)
		out.AppendHeader(&hops)
	}
	if agent := l.stack.agent; agent != nil && !has(out, "User-Agent") {
		out.AppendHeader(agent)
	}
	if !has(out, "Content-Length") {
		length := sip.ContentLengthHeader(0)
		out.AppendHeader(&length)
	}
	out.SetBody(req.Body())
	return out
}

// has reports a header by its long name. It allocates nothing: sipgo's GetHeader makes a string in lower case of each header that
// it does not know.
func has(m interface{ Headers() []sip.Header }, name string) bool {
	for _, h := range m.Headers() {
		if strings.EqualFold(h.Name(), name) {
			return true
		}
	}
	return false
}

// skeleton keeps what a transaction still needs once its request is on its way, cloned as far as the caller has it too, who
// may go on using it; the body is released early (a transaction lives for 32 s).
func skeleton(req *sip.Request) *sip.Request {
	out := sip.NewRequest(req.Method, req.Recipient)
	for _, h := range req.Headers() {
		switch h.(type) {
		case *sip.ViaHeader: // ours alone, see prepare
			out.AppendHeader(h)
		case *sip.FromHeader, *sip.ToHeader, *sip.CallIDHeader, *sip.CSeqHeader, *sip.RouteHeader:
			out.AppendHeader(sip.HeaderClone(h))
		}
	}
	return out
}

// Clean re-encodes a header value that came from one peer for another: folded lines and tabs become one space, the ends
// are trimmed. It refuses ("", false) what cannot be meant well: other control characters, a bare CR, LF or NUL, text
// that is not UTF-8, nothing at all, more than 8 KiB.
func Clean(value string) (string, bool) {
	if len(value) > maxClean || !utf8.ValidString(value) {
		return "", false
	}
	var b strings.Builder
	b.Grow(len(value))
	gap := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\r' && i+2 < len(value) && value[i+1] == '\n' && (value[i+2] == ' ' || value[i+2] == '\t') {
			i += 2
			c = ' '
		}
		switch {
		case c == ' ' || c == '\t':
			gap = true
			continue
		case c < ' ' || c == 0x7f:
			return "", false
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		b.WriteByte(c)
	}
	return b.String(), b.Len() > 0
}

// CleanDisplay re-encodes a display name as it stands between the quotes of a header: every quote and backslash escaped,
// whatever the escapes of the input were. It returns "" for a name that Clean refuses.
func CleanDisplay(name string) string {
	name, ok := Clean(name)
	if !ok {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '\\' && i+1 < len(name) {
			i++
			c = name[i]
		}
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// CleanUser reports whether a user part may be written into a SIP URI as it is: the characters of RFC 3261 section 25.1
// for user, with # tolerated because dialled numbers carry it, and no others.
func CleanUser(user string) bool {
	for i := 0; i < len(user); i++ {
		c := user[i]
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.!~*'()%&=+$,;?/#", c) >= 0:
		default:
			return false
		}
	}
	return len(user) > 0 && len(user) <= maxClean
}

// bareHost is a host of a URI or of Via without the brackets of an IPv6 reference.
func bareHost(h string) string {
	if len(h) > 2 && h[0] == '[' && h[len(h)-1] == ']' && net.ParseIP(h[1:len(h)-1]) != nil {
		return h[1 : len(h)-1]
	}
	return h
}
