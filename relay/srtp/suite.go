// Package srtp opens and seals SRTP and SRTCP packets in place (RFC 3711, RFC 6188, RFC 7714).
//
// What it prevents: a packet accepted twice, an index sealed twice under one key (with AES-GCM that gives the
// authentication key away), state created or moved by a packet that nobody proved. Hence the two orders that everything
// here keeps: opening commits after proof, sealing commits before use.
//
//	Keys            master key, salt and MKI as signalling brought them: comparable
//	Schedule        session keys of SRTP or of SRTCP, expanded (Derive)
//	RXNow, RXRest   what one key has received (Received): rollover counters, windows; the SSRC in use now, and the others
//	TXNow, TXRest   what one key has sent (Sent): indices; likewise
//	Scratch         working space and processor features of one goroutine
//
// All but Scratch are plain bytes without a pointer, which the caller keeps where it likes: in one array, the hot ones apart
// from the rest, wiped with it. OpenRTP, OpenRTCP, SealRTP and SealRTCP take one packet; OpenBatch and SealBatch take the
// packets of a receive batch, of both kinds and of any streams, keys and suites, and give what the single functions give, in less
// time.
//
// Files in the order a packet meets them: job (what is asked), layout (where the fields are), received and sent (whose packet, which
// index), index and window (estimate, replay), open and seal (the steps in order), batch and lanes (many packets), arithmetic
// (the sums of one). suite, keys and schedule are the set-up.
//
// What does not live here: AES and SHA-1 (relay/srtp/kernel), reading RTP and RTCP headers (relay/rtp), the a=crypto attribute
// (signaling/sdp), re-basing of a restarted input's sequence numbers and the two seconds that an old receive key lives on
// (relay), sockets, clocks, logs.
package srtp

import "strings"

// Suite is an SRTP crypto suite. The zero value is None: plain RTP.
type Suite uint8

// The suites. 80 and 32 are the bits of the SRTP tag; SRTCP tags are always 80 bits with HMAC-SHA1, 128 with GCM.
const (
	None       Suite = iota
	AES128CM80       // AES_CM_128_HMAC_SHA1_80, RFC 4568 section 6.2.1
	AES128CM32       // AES_CM_128_HMAC_SHA1_32, RFC 4568 section 6.2.2
	AES192CM80       // AES_192_CM_HMAC_SHA1_80, RFC 6188 section 4
	AES192CM32       // AES_192_CM_HMAC_SHA1_32
	AES256CM80       // AES_256_CM_HMAC_SHA1_80
	AES256CM32       // AES_256_CM_HMAC_SHA1_32
	AES128GCM        // AEAD_AES_128_GCM, RFC 7714 section 14.1
	AES256GCM        // AEAD_AES_256_GCM
)

// Lengths in bytes that suites share.
const (
	saltCM   = 14 // 112 bits, RFC 3711 section 8.2
	saltGCM  = 12 // 96 bits, RFC 7714 section 12
	tag80    = 10
	tag32    = 4
	tagGCM   = 16
	authKey  = 20 // HMAC-SHA1 session key, RFC 3711 section 5.2
	maxKey   = 32
	maxSalt  = saltCM
	maxMKI   = 16
	wordRTCP = 4 // E bit and SRTCP index
)

// MaxOverhead is the most that sealing appends to a packet, in bytes: the caller's buffer needs this tailroom.
const MaxOverhead = tagGCM + wordRTCP + maxMKI

type profile struct {
	name            string // as in the RFC that registers it
	other           string // the same words in the other order, seen from peers that follow the pattern of RFC 4568
	key, salt       int    // bytes
	tagRTP, tagRTCP int    // bytes
}

var profiles = [...]profile{
	None:       {name: "none"},
	AES128CM80: {"AES_CM_128_HMAC_SHA1_80", "AES_128_CM_HMAC_SHA1_80", 16, saltCM, tag80, tag80},
	AES128CM32: {"AES_CM_128_HMAC_SHA1_32", "AES_128_CM_HMAC_SHA1_32", 16, saltCM, tag32, tag80},
	AES192CM80: {"AES_192_CM_HMAC_SHA1_80", "AES_CM_192_HMAC_SHA1_80", 24, saltCM, tag80, tag80},
	AES192CM32: {"AES_192_CM_HMAC_SHA1_32", "AES_CM_192_HMAC_SHA1_32", 24, saltCM, tag32, tag80},
	AES256CM80: {"AES_256_CM_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_80", 32, saltCM, tag80, tag80},
	AES256CM32: {"AES_256_CM_HMAC_SHA1_32", "AES_CM_256_HMAC_SHA1_32", 32, saltCM, tag32, tag80},
	AES128GCM:  {"AEAD_AES_128_GCM", "", 16, saltGCM, tagGCM, tagGCM},
	AES256GCM:  {"AEAD_AES_256_GCM", "", 32, saltGCM, tagGCM, tagGCM},
}

// ParseSuite returns the suite of an a=crypto attribute or a configuration, in either order of AES_256_CM and AES_CM_256 and
// in any case; "none" is None. It reports false for names it does not know.
func ParseSuite(name string) (Suite, bool) {
	for s, p := range profiles {
		if strings.EqualFold(name, p.name) || p.other != "" && strings.EqualFold(name, p.other) {
			return Suite(s), true
		}
	}
	return None, false
}

// Suites returns the eight suites, preferred first: long tags before short ones, then long keys before short ones.
func Suites() []Suite {
	return []Suite{
		AES256GCM, AES128GCM,
		AES256CM80, AES192CM80, AES128CM80,
		AES256CM32, AES192CM32, AES128CM32,
	}
}

// String returns the name that the RFC registers, "none" for None.
func (s Suite) String() string {
	if int(s) >= len(profiles) {
		return "unknown"
	}
	return profiles[s].name
}

// KeyLen returns the length of the master key in bytes.
func (s Suite) KeyLen() int { return s.profile().key }

// SaltLen returns the length of the master salt in bytes.
func (s Suite) SaltLen() int { return s.profile().salt }

// TagRTP returns the length of an SRTP packet's tag in bytes.
func (s Suite) TagRTP() int { return s.profile().tagRTP }

// TagRTCP returns the length of an SRTCP packet's tag in bytes.
func (s Suite) TagRTCP() int { return s.profile().tagRTCP }

func (s Suite) isGCM() bool { return s == AES128GCM || s == AES256GCM }

// profile returns the zero profile for a number that is no suite.
func (s Suite) profile() profile {
	if int(s) >= len(profiles) {
		return profile{}
	}
	return profiles[s]
}
