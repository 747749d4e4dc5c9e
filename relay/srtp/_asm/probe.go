package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// probe writes the one question that golang.org/x/sys/cpu has no answer to: SHA, VAES and VPCLMULQDQ are bits of CPUID leaf 7.
func probe(a *assembler) {
	a.begin("cpuid7", "func() (ebx, ecx uint32)",
		"cpuid7 returns the feature bits of CPUID leaf 7, subleaf 0, or zeros where there is no such leaf.")
	a.XORL(reg.EAX, reg.EAX)
	a.CPUID()
	a.XORL(reg.EBX, reg.EBX)
	a.XORL(reg.ECX, reg.ECX)
	a.CMPL(reg.EAX, operand.Imm(7))
	a.JB(operand.LabelRef("done"))
	a.MOVL(operand.U32(7), reg.EAX)
	a.CPUID()
	a.Label("done")
	a.Store(reg.EBX, a.Return("ebx"))
	a.Store(reg.ECX, a.Return("ecx"))
	a.RET()
}
