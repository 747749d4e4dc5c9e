package steer

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Offsets of struct bpf_sk_lookup (linux/bpf.h).
const (
	ctxFamily    = 8
	ctxProtocol  = 12
	ctxLocalIP4  = 40 // network order
	ctxLocalIP6  = 44 // network order, four words
	ctxLocalPort = 60 // host order
)

// Offsets on the program's stack.
const (
	stackAddress = -16 // 16 bytes: the local address, IPv4-mapped
	stackIndex   = -20 // 4 bytes: the key of whichever array is next
)

const skPass = 1 // SK_PASS: use the assigned socket, or look on when none was

// instructions is the program. In the words of C:
//
//	if (ctx->protocol != IPPROTO_UDP) return SK_PASS;
//	slot = slots[mapped(ctx->local_ip)];              // not one of our addresses: SK_PASS
//	worker = leases[slot][ctx->local_port];           // 0, not leased: SK_PASS
//	sk = sockets[(worker - 1) * 2 + (ctx->family == AF_INET6)];
//	if (bpf_sk_assign(ctx, sk, 0) == 0) steered[cpu]++;
//	bpf_sk_release(sk);
//	return SK_PASS;
//
// It never returns SK_DROP: whatever goes wrong, the kernel's own lookup decides.
func instructions(slots, sockets, leases, steered int) asm.Instructions {
	const ctx, ipv6, value, result = asm.R6, asm.R7, asm.R8, asm.R9 // kept across calls
	var program asm.Instructions
	add := func(part ...asm.Instruction) { program = append(program, part...) }
	add(
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(asm.R1, ctx, ctxProtocol, asm.Word),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "pass"),
	)
	add(storeAddress(ctx, ipv6, "address")...)
	slot := lookup(slots, stackAddress)
	slot[0] = slot[0].WithSymbol("address")
	add(slot...)
	add(
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.StoreMem(asm.RFP, stackIndex, asm.R1, asm.Word),
	)
	add(lookup(leases, stackIndex)...)
	add(
		asm.LoadMem(asm.R1, ctx, ctxLocalPort, asm.Word),
		asm.And.Imm(asm.R1, portCount-1), // the verifier does not know that a port has 16 bits
		asm.Add.Reg(asm.R0, asm.R1),
		asm.LoadMem(value, asm.R0, 0, asm.Byte),
		asm.JEq.Imm(value, 0, "pass"),
		asm.Sub.Imm(value, 1),
		asm.LSh.Imm(value, 1),
		asm.Add.Reg(value, ipv6),
		asm.StoreMem(asm.RFP, stackIndex, value, asm.Word),
	)
	add(lookup(sockets, stackIndex)...)
	add(
		asm.Mov.Reg(value, asm.R0), // the socket, with a reference that must be given back
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, value),
		asm.Mov.Imm(asm.R3, 0), // no flags: another program's choice stands, and is an error
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(result, asm.R0),
		asm.Mov.Reg(asm.R1, value),
		asm.FnSkRelease.Call(),
		asm.JNE.Imm(result, 0, "pass"),
		asm.FnGetSmpProcessorId.Call(),
		asm.StoreMem(asm.RFP, stackIndex, asm.R0, asm.Word),
	)
	add(lookup(steered, stackIndex)...)
	add(
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, skPass).WithSymbol("pass"),
		asm.Return(),
	)
	return program
}

// lookup leaves the address of the map's value for the key on the stack in R0, or leaves the program.
func lookup(fd int, key int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
	}
}

// storeAddress puts the local address on the stack in its 16-byte form and 1 into the register ipv6, or 0 if it is an
// IPv4 address. What follows has the label next.
func storeAddress(ctx, ipv6 asm.Register, next string) asm.Instructions {
	part := asm.Instructions{
		asm.LoadMem(asm.R1, ctx, ctxFamily, asm.Word),
		asm.JEq.Imm(asm.R1, unix.AF_INET6, "ipv6"),
		asm.JNE.Imm(asm.R1, unix.AF_INET, "pass"),
		asm.Mov.Imm(ipv6, 0),
		asm.StoreImm(asm.RFP, stackAddress, 0, asm.Word),
		asm.StoreImm(asm.RFP, stackAddress+4, 0, asm.Word),
		asm.StoreImm(asm.RFP, stackAddress+8, 0, asm.Half),
		asm.StoreImm(asm.RFP, stackAddress+10, 0xffff, asm.Half),
		asm.LoadMem(asm.R1, ctx, ctxLocalIP4, asm.Word),
		asm.StoreMem(asm.RFP, stackAddress+12, asm.R1, asm.Word),
		asm.Ja.Label(next),
		asm.Mov.Imm(ipv6, 1).WithSymbol("ipv6"),
	}
	for offset := int16(0); offset < 16; offset += 4 {
		part = append(part,
			asm.LoadMem(asm.R1, ctx, ctxLocalIP6+offset, asm.Word),
			asm.StoreMem(asm.RFP, stackAddress+offset, asm.R1, asm.Word))
	}
	return part
}
