package kernel

import "encoding/binary"

// SealGCM encrypts p in place under nonce and writes to tag the proof of p and aad (SP 800-38D section 7.1, RFC 7714). aad may be
// empty, and so may p. p is at most MaxCTR bytes less two blocks; beyond that SealGCM panics.
func SealGCM(t Tier, rk *RoundKeys, rounds int, g *GHASH, nonce *[12]byte, aad, p []byte, tag *[16]byte) {
	var w proof
	w.begin(nonce, aad, len(p))
	ctr(t, rk, rounds, &w.iv, maskBlock, w.mask[:])
	ctr(t, rk, rounds, &w.iv, firstData, p)
	low, high := w.finish(t, g, aad, p)
	binary.LittleEndian.PutUint64(tag[:8], low)
	binary.LittleEndian.PutUint64(tag[8:], high)
}

// OpenGCM verifies tag over p and aad, then decrypts p in place (SP 800-38D section 7.2). If the tag is wrong it returns false and
// p is as it came: nothing is decrypted before it is proven.
func OpenGCM(t Tier, rk *RoundKeys, rounds int, g *GHASH, nonce *[12]byte, aad, p []byte, tag *[16]byte) bool {
	var w proof
	w.begin(nonce, aad, len(p))
	ctr(t, rk, rounds, &w.iv, maskBlock, w.mask[:])
	low, high := w.finish(t, g, aad, p)
	low ^= binary.LittleEndian.Uint64(tag[:8])
	high ^= binary.LittleEndian.Uint64(tag[8:])
	if low|high != 0 { // one comparison of the whole: its time says nothing about where they differ
		return false
	}
	ctr(t, rk, rounds, &w.iv, firstData, p)
	return true
}

// What the counter is for the block that masks the tag and for the first of the data (SP 800-38D section 7.1, steps 2 and 3).
const maskBlock, firstData = 1, 2

// proof is the work on one packet's tag.
type proof struct {
	iv, mask [blockSize]byte // the nonce before its counter; the encrypted counter block of the tag
	acc      [blockSize]byte
	head     [blockSize]byte     // the end of aad
	foot     [2 * blockSize]byte // the end of the data, if it is no whole block, and the lengths
	footLen  int
}

// runs is what GHASH runs over: three runs of whole blocks, one after the other. head has at most one block, foot at least one.
type runs struct{ head, body, foot []byte }

// begin lays out the nonce of 96 bits (SP 800-38D section 7.1, step 2) and what is known before the data: a wide load right behind
// the narrow stores that it reads would wait for them, so the cipher goes in between.
func (w *proof) begin(nonce *[12]byte, aad []byte, n int) {
	if n > MaxCTR-firstData*blockSize {
		panic("kernel: GCM over more than MaxCTR bytes")
	}
	binary.LittleEndian.PutUint64(w.iv[:8], binary.LittleEndian.Uint64(nonce[:8]))
	binary.LittleEndian.PutUint64(w.iv[8:], uint64(binary.LittleEndian.Uint32(nonce[8:])))
	copy(w.head[:], aad[len(aad)&^(blockSize-1):])
	w.footLen = blockSize
	if n%blockSize != 0 {
		w.footLen = 2 * blockSize
	}
	binary.BigEndian.PutUint64(w.foot[w.footLen-16:], uint64(len(aad))*8)
	binary.BigEndian.PutUint64(w.foot[w.footLen-8:], uint64(n)*8)
}

// finish returns the tag, mask + GHASH(aad, 0*, p, 0*, lengths), as two words in little-endian order (SP 800-38D section 7.1,
// steps 4 to 6).
func (w *proof) finish(t Tier, g *GHASH, aad, p []byte) (low, high uint64) {
	whole := len(aad) &^ (blockSize - 1)
	if whole > 0 {
		ghash(t, g, &w.acc, &runs{foot: aad[:whole]})
	}
	var r runs
	if whole < len(aad) {
		r.head = w.head[:]
	}
	whole = len(p) &^ (blockSize - 1)
	if whole < len(p) {
		copy(w.foot[:blockSize], p[whole:])
	}
	r.body, r.foot = p[:whole], w.foot[:w.footLen]
	ghash(t, g, &w.acc, &r)
	low = binary.LittleEndian.Uint64(w.mask[:8]) ^ binary.LittleEndian.Uint64(w.acc[:8])
	high = binary.LittleEndian.Uint64(w.mask[8:]) ^ binary.LittleEndian.Uint64(w.acc[8:])
	return low, high
}
