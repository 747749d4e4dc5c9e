package peers

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// place is where a test happens: loopback addresses of its own, one for each party, so that neither tests nor whoever else
// uses the machine meet, and so that an address tells whose it is.
type place struct {
	caller, outer netip.Addr // the calling peer, and tandem towards it
	inner, callee netip.Addr // tandem towards the called peer, and that
	spare         netip.Addr // a second called peer
}

// places counts them.
var places atomic.Uint32

// somewhere returns a place nobody else uses: 127.x.y.0/24 by process and test.
func somewhere() place {
	n := uint32(os.Getpid())*31 + places.Add(1)
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, byte(64 + n>>8%128), byte(n), last}) }
	return place{caller: at(11), outer: at(22), inner: at(33), callee: at(44), spare: at(55)}
}

// here is ::1 for everybody: IPv6 has one loopback address.
func here(t *testing.T) place {
	t.Helper()
	one := netip.IPv6Loopback()
	l, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(one, 0)))
	if err != nil {
		leaveOut(t, fmt.Sprintf("no IPv6 on the loopback interface: %v", err))
	}
	l.Close()
	return place{one, one, one, one, one}
}

// free returns an address and port on which nobody listens, by UDP or TCP.
func free(t *testing.T, a netip.Addr) netip.AddrPort {
	t.Helper()
	for range 100 {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			t.Fatal(err)
		}
		found := udp.LocalAddr().(*net.UDPAddr).AddrPort()
		tcp, err := net.Listen("tcp", found.String())
		udp.Close()
		if err == nil {
			tcp.Close()
			return netip.AddrPortFrom(a, found.Port())
		}
	}
	t.Fatalf("no free port on %s", a)
	return netip.AddrPort{}
}

// bound reports whether somebody listens at an address, without disturbing whoever is about to: by /proc/net.
func bound(t *testing.T, transport string, at netip.AddrPort) bool {
	t.Helper()
	table, raw := transport, at.Addr().AsSlice()
	if transport == "tls" {
		table = "tcp"
	}
	if at.Addr().Is6() {
		table += "6"
	}
	var want strings.Builder // 32-bit words in the machine's order, then the port (proc_net_tcp.rst of the kernel)
	for i := 0; i < len(raw); i += 4 {
		fmt.Fprintf(&want, "%02X%02X%02X%02X", raw[i+3], raw[i+2], raw[i+1], raw[i])
	}
	fmt.Fprintf(&want, ":%04X", at.Port())
	f, err := os.Open("/proc/net/" + table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// local address, remote address, state: 07 is an unconnected UDP socket, 0A a listening TCP one
		if c := strings.Fields(lines.Text()); len(c) > 3 && c[1] == want.String() && (c[3] == "07" || c[3] == "0A") {
			return true
		}
	}
	return false
}
