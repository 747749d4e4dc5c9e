package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// passes are how many registers of blocks may go through the rounds together, most first. A round takes four cycles and two can
// start in each, so eight keep the unit busy; the smaller ones spare work where the packet needs no more. The 160 bytes of
// 20 ms of G.711 are five registers of 256 bits, or three of 512.
var passes = map[width][]int{narrow: {8, 5, 2}, wide: {8, 5, 2}, widest: {8, 3, 1}}

// counterMode writes AES counter mode (SP 800-38A section 6.5), in place:
//
//  1. counter blocks: the IV as a little-endian number, plus first, first+1, ... in its lowest 32 bits, turned back around
//  2. the rounds of FIPS 197 section 5.1, all registers a round at a time
//  3. XOR into the packet: whole registers, then 16, 8, 4, 2 and 1 bytes or through a mask, so that nothing beyond the packet
//     is touched
func counterMode(u unit, name string) {
	u.begin(name, "func(rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte)",
		name+" adds the keystream of iv to p; the last four bytes of iv, plus first, count blocks",
		"(SP 800-38A section 6.5, FIPS 197 section 5.1).",
		"It needs "+map[width]string{narrow: "AES-NI and SSSE3.", wide: "VAES and AVX2.", widest: "VAES, BMI2 and AVX-512 F, BW and VL."}[u.width])
	var numbers []uint64
	passes := passes[u.width]
	for i := range uint64(u.bytes()/16*passes[0] + 1) {
		numbers = append(numbers, i, 0)
	}
	k := cipher{unit: u, counts: u.data(name+"Counts", numbers...)}
	k.load(u.reversal(name + "Turn"))

	u.Label("next")
	for i := len(passes) - 1; i > 0; i-- {
		u.CMPQ(k.n, operand.U32(u.bytes()*passes[i]))
		u.JBE(operand.LabelRef(fmt.Sprintf("pass%d", passes[i])))
	}
	for _, registers := range passes {
		k.pass(registers)
	}
	if u.width == widest {
		k.masked()
	} else {
		k.rest()
	}
	u.Label("done")
	u.leave()
}

// cipher is the registers of counterMode that every pass uses.
type cipher struct {
	unit
	counts          operand.Mem // 0, 1, 2, ... as numbers of 128 bits
	rk, p           operand.Mem
	rounds, n       reg.Register // n is what is left of p, in bytes
	base, mask, key reg.VecVirtual
	last            reg.VecVirtual // keystream for the end of p
}

func (k *cipher) load(turn operand.Mem) {
	k.n = k.Load(k.Param("p").Len(), k.GP64())
	k.TESTQ(k.n, k.n)
	k.JZ(operand.LabelRef("done"))
	k.p.Base = k.Load(k.Param("p").Base(), k.GP64())
	k.rk.Base = k.Load(k.Param("rk"), k.GP64())
	k.rounds = k.Load(k.Param("rounds"), k.GP64())
	k.base, k.mask, k.key, k.last = k.register(), k.register(), k.register(), k.register()
	k.repeat16(turn, k.mask)
	k.loadIV()
}

// loadIV loads the IV as two words, as its writer stores it: a load of sixteen bytes would wait for both stores to reach the cache.
func (k *cipher) loadIV() {
	iv := operand.Mem{Base: k.Load(k.Param("iv"), k.GP64())}
	base, first := k.base.AsX(), k.key.AsX()
	if k.width == narrow {
		k.MOVQ(iv, base)
		k.MOVHPS(iv.Offset(8), base)
		k.PSHUFB(k.mask, base)
		k.MOVQ(k.Load(k.Param("first"), k.GP64()), first)
		k.PADDD(first, base)
		return
	}
	k.VMOVQ(iv, base)
	k.VMOVHPS(iv.Offset(8), base, base)
	k.VPSHUFB(k.mask.AsX(), base, base)
	k.VMOVQ(k.Load(k.Param("first"), k.GP64()), first)
	k.VPADDD(first, base, base)
	if k.width == wide {
		k.VINSERTI128(operand.Imm(1), base, k.base, k.base)
	} else {
		k.VSHUFI32X4(operand.Imm(0), k.base, k.base, k.base)
	}
}

// pass takes so many registers of blocks through the cipher and into the packet.
func (k *cipher) pass(registers int) {
	label := fmt.Sprintf("pass%d", registers)
	k.Label(label)
	k.Commentf("%d registers of counter blocks", registers)
	x := make([]reg.VecVirtual, registers)
	k.repeat16(k.rk, k.key)
	for i := range x {
		x[i] = k.register()
		k.move(k.counts.Offset(k.bytes()*i), x[i])
		k.add32(k.base, x[i])
		k.shuffle(k.mask, x[i])
		k.xor(k.key, x[i])
	}
	k.encrypt(label, x)

	k.Comment("Into the packet, as far as it goes")
	for i := range x {
		k.SUBQ(operand.Imm(uint64(k.bytes())), k.n)
		k.JB(operand.LabelRef(fmt.Sprintf("%send%d", label, i)))
		k.xorInto(k.p.Offset(k.bytes()*i), x[i])
	}
	k.TESTQ(k.n, k.n)
	k.JZ(operand.LabelRef("done"))
	k.ADDQ(operand.U32(k.bytes()*registers), k.p.Base)
	k.repeat16(k.counts.Offset(k.bytes()*registers), k.key)
	k.add32(k.key, k.base)
	k.JMP(operand.LabelRef("next"))
	for i := range x {
		k.Label(fmt.Sprintf("%send%d", label, i))
		k.ADDQ(operand.U32(k.bytes()*i), k.p.Base)
		k.move(x[i], k.last)
		k.JMP(operand.LabelRef("rest"))
	}
}

