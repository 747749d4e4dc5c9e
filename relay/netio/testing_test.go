package netio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"tandem/relay/verdict"
)

// patienceForTests ends a test that waits for what never comes; nothing is measured by it.
const patienceForTests = 10 * time.Second

// loopbacks returns 127.0.0.1 and ::1. Without IPv6 the test fails, unless TANDEM_NO_IPV6 says that this is known.
func loopbacks(t testing.TB) []netip.Addr {
	t.Helper()
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	if os.Getenv("TANDEM_NO_IPV6") != "" {
		return []netip.Addr{v4}
	}
	probe, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(v6, 0)))
	if err != nil {
		t.Fatalf("IPv6 loopback is missing (%v): enable it, or set TANDEM_NO_IPV6=1 to test without", err)
	}
	probe.Close()
	return []netip.Addr{v4, v6}
}

// openTest opens a sockets engine and checks at the end of the test that it leaves no descriptor behind.
func openTest(t testing.TB, o Options) *sockets {
	t.Helper()
	if o.Registry == nil {
		o.Registry = NewRegistry(nil)
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	engine, err := OpenSockets(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := o.Registry.Names(); len(left) != 0 {
			t.Errorf("descriptors left open: %v", left)
		}
	})
	return engine.(*sockets)
}

// bindPorts binds n ports that nobody else holds, below the range that the system gives out by itself.
func bindPorts(t testing.TB, e Engine, queue, slot, n int) []Local {
	t.Helper()
	var ports []Local
	for number := uint16(20000); len(ports) < n && number < 32000; number++ {
		l := MakeLocal(slot, number)
		switch err := e.Bind(queue, l); {
		case err == nil:
			ports = append(ports, l)
		case !errors.Is(err, ErrPortTaken):
			t.Fatal(err)
		}
	}
	if len(ports) < n {
		t.Fatalf("only %d of %d ports were free", len(ports), n)
	}
	return ports
}

// openPeer opens a socket of the far end.
func openPeer(t testing.TB, address netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patienceForTests)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func addressOf(conn *net.UDPConn) Addr {
	return AddrFrom(conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

func write(t testing.TB, conn *net.UDPConn, to netip.AddrPort, data string) {
	t.Helper()
	if _, err := conn.WriteToUDPAddrPort([]byte(data), to); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, conn *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	var buffer [4096]byte
	n, from, err := conn.ReadFromUDPAddrPort(buffer[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n]), from
}

// recv receives one batch that is not empty.
func recv(t testing.TB, q Queue, b *Batch) {
	t.Helper()
	if err := q.Recv(b, patienceForTests); err != nil {
		t.Fatal(err)
	}
	if b.N == 0 {
		t.Fatal("nothing received")
	}
}

// echo makes every packet of the batch go back by the port it came to.
func echo(b *Batch) {
	for i := range b.Packets[:b.N] {
		p := &b.Packets[i]
		if p.Verdict == verdict.Forward {
			p.Out, p.Dst = p.In, p.Src
		}
	}
}
