package load

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The fields of struct __sk_buff, linux/bpf.h, and of the two IP headers.
const (
	skbLength, skbData, skbEnd = 0, 76, 80

	atEtherType = 12
	atVersion4  = ethernetBytes
	atFragment4 = ethernetBytes + 6
	atProtocol4 = ethernetBytes + 9
	atNext6     = ethernetBytes + 6
)

// Values of two-byte fields as a little-endian load sees them.
const (
	etherTypeIP4Raw  = 0x0008
	etherTypeIP6Raw  = 0xdd86
	fragmentBits4Raw = 0xff3f
)

// Of linux/bpf.h.
const (
	tcxNext, tcxDrop = -1, 2
	ringNoWakeup     = 1
)

// newCatcher returns the program that puts every unfragmented UDP datagram, stamped with CLOCK_MONOTONIC in nanoseconds, into ring, and
// counts in lost[0] what finds it full. Everything else, ARP and ND above all, goes to the kernel, which therefore never answers RTP with ICMP.
func newCatcher(ring, lost *ebpf.Map) (*ebpf.Program, error) {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, skbLength, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, skbEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, head4),
		asm.JGT.Reg(asm.R4, asm.R3, "next"),
		asm.LoadMem(asm.R5, asm.R2, atEtherType, asm.Half),
		asm.JEq.Imm(asm.R5, etherTypeIP6Raw, "ipv6"),
		asm.JNE.Imm(asm.R5, etherTypeIP4Raw, "next"),
		asm.LoadMem(asm.R5, asm.R2, atVersion4, asm.Byte),
		asm.JNE.Imm(asm.R5, 0x45, "next"),
		asm.LoadMem(asm.R5, asm.R2, atFragment4, asm.Half),
		asm.And.Imm(asm.R5, fragmentBits4Raw),
		asm.JNE.Imm(asm.R5, 0, "next"),
		asm.LoadMem(asm.R5, asm.R2, atProtocol4, asm.Byte),
		asm.JEq.Imm(asm.R5, protocolUDP, "catch"),
		asm.Ja.Label("next"),

		asm.LoadMem(asm.R5, asm.R2, atNext6, asm.Byte).WithSymbol("ipv6"),
		asm.JNE.Imm(asm.R5, protocolUDP, "next"),

		asm.LoadMapPtr(asm.R1, ring.FD()).WithSymbol("catch"),
		asm.Mov.Imm(asm.R2, recordBytes),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "full"),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R8, recordStamp, asm.R0, asm.DWord),
		asm.StoreMem(asm.R8, recordLength, asm.R7, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.R7),
		asm.JLE.Imm(asm.R4, stride, "fits"),
		asm.Mov.Imm(asm.R4, stride),
		asm.JGE.Imm(asm.R4, head4, "copy").WithSymbol("fits"), // for the verifier
		asm.Mov.Imm(asm.R4, head4),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("copy"),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.R8),
		asm.Add.Imm(asm.R3, recordFrame),
		asm.FnSkbLoadBytes.Call(),
		asm.JEq.Imm(asm.R0, 0, "submit"),
		asm.Mov.Imm(asm.R1, 0), // no length, nothing to judge: a stray
		asm.StoreMem(asm.R8, recordLength, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R8).WithSymbol("submit"),
		asm.Mov.Imm(asm.R2, ringNoWakeup),
		asm.FnRingbufSubmit.Call(),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.StoreImm(asm.RFP, -4, 0, asm.Word).WithSymbol("full"),
		asm.LoadMapPtr(asm.R1, lost.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next"), // for the verifier
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "catch", Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		return nil, fmt.Errorf("load: program of the sink: %w", err)
	}
	return program, nil
}
