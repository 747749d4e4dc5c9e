package digest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"tandem/internal/config"
)

// Result is what became of an answer.
type Result uint8

// The results, and what the request gets. A request that was not OK has changed nothing.
const (
	OK        Result = iota // it goes on
	Missing                 // nothing for our realm: 401 with Challenge(false)
	Wrong                   // user or password: 401 with Challenge(false); which of the two, nobody learns
	Stale                   // right, but the nonce is too old: 401 with Challenge(true)
	Replayed                // right, but it was seen before: 401 with Challenge(true); who copied it cannot answer anew
	Malformed               // 400
)

// String is a word for a log or a metric.
func (r Result) String() string {
	switch r {
	case OK:
		return "ok"
	case Missing:
		return "missing"
	case Wrong:
		return "wrong"
	case Stale:
		return "stale"
	case Replayed:
		return "replayed"
	}
	return "malformed"
}

// offers are the algorithms of our challenges, the preferred one first (RFC 8760 section 2.4).
var offers = [...]string{"SHA-256", "MD5"}

const (
	keyBytes    = 32
	opaqueBytes = 8
)

// Server challenges the users of one realm. It is safe for concurrent use and takes 100 KiB. Keep it over a reload that
// leaves the users as they were: a new one takes the nonces of the old one for stale.
type Server struct {
	realm  string
	opaque string // says nothing: the nonce carries all that we want back
	key    []byte
	now    func() time.Time
	users  map[string]secrets
	nobody secrets // what a user that does not exist is compared with, so that it takes as long

	mu     sync.Mutex
	number uint64 // of the latest nonce; under mu
	used   *uses  // under mu
}

// secrets are the hashes of user:realm:password, one for each of offers.
type secrets [len(offers)]string

// NewServer makes the server of a trunk's challenge. A nil clock is the wall clock, a nil random crypto/rand; random is
// read here only, and NewServer panics if it fails, for a key that can be guessed would be worse than no process.
func NewServer(c config.Challenge, now func() time.Time, random io.Reader) *Server {
	if now == nil {
		now = time.Now
	}
	if random == nil {
		random = rand.Reader
	}
	seed := make([]byte, keyBytes+opaqueBytes+keyBytes)
	if _, err := io.ReadFull(random, seed); err != nil {
		panic(fmt.Sprintf("digest: random bytes for the key of nonces: %v", err))
	}
	s := &Server{
		realm: c.Realm, now: now, users: make(map[string]secrets, len(c.Users)), used: new(uses),
		key: seed[:keyBytes], opaque: hex.EncodeToString(seed[keyBytes : keyBytes+opaqueBytes]),
		nobody: hashed("", c.Realm, config.Secret(seed[keyBytes+opaqueBytes:])),
	}
	for user, password := range c.Users {
		s.users[user] = hashed(user, c.Realm, password)
	}
	return s
}

func hashed(user, realm string, password config.Secret) (s secrets) {
	for i, name := range offers {
		a, _ := byName(name)
		s[i] = a.sum(user, realm, string(password))
	}
	return s
}

// Challenge gives the values of the WWW-Authenticate headers of a 401 (or the Proxy-Authenticate headers of a 407), one
// header each and in this order. stale tells the client that its password was right (results Stale and Replayed).
func (s *Server) Challenge(stale bool) []string {
	s.mu.Lock()
	s.number++
	n := nonce{made: s.now(), number: s.number}
	s.mu.Unlock()
	realm, ok := quote(s.realm)
	if !ok {
		realm = `""` // the config has none with control characters
	}
	tail := ""
	if stale {
		tail = ", stale=true"
	}
	text, values := n.text(s.key), make([]string, 0, len(offers))
	for _, alg := range offers {
		values = append(values, fmt.Sprintf(`%s realm=%s, nonce="%s", opaque="%s", algorithm=%s, qop="%s"%s`,
			scheme, realm, text, s.opaque, alg, qopAuth, tail))
	}
	return values
}

// Check judges a request: authorization are the values of its Authorization headers (of Proxy-Authorization if the
// challenge was a 407), method and uri are those of its request line. The user is given whenever an answer for our realm
// could be read, for the log; only with OK is it proven. A right answer is good once: check a request once, and
// a retransmission never. An answer with qop auth-int is judged with the body, though we ask for auth only: bodies are
// rewritten on the way to us.
func (s *Server) Check(authorization []string, method, uri string, body []byte) (user string, r Result) {
	r = Missing
	for _, value := range authorization {
		p, err := parse(value)
		switch {
		case errors.Is(err, errOtherScheme):
		case err != nil:
			r = Malformed
		case p["realm"] == s.realm:
			return p["username"], s.judge(p, method, uri, body)
		}
	}
	return "", r
}

// judge compares before anything else, and compares for a user that does not exist as well.
func (s *Server) judge(p map[string]string, method, uri string, body []byte) Result {
	alg, offered := offer(p["algorithm"])
	nc, err := strconv.ParseUint(p["nc"], 16, 32)
	if offered < 0 || err != nil || nc == 0 || len(p["nc"]) != 8 || p["qop"] != qopAuth && p["qop"] != qopInt ||
		p["cnonce"] == "" || p["username"] == "" || !sameResource(p["uri"], uri) {
		return Malformed
	}
	known, exists := s.users[p["username"]]
	if !exists {
		known = s.nobody
	}
	want := alg.answer(known[offered], exchange{
		method: method, uri: p["uri"], nonce: p["nonce"], cnonce: p["cnonce"], nc: p["nc"], qop: p["qop"], body: body,
	})
	if subtle.ConstantTimeCompare([]byte(want), []byte(p["response"])) != 1 || !exists {
		return Wrong
	}
	n, ours := readNonce(s.key, p["nonce"])
	if !ours || n.old(s.now()) { // not ours: of this process before its restart, or of the other node
		return Stale
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.take(n.number, uint32(nc))
}

// offer finds an algorithm among ours; the index is -1 for any other.
func offer(name string) (algorithm, int) {
	a, _ := byName(name)
	for i, o := range offers {
		if a.name == o {
			return a, i
		}
	}
	return a, -1
}

// sameResource compares the uri of an answer with that of the request line (RFC 7616 section 3.4.6): scheme, user and host
// must be the same, so that an answer that was held back on its way opens no other number. Port and parameters may
// differ, because peers write them into one and not into the other.
func sameResource(a, b string) bool {
	if a == b {
		return a != ""
	}
	sa, ua, ha, oka := splitURI(a)
	sb, ub, hb, okb := splitURI(b)
	return oka && okb && strings.EqualFold(sa, sb) && ua == ub && strings.EqualFold(ha, hb)
}

// splitURI takes a SIP URI apart; ok is false for anything else (a tel URI has to be the same byte for byte).
func splitURI(uri string) (scheme, user, host string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return "", "", "", false
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, rest = rest[:at], rest[at+1:]
	}
	if end := strings.IndexAny(rest, ";?"); end >= 0 {
		rest = rest[:end]
	}
	host = rest
	if strings.HasPrefix(rest, "[") {
		host, _, ok = strings.Cut(rest[1:], "]")
		return scheme, user, host, ok && host != ""
	}
	host, _, _ = strings.Cut(rest, ":")
	return scheme, user, host, host != ""
}
