package digest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"tandem/internal/config"
)

// Credentials are who we are.
type Credentials struct {
	User     string
	Password config.Secret
	Realm    string // only challenges of this realm are answered; empty: any
}

// Respond answers the challenges of one 401 (the values of all its WWW-Authenticate headers; the answer goes into
// Authorization) or 407 (Proxy-Authenticate; Proxy-Authorization). Of several it takes the strongest: SHA-256, then
// SHA-512-256, then MD5, and of equals the first (RFC 8760 section 2.4 leaves the order to local policy). method and uri are
// those of the request that will carry the answer, uri byte for byte as in its request line, and body is its body, which
// counts with qop auth-int only.
//
// The request is then sent again with the answer, a new branch and the next CSeq number in the same Call-ID and From tag
// (RFC 3261 section 22.2). A second 401 or 407 to it means that the password is wrong, unless NonceExpired tells otherwise; after
// one stale nonce one more try is reasonable, and then no more.
//
// The same challenges may be answered again for a later request, which spares a round trip: count keeps the numbers apart.
// count may be nil for a challenge that is answered once. The error tells for each challenge why it cannot be answered.
func Respond(challenges []string, c Credentials, method, uri string, body []byte, count *Counter) (authorization string, err error) {
	if c.User == "" {
		return "", errors.New("digest: there is no user to answer the challenge with")
	}
	best, err := choose(challenges, c.Realm)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	x := exchange{method: method, uri: uri, nonce: best.params["nonce"], qop: best.qop, body: body}
	if x.qop != "" {
		if x.nc, x.cnonce, err = count.next(x.nonce); err != nil {
			return "", fmt.Errorf("digest: %w", err)
		}
	}
	secret := best.alg.sum(c.User, best.params["realm"], string(c.Password))
	return best.write(c.User, x, best.alg.answer(secret, x))
}

// NonceExpired reports whether a challenge says that only the nonce was too old and not the password wrong (RFC 7616 section 3.3).
func NonceExpired(challenges []string) bool {
	for _, value := range challenges {
		if p, err := parse(value); err == nil && strings.EqualFold(p["stale"], "true") {
			return true
		}
	}
	return false
}

// challenge is one that can be answered.
type challenge struct {
	params map[string]string
	alg    algorithm
	qop    string // the one that we use
}

// choose finds the best challenge of a realm.
func choose(values []string, realm string) (challenge, error) {
	var best challenge
	var why []error
	for _, value := range values {
		c, err := usable(value, realm)
		if err != nil {
			why = append(why, err)
			continue
		}
		if c.alg.rank > best.alg.rank {
			best = c
		}
	}
	switch {
	case best.alg.rank > 0:
		return best, nil
	case len(values) == 0:
		return best, errors.New("the peer refused for want of authentication but sent no challenge")
	}
	return best, fmt.Errorf("no challenge of the peer can be answered: %w", errors.Join(why...))
}

// usable reads a challenge and tells why it cannot be answered.
func usable(value, realm string) (challenge, error) {
	p, err := parse(value)
	if err != nil {
		return challenge{}, err
	}
	given, ok := p["realm"]
	if !ok || p["nonce"] == "" {
		return challenge{}, errors.New("it has no realm or no nonce")
	}
	if realm != "" && given != realm {
		return challenge{}, fmt.Errorf("its realm is %q, the credentials are for %q", given, realm)
	}
	alg, ok := byName(p["algorithm"])
	if !ok {
		return challenge{}, fmt.Errorf("its algorithm %q is none of SHA-256, SHA-512-256, MD5", p["algorithm"])
	}
	offered, ok := p["qop"]
	qop := pickQOP(offered)
	if ok && qop == "" {
		return challenge{}, fmt.Errorf("its qop %q is neither auth nor auth-int", offered)
	}
	if alg.session && qop == "" {
		return challenge{}, fmt.Errorf("%s without qop has no cnonce to bind its key to", alg.name)
	}
	return challenge{params: p, alg: alg, qop: qop}, nil
}

// pickQOP prefers auth: between us and the peer there may be something that rewrites bodies.
func pickQOP(list string) string {
	picked := ""
	for q := range strings.SplitSeq(list, ",") {
		switch q = trim(q); {
		case strings.EqualFold(q, qopAuth):
			return qopAuth
		case strings.EqualFold(q, qopInt):
			picked = qopInt
		}
	}
	return picked
}

// write puts the answer together (RFC 7616 section 3.4, RFC 3261 section 25.1: algorithm, qop and nc are not quoted).
func (ch challenge) write(user string, x exchange, answer string) (string, error) {
	var b strings.Builder
	b.WriteString(scheme + " ")
	for i, f := range [...]struct{ name, value string }{
		{"username", user}, {"realm", ch.params["realm"]}, {"nonce", x.nonce}, {"uri", x.uri}, {"response", answer},
		{"cnonce", x.cnonce}, {"opaque", ch.params["opaque"]},
	} {
		if f.value == "" && f.name != "realm" {
			continue
		}
		quoted, ok := quote(f.value)
		if !ok {
			return "", fmt.Errorf("digest: %s has a control character", f.name)
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.name + "=" + quoted)
	}
	if _, told := ch.params["algorithm"]; told {
		b.WriteString(", algorithm=" + ch.alg.name)
	}
	if x.qop != "" {
		b.WriteString(", qop=" + x.qop + ", nc=" + x.nc)
	}
	return b.String(), nil
}

// Counter numbers the answers to each nonce, so that the server can tell a new request from a copied one (nc, RFC 7616
// section 3.4). One for each peer; the zero value is ready, and it is safe for concurrent use. It remembers the nonces used
// last; an older one begins at 1 again, which the peer then takes for a copy and challenges anew.
type Counter struct {
	Random io.Reader // of cnonces; nil: crypto/rand

	mu   sync.Mutex
	used []nonceUse // the latest last
}

type nonceUse struct {
	nonce string
	n     uint32
}

const (
	noncesKept  = 16 // challenges of one peer that are under way at once, with room
	cnonceBytes = 16
)

// next gives the number of the next answer to a nonce, eight hex digits, and a fresh cnonce.
func (c *Counter) next(nonce string) (nc, cnonce string, err error) {
	random, n := io.Reader(rand.Reader), uint32(1)
	if c != nil {
		if c.Random != nil {
			random = c.Random
		}
		n = c.take(nonce)
	}
	var b [cnonceBytes]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", "", fmt.Errorf("random bytes for a cnonce: %w", err)
	}
	return fmt.Sprintf("%08x", n), hex.EncodeToString(b[:]), nil
}

func (c *Counter) take(nonce string) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := nonceUse{nonce: nonce}
	for i := range c.used {
		if c.used[i].nonce == nonce {
			u = c.used[i]
			c.used = append(c.used[:i], c.used[i+1:]...)
			break
		}
	}
	if len(c.used) == noncesKept {
		c.used = append(c.used[:0], c.used[1:]...)
	}
	u.n++
	c.used = append(c.used, u)
	return u.n
}
