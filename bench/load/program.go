package load

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// stampBytes is what the program puts before each packet: its arrival, CLOCK_MONOTONIC in nanoseconds.
const stampBytes = 8

// The fields of struct xdp_md, linux/bpf.h, and of the two IP headers.
const (
	mdData, mdEnd, mdMeta, mdQueue = 0, 4, 8, 16

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

const xdpPass = 2

// newCatcher returns the program that stamps every unfragmented UDP datagram and hands it to the socket of its queue in
// sockets. Everything else, ARP and ND above all, goes to the kernel, which therefore never answers RTP with ICMP.
func newCatcher(sockets *ebpf.Map) (*ebpf.Program, error) {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, mdData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, mdEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, head4),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atEtherType, asm.Half),
		asm.JEq.Imm(asm.R5, etherTypeIP6Raw, "ipv6"),
		asm.JNE.Imm(asm.R5, etherTypeIP4Raw, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atVersion4, asm.Byte),
		asm.JNE.Imm(asm.R5, 0x45, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atFragment4, asm.Half),
		asm.And.Imm(asm.R5, fragmentBits4Raw),
		asm.JNE.Imm(asm.R5, 0, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atProtocol4, asm.Byte),
		asm.JEq.Imm(asm.R5, protocolUDP, "catch"),
		asm.Ja.Label("pass"),

		asm.LoadMem(asm.R5, asm.R2, atNext6, asm.Byte).WithSymbol("ipv6"),
		asm.JNE.Imm(asm.R5, protocolUDP, "pass"),

		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("catch"),
		asm.Mov.Imm(asm.R2, -stampBytes),
		asm.FnXdpAdjustMeta.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R2, asm.R6, mdMeta, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, mdData, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, stampBytes),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"), // for the verifier
		asm.StoreMem(asm.R2, 0, asm.R0, asm.DWord),
		asm.LoadMapPtr(asm.R1, sockets.FD()),
		asm.LoadMem(asm.R2, asm.R6, mdQueue, asm.Word),
		asm.Mov.Imm(asm.R3, xdpPass),
		asm.FnRedirectMap.Call(),
		asm.Return(),

		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"),
		asm.Return(),
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "catch", Type: ebpf.XDP, License: "GPL", Instructions: code})
	if err != nil {
		return nil, fmt.Errorf("load: XDP program of the sink: %w", err)
	}
	return program, nil
}
