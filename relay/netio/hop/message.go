package hop

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// This file reads the kernel's messages: rtnetlink(7) and linux/xfrm.h. All functions take the payload behind the
// netlink header and return false for what is too short, of another family, or not about what we look for. Numbers are
// in the machine's byte order unless they are addresses.

// route is how the kernel sends packets of a source to a destination.
type route struct {
	kind         routeKind
	device       int32
	gateway      netip.Addr // invalid: the destination is on the link
	mtu          int32      // bytes; 0: the device's
	encapsulates bool       // a lightweight tunnel (MPLS, SRv6, BPF) changes the packet on its way out
}

type routeKind uint8

const (
	routeNone  routeKind = iota // unreachable, prohibited, blackhole
	routeLink                   // unicast, over a device
	routeLocal                  // this machine, broadcast, multicast or anycast
)

// device is a network interface.
type device struct {
	up       bool // and has its link
	ethernet bool // an Ethernet whose neighbours have link addresses
	mac      [6]byte
	mtu      int32 // bytes
}

// neighbourKey names an entry of the kernel's neighbour tables (ARP, NDP).
type neighbourKey struct {
	device int32
	addr   netip.Addr // without zone
}

// neighbourState is what such an entry says.
type neighbourState struct {
	usable bool // there is a link address to send to
	stale  bool // nobody has verified it for a while, and nobody will before the kernel sends a packet there
	mac    [6]byte
}

// The states in which the kernel itself sends to the link address (NUD_VALID in its sources).
const usableStates = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP

const (
	attributeHeader = 4      // length and type, 16 bits each
	attributeType   = 0x3fff // the two bits above are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER)
	alignment       = 4      // of attributes and of what precedes them
)

// attributes goes through the attributes of a message and ends at the first that does not fit.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attributeHeader {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) & attributeType
			if size < attributeHeader || size > len(b) || !yield(kind, b[attributeHeader:size]) {
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

func align(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// readLink reads RTM_NEWLINK and RTM_DELLINK: struct ifinfomsg. Messages of other families are about a bridge's port or
// about IPv6 settings; a port that leaves its bridge is no device that goes away.
func readLink(b []byte) (index int32, d device, ok bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return 0, device{}, false
	}
	kind := binary.NativeEndian.Uint16(b[2:])
	index = int32(binary.NativeEndian.Uint32(b[4:]))
	flags := binary.NativeEndian.Uint32(b[8:])
	hasMAC := false
	for kind, value := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch {
		case kind == unix.IFLA_ADDRESS && len(value) == len(d.mac):
			d.mac, hasMAC = [6]byte(value), true
		case kind == unix.IFLA_MTU && len(value) >= 4:
			d.mtu = int32(binary.NativeEndian.Uint32(value))
		}
	}
	d.up = flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0
	d.ethernet = kind == unix.ARPHRD_ETHER && hasMAC && flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT) == 0
	return index, d, true
}

// readNeighbour reads RTM_NEWNEIGH and RTM_DELNEIGH: struct ndmsg. A bridge's forwarding entries and proxy entries are
// no neighbours of ours.
func readNeighbour(b []byte) (key neighbourKey, s neighbourState, ok bool) {
	if len(b) < unix.SizeofNdMsg || b[10]&unix.NTF_PROXY != 0 {
		return neighbourKey{}, neighbourState{}, false
	}
	key.device = int32(binary.NativeEndian.Uint32(b[4:]))
	state := binary.NativeEndian.Uint16(b[8:])
	hasMAC := false
	for kind, value := range attributes(b[unix.SizeofNdMsg:]) {
		switch {
		case kind == unix.NDA_DST:
			key.addr = readAddr(b[0], value)
		case kind == unix.NDA_LLADDR && len(value) == len(s.mac):
			s.mac, hasMAC = [6]byte(value), true
		}
	}
	s.usable = hasMAC && state&usableStates != 0
	s.stale = state&unix.NUD_STALE != 0
	return key, s, key.addr.IsValid()
}

// readRoute reads the answer to RTM_GETROUTE: struct rtmsg. A route of which it is not sure that packets leave over one
// device is none.
func readRoute(b []byte) (r route, ok bool) {
	if len(b) < unix.SizeofRtMsg || !isIP(b[0]) {
		return route{}, false
	}
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		switch {
		case kind == unix.RTA_OIF && len(value) >= 4:
			r.device = int32(binary.NativeEndian.Uint32(value))
		case kind == unix.RTA_GATEWAY:
			r.gateway = readAddr(b[0], value)
		case kind == unix.RTA_VIA && len(value) >= 2: // a gateway of the other family: its family, then its address
			r.gateway = readAddr(byte(binary.NativeEndian.Uint16(value)), value[2:])
			r.encapsulates = r.encapsulates || !r.gateway.IsValid()
		case kind == unix.RTA_METRICS:
			for metric, value := range attributes(value) {
				if metric == unix.RTAX_MTU && len(value) >= 4 {
					r.mtu = int32(min(binary.NativeEndian.Uint32(value), 1<<16))
				}
			}
		case kind == unix.RTA_ENCAP || kind == unix.RTA_ENCAP_TYPE:
			r.encapsulates = true
		}
	}
	switch b[7] {
	case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		r.kind = routeLocal
	case unix.RTN_UNICAST:
		if r.device > 0 {
			r.kind = routeLink
		}
	}
	return r, true
}

// readRouteEvent reads which destinations RTM_NEWROUTE or RTM_DELROUTE is about: struct rtmsg and RTA_DST, which the
// default route leaves out.
func readRouteEvent(b []byte) (netip.Prefix, bool) {
	if len(b) < unix.SizeofRtMsg || !isIP(b[0]) {
		return netip.Prefix{}, false
	}
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_DST {
			dst = readAddr(b[0], value)
		}
	}
	p, err := dst.Prefix(int(b[1]))
	return p, err == nil && p.IsValid()
}

func isIP(family byte) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

// readAddr reads an address of the family; one of another length is invalid. An IPv4-mapped IPv6 address is IPv4.
func readAddr(family byte, value []byte) netip.Addr {
	switch {
	case family == unix.AF_INET && len(value) == 4:
		return netip.AddrFrom4([4]byte(value))
	case family == unix.AF_INET6 && len(value) == 16:
		return netip.AddrFrom16([16]byte(value)).Unmap()
	}
	return netip.Addr{}
}
