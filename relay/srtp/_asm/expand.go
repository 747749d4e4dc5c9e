package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What PSHUFD repeats from AESKEYGENASSIST's result: it has, for words 1 and 3 of its source, SubWord in words 0 and 2 and
// RotWord of that plus the round constant in words 1 and 3.
const (
	turned1 = 0x55
	plain3  = 0xAA
	turned3 = 0xFF
)

// expansion is the registers of the key expansion: the last four words of the schedule in low, or with a longer key the last
// six or eight, whose end is in high.
type expansion struct {
	*assembler
	low, high, word, scratch reg.VecVirtual
	rk                       operand.Mem
}

// expand writes the key expansion of FIPS 197 section 5.2, a key's length of words at a time: each word is the one a key's length
// before it plus the word before it, so that four words come of three shifted sums and one word that goes into all of them.
// AESKEYGENASSIST looks nothing up in memory: its time does not depend on the key.
func expand(a *assembler) {
	a.begin("expandAESNI", "func(rk *RoundKeys, key []byte)",
		"expandAESNI expands a key of 16, 24 or 32 bytes (FIPS 197 section 5.2) and leaves the rest of rk as it was.",
		"It needs AES-NI.")
	e := expansion{assembler: a, low: a.XMM(), high: a.XMM(), word: a.XMM(), scratch: a.XMM()}
	n := a.Load(a.Param("key").Len(), a.GP64())
	key := operand.Mem{Base: a.Load(a.Param("key").Base(), a.GP64())}
	e.rk.Base = a.Load(a.Param("rk"), a.GP64())
	a.MOVOU(key, e.low)
	a.MOVOU(e.low, e.rk)
	a.CMPQ(n, operand.Imm(24))
	a.JE(operand.LabelRef("key24"))
	a.JA(operand.LabelRef("key32"))

	a.Comment("16 bytes: ten times four words")
	for i := 1; i <= 10; i++ {
		e.four(e.low, e.low, i, turned3)
		a.MOVOU(e.low, e.rk.Offset(16*i))
	}
	a.RET()

	a.Label("key24")
	a.Comment("24 bytes: seven times six words, and four")
	a.MOVQ(key.Offset(16), e.high)
	a.MOVQ(e.high, e.rk.Offset(16))
	for i := 1; i <= 8; i++ {
		e.four(e.low, e.high, i, turned1)
		a.MOVOU(e.low, e.rk.Offset(24*i))
		if i < 8 {
			e.two()
			a.MOVQ(e.high, e.rk.Offset(24*i+16))
		}
	}
	a.RET()

	a.Label("key32")
	a.Comment("32 bytes: six times eight words, and four")
	a.MOVOU(key.Offset(16), e.high)
	a.MOVOU(e.high, e.rk.Offset(16))
	for i := 1; i <= 7; i++ {
		e.four(e.low, e.high, i, turned3)
		a.MOVOU(e.low, e.rk.Offset(32*i))
		if i < 7 {
			e.four(e.high, e.low, 0, plain3)
			a.MOVOU(e.high, e.rk.Offset(32*i+16))
		}
	}
	a.RET()
}

// four makes the next four words out of those a key's length before them, in x, and of the word that last ends with. constant
// counts the round constants from 1 on.
func (e *expansion) four(x, last reg.VecVirtual, constant int, which uint64) {
	e.AESKEYGENASSIST(operand.Imm(roundConstant(constant)), last, e.word)
	e.PSHUFD(operand.Imm(which), e.word, e.word)
	for _, bytes := range []uint64{4, 8} { // every word becomes the sum of itself and all before it
		e.MOVO(x, e.scratch)
		e.PSLLDQ(operand.Imm(bytes), e.scratch)
		e.PXOR(e.scratch, x)
	}
	e.PXOR(e.word, x)
}

// two makes the last two of six words, in the lower half of high; nothing reads the upper one.
func (e *expansion) two() {
	e.PSHUFD(operand.Imm(0xFF), e.low, e.word)
	e.MOVO(e.high, e.scratch)
	e.PSLLDQ(operand.Imm(4), e.scratch)
	e.PXOR(e.scratch, e.high)
	e.PXOR(e.word, e.high)
}

// roundConstant is x^(i-1) in GF(2^8), and 0 for i = 0.
func roundConstant(i int) uint64 {
	if i == 0 {
		return 0
	}
	constant := uint64(1)
	for range i - 1 {
		constant = constant<<1 ^ constant>>7*0x11b // modulo x^8 + x^4 + x^3 + x + 1
	}
	return constant
}
