package xsk

import (
	"encoding/binary"
	"math/bits"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Offsets of struct xdp_md (linux/bpf.h).
const (
	ctxData    = 0
	ctxDataEnd = 4
	ctxQueue   = 16
)

// What xdp_action and the sizes and offsets of headers are (linux/bpf.h, RFC 791, RFC 8200, RFC 768, IEEE 802.1Q).
const (
	xdpPass = 2

	ethernetSize, tagSize        = 14, 4
	ipv4Size, ipv6Size, udpSize  = 20, 40, 8
	etherTypeAt                  = 12
	etherTypeIPv4, etherTypeIPv6 = 0x0800, 0x86dd
	etherTypeVLAN                = 0x8100
	vlanMask                     = 0x0fff
	fragmentMask                 = 0x3fff // of the flags and offset: more fragments, or not the first
	plainIPv4                    = 4<<4 | ipv4Size/4

	sourceIPv4, sourceIPv6 = 12, 8
	loopbackNet            = 127  // 127.0.0.0/8, RFC 1122 section 3.2.1.3, like 0.0.0.0/8
	groupsFrom             = 224  // multicast, and what RFC 1112 section 4 reserves
	groupsIPv6             = 0xff // ff00::/8, RFC 4291 section 2.7
)

// Offsets on the program's stack.
const (
	stackAddress = -16 // 16 bytes: the destination, IPv4-mapped
	stackSlot    = -20 // 4 bytes
)

// builder collects the program. It has one way out beside the redirect, "pass".
type builder struct {
	program asm.Instructions
	label   string // of the next instruction
}

const (
	ctx, end = asm.R6, asm.R3 // end of the packet; ctx is kept across calls
	data     = asm.R2         // begin of the packet
	ip       = asm.R8         // the IP header
	port     = asm.R7         // destination port, network order; before that the Ethernet type
	udp      = asm.R9         // the UDP header
)

// instructions is the program. In the words of C, "pass" being return XDP_PASS and every access checked against data_end:
//
//	if (length > Longest || eth->dst != mac) pass;                 // too long for a frame; to a group, or to another machine
//	type = eth->type;
//	if (type == VLAN) { if (vid && vid is not one of ours) pass; type = inner type; }
//	if (type == IPv4) { if (version/ihl != 0x45 || fragment || protocol != UDP || total < headers) pass; }
//	else if (type == IPv6) { if (version != 6 || next_header != UDP) pass; }
//	else pass;
//	if (ip->source is one that no wire brings) pass;               // loopback, a group, none: the kernel drops it
//	if (udp->length < 8 || udp->length > the IP payload) pass;
//	slot = slots[mapped(ip->destination)];                         // not one of our addresses: pass
//	if (!leases[slot][udp->destination]) pass;
//	return bpf_redirect_map(sockets, ctx->rx_queue_index, XDP_PASS);
//
// It never drops: what it does not understand is the kernel's. Whether the packet is as long as its IP header says is left to who
// reads it (frame.Parse): the verifier lets a number from the packet be added to its address only with CAP_PERFMON, which the relay
// does not ask for.
func instructions(slots, leases, sockets int, mac [6]byte, vlans []uint16) asm.Instructions {
	var b builder
	b.ethernet(mac, vlans)
	b.ipv4()
	b.ipv6()
	b.mark("lookup")
	b.add(asm.LoadMem(port, udp, 2, asm.Half), asm.HostTo(asm.BE, port, asm.Half))
	b.lookup(slots, stackAddress)
	b.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.StoreMem(asm.RFP, stackSlot, asm.R1, asm.Word))
	b.lookup(leases, stackSlot)
	b.add(
		asm.And.Imm(port, 1<<16-1), // the verifier forgot that a port has 16 bits
		asm.Add.Reg(asm.R0, port),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.LoadMem(asm.R2, ctx, ctxQueue, asm.Word),
		asm.LoadMapPtr(asm.R1, sockets),
		asm.Mov.Imm(asm.R3, xdpPass), // where the queue has no socket
		asm.FnRedirectMap.Call(),
		asm.Return(),
	)
	b.mark("pass")
	b.add(asm.Mov.Imm(asm.R0, xdpPass), asm.Return())
	return b.program
}

func (b *builder) add(part ...asm.Instruction) {
	if b.label != "" {
		part[0] = part[0].WithSymbol(b.label)
		b.label = ""
	}
	b.program = append(b.program, part...)
}

// mark names the next instruction.
func (b *builder) mark(label string) { b.label = label }

// need passes packets that end before offset bytes after the place at.
func (b *builder) need(at asm.Register, offset int32) {
	b.add(asm.Mov.Reg(asm.R4, at), asm.Add.Imm(asm.R4, offset), asm.JGT.Reg(asm.R4, end, "pass"))
}

// ethernet leaves the place of the IP header in ip, and in port the type of what is there.
func (b *builder) ethernet(mac [6]byte, vlans []uint16) {
	b.add(
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(data, ctx, ctxData, asm.Word),
		asm.LoadMem(end, ctx, ctxDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, data),
		asm.Add.Imm(asm.R4, Longest),
		asm.JLT.Reg(asm.R4, end, "pass"),
	)
	b.need(data, ethernetSize+tagSize)
	b.station(mac)
	b.add(
		asm.Mov.Reg(ip, data),
		asm.Add.Imm(ip, ethernetSize),
		asm.LoadMem(port, data, etherTypeAt, asm.Half),
		asm.JNE.Imm(port, network(etherTypeVLAN), "ipv4"),
		asm.LoadMem(asm.R5, data, ethernetSize, asm.Half),
		asm.And.Imm(asm.R5, network(vlanMask)),
		asm.JEq.Imm(asm.R5, 0, "ours"),
	)
	for _, vid := range vlans {
		b.add(asm.JEq.Imm(asm.R5, network(vid), "ours"))
	}
	b.add(asm.Ja.Label("pass"))
	b.mark("ours")
	b.add(
		asm.LoadMem(port, data, etherTypeAt+tagSize, asm.Half),
		asm.Add.Imm(ip, tagSize),
	)
}

