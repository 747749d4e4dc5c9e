package steer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// steering opens a program over first and first6 with two workers and returns their sockets by worker and family.
func steering(t testing.TB) (*Steer, [2][2]int) {
	t.Helper()
	enter(t, first, second, third, first6, second6)
	s := open(t, Options{Addresses: []netip.Addr{first, first6, second}, Workers: 2})
	var sockets [2][2]int
	for worker := range sockets {
		for family, a := range []string{"127.0.0.1", "::1"} {
			fd := udp(t, at(netip.MustParseAddr(a), 0))
			if err := s.Socket(worker, family == 1, fd); err != nil {
				t.Fatal(err)
			}
			sockets[worker][family] = fd
		}
	}
	if err := s.Attach(); err != nil {
		t.Fatal(err)
	}
	return s, sockets
}

func TestLeasedPortsReachTheirWorkersSocketAndNoOther(t *testing.T) {
	s, sockets := steering(t)
	tests := []struct {
		name   string
		slot   int
		port   uint16
		worker int
		to     netip.Addr
	}{
		{"IPv4, first worker", 0, 40000, 0, first},
		{"IPv4, second worker", 0, 40001, 1, first},
		{"IPv6, first worker", 1, 40000, 0, first6},
		{"IPv6, second worker, same port number as IPv4", 1, 40001, 1, first6},
		{"another address of the same family", 2, 40001, 0, second},
		{"the lowest port", 0, 1, 1, first},
		{"the highest port", 0, 65535, 0, first},
	}
	for _, test := range tests {
		s.Lease(test.slot, test.port, test.worker)
		owner, leased := s.Owner(test.slot, test.port)
		if !s.Leased(test.slot, test.port, test.worker) || s.Leased(test.slot, test.port, 1-test.worker) || !leased || owner != test.worker {
			t.Errorf("%s: the lease does not read back", test.name)
		}
		if _, leased := s.Owner(test.slot, test.port^4); leased {
			t.Errorf("%s: a port beside it is leased too", test.name)
		}
	}
	peers := map[bool]int{false: udp(t, at(third, 0)), true: udp(t, at(second6, 0))}
	for i, test := range tests {
		send(t, peers[test.to.Is6()], at(test.to, test.port), test.name)
		family := 0
		if test.to.Is6() {
			family = 1
		}
		if got := receive(t, sockets[test.worker][family]); got != test.name {
			t.Errorf("%s: received %q", test.name, got)
		}
		if got := s.Steered(); got != uint64(i+1) {
			t.Errorf("%s: %d steered, want %d", test.name, got, i+1)
		}
	}
}

func TestNeighboursInTheByteTableDoNotDisturbEachOther(t *testing.T) {
	enter(t)
	s := open(t, Options{Addresses: []netip.Addr{first, second}, Workers: maxWorkers})
	for port := uint16(1000); port < 1016; port++ {
		s.Lease(1, port, int(port)%maxWorkers)
	}
	for port := uint16(1000); port < 1016; port += 2 {
		s.Release(1, port)
	}
	for port := uint16(998); port < 1018; port++ {
		want := port >= 1000 && port < 1016 && port%2 == 1
		if got := s.Leased(1, port, int(port)%maxWorkers); got != want {
			t.Errorf("port %d: leased %v, want %v", port, got, want)
		}
		if s.Leased(0, port, int(port)%maxWorkers) {
			t.Errorf("port %d is leased on the other address", port)
		}
		if s.leases.memory[1*portCount+int(port)] != 0 != want {
			t.Errorf("port %d: the byte that the program reads is not the one written", port)
		}
	}
}

