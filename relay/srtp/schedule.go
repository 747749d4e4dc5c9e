package srtp

import (
	"crypto/aes"
	"encoding/binary"
	"fmt"
	"io"

	"tandem/relay/srtp/kernel"
)

// Schedule is the session keys of one direction's SRTP packets, or of its SRTCP packets, ready for use. It is 384 bytes without a
// pointer, six cache lines in the order a packet needs them: the caller keeps it where it keeps the rest of a leg's state.
// Only Derive and Wipe change it. The zero value is no key: every packet gets verdict.NoKey.
//
// The bytes of an MKI do not fit beside AES-256 with GCM; they are read from the Keys, if there is one.
type Schedule struct {
	_      [0]uint64           // words of keys are read where they lie
	head   [aes.BlockSize]byte // session salt where the counter block has it, then suite and form
	rounds kernel.RoundKeys
	proof  kernel.GHASH // GCM: powers of the hash key. Else: HMAC's inner and outer state, in the same place
}

// Where head holds what is no salt, and the parts of the form.
const (
	headSuite = 14
	headForm  = 15

	formMKI   = 1<<5 - 1 // length of the MKI, in bytes
	formClear = 1 << 5   // UNENCRYPTED_SRTCP was negotiated
)

// label selects what is derived, RFC 3711 section 4.3.2.
type label byte

const (
	labelRTP  label = 0 // and 1: authentication key, 2: salt
	labelRTCP label = 3 // and 4, 5
)

// Derive expands k into the schedules of SRTP and of SRTCP, in place, so that no copy is left elsewhere. Suite None has no keys: it
// gives zero schedules. The key derivation rate is 0: SDES cannot negotiate another one that anybody uses, so every key
// is derived once. The schedules of all tiers are the same.
func Derive(t kernel.Tier, k *Keys, rtp, rtcp *Schedule) {
	*rtp, *rtcp = Schedule{}, Schedule{}
	if k.suite == None {
		return
	}
	// The PRF runs AES with the master key's own length: RFC 6188 section 3 and RFC 7714 section 11.
	var master kernel.RoundKeys
	kernel.Expand(t, &master, k.key[:k.suite.KeyLen()])
	form := k.mkiLen
	if k.unencryptedRTCP {
		form |= formClear
	}
	var s session
	s.derive(t, k, &master, labelRTP)
	rtp.expand(t, &s, form)
	s.derive(t, k, &master, labelRTCP)
	rtcp.expand(t, &s, form)
	s, master = session{}, kernel.RoundKeys{}
}

// session is derived keys before their expansion.
type session struct {
	suite Suite
	key   [maxKey]byte  // the first KeyLen bytes
	auth  [authKey]byte // unused with GCM
	salt  [maxSalt]byte // the first SaltLen bytes
}

// derive fills s with the session keys that begin at first.
func (s *session) derive(t kernel.Tier, k *Keys, master *kernel.RoundKeys, first label) {
	*s = session{suite: k.suite}
	prf := func(l label, out []byte) {
		// RFC 3711 sections 4.3.1 and 4.3.3: the keystream whose counter block is the salt with the label in its byte 7. A GCM salt of 12
		// bytes has two zero bytes after it (RFC 7714 section 11).
		var counter [aes.BlockSize]byte
		copy(counter[:], k.salt[:])
		counter[7] ^= byte(l)
		kernel.CTR(t, master, int(roundsOf[k.suite%16]), &counter, out)
	}
	prf(first, s.key[:k.suite.KeyLen()])
	prf(first+1, s.auth[:])
	prf(first+2, s.salt[:k.suite.SaltLen()])
}

// expand fills k from session keys.
func (k *Schedule) expand(t kernel.Tier, s *session, form uint8) {
	k.head[headSuite], k.head[headForm] = byte(s.suite), form
	kernel.Expand(t, &k.rounds, s.key[:s.suite.KeyLen()])
	if s.suite.isGCM() {
		// A GCM nonce is bytes 2 to 13 of the counter block that AES-CM would use: RFC 7714 sections 8.1 and 9.1 put SSRC and index
		// where RFC 3711 section 4.1.1 does, without the first two bytes and the block counter.
		copy(k.head[nonceFrom:], s.salt[:saltGCM])
		k.proof.Init(t, &k.rounds, k.turns())
		return
	}
	copy(k.head[:], s.salt[:])
	k.proof.HMAC().Init(t, &s.auth)
}

const nonceFrom, nonceTo = 2, 14

// counter makes the counter block of (ssrc, index), which begins at zero (RFC 3711 section 4.1.1).
func (k *Schedule) counter(block *[aes.BlockSize]byte, ssrc uint32, index uint64) {
	high, low := k.words(ssrc, index)
	binary.BigEndian.PutUint64(block[:8], high)
	binary.BigEndian.PutUint64(block[8:], low)
}

// nonce makes the nonce of GCM. It is written where it is used and in the words that are read from there: a load that spans two stores
// waits for both.
func (k *Schedule) nonce(nonce *[saltGCM]byte, ssrc uint32, index uint64) {
	high, low := k.words(ssrc, index)
	binary.BigEndian.PutUint64(nonce[:8], high<<(8*nonceFrom)|low>>(64-8*nonceFrom))
	binary.BigEndian.PutUint32(nonce[8:], uint32(low>>(8*(aes.BlockSize-nonceTo))))
}

// words returns salt * 2^16 XOR ssrc * 2^64 XOR index * 2^16 (RFC 3711 section 4.1.1).
func (k *Schedule) words(ssrc uint32, index uint64) (high, low uint64) {
	const blocks = 1<<16 - 1 // the counter of blocks: in head, suite and form are there
	return binary.BigEndian.Uint64(k.head[:8]) ^ uint64(ssrc), binary.BigEndian.Uint64(k.head[8:])&^blocks ^ index<<16
}

// Wipe clears the keys.
func (k *Schedule) Wipe() { *k = Schedule{} }

// Suite returns the suite, None for the zero value.
func (k *Schedule) Suite() Suite { return Suite(k.head[headSuite]) }

// Format prints the suite and withholds the keys, whatever the verb.
func (k Schedule) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.Suite().String()+" (keys withheld)")
}

// What each packet asks for. There are sixteen places so that a byte's four lowest bits are always one of them.
var (
	tagOf    = [16]uint8{AES128CM80: tag80, AES128CM32: tag32, AES192CM80: tag80, AES192CM32: tag32, AES256CM80: tag80, AES256CM32: tag32, AES128GCM: tagGCM, AES256GCM: tagGCM}
	roundsOf = [16]uint8{AES128CM80: 10, AES128CM32: 10, AES192CM80: 12, AES192CM32: 12, AES256CM80: 14, AES256CM32: 14, AES128GCM: 10, AES256GCM: 14}
)

// tagRTP returns the length of an SRTP packet's tag in bytes.
func (k *Schedule) tagRTP() int { return int(tagOf[k.head[headSuite]%16]) }

// turns returns the number of rounds of AES (FIPS 197 section 5).
func (k *Schedule) turns() int { return int(roundsOf[k.head[headSuite]%16]) }

// mki returns the length of the MKI in bytes.
func (k *Schedule) mki() int { return int(k.head[headForm] & formMKI) }

// mayBeClear tells whether SRTCP packets are, and may come, unencrypted.
func (k *Schedule) mayBeClear() bool { return k.head[headForm]&formClear != 0 }
