package netio

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddrSize holds the longer of the two address forms, struct sockaddr_in6 of ipv6(7).
const sockaddrSize = unix.SizeofSockaddrInet6

// sockaddr is struct sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)) as the kernel reads and writes it: the family in
// host order, the port in network order, then address (IPv4) or flow label, address and scope (IPv6).
type sockaddr [sockaddrSize]byte

// The 12 bytes before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2).
const mappedPrefix = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"

// addr returns the address in our form; anything that is neither IPv4 nor IPv6 gives the zero value.
func (s *sockaddr) addr() Addr {
	var a Addr
	switch binary.NativeEndian.Uint16(s[0:2]) {
	case unix.AF_INET:
		copy(a.IP[:12], mappedPrefix)
		copy(a.IP[12:], s[4:8])
	case unix.AF_INET6:
		copy(a.IP[:], s[8:24])
	default:
		return Addr{}
	}
	a.Port = binary.BigEndian.Uint16(s[2:4])
	return a
}

// put writes the destination a for a socket of the given family and returns the length of the form written. It is 0
// when such a socket must not send to a: another family, no port, or the unspecified address, which Linux would take
// for this machine's loopback (an SDP with "c=IN IP4 0.0.0.0", the old form of hold, is a way to ask for that).
func (s *sockaddr) put(a *Addr, ipv6 bool) uint32 {
	if a.Port == 0 || a.IP == [16]byte{} || (string(a.IP[:12]) == mappedPrefix) == ipv6 ||
		!ipv6 && [4]byte(a.IP[12:]) == [4]byte{} {
		return 0
	}
	binary.BigEndian.PutUint16(s[2:4], a.Port)
	if ipv6 {
		binary.NativeEndian.PutUint16(s[0:2], unix.AF_INET6)
		clear(s[4:8])
		copy(s[8:24], a.IP[:])
		clear(s[24:28])
		return unix.SizeofSockaddrInet6
	}
	binary.NativeEndian.PutUint16(s[0:2], unix.AF_INET)
	copy(s[4:8], a.IP[12:])
	clear(s[8:16])
	return unix.SizeofSockaddrInet4
}

// bindAddress returns a in the form that bind(2) takes.
func bindAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// boundAddress returns what the socket is bound to (getsockname(2)).
func boundAddress(fd int) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)), nil
	}
	return netip.AddrPort{}, errors.New("neither an IPv4 nor an IPv6 socket")
}

// putLink writes struct sockaddr_ll of packet(7), the device and protocol that a ready-made frame is sent by, and returns
// the length of the form written. The frame has its own link addresses.
func (s *sockaddr) putLink(ifindex int32, ipv6 bool) uint32 {
	protocol := uint16(unix.ETH_P_IP)
	if ipv6 {
		protocol = unix.ETH_P_IPV6
	}
	binary.NativeEndian.PutUint16(s[0:2], unix.AF_PACKET)
	binary.BigEndian.PutUint16(s[2:4], protocol)
	binary.NativeEndian.PutUint32(s[4:8], uint32(ifindex))
	clear(s[8:unix.SizeofSockaddrLinklayer])
	return unix.SizeofSockaddrLinklayer
}
