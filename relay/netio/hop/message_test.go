package hop

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// message builds a payload: a header, then attributes in pairs of number and value.
func message(header []byte, attributes ...any) []byte {
	for i := 0; i < len(attributes); i += 2 {
		header = appendAttribute(header, uint16(attributes[i].(int)), attributes[i+1].([]byte))
	}
	return header
}

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func link(family byte, kind uint16, index int32, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint16(b[2:], kind)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

func TestReadLink(t *testing.T) {
	const running = unix.IFF_UP | unix.IFF_RUNNING
	mac, mtu := ourMAC[:], number(1500)
	for _, c := range []struct {
		name string
		b    []byte
		want device
		ok   bool
	}{
		{"Ethernet", message(link(0, unix.ARPHRD_ETHER, 7, running), unix.IFLA_ADDRESS, mac, unix.IFLA_MTU, mtu),
			device{up: true, ethernet: true, mac: ourMAC, mtu: 1500}, true},
		{"without carrier", message(link(0, unix.ARPHRD_ETHER, 7, unix.IFF_UP), unix.IFLA_ADDRESS, mac, unix.IFLA_MTU, mtu),
			device{ethernet: true, mac: ourMAC, mtu: 1500}, true},
		{"dummy", message(link(0, unix.ARPHRD_ETHER, 7, running|unix.IFF_NOARP), unix.IFLA_ADDRESS, mac),
			device{up: true, mac: ourMAC}, true},
		{"tun", message(link(0, unix.ARPHRD_NONE, 7, running), unix.IFLA_MTU, mtu), device{up: true, mtu: 1500}, true},
		{"Infiniband", message(link(0, unix.ARPHRD_INFINIBAND, 7, running), unix.IFLA_ADDRESS, make([]byte, 20)), device{up: true}, true},
		{"loopback", message(link(0, unix.ARPHRD_LOOPBACK, 7, running|unix.IFF_LOOPBACK), unix.IFLA_ADDRESS, make([]byte, 6)),
			device{up: true}, true},
		{"a bridge's port", link(unix.AF_BRIDGE, unix.ARPHRD_ETHER, 7, running), device{}, false},
		{"too short", make([]byte, 15), device{}, false},
	} {
		index, d, ok := readLink(c.b)
		if d != c.want || ok != c.ok || ok && index != 7 {
			t.Errorf("%s: %d %+v %v; want %+v %v", c.name, index, d, ok, c.want, c.ok)
		}
	}
}

func TestReadNeighbour(t *testing.T) {
	header := func(family byte, state uint16, flags byte) []byte {
		b := make([]byte, unix.SizeofNdMsg)
		b[0], b[10] = family, flags
		binary.NativeEndian.PutUint32(b[4:], 7)
		binary.NativeEndian.PutUint16(b[8:], state)
		return b
	}
	four, six := ip("198.18.0.2"), ip("fe80::1")
	for _, c := range []struct {
		name          string
		b             []byte
		usable, stale bool
		ok            bool
	}{
		{"reachable", message(header(unix.AF_INET, unix.NUD_REACHABLE, 0), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), true, false, true},
		{"stale", message(header(unix.AF_INET6, unix.NUD_STALE, 0), unix.NDA_DST, six, unix.NDA_LLADDR, theirMAC[:]), true, true, true},
		{"delay", message(header(unix.AF_INET, unix.NUD_DELAY, 0), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), true, false, true},
		{"probe", message(header(unix.AF_INET, unix.NUD_PROBE, 0), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), true, false, true},
		{"permanent", message(header(unix.AF_INET, unix.NUD_PERMANENT, 0), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), true, false, true},
		{"incomplete", message(header(unix.AF_INET, unix.NUD_INCOMPLETE, 0), unix.NDA_DST, four), false, false, true},
		{"failed", message(header(unix.AF_INET, unix.NUD_FAILED, 0), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), false, false, true},
		{"without link address", message(header(unix.AF_INET, unix.NUD_REACHABLE, 0), unix.NDA_DST, four), false, false, true},
		{"proxy", message(header(unix.AF_INET, unix.NUD_PERMANENT, unix.NTF_PROXY), unix.NDA_DST, four, unix.NDA_LLADDR, theirMAC[:]), false, false, false},
		{"forwarding entry", message(header(unix.AF_BRIDGE, unix.NUD_REACHABLE, 0), unix.NDA_LLADDR, theirMAC[:]), false, false, false},
		{"address of another size", message(header(unix.AF_INET, unix.NUD_REACHABLE, 0), unix.NDA_DST, six), false, false, false},
		{"too short", make([]byte, 11), false, false, false},
	} {
		key, s, ok := readNeighbour(c.b)
		if ok != c.ok || ok && (s.usable != c.usable || s.stale != c.stale) {
			t.Errorf("%s: %+v %+v %v", c.name, key, s, ok)
		}
		if c.usable && (s.mac != theirMAC || key.device != 7 || !key.addr.IsValid()) {
			t.Errorf("%s: %+v %+v", c.name, key, s)
		}
	}
}

func routeHeader(family, bits, kind byte) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[7] = family, bits, kind
	return b
}

