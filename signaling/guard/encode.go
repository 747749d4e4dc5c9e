package guard

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
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

// encodeRequest serialises a request that leaves by l: our Via alone, under this branch, and the headers that every request has
// where they are missing. It proves, like encodeResponse, that nothing was smuggled in: as many lines as headers, and a head that
// our own filter accepts. req is not changed.
func (l *listener) encodeRequest(req *sip.Request, branch string) ([]byte, error) {
	var room [headRoom]byte
	b := l.appendHop(appendRequestLine(room[:0], req), branch)
	lines, hops, agent, length := 1, false, l.stack.agent == nil, false
	for _, h := range req.Headers() {
		if _, ok := h.(*sip.ViaHeader); ok {
			continue
		}
		lines++
		switch name := h.Name(); {
		case strings.EqualFold(name, "Content-Length"):
			b, length = appendLength(b, len(req.Body())), true
			continue
		case strings.EqualFold(name, "Max-Forwards"):
			hops = true
		case strings.EqualFold(name, "User-Agent"):
			agent = true
		}
		b = appendHeader(b, h)
	}
	if !hops {
		b = append(strconv.AppendInt(append(b, "Max-Forwards: "...), maxForwards, 10), "\r\n"...)
		lines++
	}
	if !agent {
		b = appendHeader(b, l.stack.agent)
		lines++
	}
	if !length {
		b = appendLength(b, len(req.Body()))
		lines++
	}
	return seal(b, lines, req.Body())
}

// appendHop writes our Via for a request that leaves by l (RFC 3581 section 3).
func (l *listener) appendHop(b []byte, branch string) []byte {
	b = append(append(append(b, "Via: SIP/2.0/"...), l.proto...), ' ')
	b = append(appendHost(b, l.host, l.port), ";rport;branch="...)
	return append(append(b, branch...), "\r\n"...)
}

func appendLength(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), int64(n), 10), "\r\n"...)
}

func encodeResponse(res *sip.Response) ([]byte, error) {
	var room [headRoom]byte
	return seal(appendHeaders(appendStatusLine(room[:0], res), res.Headers()), len(res.Headers()), res.Body())
}

const headRoom = 1024 // bytes of an ordinary head, written on the stack; a longer one costs an allocation

// seal ends a head of so many headers, judges it, and returns message and body in a buffer of just their size: it may be kept for
// 32 s.
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
	raw := make([]byte, len(head)+len(body))
	copy(raw[copy(raw, head):], body)
	return raw, nil
}

// newBranch makes a branch that nobody can guess (RFC 3261 section 8.1.1.7).
func newBranch() string {
	var random [branchRandom]byte
	rand.Read(random[:]) // crypto/rand does not fail
	b := make([]byte, 0, len(sip.RFC3261BranchMagicCookie)+2*branchRandom)
	return string(hex.AppendEncode(append(b, sip.RFC3261BranchMagicCookie...), random[:]))
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