// encrypt runs the rounds after the first addition of a key: nine, eleven or thirteen, then the last (FIPS 197 section 5.1).
func (k *cipher) encrypt(label string, x []reg.VecVirtual) {
	for r := 1; r <= 13; r++ {
		switch r {
		case 10:
			k.CMPQ(k.rounds, operand.Imm(12))
			k.JB(operand.LabelRef(label + "last"))
		case 12:
			k.JE(operand.LabelRef(label + "last"))
		}
		k.Commentf("Round %d", r)
		k.repeat16(k.rk.Offset(16*r), k.key)
		for i := range x {
			k.aesenc(k.key, x[i])
		}
	}
	k.Label(label + "last")
	k.Comment("Last round, without MixColumns")
	at := k.GP64()
	k.MOVQ(k.rounds, at)
	k.SHLQ(operand.Imm(4), at)
	k.repeat16(operand.Mem{Base: k.rk.Base, Index: at, Scale: 1}, k.key)
	for i := range x {
		k.aesenclast(k.key, x[i])
	}
}

// xorInto adds x to memory.
func (k *cipher) xorInto(to operand.Mem, x reg.VecVirtual) {
	if k.width == narrow {
		k.MOVOU(to, k.key)
		k.PXOR(k.key, x)
	} else {
		k.xor(to, x)
	}
	k.move(x, to)
}

// rest adds to p what is left of it, fewer bytes than a register has.
func (k *cipher) rest() {
	k.Label("rest")
	k.ADDQ(operand.Imm(uint64(k.bytes())), k.n)
	k.JZ(operand.LabelRef("done"))
	word, low := k.GP64(), k.last.AsX()
	if k.width == wide {
		k.CMPQ(k.n, operand.Imm(16))
		k.JB(operand.LabelRef("bytes8"))
		k.VPXOR(k.p, low, k.key.AsX())
		k.VMOVDQU(k.key.AsX(), k.p)
		k.VEXTRACTI128(operand.Imm(1), k.last, low)
		k.ADDQ(operand.Imm(16), k.p.Base)
		k.SUBQ(operand.Imm(16), k.n)
		k.Label("bytes8")
	}
	k.TESTQ(operand.U32(8), k.n)
	k.JZ(operand.LabelRef("bytes4"))
	k.lowWord(low, word)
	k.XORQ(word, k.p)
	k.ADDQ(operand.Imm(8), k.p.Base)
	if k.width == wide {
		k.VPSRLDQ(operand.Imm(8), low, low)
	} else {
		k.PSRLDQ(operand.Imm(8), low)
	}
	k.Label("bytes4")
	k.lowWord(low, word)
	k.TESTQ(operand.U32(4), k.n)
	k.JZ(operand.LabelRef("bytes2"))
	k.XORL(word.As32(), k.p)
	k.SHRQ(operand.Imm(32), word)
	k.ADDQ(operand.Imm(4), k.p.Base)
	k.Label("bytes2")
	k.TESTQ(operand.U32(2), k.n)
	k.JZ(operand.LabelRef("bytes1"))
	k.XORW(word.As16(), k.p)
	k.SHRQ(operand.Imm(16), word)
	k.ADDQ(operand.Imm(2), k.p.Base)
	k.Label("bytes1")
	k.TESTQ(operand.U32(1), k.n)
	k.JZ(operand.LabelRef("done"))
	k.XORB(word.As8(), k.p)
}

// masked does what rest does through a mask of the bytes that are left: those outside are neither read nor written.
func (k *cipher) masked() {
	k.Label("rest")
	k.ADDQ(operand.Imm(uint64(k.bytes())), k.n)
	k.JZ(operand.LabelRef("done"))
	left := k.GP64()
	k.MOVQ(operand.I32(-1), left)
	k.BZHIQ(k.n, left, left)
	k.KMOVQ(left, reg.K1)
	k.VMOVDQU8_Z(k.p, reg.K1, k.key)
	k.xor(k.key, k.last)
	k.VMOVDQU8(k.last, reg.K1, k.p)
}

func (k *cipher) lowWord(x reg.Register, word reg.Register) {
	if k.width == wide {
		k.VMOVQ(x, word)
	} else {
		k.MOVQ(x, word)
	}
}
