package kernel

import (
	"encoding/binary"
	"math/bits"
)

const (
	blockSize = 16      // bytes of an AES and of a GHASH block
	MaxCTR    = 1 << 20 // bytes under one IV: 2^16 blocks (RFC 3711 section 4.1.1); one more would repeat another index's keystream
)

// RoundKeys is an expanded AES key in the byte order of FIPS 197 section 5.2: up to 14 rounds and the first addition.
type RoundKeys [240]byte

// Expand fills rk from a key of 16, 24 or 32 bytes and returns the number of rounds: 10, 12 or 14 (FIPS 197 section 5.2). What
// lies in rk behind those rounds stays as it was; any other length returns 0 and changes nothing.
func Expand(t Tier, rk *RoundKeys, key []byte) (rounds int) {
	if len(key) != 16 && len(key) != 24 && len(key) != 32 {
		return 0
	}
	expand(t, rk, key)
	return roundsOf(key)
}

func roundsOf(key []byte) int { return len(key)/4 + 6 }

// expandGeneric makes a word at a time.
func expandGeneric(rk *RoundKeys, key []byte) {
	copy(rk[:], key)
	rcon := uint32(1)
	for at := len(key); at < blockSize*(roundsOf(key)+1); at += 4 {
		word := binary.LittleEndian.Uint32(rk[at-4:])
		switch {
		case at%len(key) == 0:
			word = subWord(bits.RotateLeft32(word, -8)) ^ rcon
			rcon = rcon<<1 ^ rcon>>7*0x11b // times x modulo x^8 + x^4 + x^3 + x + 1
		case len(key) == 32 && at%len(key) == 16:
			word = subWord(word)
		}
		binary.LittleEndian.PutUint32(rk[at:], word^binary.LittleEndian.Uint32(rk[at-len(key):]))
	}
}

// CTR adds the keystream of iv to p in place, which encrypts and decrypts. Blocks are counted in the last two bytes of iv,
// which SRTP leaves zero (RFC 3711 section 4.1.1); iv itself does not change. p may have any length up to MaxCTR bytes and
// any alignment; beyond that CTR panics.
func CTR(t Tier, rk *RoundKeys, rounds int, iv *[16]byte, p []byte) {
	if len(p) > MaxCTR {
		panic("kernel: counter mode over more than MaxCTR bytes would repeat a keystream")
	}
	ctr(t, rk, rounds, iv, 0, p)
}

// ctrGeneric counts from iv plus first in the last four bytes, as GCM does (SP 800-38D section 6.5). SRTP never carries beyond two.
func ctrGeneric(rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte) {
	if len(p) == 0 {
		return
	}
	var keys [15]planes
	for r := range keys[:rounds+1] {
		keys[r].loadRepeated((*[blockSize]byte)(rk[blockSize*r:]))
	}
	var stream [sliceBytes]byte
	var state planes
	count := binary.BigEndian.Uint32(iv[12:]) + uint32(first)
	for len(p) > 0 {
		for at := 0; at < sliceBytes; at += blockSize {
			copy(stream[at:], iv[:12])
			binary.BigEndian.PutUint32(stream[at+12:], count)
			count++
		}
		state.load(&stream)
		state.encrypt(&keys, rounds)
		state.store(&stream)
		n := min(len(p), sliceBytes)
		for i := range p[:n] {
			p[i] ^= stream[i]
		}
		p = p[n:]
	}
}
