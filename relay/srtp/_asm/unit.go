package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unit writes the operations that exist on 128-bit registers, in their oldest encoding so that no AVX is needed, and on 256-bit
// ones. One description of a kernel then serves both widths.
type unit struct {
	*assembler
	wide bool
}

// bytes is the width of a register.
func (u unit) bytes() int {
	if u.wide {
		return 32
	}
	return 16
}

func (u unit) register() reg.VecVirtual {
	if u.wide {
		return u.YMM()
	}
	return u.XMM()
}

// move loads or stores a whole register at any alignment, or copies one.
func (u unit) move(from, to operand.Op) {
	if u.wide {
		u.VMOVDQU(from, to)
	} else {
		u.MOVOU(from, to)
	}
}

// load16 loads sixteen bytes and clears the rest of the register.
func (u unit) load16(from operand.Mem, to reg.VecVirtual) {
	if u.wide {
		u.VMOVDQU(from, to.AsX())
	} else {
		u.MOVOU(from, to)
	}
}

// repeat16 loads sixteen bytes into each half of the register.
func (u unit) repeat16(from operand.Mem, to reg.VecVirtual) {
	if u.wide {
		u.VBROADCASTI128(from, to)
	} else {
		u.MOVOU(from, to)
	}
}

func (u unit) xor(from, to operand.Op) {
	if u.wide {
		u.VPXOR(from, to, to)
	} else {
		u.PXOR(from, to)
	}
}

func (u unit) add32(from, to reg.VecVirtual) {
	if u.wide {
		u.VPADDD(from, to, to)
	} else {
		u.PADDD(from, to)
	}
}

func (u unit) shuffle(mask, x reg.VecVirtual) {
	if u.wide {
		u.VPSHUFB(mask, x, x)
	} else {
		u.PSHUFB(mask, x)
	}
}

func (u unit) aesenc(key, x reg.VecVirtual) {
	if u.wide {
		u.VAESENC(key, x, x)
	} else {
		u.AESENC(key, x)
	}
}

func (u unit) aesenclast(key, x reg.VecVirtual) {
	if u.wide {
		u.VAESENCLAST(key, x, x)
	} else {
		u.AESENCLAST(key, x)
	}
}

// multiply adds to sum the carry-less product of a word of x and a word of y, in each half: bit 0 of which chooses the word of
// y, bit 4 that of x.
func (u unit) multiply(which uint64, x, y, sum, scratch reg.VecVirtual) {
	if u.wide {
		u.VPCLMULQDQ(operand.Imm(which), x, y, scratch)
	} else {
		u.MOVO(y, scratch)
		u.PCLMULQDQ(operand.Imm(which), x, scratch)
	}
	u.xor(scratch, sum)
}

// leave ends the function. The upper halves must be clear, or code in the old encoding runs slower from here on.
func (u unit) leave() {
	if u.wide {
		u.VZEROUPPER()
	}
	u.RET()
}

// reversal is the shuffle that turns sixteen bytes around, in each half: big-endian to little-endian and back.
func (a *assembler) reversal(name string) operand.Mem {
	const high, low = 0x08090a0b0c0d0e0f, 0x0001020304050607
	return a.data(name, high, low, high, low)
}
