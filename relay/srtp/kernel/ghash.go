package kernel

import (
	"encoding/binary"
	"math/bits"
)

const powers = 8 // blocks that are multiplied before one reduction

// GHASH is the hash key of AES-GCM: H^8 to H, in this order, each times x and as a 128-bit integer in little-endian order whose
// top bit is the coefficient of x^0. GCM's order of bits makes a product of two such integers one bit short: the factor
// x in the key gives it back, so that nothing is shifted per block (Gueron and Kounavis, "Intel Carry-Less Multiplication
// Instruction and its Usage for Computing the GCM Mode", 2010). The layout is the same in every tier.
type GHASH [powers][16]byte

// field is an element of GF(2^128) in GHASH's layout.
type field struct{ low, high uint64 }

// Init derives the hash key, the encryption of zero, and its powers (SP 800-38D section 6.4).
func (g *GHASH) Init(t Tier, rk *RoundKeys, rounds int) {
	var zero, h [blockSize]byte
	ctr(t, rk, rounds, &zero, 0, h[:])
	key := field{low: binary.BigEndian.Uint64(h[8:]), high: binary.BigEndian.Uint64(h[:8])}
	carry := -(key.high >> 63) // all ones if x^0 ... moves out
	key.high = key.high<<1 | key.low>>63
	key.low = key.low<<1 ^ carry&1
	key.high ^= carry & polynomial
	power := key
	for i := powers - 1; i >= 0; i-- {
		binary.LittleEndian.PutUint64(g[i][:8], power.low)
		binary.LittleEndian.PutUint64(g[i][8:], power.high)
		power = power.times(key)
	}
	clear(h[:])
}

// polynomial is the upper word of x^128 + x^7 + x^2 + x + 1 in GHASH's layout, without its lowest bit.
const polynomial = 0xC200000000000000

// ghashGeneric runs acc = (acc + block) H over the blocks of r, by Horner's rule (SP 800-38D section 6.4).
func ghashGeneric(g *GHASH, acc *[16]byte, r *runs) {
	key := field{binary.LittleEndian.Uint64(g[powers-1][:8]), binary.LittleEndian.Uint64(g[powers-1][8:])}
	x := field{low: binary.BigEndian.Uint64(acc[8:]), high: binary.BigEndian.Uint64(acc[:8])}
	for _, p := range [...][]byte{r.head, r.body, r.foot} {
		for ; len(p) >= blockSize; p = p[blockSize:] {
			x.high ^= binary.BigEndian.Uint64(p[:8])
			x.low ^= binary.BigEndian.Uint64(p[8:])
			x = x.times(key)
		}
	}
	binary.BigEndian.PutUint64(acc[:8], x.high)
	binary.BigEndian.PutUint64(acc[8:], x.low)
}

// times multiplies by Karatsuba's rule and reduces the low half away, a word at a time (Gueron and Kounavis 2010).
func (x field) times(y field) field {
	low1, low0 := clmul(x.low, y.low)
	high1, high0 := clmul(x.high, y.high)
	mid1, mid0 := clmul(x.low^x.high, y.low^y.high)
	mid0 ^= low0 ^ high0
	mid1 ^= low1 ^ high1
	low1 ^= mid0
	high0 ^= mid1
	// Adding low0 times the polynomial clears low0; then the same with the next word.
	low1 ^= low0<<63 ^ low0<<62 ^ low0<<57
	high0 ^= low0 ^ low0>>1 ^ low0>>2 ^ low0>>7
	high0 ^= low1<<63 ^ low1<<62 ^ low1<<57
	high1 ^= low1 ^ low1>>1 ^ low1>>2 ^ low1>>7
	return field{high0, high1}
}

// clmul is the product of two polynomials over GF(2), as upper and lower word.
func clmul(x, y uint64) (high, low uint64) {
	return bits.Reverse64(clmulLow(bits.Reverse64(x), bits.Reverse64(y))) >> 1, clmulLow(x, y)
}

// clmulLow returns the lower word of the product. Integer multiplication of words that use each fourth bit leaves three bits for
// carries, which are masked away: up to sixteen terms meet at a bit, and sixteen do so only where the carry leaves the word.
func clmulLow(x, y uint64) uint64 {
	const m0, m1, m2, m3 = 0x1111111111111111, 0x2222222222222222, 0x4444444444444444, 0x8888888888888888
	x0, x1, x2, x3 := x&m0, x&m1, x&m2, x&m3
	y0, y1, y2, y3 := y&m0, y&m1, y&m2, y&m3
	return (x0*y0^x1*y3^x2*y2^x3*y1)&m0 | (x0*y1^x1*y0^x2*y3^x3*y2)&m1 |
		(x0*y2^x1*y1^x2*y0^x3*y3)&m2 | (x0*y3^x1*y2^x2*y1^x3*y0)&m3
}