func TestReadRoute(t *testing.T) {
	at := netip.MustParseAddr
	via := append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), ip("fe80::9")...)
	mtu := message(nil, unix.RTAX_MTU, number(1400))
	for _, c := range []struct {
		name string
		b    []byte
		want route
	}{
		{"on the link", message(routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), unix.RTA_OIF, number(7)), route{kind: routeLink, device: 7}},
		{"gateway and MTU", message(routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), unix.RTA_OIF, number(7), unix.RTA_GATEWAY, ip("198.18.0.2"),
			unix.RTA_METRICS, mtu), route{kind: routeLink, device: 7, gateway: gateway, mtu: 1400}},
		{"gateway of IPv6", message(routeHeader(unix.AF_INET6, 128, unix.RTN_UNICAST), unix.RTA_OIF, number(7), unix.RTA_GATEWAY, ip("fe80::9")),
			route{kind: routeLink, device: 7, gateway: at("fe80::9")}},
		{"IPv4 over a gateway of IPv6", message(routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), unix.RTA_OIF, number(7), unix.RTA_VIA, via),
			route{kind: routeLink, device: 7, gateway: at("fe80::9")}},
		{"over a gateway of no family we know", message(routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), unix.RTA_OIF, number(7), unix.RTA_VIA, []byte{99, 0, 1}),
			route{kind: routeLink, device: 7, encapsulates: true}},
		{"MPLS", message(routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), unix.RTA_OIF, number(7), unix.RTA_ENCAP_TYPE, []byte{1, 0}, unix.RTA_ENCAP, number(0)),
			route{kind: routeLink, device: 7, encapsulates: true}},
		{"local", message(routeHeader(unix.AF_INET, 32, unix.RTN_LOCAL), unix.RTA_OIF, number(1)), route{kind: routeLocal, device: 1}},
		{"broadcast", message(routeHeader(unix.AF_INET, 32, unix.RTN_BROADCAST), unix.RTA_OIF, number(7)), route{kind: routeLocal, device: 7}},
		{"blackhole", message(routeHeader(unix.AF_INET6, 128, unix.RTN_BLACKHOLE), unix.RTA_OIF, number(1)), route{device: 1}},
		{"without a device", routeHeader(unix.AF_INET, 32, unix.RTN_UNICAST), route{}},
	} {
		if r, ok := readRoute(c.b); !ok || r != c.want {
			t.Errorf("%s: %+v %v; want %+v", c.name, r, ok, c.want)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 11), routeHeader(unix.AF_MPLS, 20, unix.RTN_UNICAST)} {
		if r, ok := readRoute(b); ok {
			t.Errorf("% x is read as %+v", b, r)
		}
	}
}