// station passes frames to other link addresses than mac, or only those to groups if mac is none.
func (b *builder) station(mac [6]byte) {
	if mac == [6]byte{} {
		b.add(asm.LoadMem(asm.R5, data, 0, asm.Byte), asm.And.Imm(asm.R5, 1), asm.JNE.Imm(asm.R5, 0, "pass"))
		return
	}
	b.add(
		asm.LoadMem(asm.R5, data, 0, asm.Word),
		asm.JNE.Imm32(asm.R5, int32(binary.NativeEndian.Uint32(mac[:])), "pass"),
		asm.LoadMem(asm.R5, data, 4, asm.Half),
		asm.JNE.Imm(asm.R5, int32(binary.NativeEndian.Uint16(mac[4:])), "pass"),
	)
}

// ipv4 leaves the place of the UDP header in udp and the destination on the stack, or goes on where the packet is not IPv4.
func (b *builder) ipv4() {
	b.mark("ipv4")
	b.add(asm.JNE.Imm(port, network(etherTypeIPv4), "ipv6"))
	b.need(ip, ipv4Size+udpSize)
	b.add(
		asm.LoadMem(asm.R5, ip, 0, asm.Byte),
		asm.JNE.Imm(asm.R5, plainIPv4, "pass"),
		asm.LoadMem(asm.R5, ip, 6, asm.Half),
		asm.And.Imm(asm.R5, network(fragmentMask)),
		asm.JNE.Imm(asm.R5, 0, "pass"),
		asm.LoadMem(asm.R5, ip, 9, asm.Byte),
		asm.JNE.Imm(asm.R5, unix.IPPROTO_UDP, "pass"),
		asm.LoadMem(asm.R5, ip, sourceIPv4, asm.Byte),
		asm.JEq.Imm(asm.R5, 0, "pass"),
		asm.JEq.Imm(asm.R5, loopbackNet, "pass"),
		asm.JGE.Imm(asm.R5, groupsFrom, "pass"),
		asm.LoadMem(asm.R5, ip, 2, asm.Half),
		asm.HostTo(asm.BE, asm.R5, asm.Half),
		asm.JLT.Imm(asm.R5, ipv4Size+udpSize, "pass"),
		asm.Sub.Imm(asm.R5, ipv4Size),
		asm.Mov.Reg(udp, ip),
		asm.Add.Imm(udp, ipv4Size),
	)
	b.length()
	b.add(
		asm.StoreImm(asm.RFP, stackAddress, 0, asm.Word),
		asm.StoreImm(asm.RFP, stackAddress+4, 0, asm.Word),
		asm.StoreImm(asm.RFP, stackAddress+8, 0, asm.Half),
		asm.StoreImm(asm.RFP, stackAddress+10, 0xffff, asm.Half),
		asm.LoadMem(asm.R5, ip, 16, asm.Word),
		asm.StoreMem(asm.RFP, stackAddress+12, asm.R5, asm.Word),
		asm.Ja.Label("lookup"),
	)
}

// ipv6 does the same for IPv6, where a packet of another kind ends.
func (b *builder) ipv6() {
	b.mark("ipv6")
	b.add(asm.JNE.Imm(port, network(etherTypeIPv6), "pass"))
	b.need(ip, ipv6Size+udpSize)
	b.add(
		asm.LoadMem(asm.R5, ip, 0, asm.Byte),
		asm.RSh.Imm(asm.R5, 4),
		asm.JNE.Imm(asm.R5, 6, "pass"),
		asm.LoadMem(asm.R5, ip, 6, asm.Byte),
		asm.JNE.Imm(asm.R5, unix.IPPROTO_UDP, "pass"),
		asm.LoadMem(asm.R5, ip, sourceIPv6, asm.Byte),
		asm.JEq.Imm(asm.R5, groupsIPv6, "pass"),
		asm.LoadMem(asm.R5, ip, sourceIPv6, asm.Word),
		asm.LoadMem(asm.R4, ip, sourceIPv6+4, asm.Word),
		asm.Or.Reg(asm.R5, asm.R4),
		asm.JEq.Imm(asm.R5, 0, "pass"), // ::/64: none, loopback, IPv4-mapped
		asm.LoadMem(asm.R5, ip, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R5, asm.Half),
		asm.Mov.Reg(udp, ip),
		asm.Add.Imm(udp, ipv6Size),
	)
	b.length()
	for offset := int16(0); offset < 16; offset += 4 {
		b.add(asm.LoadMem(asm.R5, ip, 24+offset, asm.Word), asm.StoreMem(asm.RFP, stackAddress+offset, asm.R5, asm.Word))
	}
}

// length passes packets whose UDP length is not one of a datagram that fits into the R5 bytes of the IP payload.
func (b *builder) length() {
	b.add(
		asm.LoadMem(asm.R4, udp, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.JLT.Imm(asm.R4, udpSize, "pass"),
		asm.JGT.Reg(asm.R4, asm.R5, "pass"),
	)
}

// lookup leaves the place of the map's value for the key on the stack in R0, or passes the packet.
func (b *builder) lookup(fd int, key int32) {
	b.add(
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
	)
}

// network returns v as a load of two bytes from a packet gives it.
func network(v uint16) int32 {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		v = bits.ReverseBytes16(v)
	}
	return int32(v)
}
