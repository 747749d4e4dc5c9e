package netio

import (
	"net/netip"
	"testing"
)

func FuzzSockaddrKeepsAddressAndPort(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:5004", "0.0.0.0:1", "255.255.255.255:65535", "[2001:db8::1]:5004", "[::]:7", "[::1]:0", "[fe80::1]:9"} {
		a := AddrFrom(netip.MustParseAddrPort(seed))
		f.Add(a.IP[:], a.Port)
	}
	f.Fuzz(func(t *testing.T, ip []byte, port uint16) {
		a := Addr{Port: port}
		copy(a.IP[:], ip)
		address := a.AddrPort().Addr()
		refused := port == 0 || address.IsUnspecified() || a == Addr{}
		for _, ipv6 := range []bool{false, true} {
			s := sockaddr{0: 0xff, 9: 0xff, 27: 0xff} // what an earlier packet left there
			length := s.put(&a, ipv6)
			if want := !refused && address.Is6() == ipv6; (length > 0) != want {
				t.Fatalf("%v from IPv6 %v: length %d, want it sent: %v", a.AddrPort(), ipv6, length, want)
			}
			if length > 0 && s.addr() != a {
				t.Fatalf("%v came back as %v", a.AddrPort(), s.addr().AddrPort())
			}
			if length > sockaddrSize {
				t.Fatalf("length %d", length)
			}
		}
	})
}

func TestSockaddrOfAnotherFamilyIsNoAddress(t *testing.T) {
	s := sockaddr{0: 1, 2: 9, 3: 9, 4: 127} // AF_UNIX
	if a := s.addr(); a != (Addr{}) {
		t.Errorf("%v, want no address", a)
	}
}

func TestSockaddrDoesNotAllocate(t *testing.T) {
	var s sockaddr
	v4 := AddrFrom(netip.MustParseAddrPort("192.0.2.1:5004"))
	v6 := AddrFrom(netip.MustParseAddrPort("[2001:db8::1]:5004"))
	n := testing.AllocsPerRun(100, func() {
		for _, a := range []*Addr{&v4, &v6} {
			for _, ipv6 := range []bool{false, true} {
				if s.put(a, ipv6) > 0 && s.addr() != *a {
					t.Fatal("address changed")
				}
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
