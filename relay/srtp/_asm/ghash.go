package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const powers = 8 // of the hash key; as many blocks are multiplied before one reduction

// run is a pointer and the number of blocks from there.
type run struct{ p, blocks reg.Register }

// sums is a product of two field elements before its reduction: lower, middle and upper 128 of 256 bits, the middle one 64 bits up.
type sums struct{ low, middle, high reg.VecVirtual }

// ghash writes GHASH (SP 800-38D section 6.4) by carry-less multiplication, eight blocks to a reduction:
//
//  1. of m blocks, m at most 8, the first is added to the value so far and multiplied by H^m, the next by H^(m-1), ...
//  2. the products are summed up and reduced once
//
// The 256-bit kernel takes two blocks and two powers at a time where a run has two. Its first group is short by the head's block,
// so that it always reads from the body what counter mode has written in one store.
func ghash(u unit, name string) {
	u.begin(name, "func(h *GHASH, acc *[16]byte, r *runs)",
		name+" runs the value acc over the blocks of r (SP 800-38D section 6.4).",
		"It needs "+map[width]string{narrow: "PCLMULQDQ and SSSE3.", wide: "VPCLMULQDQ and AVX2."}[u.width])
	turn := u.reversal(name + "Turn")
	polynomial := u.data(name+"Polynomial", 0xC200000000000000, 0) // as in type GHASH's file

	h := u.Load(u.Param("h"), u.GP64())
	acc := operand.Mem{Base: u.Load(u.Param("acc"), u.GP64())}
	runs, total := u.loadRuns()
	mask, x, block, power, scratch := u.register(), u.register(), u.register(), u.register(), u.register()
	sum := sums{u.register(), u.register(), u.register()}
	u.repeat16(turn, mask)
	u.load16(acc, x)
	u.shuffle(mask, x)

	limit := u.GP64()
	u.MOVQ(operand.U32(powers), limit)
	if u.width > narrow {
		u.SUBQ(runs[0].blocks, limit)
	}

	u.Label("group")
	u.Comment("The next eight blocks, or as many as are left")
	m, powerAt := u.GP64(), operand.Mem{Base: u.GP64()}
	u.MOVQ(limit, m)
	u.MOVQ(operand.U32(powers), limit)
	u.CMPQ(total, m)
	u.CMOVQLT(total, m)
	u.SUBQ(m, total)
	u.firstPower(h, m, powerAt.Base)
	for _, r := range []reg.VecVirtual{sum.low, sum.middle, sum.high} {
		u.xor(r, r)
	}

	u.Label("block")
	u.nextBlocks(runs, m, powerAt, block, power)
	u.shuffle(mask, block)
	u.xor(x, block)
	u.xor(x, x)
	u.multiply(0x00, block, power, sum.low, scratch)
	u.multiply(0x01, block, power, sum.middle, scratch)
	u.multiply(0x10, block, power, sum.middle, scratch)
	u.multiply(0x11, block, power, sum.high, scratch)
	u.TESTQ(m, m)
	u.JNZ(operand.LabelRef("block"))

	u.reduce(polynomial, sum, x, scratch)
	u.TESTQ(total, total)
	u.JNZ(operand.LabelRef("group"))
	u.shuffle(mask, x)
	if u.width > narrow {
		u.VMOVDQU(x.AsX(), acc)
	} else {
		u.MOVOU(x, acc)
	}
	u.leave()
}

// firstPower points to H^m in the key, whose last power is H.
func (u unit) firstPower(h, m, to reg.Register) {
	offset := u.GP64()
	u.MOVQ(m, offset)
	u.SHLQ(operand.Imm(4), offset)
	u.LEAQ(operand.Mem{Base: h, Disp: 16 * powers}, to)
	u.SUBQ(offset, to)
}

