package kernel

import "encoding/binary"

// The kernels of this processor hash whole blocks; what HMAC is made of them is here, so that as little as possible is assembly.

// hmacKeyARMCE hashes the two padded blocks of the key side by side (RFC 2104 section 2, steps 1, 2 and 5).
func hmacKeyARMCE(h *HMAC, key *[20]byte) {
	var inner, outer [shaBlock]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5C
	}
	h.Inner, h.Outer = shaStart, shaStart
	sha1PairARMCE(&h.Inner, inner[:], &h.Outer, outer[:])
	clear(inner[:])
	clear(outer[:])
}

// hmac1ARMCE is RFC 2104 section 2 from the two saved states.
func hmac1ARMCE(s *stream) {
	state := s.key.Inner
	for done := 0; done < s.blocks; {
		p := s.from(done)
		sha1ARMCE(&state, p)
		done += len(p) / shaBlock
	}
	var last [shaBlock]byte
	outerBlock(&last, &state)
	state = s.key.Outer
	sha1ARMCE(&state, last[:])
	putDigest(s.tag[:], &state)
}

// hmac2ARMCE does what hmac1ARMCE does on two streams: side by side as far as b goes, which has no more blocks than a.
func hmac2ARMCE(a, b *stream) {
	x, y := a.key.Inner, b.key.Inner
	done := 0
	for done < b.blocks {
		p, q := a.from(done), b.from(done)
		n := min(len(p), len(q))
		sha1PairARMCE(&x, p[:n], &y, q[:n])
		done += n / shaBlock
	}
	for done < a.blocks {
		p := a.from(done)
		sha1ARMCE(&x, p)
		done += len(p) / shaBlock
	}
	var last [2][shaBlock]byte
	outerBlock(&last[0], &x)
	outerBlock(&last[1], &y)
	x, y = a.key.Outer, b.key.Outer
	sha1PairARMCE(&x, last[0][:], &y, last[1][:])
	putDigest(a.tag[:], &x)
	putDigest(b.tag[:], &y)
}

// hmac16ARMCE takes the streams that have blocks two by two, as they come: the caller has put those of a length together.
func hmac16ARMCE(s *[Wide]stream) {
	var a *stream
	for i := range s {
		b := &s[i]
		switch {
		case b.blocks == 0:
		case a == nil:
			a = b
		case a.blocks < b.blocks:
			hmac2ARMCE(b, a)
			a = nil
		default:
			hmac2ARMCE(a, b)
			a = nil
		}
	}
	if a != nil {
		hmac1ARMCE(a)
	}
}

// from returns the blocks that lie in one piece from block i on, of which there must be one: those of msg, or else those of tail.
func (s *stream) from(i int) []byte {
	whole := len(s.msg) / shaBlock
	if i < whole {
		return s.msg[i*shaBlock : whole*shaBlock]
	}
	return s.tail[(i-whole)*shaBlock : (s.blocks-whole)*shaBlock]
}

// outerBlock lays out the block that follows the outer key: the inner hash, padded (FIPS 180-4 section 5.1.1).
func outerBlock(last *[shaBlock]byte, inner *[5]uint32) {
	putDigest(last[:], inner)
	last[shaSize] = 0x80
	binary.BigEndian.PutUint64(last[shaBlock-8:], (shaBlock+shaSize)*8)
}
