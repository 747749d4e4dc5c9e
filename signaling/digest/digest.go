// Package digest proves by a password who speaks, without sending the password (RFC 7616, and RFC 8760 for SIP).
//
// Both ends are here: Respond answers the challenge of a peer, Server challenges a peer and checks its answer. The failures
// that this package prevents: an answer that was overheard is good a second time (TestAnswerIsGoodOnlyOnce,
// TestEvictedNonceIsNotGoodAgain); a flood of challenges or of wrong answers costs memory (the server keeps one table of
// fixed size, and only right answers write into it); and the time of a refusal tells which users exist.
//
// Strings in, strings out: which header a value stands in, how a request is sent again and when to give up is the business
// of signaling/b2bua and signaling/register.
package digest

import (
	"crypto/md5" // what most peers still speak; RFC 3261 demands it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

const (
	scheme  = "Digest"
	qopAuth = "auth"
	qopInt  = "auth-int" // the body is part of the answer
)

// algorithm is a hash and how it is used (RFC 7616 section 3.3).
type algorithm struct {
	name    string // as registered (IANA HTTP Digest Algorithm Values)
	rank    int    // of several challenges the highest is answered
	session bool   // the secret is bound to one nonce and cnonce
	hash    func() hash.Hash
}

var algorithms = []algorithm{
	{"SHA-256", 3, false, sha256.New},
	{"SHA-256-sess", 3, true, sha256.New},
	{"SHA-512-256", 2, false, sha512.New512_256},
	{"SHA-512-256-sess", 2, true, sha512.New512_256},
	{"MD5", 1, false, md5.New},
	{"MD5-sess", 1, true, md5.New},
}

// byName finds an algorithm; the empty name is MD5 (RFC 7616 section 3.3).
func byName(name string) (algorithm, bool) {
	if name == "" {
		name = "MD5"
	}
	for _, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return a, true
		}
	}
	return algorithm{}, false
}

// sum is the lower-case hex of the hash of parts with a colon between them.
func (a algorithm) sum(parts ...string) string {
	h := a.hash()
	for i, p := range parts {
		if i > 0 {
			h.Write([]byte{':'})
		}
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// exchange is everything but the secret that goes into an answer.
type exchange struct {
	method, uri       string
	nonce, cnonce, nc string // the last two are empty without qop
	qop               string // empty: the form of RFC 2069
	body              []byte // counts with auth-int only
}

// answer is the value of response (RFC 7616 section 3.4.1; without qop RFC 2069 section 2.1.2). secret is the hash of
// user:realm:password.
func (a algorithm) answer(secret string, x exchange) string {
	if a.session {
		secret = a.sum(secret, x.nonce, x.cnonce)
	}
	request := a.sum(x.method, x.uri)
	if x.qop == qopInt {
		request = a.sum(x.method, x.uri, a.sum(string(x.body)))
	}
	if x.qop == "" {
		return a.sum(secret, x.nonce, request)
	}
	return a.sum(secret, x.nonce, x.nc, x.cnonce, x.qop, request)
}
