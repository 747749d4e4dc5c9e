package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// width is a register's, in bytes. Operations on 128 bits are written in their oldest encoding, so that no AVX is needed.
type width int

const (
	narrow width = 16 // SSE
	wide   width = 32 // AVX2, with VAES and VPCLMULQDQ
	widest width = 64 // AVX-512 F, BW and VL, with VAES
)

// unit writes the operations that exist on registers of each width. One description of a kernel then serves all of them.
type unit struct {
	*assembler
	width
}

// bytes is the width of a register.
func (w width) bytes() int { return int(w) }

func (u unit) register() reg.VecVirtual {
	switch u.width {
	case narrow:
		return u.XMM()
	case wide:
		return u.YMM()
	}
	return u.ZMM()
}

// move loads or stores a whole register at any alignment, or copies one.
func (u unit) move(from, to operand.Op) {
	switch u.width {
	case narrow:
		u.MOVOU(from, to)
	case wide:
		u.VMOVDQU(from, to)
	default:
		u.VMOVDQU64(from, to)
	}
}

// load16 loads sixteen bytes and clears the rest of the register.
func (u unit) load16(from operand.Mem, to reg.VecVirtual) {
	if u.width == narrow {
		u.MOVOU(from, to)
	} else {
		u.VMOVDQU(from, to.AsX())
	}
}

// repeat16 loads sixteen bytes into each sixteen of the register.
func (u unit) repeat16(from operand.Mem, to reg.VecVirtual) {
	switch u.width {
	case narrow:
		u.MOVOU(from, to)
	case wide:
		u.VBROADCASTI128(from, to)
	default:
		u.VBROADCASTI32X4(from, to)
	}
}

func (u unit) xor(from, to operand.Op) {
	switch u.width {
	case narrow:
		u.PXOR(from, to)
	case wide:
		u.VPXOR(from, to, to)
	default:
		u.VPXORQ(from, to, to)
	}
}

func (u unit) add32(from, to reg.VecVirtual) {
	if u.width == narrow {
		u.PADDD(from, to)
	} else {
		u.VPADDD(from, to, to)
	}
}

func (u unit) shuffle(mask, x reg.VecVirtual) {
	if u.width == narrow {
		u.PSHUFB(mask, x)
	} else {
		u.VPSHUFB(mask, x, x)
	}
}

func (u unit) aesenc(key, x reg.VecVirtual) {
	if u.width == narrow {
		u.AESENC(key, x)
	} else {
		u.VAESENC(key, x, x)
	}
}

func (u unit) aesenclast(key, x reg.VecVirtual) {
	if u.width == narrow {
		u.AESENCLAST(key, x)
	} else {
		u.VAESENCLAST(key, x, x)
	}
}

// multiply adds to sum the carry-less product of a word of x and a word of y, in each sixteen bytes: bit 0 of which chooses the
// word of y, bit 4 that of x.
func (u unit) multiply(which uint64, x, y, sum, scratch reg.VecVirtual) {
	if u.width == narrow {
		u.MOVO(y, scratch)
		u.PCLMULQDQ(operand.Imm(which), x, scratch)
	} else {
		u.VPCLMULQDQ(operand.Imm(which), x, y, scratch)
	}
	u.xor(scratch, sum)
}

// columns exchanges rows and columns of the four by four words in each sixteen bytes. A column may be nil.
func (u unit) columns(rows [4]reg.VecVirtual, columns ...reg.VecVirtual) {
	low, high := [2]reg.VecVirtual{u.register(), u.register()}, [2]reg.VecVirtual{u.register(), u.register()}
	for i := range 2 {
		u.VPUNPCKLDQ(rows[2*i+1], rows[2*i], low[i])
		u.VPUNPCKHDQ(rows[2*i+1], rows[2*i], high[i])
	}
	for i, half := range [][2]reg.VecVirtual{low, high} {
		if to := columns[2*i]; to != nil {
			u.VPUNPCKLQDQ(half[1], half[0], to)
		}
		if to := columns[2*i+1]; to != nil {
			u.VPUNPCKHQDQ(half[1], half[0], to)
		}
	}
}

// leave ends the function. The upper halves must be clear, or code in the old encoding runs slower from here on.
func (u unit) leave() {
	if u.width > narrow {
		u.VZEROUPPER()
	}
	u.RET()
}

// reversal is the shuffle that turns sixteen bytes around: big-endian to little-endian and back.
func (a *assembler) reversal(name string) operand.Mem {
	return a.data(name, 0x08090a0b0c0d0e0f, 0x0001020304050607)
}
