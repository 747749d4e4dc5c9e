package netio

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cmsg builds a control message as the kernel does: header, data, padding to the next.
func cmsg(level, kind int32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(unix.SizeofCmsghdr+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, data...)
	return append(b, make([]byte, -len(b)&7)...)
}

func name(a netip.AddrPort) []byte {
	var s sockaddr
	to := AddrFrom(a)
	return s[:s.put(&to, a.Addr().Is6())]
}

// aligned copies b to where the kernel would have written it.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	at := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(b))
	copy(at, b)
	return at
}

var (
	to4 = netip.MustParseAddrPort("198.18.0.1:40000")
	to6 = netip.MustParseAddrPort("[2001:2::1]:40001")
)

func controlSamples() map[string]struct {
	b    []byte
	want ancillary
} {
	drops := cmsg(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, binary.NativeEndian.AppendUint32(nil, 7))
	v4 := cmsg(unix.IPPROTO_IP, unix.IP_ORIGDSTADDR, name(to4))
	v6 := cmsg(unix.IPPROTO_IPV6, unix.IPV6_ORIGDSTADDR, name(to6))
	overrun := slices.Clone(v4)
	overrun[0] += 9 // says that it is longer than what there is
	return map[string]struct {
		b    []byte
		want ancillary
	}{
		"nothing":                           {nil, ancillary{}},
		"drops":                             {drops, ancillary{drops: 7, hasDrops: true}},
		"IPv4 destination":                  {v4, ancillary{to: AddrFrom(to4)}},
		"IPv6 destination":                  {v6, ancillary{to: AddrFrom(to6)}},
		"drops, then IPv4":                  {slices.Concat(drops, v4), ancillary{7, true, AddrFrom(to4)}},
		"IPv6, then drops":                  {slices.Concat(v6, drops), ancillary{7, true, AddrFrom(to6)}},
		"something unknown first":           {slices.Concat(cmsg(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, make([]byte, 16)), v4), ancillary{to: AddrFrom(to4)}},
		"header cut short":                  {v4[:unix.SizeofCmsghdr-1], ancillary{}},
		"data cut short":                    {v4[:unix.SizeofCmsghdr+8], ancillary{}},
		"length beyond the end":             {overrun, ancillary{}},
		"length 0":                          {make([]byte, 64), ancillary{}},
		"drops without data":                {cmsg(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, nil), ancillary{}},
		"IPv6 destination in too few bytes": {cmsg(unix.IPPROTO_IPV6, unix.IPV6_ORIGDSTADDR, name(to4)), ancillary{}},
		"last one not padded":               {v6[:unix.SizeofCmsghdr+unix.SizeofSockaddrInet6], ancillary{to: AddrFrom(to6)}},
	}
}

func TestControlMessagesAreReadInAnyOrder(t *testing.T) {
	for name, sample := range controlSamples() {
		if got := parseControl(aligned(sample.b)); got != sample.want {
			t.Errorf("%s: %+v, want %+v", name, got, sample.want)
		}
	}
	b := aligned(cmsg(unix.IPPROTO_IP, unix.IP_ORIGDSTADDR, name(to4)))
	if n := testing.AllocsPerRun(100, func() { parseControl(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzControlMessages(f *testing.F) {
	for _, sample := range controlSamples() {
		f.Add(sample.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := parseControl(aligned(b))
		if !a.hasDrops && a.drops != 0 {
			t.Errorf("%+v: drops that are none", a)
		}
		// What was read is read again from a message that says only that.
		var again []byte
		if a.hasDrops {
			again = cmsg(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, binary.NativeEndian.AppendUint32(nil, a.drops))
		}
		if to := a.to.AddrPort(); to.IsValid() && to.Port() != 0 && !to.Addr().IsUnspecified() {
			level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_ORIGDSTADDR)
			if to.Addr().Is6() {
				level, kind = unix.IPPROTO_IPV6, unix.IPV6_ORIGDSTADDR
			}
			again = append(again, cmsg(level, kind, name(to))...)
			if got := parseControl(aligned(again)); got != a {
				t.Errorf("%+v, want %+v", got, a)
			}
		}
	})
}

func TestSlotTableFindsItsAddressesAndNoOthers(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, maxAddresses} {
		var addresses []netip.Addr
		for i := range n {
			a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 7), byte(i)})
			if i%2 == 1 {
				a = netip.AddrFrom16([16]byte{0x20, 1, 0, 2, 15: byte(i)})
			}
			addresses = append(addresses, a)
		}
		table := makeSlotTable(addresses)
		for slot, a := range addresses {
			ip := a.As16()
			if got, ok := table.find(&ip); !ok || got != slot {
				t.Errorf("%d addresses: %v has slot %d (%v), want %d", n, a, got, ok, slot)
			}
			ip[10]++
			if got, ok := table.find(&ip); ok {
				t.Errorf("%d addresses: %v is none of ours, but has slot %d", n, netip.AddrFrom16(ip), got)
			}
		}
		if slot, ok := table.find(new([16]byte)); ok {
			t.Errorf("%d addresses: no address has slot %d", n, slot)
		}
	}
}
