package kernel

import "encoding/binary"

const sliceBytes = 64 // four blocks side by side

// planes is the state of four AES blocks, bit by bit: bit i of planes[k] is bit k of byte i. AES is then a circuit of word
// operations without a table, so no memory address depends on a secret. Within a block byte 4c+r is row r of column c (FIPS 197
// section 3.4), so a row is every fourth bit of a plane and a column is four bits side by side.
type planes [8]uint64

// transpose8 exchanges bit j of byte i with bit i of byte j.
func transpose8(x uint64) uint64 {
	t := (x ^ x>>7) & 0x00AA00AA00AA00AA
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000CCCC0000CCCC
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000F0F0F0F0
	return x ^ t ^ t<<28
}

// load takes 64 bytes apart.
func (s *planes) load(p *[sliceBytes]byte) {
	*s = planes{}
	for w := range 8 {
		x := transpose8(binary.LittleEndian.Uint64(p[8*w:]))
		for k := range s {
			s[k] |= x >> (8 * k) & 0xFF << (8 * w)
		}
	}
}

// loadRepeated takes one block apart, for each of the four.
func (s *planes) loadRepeated(block *[blockSize]byte) {
	low := transpose8(binary.LittleEndian.Uint64(block[:8]))
	high := transpose8(binary.LittleEndian.Uint64(block[8:]))
	for k := range s {
		s[k] = (low>>(8*k)&0xFF | high>>(8*k)&0xFF<<8) * 0x0001000100010001
	}
}

// store puts 64 bytes together again.
func (s *planes) store(p *[sliceBytes]byte) {
	for w := range 8 {
		x := uint64(0)
		for k := range s {
			x |= s[k] >> (8 * w) & 0xFF << (8 * k)
		}
		binary.LittleEndian.PutUint64(p[8*w:], transpose8(x))
	}
}

// encrypt is the cipher of FIPS 197 section 5.1.
func (s *planes) encrypt(keys *[15]planes, rounds int) {
	s.addRoundKey(&keys[0])
	for r := 1; r < rounds; r++ {
		s.subBytes()
		s.shiftRows()
		s.mixColumns()
		s.addRoundKey(&keys[r])
	}
	s.subBytes()
	s.shiftRows()
	s.addRoundKey(&keys[rounds])
}

func (s *planes) addRoundKey(key *planes) {
	for k := range s {
		s[k] ^= key[k]
	}
}

// shiftRows takes row r of column c from column c+r (FIPS 197 section 5.1.2).
func (s *planes) shiftRows() {
	for k, x := range s {
		s[k] = x&0x1111111111111111 |
			x>>4&0x0222022202220222 | x<<12&0x2000200020002000 |
			x>>8&0x0044004400440044 | x<<8&0x4400440044004400 |
			x>>12&0x0008000800080008 | x<<4&0x8880888088808880
	}
}

// mixColumns gives row r the value 2(a[r] + a[r+1]) + a[r+1] + a[r+2] + a[r+3] (FIPS 197 section 5.1.3).
func (s *planes) mixColumns() {
	var next, sum planes // of each byte: the row below it, and both together
	for k, x := range s {
		next[k] = x>>1&0x7777777777777777 | x<<3&0x8888888888888888
		sum[k] = x ^ next[k]
	}
	for k, x := range sum {
		s[k] = next[k] ^ x>>2&0x3333333333333333 ^ x<<2&0xCCCCCCCCCCCCCCCC
		if k > 0 {
			s[k] ^= sum[k-1]
		}
	}
	for _, k := range [...]int{0, 1, 3, 4} { // twice a byte with its top bit set leaves x^4 + x^3 + x + 1
		s[k] ^= sum[7]
	}
}

// subWord applies the S-box to four bytes.
func subWord(word uint32) uint32 {
	var bytes [sliceBytes]byte
	binary.LittleEndian.PutUint32(bytes[:], word)
	var s planes
	s.load(&bytes)
	s.subBytes()
	s.store(&bytes)
	return binary.LittleEndian.Uint32(bytes[:])
}

// subBytes is the S-box (FIPS 197 section 5.1.1) as a circuit: Boyar and Peralta, "A depth-16 circuit for the AES S-box" (IACR
// ePrint 2011/332), with its names. A linear layer (y) leads to an inversion in GF(2^4) (t), and another linear layer (z, then t
// again) back out of the products.
func (s *planes) subBytes() {
	x0, x1, x2, x3, x4, x5, x6, x7 := s[7], s[6], s[5], s[4], s[3], s[2], s[1], s[0]
	y14, y13, y9, y8, t0 := x3^x5, x0^x6, x0^x3, x0^x5, x1^x2
	y1 := t0 ^ x7
	y4, y12, y2, y5 := y1^x3, y13^y14, y1^x0, y1^x6
	y3, t1 := y5^y8, x4^y12
	y15, y20 := t1^x5, t1^x1
	y6, y10, y11 := y15^x7, y15^t0, y20^y9
	y7, y17, y19, y16 := x7^y11, y10^y11, y10^y8, t0^y11
	y21, y18 := y13^y16, x0^y16

	t2, t7, t12 := y12&y15, y13&y16, y9&y11
	t4, t6 := y3&y6^t2, y4&x7^t2
	t9, t11 := y5&y1^t7, y2&y7^t7
	t14, t16 := y14&y17^t12, y8&y10^t12
	t21, t22, t23, t24 := t4^t14^y20, t6^t16^y19, t9^t14^y21, t11^t16^y18
	t25, t26, t30 := t21^t22, t21&t23, t23^t24
	t27, t31 := t24^t26, t22^t26
	t29, t33 := t25&t27^t22, t31&t30^t24
	t34, t35 := t23^t33, t27^t33
	t36 := t24 & t35
	t37, t38 := t36^t34, t27^t36
	t40 := t25 ^ t29&t38
	t41, t42, t43, t44 := t40^t37, t29^t33, t29^t40, t33^t37
	t45 := t42 ^ t41

	z0, z1, z2, z3, z4, z5 := t44&y15, t37&y6, t33&x7, t43&y16, t40&y1, t29&y7
	z6, z7, z8, z9, z10, z11 := t42&y11, t45&y17, t41&y10, t44&y12, t37&y3, t33&y4
	z12, z13, z14, z15, z16, z17 := t43&y13, t40&y5, t29&y2, t42&y9, t45&y14, t41&y8

	t46, t48, t50, t53, t54 := z15^z16, z5^z13, z2^z12, z0^z3, z6^z7
	t57, t58, t59 := t50^t53, z4^t46, z3^t54
	t60, t61, t62, t63, t64 := t46^t57, z14^t57, z7^z8^t58, z9^z10^t58, z4^t59
	t65, t66 := t61^t62, z1^t63
	t67 := t64 ^ t65
	s3 := t53 ^ t66
	s[7], s[6], s[5], s[4] = t59^t63, ^(t64 ^ s3), ^(z16 ^ z17 ^ t67), s3
	s[3], s[2], s[1], s[0] = z2^z5^t66, z10^z11^t65, ^(z12 ^ t48 ^ t62), ^(t48 ^ t60)
}