func TestReadRouteEvent(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{message(routeHeader(unix.AF_INET, 24, 0), unix.RTA_DST, ip("198.18.0.0")), "198.18.0.0/24"},
		{message(routeHeader(unix.AF_INET6, 64, 0), unix.RTA_DST, ip("2001:db8::")), "2001:db8::/64"},
		{routeHeader(unix.AF_INET, 0, 0), "0.0.0.0/0"},
		{routeHeader(unix.AF_INET6, 0, 0), "::/0"},
		{routeHeader(unix.AF_MPLS, 20, 0), "invalid Prefix"},
		{message(routeHeader(unix.AF_INET, 64, 0), unix.RTA_DST, ip("198.18.0.0")), "invalid Prefix"},
		{nil, "invalid Prefix"},
	} {
		if p, ok := readRouteEvent(c.b); p.String() != c.want || ok != p.IsValid() {
			t.Errorf("%v %v; want %s", p, ok, c.want)
		}
	}
}

func TestAttributesEndWhereOneDoesNotFit(t *testing.T) {
	b := message(nil, 1, []byte{9}, 2, []byte{8, 8})
	for cut := range b {
		count := 0
		for range attributes(b[:cut]) {
			count++
		}
		if want := min(cut/5, 1); count != want { // the first has 5 bytes and padding, the second 6
			t.Errorf("%d bytes hold %d attributes; want %d", cut, count, want)
		}
		if cut == 13 {
			break
		}
	}
	for range attributes([]byte{3, 0, 1, 0}) {
		t.Error("an attribute shorter than its header")
	}
}

func TestMessagesWeDoNotFollowMakeNoEvents(t *testing.T) {
	for _, kind := range []uint16{unix.RTM_NEWQDISC, unix.NLMSG_NOOP, 0xffff} {
		if e, ok := readRouteMessage(kind, make([]byte, 200)); ok {
			t.Errorf("type %d: %+v", kind, e)
		}
		if e, ok := readPolicyMessage(kind, make([]byte, 200)); ok {
			t.Errorf("xfrm type %d: %+v", kind, e)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), message(link(0, unix.ARPHRD_ETHER, 7, unix.IFF_UP), unix.IFLA_ADDRESS, ourMAC[:]))
	f.Add(uint16(unix.RTM_NEWROUTE), message(routeHeader(unix.AF_INET, 24, unix.RTN_UNICAST), unix.RTA_DST, ip("198.18.0.0"), unix.RTA_VIA, []byte{2}))
	f.Add(uint16(unix.RTM_NEWNEIGH), message(make([]byte, unix.SizeofNdMsg), unix.NDA_DST, ip("198.18.0.2")))
	f.Add(uint16(xfrmNewPolicy), policyInfo(unix.AF_INET, "198.19.0.0", 16, 8, xfrmDirectionOut, xfrmAllow))
	f.Add(uint16(xfrmDelPolicy), message(make([]byte, policyIDSize), xfrmAttrPolicy, make([]byte, policyInfoSize)))
	f.Add(uint16(xfrmPolExpire), make([]byte, polExpireSize))
	f.Add(uint16(xfrmFlushPolicy), []byte(nil))
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		if e, ok := readRouteMessage(kind, b); ok {
			if e.kind == neighbourChanged && !e.neighbour.addr.IsValid() || e.kind == routeChanged && !e.prefix.IsValid() {
				t.Errorf("an event about nothing: %+v", e)
			}
		}
		if e, ok := readPolicyMessage(kind, b); ok && e.kind == policyChanged && e.policy.kind == 0 {
			t.Errorf("a policy event that says nothing: %+v", e)
		}
		if r, ok := readRoute(b); ok && r.kind == routeLink && r.device <= 0 {
			t.Errorf("a route over no device: %+v", r)
		}
	})
}