// loadRuns loads the three runs and counts their blocks.
func (u unit) loadRuns() (runs []run, total reg.Register) {
	param := u.Param("r").Dereference(u.Load(u.Param("r"), u.GP64()))
	total = u.GP64()
	for i, name := range []string{"head", "body", "foot"} {
		r := run{
			p:      u.Load(param.Field(name).Base(), u.GP64()),
			blocks: u.Load(param.Field(name).Len(), u.GP64()),
		}
		u.SHRQ(operand.Imm(4), r.blocks)
		if i == 0 {
			u.MOVQ(r.blocks, total)
		} else {
			u.ADDQ(r.blocks, total)
		}
		runs = append(runs, r)
	}
	return runs, total
}

// nextBlocks loads a block and its power, or two where there are two, and moves on.
func (u unit) nextBlocks(runs []run, m reg.Register, powerAt operand.Mem, block, power reg.VecVirtual) {
	p, blocks := runs[0].p, runs[0].blocks
	u.TESTQ(blocks, blocks)
	u.JNZ(operand.LabelRef("here"))
	u.Comment("This run has ended: the next one takes its place")
	for i := range runs[1:] {
		u.MOVQ(runs[i+1].p, runs[i].p)
		u.MOVQ(runs[i+1].blocks, runs[i].blocks)
	}
	u.JMP(operand.LabelRef("block"))

	u.Label("here")
	if u.width > narrow {
		u.CMPQ(blocks, operand.Imm(2))
		u.JB(operand.LabelRef("one"))
		u.CMPQ(m, operand.Imm(2))
		u.JB(operand.LabelRef("one"))
		u.move(operand.Mem{Base: p}, block)
		u.move(powerAt, power)
		u.advance(2, p, blocks, m, powerAt.Base)
		u.JMP(operand.LabelRef("loaded"))
		u.Label("one")
	}
	u.load16(operand.Mem{Base: p}, block)
	u.load16(powerAt, power)
	u.advance(1, p, blocks, m, powerAt.Base)
	u.Label("loaded")
}

func (u unit) advance(n uint64, p, blocks, m, powerAt reg.Register) {
	u.ADDQ(operand.Imm(16*n), p)
	u.ADDQ(operand.Imm(16*n), powerAt)
	u.SUBQ(operand.Imm(n), blocks)
	u.SUBQ(operand.Imm(n), m)
}

// reduce brings 256 bits to 128, a word at a time from below: the word times the polynomial, added, clears it (Gueron and
// Kounavis, "Intel Carry-Less Multiplication Instruction and its Usage for Computing the GCM Mode", 2010).
func (u unit) reduce(polynomial operand.Mem, sum sums, x, scratch reg.VecVirtual) {
	u.Comment("Reduction")
	if u.width == narrow {
		half := u.XMM()
		u.MOVO(sum.middle, half)
		u.PSLLDQ(operand.Imm(8), half)
		u.PXOR(half, sum.low)
		u.PSRLDQ(operand.Imm(8), sum.middle)
		u.PXOR(sum.middle, sum.high)
		u.MOVOU(polynomial, half)
		for range 2 {
			u.MOVO(half, scratch)
			u.PCLMULQDQ(operand.Imm(0), sum.low, scratch)
			u.PSHUFD(operand.Imm(0x4E), sum.low, sum.low)
			u.PXOR(scratch, sum.low)
		}
		u.MOVO(sum.low, x)
		u.PXOR(sum.high, x)
		return
	}
	half := u.XMM()
	for _, r := range []reg.VecVirtual{sum.low, sum.middle, sum.high} {
		u.VEXTRACTI128(operand.Imm(1), r, half)
		u.VPXOR(half, r.AsX(), r.AsX())
	}
	low, middle, high := sum.low.AsX(), sum.middle.AsX(), sum.high.AsX()
	u.VPSLLDQ(operand.Imm(8), middle, half)
	u.VPXOR(half, low, low)
	u.VPSRLDQ(operand.Imm(8), middle, middle)
	u.VPXOR(middle, high, high)
	u.VMOVDQU(polynomial, half)
	for range 2 {
		u.VPCLMULQDQ(operand.Imm(0), low, half, scratch.AsX())
		u.VPSHUFD(operand.Imm(0x4E), low, low)
		u.VPXOR(scratch.AsX(), low, low)
	}
	u.VPXOR(high, low, x.AsX())
}