func TestSocketsInTheSameRangeKeepTheirTraffic(t *testing.T) {
	s, _ := steering(t)
	s.Lease(0, 40000, 0)
	s.Lease(0, 40002, 0)
	s.Lease(1, 40000, 0)
	strangers := map[string]netip.AddrPort{
		"the port between":                 at(first, 40001),
		"the leased port, another address": at(third, 40000),
		"our address, not leased":          at(second, 40000),
		"IPv6, the port between":           at(first6, 40001),
		"IPv6, another address":            at(second6, 40000),
	}
	for name, a := range strangers {
		stranger := udp(t, a)
		send(t, udp(t, at(a.Addr(), 0)), a, name)
		if got := receive(t, stranger); got != name {
			t.Errorf("%s received %q", name, got)
		}
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	where := sockaddr(at(first, 40000)) // TCP on a port leased for UDP
	if err := errors.Join(unix.Bind(listener, where), unix.Listen(listener, 1), unix.Connect(client, where)); err != nil {
		t.Errorf("TCP: %v", err)
	}
	if n := s.Steered(); n != 0 {
		t.Errorf("%d datagrams were steered, want none", n)
	}
}

func TestPortWithoutALeaseIsRefusedByTheKernel(t *testing.T) {
	s, _ := steering(t)
	for _, a := range []netip.AddrPort{at(first, 40000), at(first6, 40000)} {
		peer := udp(t, at(a.Addr(), 0))
		if err := unix.Connect(peer, sockaddr(a)); err != nil {
			t.Fatal(err)
		}
		s.Lease(0, 40000, 0)
		s.Lease(1, 40000, 0)
		s.Release(0, 40000)
		s.Release(1, 40000)
		if _, err := unix.Write(peer, []byte("nobody is there")); err != nil {
			t.Fatal(err)
		}
		var buffer [64]byte
		if n, err := unix.Read(peer, buffer[:]); !errors.Is(err, unix.ECONNREFUSED) { // the ICMP error
			t.Errorf("%s: %q, %v; want connection refused", a, buffer[:max(n, 0)], err)
		}
	}
	if n := s.Steered(); n != 0 {
		t.Errorf("%d datagrams were steered, want none", n)
	}
}

func TestNothingIsSteeredAfterClose(t *testing.T) {
	enter(t, first)
	s := load(t, Options{Addresses: []netip.Addr{first}, Workers: 1})
	fd := udp(t, at(netip.MustParseAddr("127.0.0.1"), 0))
	if err := errors.Join(s.Socket(0, false, fd), s.Attach()); err != nil {
		t.Fatal(err)
	}
	s.Lease(0, 40000, 0)
	own, peer := udp(t, at(first, 40000)), udp(t, at(first, 0))
	send(t, peer, at(first, 40000), "steered")
	if got := receive(t, fd); got != "steered" {
		t.Errorf("received %q", got)
	}
	for range 2 { // the second has nothing to do
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	send(t, peer, at(first, 40000), "not steered")
	if got := receive(t, own); got != "not steered" {
		t.Errorf("received %q", got)
	}
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	enter(t)
	addresses := []netip.Addr{first}
	for want, o := range map[string]Options{
		"0 addresses":  {Workers: 1},
		"0 workers":    {Addresses: addresses},
		"256 workers":  {Addresses: addresses, Workers: 256},
		"198.18.7.1: ": {Addresses: []netip.Addr{first, first}, Workers: 1},
	} {
		if s, err := Load(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error with %q", s, err, want)
		}
	}
	s := open(t, Options{Addresses: addresses, Workers: 1})
	for _, worker := range []int{-1, 1} {
		if err := s.Socket(worker, false, 0); err == nil || !strings.Contains(err.Error(), "no such worker") {
			t.Errorf("worker %d: %v", worker, err)
		}
	}
	if err := s.Socket(0, false, 0); err == nil || !strings.Contains(err.Error(), "map of sockets") {
		t.Errorf("standard input as a socket: %v", err)
	}
}

func TestMissingCapabilitiesAreNamed(t *testing.T) {
	enter(t)
	var all [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	none := all
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil { // this thread's alone, which ends with the test
		t.Fatal(err)
	}
	s, err := Load(Options{Addresses: []netip.Addr{first}, Workers: 1})
	if err == nil || !strings.Contains(err.Error(), "CAP_BPF and CAP_NET_ADMIN") {
		t.Errorf("%v, %v; want an error that names the capabilities", s, err)
	}
}

func TestLeasingDoesNotAllocate(t *testing.T) {
	enter(t)
	s := open(t, Options{Addresses: []netip.Addr{first}, Workers: 1})
	n := testing.AllocsPerRun(100, func() {
		s.Lease(0, 40000, 0)
		if !s.Leased(0, 40000, 0) {
			t.Error("not leased")
		}
		s.Release(0, 40000)
		s.Steered()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
