package main

import (
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lane is one stream of SHA-1 in registers. a holds the words a to d of the hash value, a on top, as the SHA extensions have
// it; e and f take turns at the fifth word, on top of zeros. w is the last sixteen words of the schedule.
type lane struct {
	stream           gotypes.Component
	key, whole, tail reg.GPVirtual
	p                operand.Mem // the next block
	a, e, f          reg.VecVirtual
	w                [4]reg.VecVirtual
	saved            operand.Mem // hash value before the block
}

// hmac writes the set-up of a key (hmacKey), and HMAC-SHA1 from saved states with the SHA extensions, for one stream and for two
// side by side:
//
//  1. resume from the hash value after the inner key block (RFC 2104 section 4)
//  2. compress the whole blocks where they are, then those of the tail; of two streams, the longer one goes on alone
//  3. resume from the outer value and compress the digest, which is already in registers in the order of message words
//  4. write the tag
func hmac(a *assembler) {
	turn, padding := a.reversal("hmacTurn"), a.data("hmacPadding",
		0, 0x80000000, // words 4 to 7 of the outer block: after the digest's last word a one bit
		(64+20)*8, 0, // words 12 to 15: the length in bits, with the key's block
	)
	hmacKey(a, turn)

	a.begin("hmac1SHANI", "func(a *stream)",
		"hmac1SHANI writes a's tag (RFC 2104, FIPS 180-4 section 6.1.2). It needs the SHA extensions and SSE4.1.")
	mask := a.XMM()
	a.MOVOU(turn, mask)
	only := newLane(a, "a")
	a.blocks("blocks", mask, only.count(a), only)
	a.finish(mask, padding, only)
	a.RET()

	a.begin("hmac2SHANI", "func(a, b *stream)",
		"hmac2SHANI writes the tags of a and b (RFC 2104, FIPS 180-4 section 6.1.2); b has no more blocks than a. It needs the SHA extensions and SSE4.1.")
	mask = a.XMM()
	a.MOVOU(turn, mask)
	long, short := newLane(a, "a"), newLane(a, "b")
	more, common := long.count(a), short.count(a)
	a.SUBQ(common, more)
	a.blocks("common", mask, common, long, short)
	a.TESTQ(more, more)
	a.JZ(operand.LabelRef("outer"))
	a.blocks("alone", mask, more, long)
	a.Label("outer")
	a.finish(mask, padding, long, short)
	a.RET()
}

// hmacKey writes the set-up of a key: SHA-1 of its inner and of its outer block (RFC 2104 section 4) side by side, from the
// initial hash value (FIPS 180-4 section 5.3.1).
func hmacKey(a *assembler, turn operand.Mem) {
	start := a.data("hmacStart", 0x98BADCFE10325476, 0x67452301EFCDAB89, 0, 0xC3D2E1F000000000)
	pads := a.data("hmacPads", 0x3636363636363636, 0x3636363636363636, 0x5C5C5C5C5C5C5C5C, 0x5C5C5C5C5C5C5C5C)
	a.begin("hmacKeySHANI", "func(h *HMAC, key *[20]byte)",
		"hmacKeySHANI fills h from key (RFC 2104 section 4). It needs the SHA extensions and SSE4.1.")
	mask := a.XMM()
	a.MOVOU(turn, mask)
	h := operand.Mem{Base: a.Load(a.Param("h"), a.GP64())}
	key := operand.Mem{Base: a.Load(a.Param("key"), a.GP64())}
	lanes := make([]*lane, 2)
	for i := range lanes {
		l := &lane{a: a.XMM(), e: a.XMM(), f: a.XMM(), saved: a.AllocLocal(32)}
		for j := range l.w {
			l.w[j] = a.XMM()
		}
		a.MOVOU(start, l.a)
		a.MOVOU(start.Offset(16), l.e)
		a.MOVOU(pads.Offset(16*i), l.w[2]) // words 8 to 11, where nothing of the key is
		lanes[i] = l
	}
	a.compress(lanes, func(l *lane, i int) {
		switch i {
		case 0:
			a.MOVOU(key, l.w[0])
		case 1:
			a.MOVSS(key.Offset(16), l.w[1])
		case 3:
			a.MOVO(l.w[2], l.w[3])
		}
		if i < 2 {
			a.PSHUFB(mask, l.w[i])
			a.PXOR(l.w[2], l.w[i])
		}
	})
	a.Comment("Inner, then Outer")
	for i, l := range lanes {
		to, word := h.Offset(20*i), a.GP32()
		a.PSHUFD(operand.Imm(0x1B), l.a, l.a)
		a.MOVOU(l.a, to)
		a.PEXTRD(operand.Imm(3), l.e, word)
		a.MOVL(word, to.Offset(16))
	}
	a.RET()
}

// newLane loads a stream and its inner state.
func newLane(a *assembler, param string) *lane {
	l := &lane{key: a.GP64(), whole: a.GP64(), tail: a.GP64(), saved: a.AllocLocal(32)}
	l.stream = a.Param(param).Dereference(a.Load(a.Param(param), a.GP64()))
	a.Load(l.stream.Field("key"), l.key)
	a.Load(l.stream.Field("msg").Len(), l.whole)
	l.p.Base = a.Load(l.stream.Field("msg").Base(), a.GP64())
	a.LEAQ(memory(l.stream.Field("tail").Index(0)), l.tail)
	a.SHRQ(operand.Imm(6), l.whole)
	a.CMOVQEQ(l.tail, l.p.Base)
	l.a, l.e, l.f = a.XMM(), a.XMM(), a.XMM()
	for i := range l.w {
		l.w[i] = a.XMM()
	}
	l.resume(a, "Inner")
	return l
}

// count loads how many blocks there are in all.
func (l *lane) count(a *assembler) reg.Register { return a.Load(l.stream.Field("blocks"), a.GP64()) }

// resume loads one of the key's two hash values.
func (l *lane) resume(a *assembler, side string) {
	state := l.stream.Field("key").Dereference(l.key).Field(side)
	a.MOVOU(memory(state.Index(0)), l.a)
	a.PSHUFD(operand.Imm(0x1B), l.a, l.a)
	a.MOVSS(memory(state.Index(4)), l.e) // the assembler's MOVD would read eight bytes
	a.PSLLDQ(operand.Imm(12), l.e)
}

// memory is where a component lies.
func memory(c gotypes.Component) operand.Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// blocks compresses so many blocks of each lane, going over to the tail where the whole blocks end.
func (a *assembler) blocks(label string, mask reg.VecVirtual, count reg.Register, lanes ...*lane) {
	a.Label(label)
	a.compress(lanes, func(l *lane, i int) {
		a.MOVOU(l.p.Offset(16*i), l.w[i])
		a.PSHUFB(mask, l.w[i])
	})
	for _, l := range lanes {
		a.ADDQ(operand.Imm(64), l.p.Base)
		a.DECQ(l.whole)
		a.CMOVQEQ(l.tail, l.p.Base)
	}
	a.DECQ(count)
	a.JNZ(operand.LabelRef(label))
}

// finish compresses the digest after the outer key block and writes the tag.
func (a *assembler) finish(mask reg.VecVirtual, padding operand.Mem, lanes ...*lane) {
	a.Comment("The outer hash")
	for _, l := range lanes {
		a.MOVO(l.a, l.w[0])
		a.MOVO(l.e, l.w[1])
		l.resume(a, "Outer")
	}
	a.compress(lanes, func(l *lane, i int) {
		switch i {
		case 1:
			a.MOVOU(padding, l.w[2])
			a.PXOR(l.w[2], l.w[1])
		case 2:
			a.PXOR(l.w[2], l.w[2])
		case 3:
			a.MOVOU(padding.Offset(16), l.w[3])
		}
	})
	a.Comment("The tag, in big-endian order")
	for _, l := range lanes {
		tag := a.Load(l.stream.Field("tag"), a.GP64())
		word := a.GP32()
		a.PSHUFB(mask, l.a)
		a.MOVOU(l.a, operand.Mem{Base: tag})
		a.PEXTRD(operand.Imm(3), l.e, word)
		a.BSWAPL(word)
		a.MOVL(word, operand.Mem{Base: tag, Disp: 16})
	}
}

// compress is one block of SHA-1 (FIPS 180-4 section 6.1.2) in twenty steps of four rounds, each step for every lane before the
// next one. feed puts words 4i to 4i+3 into w[i], the first on top.
//
// SHA1RNDS4 does four rounds, SHA1NEXTE makes the fifth word of the next step from a of this one, and SHA1MSG1, an XOR and
// SHA1MSG2 make four words of the schedule out of the sixteen before, spread over the three steps before their use.
func (a *assembler) compress(lanes []*lane, feed func(l *lane, i int)) {
	each := func(f func(l *lane)) {
		for _, l := range lanes {
			f(l)
		}
	}
	each(func(l *lane) {
		a.MOVOU(l.a, l.saved)
		a.MOVOU(l.e, l.saved.Offset(16))
	})
	for step := range 20 {
		a.Commentf("Rounds %d to %d", 4*step, 4*step+3)
		each(func(l *lane) {
			w, before := l.w[step%4], func(n int) reg.VecVirtual { return l.w[(step+4-n)%4] }
			if step < 4 {
				feed(l, step)
			}
			if step == 0 {
				a.PADDD(w, l.e)
			} else {
				a.SHA1NEXTE(w, l.e)
			}
			a.MOVO(l.a, l.f)
			if step >= 3 && step < 19 {
				a.SHA1MSG2(w, before(3))
			}
			a.SHA1RNDS4(operand.Imm(uint64(step/5)), l.e, l.a)
			if step >= 1 && step < 17 {
				a.SHA1MSG1(w, before(1))
			}
			if step >= 2 && step < 18 {
				a.PXOR(w, before(2))
			}
			l.e, l.f = l.f, l.e
		})
	}
	each(func(l *lane) {
		a.MOVOU(l.saved.Offset(16), l.w[0])
		a.SHA1NEXTE(l.w[0], l.e)
		a.MOVOU(l.saved, l.w[1])
		a.PADDD(l.w[1], l.a)
	})
}
