package load

import (
	"encoding/binary"
	"math/bits"
	"net"
	"net/netip"
)

// Bytes of what is sent: 20 ms of G.711 in RTP (RFC 3551 section 4.5.14) over UDP, IP and Ethernet.
const (
	ethernetBytes = 14
	ipv4Bytes     = 20
	ipv6Bytes     = 40
	udpBytes      = 8
	rtpBytes      = 12
	payloadBytes  = 160
	identityBytes = 8 // of the payload: stream and number
	head4         = ethernetBytes + ipv4Bytes + udpBytes
	head6         = ethernetBytes + ipv6Bytes + udpBytes
	maxFrame      = head6 + rtpBytes + payloadBytes + maxTag // 250: a length fits a byte and a frame 256
	stride        = 256                                      // from frame to frame in memory
)

const (
	payloadType  = 0   // PCMU
	samplesEach  = 160 // timestamp units of a packet
	protocolUDP  = 17
	etherTypeIP4 = 0x0800
	etherTypeIP6 = 0x86dd
)

// header is everything before the RTP header of one stream's packets, lengths and checksum open.
type header struct {
	bytes  [head6]byte
	n      int    // head4 or head6
	pseudo uint64 // sum of the pseudo header without the length
}

// newHeader returns the header of what goes from one address to another, which are of one family.
func newHeader(fromMAC, toMAC net.HardwareAddr, from, to netip.AddrPort) header {
	h := header{n: head4}
	b := h.bytes[:]
	copy(b[0:], toMAC)
	copy(b[6:], fromMAC)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	if from.Addr().Is4() {
		binary.BigEndian.PutUint16(b[12:], etherTypeIP4)
		b[14], b[20], b[22], b[23] = 0x45, 0x40, 64, protocolUDP // version and header length, don't fragment, time to live
		copy(b[26:], src)
		copy(b[30:], dst)
	} else {
		h.n = head6
		binary.BigEndian.PutUint16(b[12:], etherTypeIP6)
		b[14], b[20], b[21] = 0x60, protocolUDP, 64 // version, next header, hop limit
		copy(b[22:], src)
		copy(b[38:], dst)
	}
	udp := b[h.n-udpBytes:]
	binary.BigEndian.PutUint16(udp[0:], from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	h.pseudo = sum(sum(protocolUDP, src), dst)
	return h
}

// finish writes the header before the payload that is already in frame and returns the frame's length.
func (h *header) finish(frame []byte, payload int) int {
	copy(frame, h.bytes[:h.n])
	udp := frame[h.n-udpBytes : h.n+payload]
	length := uint16(len(udp))
	binary.BigEndian.PutUint16(udp[4:], length)
	if h.n == head4 {
		ip := frame[ethernetBytes : ethernetBytes+ipv4Bytes]
		binary.BigEndian.PutUint16(ip[2:], ipv4Bytes+length)
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip)))
	} else {
		binary.BigEndian.PutUint16(frame[ethernetBytes+4:], length)
	}
	checksum := ^fold(sum(h.pseudo+uint64(length), udp))
	if checksum == 0 {
		checksum = 0xffff // RFC 768: zero would mean none
	}
	binary.BigEndian.PutUint16(udp[6:], checksum)
	return h.n + payload
}

// sum adds b as big-endian 16-bit words, an odd end padded (RFC 1071). s must leave room: it is folded by fold.
func sum(s uint64, b []byte) uint64 {
	var carry uint64
	for ; len(b) >= 8; b = b[8:] {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), 0)
		s += carry
	}
	var last [8]byte
	copy(last[:], b)
	s, carry = bits.Add64(s, binary.BigEndian.Uint64(last[:]), 0)
	return s + carry
}

// fold makes 16 bits of a sum.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// parcel is what a received frame turned out to be.
type parcel struct {
	from, to netip.AddrPort
	payload  []byte // of UDP
	intact   bool   // checksums are right; a UDP checksum may be left to the device, as a kernel's over veth is
}

// unwrap reads an Ethernet frame with a UDP datagram in it.
func unwrap(frame []byte) (p parcel, ok bool) {
	if len(frame) < head4 {
		return p, false
	}
	var src, dst []byte
	udp, intact := frame[ethernetBytes:], true
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIP4:
		ip := udp[:ipv4Bytes]
		total := int(binary.BigEndian.Uint16(ip[2:]))
		if ip[0] != 0x45 || ip[9] != protocolUDP || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 || total > len(udp) || total < ipv4Bytes {
			return p, false
		}
		intact = fold(sum(0, ip)) == 0xffff
		src, dst, udp = ip[12:16], ip[16:20], udp[ipv4Bytes:total]
	case etherTypeIP6:
		if len(frame) < head6 || udp[6] != protocolUDP {
			return p, false
		}
		ip := udp[:ipv6Bytes]
		length := int(binary.BigEndian.Uint16(ip[4:]))
		if length > len(udp)-ipv6Bytes {
			return p, false
		}
		src, dst, udp = ip[8:24], ip[24:40], udp[ipv6Bytes:ipv6Bytes+length]
	default:
		return p, false
	}
	if len(udp) < udpBytes || int(binary.BigEndian.Uint16(udp[4:])) != len(udp) {
		return p, false
	}
	p.from, p.to, p.payload = addrPort(src, udp[0:]), addrPort(dst, udp[2:]), udp[udpBytes:]
	p.intact = intact && checksumRight(sum(sum(protocolUDP, src), dst)+uint64(len(udp)), udp, len(dst) == net.IPv6len)
	return p, true
}

// checksumRight accepts a checksum over everything, one over the pseudo header only (CHECKSUM_PARTIAL: the kernel left the
// rest to a device, which a veth pair does not have), and none in IPv4 (RFC 768), but not in IPv6 (RFC 8200 section 8.1).
func checksumRight(pseudo uint64, udp []byte, isIPv6 bool) bool {
	switch field := binary.BigEndian.Uint16(udp[6:]); field {
	case 0:
		return !isIPv6
	case fold(pseudo):
		return true
	default:
		return fold(sum(pseudo, udp)) == 0xffff
	}
}

func addrPort(ip, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}

// fillPayload writes the payload of a stream's packet: who it is, and bytes that follow from it (SplitMix64).
func fillPayload(payload []byte, stream, number uint32) {
	identity := uint64(stream)<<32 | uint64(number)
	binary.BigEndian.PutUint64(payload, identity)
	for at := identityBytes; at < payloadBytes; at += 8 {
		binary.LittleEndian.PutUint64(payload[at:], scramble(identity+uint64(at)))
	}
}

// payloadRight tells whether a payload of payloadBytes is as fillPayload left it.
func payloadRight(payload []byte) bool {
	identity := binary.BigEndian.Uint64(payload)
	for at := identityBytes; at < payloadBytes; at += 8 {
		if binary.LittleEndian.Uint64(payload[at:]) != scramble(identity+uint64(at)) {
			return false
		}
	}
	return true
}

func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
