package frame

import "encoding/binary"

const (
	etherTypeVLAN = 0x8100 // IEEE 802.1Q
	vlanSize      = 4
	vlanID        = 0x0fff

	fragment = 0x3fff // of the flags and offset of RFC 791: more fragments, or not the first

	// TagSize is the bytes that Tag puts into a frame.
	TagSize = vlanSize
)

// Datagram is what a received frame carries.
type Datagram struct {
	Src, Dst         [16]byte // IPv4-mapped for IPv4
	SrcPort, DstPort uint16   // host order
	VLAN             uint16   // 0: no tag, or one for the priority only
	Start, Len       int      // of the payload in the frame
}

// The 12 bytes before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2).
var mapped = [12]byte{10: 0xff, 11: 0xff}

// Parse finds the UDP datagram in a frame: Ethernet, at most one VLAN tag, IPv4 without options or IPv6 without extension headers,
// no fragment, and lengths that agree. False means that it is something else. Checksums are not looked at: a frame from a
// virtual device may carry one that its sender left to the hardware.
func Parse(b []byte, d *Datagram) bool {
	if len(b) < ethernetSize+vlanSize {
		return false
	}
	d.VLAN = 0
	at, kind := ethernetSize, binary.BigEndian.Uint16(b[12:])
	if kind == etherTypeVLAN {
		d.VLAN = binary.BigEndian.Uint16(b[14:]) & vlanID
		at, kind = ethernetSize+vlanSize, binary.BigEndian.Uint16(b[16:])
	}
	ip := b[at:]
	switch kind {
	case etherTypeIPv4:
		if len(ip) < ipv4Size+udpSize {
			return false
		}
		h := (*[ipv4Size + udpSize]byte)(ip)
		total := int(binary.BigEndian.Uint16(h[2:]))
		if h[0] != 4<<4|ipv4Size/4 || binary.BigEndian.Uint16(h[6:])&fragment != 0 || h[9] != protocolUDP ||
			total < ipv4Size+udpSize || total > len(ip) {
			return false
		}
		copy(d.Src[:12], mapped[:])
		copy(d.Src[12:], h[12:16])
		copy(d.Dst[:12], mapped[:])
		copy(d.Dst[12:], h[16:20])
		return d.parseUDP((*[udpSize]byte)(h[ipv4Size:]), at+ipv4Size, total-ipv4Size)
	case etherTypeIPv6:
		if len(ip) < ipv6Size+udpSize {
			return false
		}
		h := (*[ipv6Size + udpSize]byte)(ip)
		length := int(binary.BigEndian.Uint16(h[4:]))
		if h[0]>>4 != 6 || h[6] != protocolUDP || length > len(ip)-ipv6Size {
			return false
		}
		copy(d.Src[:], h[8:24])
		copy(d.Dst[:], h[24:40])
		return d.parseUDP((*[udpSize]byte)(h[ipv6Size:]), at+ipv6Size, length)
	}
	return false
}

// parseUDP reads the UDP header, which is at that place in the frame and has room bytes with what follows.
func (d *Datagram) parseUDP(h *[udpSize]byte, at, room int) bool {
	length := int(binary.BigEndian.Uint16(h[4:]))
	if length < udpSize || length > room {
		return false
	}
	d.SrcPort, d.DstPort = binary.BigEndian.Uint16(h[0:]), binary.BigEndian.Uint16(h[2:])
	d.Start, d.Len = at+udpSize, length-udpSize
	return true
}

// Tag makes the frame that begins at b[TagSize:] one of a VLAN that begins at b[0]: it moves the addresses to the front and
// puts the tag (IEEE 802.1Q, priority 0) behind them.
func Tag(b []byte, vlan uint16) {
	copy(b[:12], b[TagSize:TagSize+12])
	binary.BigEndian.PutUint16(b[12:], etherTypeVLAN)
	binary.BigEndian.PutUint16(b[14:], vlan&vlanID)
}
