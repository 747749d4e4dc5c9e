// Package frame writes the Ethernet, IP and UDP headers of a leg's packets from a template made once.
//
// The UDP send path of the kernel looks up the route, builds the headers and walks its queues for every packet; that
// costs more than the rest of a relay's work together. All packets of a leg have the same headers but for two lengths
// and two checksums, so a Template holds the headers ready and the sums of what never changes; Put copies it before the
// payload and completes those four fields. The failure it prevents: a frame that only some receivers take. UDP
// checksums are always true and never absent, because firewalls drop packets without and IPv6 demands them (RFC 8200
// section 8.1).
//
// Where a frame goes is decided elsewhere: package hop finds the device and the link addresses, the engine sends. There
// is no VLAN tag here, a VLAN has a device of its own that adds it.
package frame

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC = [6]byte

// Sizes of the headers in bytes.
const (
	ethernetSize = 14
	ipv4Size     = 20
	ipv6Size     = 40
	udpSize      = 8

	// Size4 and Size6 are the room before the payload: what Template.Len returns for IPv4 and for IPv6.
	Size4 = ethernetSize + ipv4Size + udpSize
	Size6 = ethernetSize + ipv6Size + udpSize
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protocolUDP   = 17 // IANA protocol number

	hopLimit = 64 // the default TTL and hop limit of RFC 1340, and of Linux

	dontFragment = 0x4000 // RFC 791 flags; with it the identification may be 0 (RFC 6864 section 4.1: an atomic datagram)
)

// Flow is what the headers of a leg's packets say.
type Flow struct {
	SrcMAC, DstMAC   MAC
	Src, Dst         [16]byte // both IPv6, or both IPv4-mapped
	SrcPort, DstPort uint16   // host order
	DSCP             uint8    // RFC 2474, 0..63; the two ECN bits beside it stay 0
}

// Template is the headers of one flow, ready but for lengths and checksums. It is plain memory without pointers; the
// zero value is "none" and has Len 0. One goroutine may Set while no other uses it.
type Template struct {
	headers [Size6]byte // Size4 of them for IPv4; lengths and checksums are 0
	size    uint8       // of the headers: 0, Size4 or Size6
	ip      uint32      // sum of the IPv4 header without its total length; 0 for IPv6
	udp     uint32      // sum of the pseudo header and the ports without the two lengths (RFC 768, RFC 8200 section 8.1)
}

// Set makes t the template of f. Addresses of two families are no flow: t is none then.
func (t *Template) Set(f *Flow) {
	*t = Template{}
	src4, dst4 := netip.AddrFrom16(f.Src).Is4In6(), netip.AddrFrom16(f.Dst).Is4In6()
	if src4 != dst4 {
		return
	}
	h := t.headers[:]
	copy(h[0:6], f.DstMAC[:])
	copy(h[6:12], f.SrcMAC[:])
	if src4 {
		t.size = Size4
		t.setIPv4(f)
	} else {
		t.size = Size6
		t.setIPv6(f)
	}
	u := h[t.size-udpSize : t.size]
	binary.BigEndian.PutUint16(u[0:], f.SrcPort)
	binary.BigEndian.PutUint16(u[2:], f.DstPort)
	// The addresses are the last bytes of both IP headers, the ports follow; zero bytes between are as good as none.
	addresses := 2 * 16
	if src4 {
		addresses = 2 * 4
	}
	sum := Checksum(0, h[int(t.size)-udpSize-addresses:t.size])
	t.udp = uint32(fold(add(sum, protocolUDP)))
}

// setIPv4 writes the Ethernet type and the header of RFC 791.
func (t *Template) setIPv4(f *Flow) {
	binary.BigEndian.PutUint16(t.headers[12:], etherTypeIPv4)
	ip := t.headers[ethernetSize:][:ipv4Size]
	ip[0] = 4<<4 | ipv4Size/4
	ip[1] = f.DSCP << 2
	binary.BigEndian.PutUint16(ip[6:], dontFragment)
	ip[8] = hopLimit
	ip[9] = protocolUDP
	copy(ip[12:16], f.Src[12:])
	copy(ip[16:20], f.Dst[12:])
	t.ip = uint32(fold(Checksum(0, ip)))
}

// setIPv6 writes the Ethernet type and the header of RFC 8200. The flow label stays 0, which RFC 6437 allows.
func (t *Template) setIPv6(f *Flow) {
	binary.BigEndian.PutUint16(t.headers[12:], etherTypeIPv6)
	ip := t.headers[ethernetSize:][:ipv6Size]
	binary.BigEndian.PutUint16(ip[0:], 6<<12|uint16(f.DSCP&0x3f)<<6)
	ip[6] = protocolUDP
	ip[7] = hopLimit
	copy(ip[8:24], f.Src[:])
	copy(ip[24:40], f.Dst[:])
}

// Len returns the room in bytes that Put needs before the payload: 0 when t is none, else Size4 or Size6.
func (t *Template) Len() int { return int(t.size) }

// Put writes the headers into frame[:t.Len()] for the payload that stands in frame[t.Len():]. A frame shorter than the
// headers, or longer than 65,535 bytes of IP packet can be, panics or carries a wrong length: the engine's buffers are
// neither.
func (t *Template) Put(frame []byte) {
	switch t.size {
	case Size4:
		t.put4(frame)
	case Size6:
		t.put6(frame)
	}
}

func (t *Template) put4(frame []byte) {
	h := (*[Size4]byte)(frame)
	*h = *(*[Size4]byte)(t.headers[:])
	ipLength := uint16(len(frame) - ethernetSize)
	binary.BigEndian.PutUint16(h[ethernetSize+2:], ipLength)
	binary.BigEndian.PutUint16(h[ethernetSize+10:], Fold(add(uint64(t.ip), ipLength)))
	length := ipLength - ipv4Size
	binary.BigEndian.PutUint16(h[Size4-4:], length)
	binary.BigEndian.PutUint16(h[Size4-2:], t.udpChecksum(length, frame[Size4:]))
}

func (t *Template) put6(frame []byte) {
	h := (*[Size6]byte)(frame)
	*h = t.headers
	length := uint16(len(frame) - ethernetSize - ipv6Size)
	binary.BigEndian.PutUint16(h[ethernetSize+4:], length)
	binary.BigEndian.PutUint16(h[Size6-4:], length)
	binary.BigEndian.PutUint16(h[Size6-2:], t.udpChecksum(length, frame[Size6:]))
}

// udpChecksum completes the sum with what differs from packet to packet. The length counts twice: in the pseudo header
// and in the UDP header. A checksum that comes out as 0 is sent as 0xffff, 0 would say that there is none (RFC 768).
func (t *Template) udpChecksum(length uint16, payload []byte) uint16 {
	swapped := uint64(bits.ReverseBytes16(length))
	sum := Fold(Checksum(uint64(t.udp)+2*swapped, payload))
	if sum == 0 {
		return 0xffff
	}
	return sum
}

// add adds a 16-bit field of a header to a small sum.
func add(sum uint64, field uint16) uint64 {
	sum, carry := bits.Add64(sum, uint64(bits.ReverseBytes16(field)), 0)
	return sum + carry
}
