package kernel

import (
	"encoding/binary"
	"math/bits"
)

const (
	shaBlock = 64 // bytes
	shaSize  = 20 // bytes
)

// shaStart is the hash value before the first block (FIPS 180-4 section 5.3.1).
var shaStart = [5]uint32{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}

// sha1Generic runs SHA-1's compression over the whole blocks of p (FIPS 180-4 section 6.1.3, the alternate method: a
// schedule of sixteen words).
func sha1Generic(state *[5]uint32, p []byte) {
	for ; len(p) >= shaBlock; p = p[shaBlock:] {
		var w [16]uint32
		for i := range w {
			w[i] = binary.BigEndian.Uint32(p[4*i:])
		}
		a, b, c, d, e := state[0], state[1], state[2], state[3], state[4]
		for i := range 80 {
			if i >= 16 {
				w[i&15] = bits.RotateLeft32(w[(i-3)&15]^w[(i-8)&15]^w[(i-14)&15]^w[i&15], 1)
			}
			f, k := shaRound(i, b, c, d)
			a, b, c, d, e = bits.RotateLeft32(a, 5)+f+e+k+w[i&15], a, bits.RotateLeft32(b, 30), c, d
		}
		state[0] += a
		state[1] += b
		state[2] += c
		state[3] += d
		state[4] += e
	}
}

// shaRound returns function and constant of a round (FIPS 180-4 sections 4.1.1 and 4.2.1).
func shaRound(i int, b, c, d uint32) (f, k uint32) {
	switch {
	case i < 20:
		return b&c | ^b&d, 0x5A827999
	case i < 40:
		return b ^ c ^ d, 0x6ED9EBA1
	case i < 60:
		return b&c | b&d | c&d, 0x8F1BBCDC
	}
	return b ^ c ^ d, 0xCA62C1D6
}

// putDigest writes the hash value.
func putDigest(out []byte, state *[5]uint32) {
	_ = out[shaSize-1]
	for i, word := range state {
		binary.BigEndian.PutUint32(out[4*i:], word)
	}
}
