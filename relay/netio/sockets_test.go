package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

func TestEchoThroughManyPortsOfEveryFamilyKeepsPortAndPayload(t *testing.T) {
	addresses := loopbacks(t)
	e := openTest(t, Options{Addresses: addresses})
	const portsEach, rounds = 50, 3
	peers := make(map[Addr]int) // address -> slot
	conns := make([]*net.UDPConn, len(addresses))
	var ports []Local
	for slot, address := range addresses {
		ports = append(ports, bindPorts(t, e, 0, slot, portsEach)...)
		conns[slot] = openPeer(t, address)
		peers[addressOf(conns[slot])] = slot
	}
	var b Batch
	for round := range rounds {
		want := make(map[string]bool)
		for i := range ports {
			l := ports[(i*37)%len(ports)] // interleaved: neighbours in time are not neighbours in the table
			text := fmt.Sprintf("round %d for %v", round, e.address(l))
			want[text] = true
			write(t, conns[l.Slot()], e.address(l), text)
		}
		for left := len(ports); left > 0; left -= b.N {
			recv(t, e.Queue(0), &b)
			for i := range b.Packets[:b.N] {
				p := &b.Packets[i]
				if text := fmt.Sprintf("round %d for %v", round, e.address(p.In)); string(p.Data) != text {
					t.Fatalf("port %v received %q", e.address(p.In), p.Data)
				}
				if slot, ok := peers[p.Src]; !ok || slot != p.In.Slot() {
					t.Fatalf("source %v is not the peer's address", p.Src.AddrPort())
				}
			}
			echo(&b)
			e.Queue(0).Send(&b)
		}
		readBack(t, e, conns, portsEach, want)
	}
	stats := e.Queue(0).Stats()
	if n := uint64(rounds * len(ports)); stats.RecvPackets != n || stats.SendPackets != n || stats.Overflows != 0 ||
		stats.Sent != [Ways]uint64{Socket: n} {
		t.Errorf("stats %+v, want %d packets each way", stats, n)
	}
}

// readBack reads as many datagrams from every peer and checks that each comes from the port whose text it carries.
func readBack(t *testing.T, e *sockets, conns []*net.UDPConn, each int, want map[string]bool) {
	t.Helper()
	for _, conn := range conns {
		for range each {
			text, from := read(t, conn)
			if !want[text] || !strings.HasSuffix(text, "for "+from.String()) {
				t.Fatalf("%q came back from %v", text, from)
			}
			delete(want, text)
		}
	}
	if len(want) != 0 {
		t.Fatalf("%d datagrams did not come back", len(want))
	}
}

func TestPacketHasItsHeadroomAndTailroom(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	ports := bindPorts(t, e, 0, 0, 1)
	peer := openPeer(t, e.addresses[0])
	const count = 20
	var b Batch
	for i := range count {
		write(t, peer, e.address(ports[0]), fmt.Sprintf("packet %02d", i))
	}
	seen := 0
	for seen < count {
		recv(t, e.Queue(0), &b)
		for i := range b.Packets[:b.N] {
			// Fill all a packet owns; no neighbour may notice.
			p := &b.Packets[i]
			if want := fmt.Sprintf("packet %02d", seen); string(p.Data) != want {
				t.Fatalf("received %q, want %q: a neighbour wrote into it", p.Data, want)
			}
			if room := cap(p.Data) - MaxDatagram; room != Tailroom {
				t.Fatalf("room after the longest datagram is %d bytes, want %d", room, Tailroom)
			}
			full := p.Data[:cap(p.Data)]
			for j := range full {
				full[j] = 0xff
			}
			seen++
		}
	}
}

func TestGrownPacketLeavesWithItsTag(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	ports := bindPorts(t, e, 0, 0, 2)
	peer := openPeer(t, e.addresses[0])
	write(t, peer, e.address(ports[0]), "payload")
	var b Batch
	recv(t, e.Queue(0), &b)
	p := &b.Packets[0]
	p.Data = append(p.Data, "+tag"...)
	p.Out, p.Dst = ports[1], p.Src
	e.Queue(0).Send(&b)
	if text, from := read(t, peer); text != "payload+tag" || from != e.address(ports[1]) {
		t.Errorf("got %q from %v", text, from)
	}
}

func TestDatagramLengthsFromEmptyToTooLong(t *testing.T) {
	tests := []struct {
		length, received int
		verdict          verdict.Verdict
	}{
		{0, 0, verdict.Forward},
		{1, 1, verdict.Forward},
		{MaxDatagram - 1, MaxDatagram - 1, verdict.Forward},
		{MaxDatagram, MaxDatagram, verdict.Forward},
		{MaxDatagram + 1, MaxDatagram, verdict.TooLong},
		{9000, MaxDatagram, verdict.TooLong},
	}
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	ports := bindPorts(t, e, 0, 0, 1)
	peer := openPeer(t, e.addresses[0])
	for _, test := range tests {
		t.Run(fmt.Sprint(test.length), func(t *testing.T) {
			payload := strings.Repeat("x", test.length)
			write(t, peer, e.address(ports[0]), payload)
			var b Batch
			recv(t, e.Queue(0), &b)
			p := &b.Packets[0]
			if b.N != 1 || p.Verdict != test.verdict || string(p.Data) != payload[:test.received] {
				t.Fatalf("%d packets, the first %v with %d bytes; want %v with %d", b.N, p.Verdict, len(p.Data), test.verdict, test.received)
			}
			echo(&b)
			e.Queue(0).Send(&b)
			if test.verdict != verdict.Forward {
				write(t, peer, addressOf(peer).AddrPort(), payload[:1]) // what follows shows that nothing was sent before
				payload = payload[:1]
			}
			if text, _ := read(t, peer); text != payload {
				t.Errorf("%d bytes came back, want %d", len(text), len(payload))
			}
		})
	}
}

func TestTakenPortIsRefused(t *testing.T) {
	for slot, address := range loopbacks(t) {
		t.Run(address.String(), func(t *testing.T) {
			e := openTest(t, Options{Addresses: loopbacks(t), Workers: 2})
			stranger := openPeer(t, address)
			taken := MakeLocal(slot, addressOf(stranger).Port)
			if err := e.Bind(0, taken); !errors.Is(err, ErrPortTaken) {
				t.Errorf("bind of a stranger's port: %v, want ErrPortTaken", err)
			} else if !strings.Contains(err.Error(), e.address(taken).String()) {
				t.Errorf("the error does not name the port: %v", err)
			}
			own := bindPorts(t, e, 0, slot, 1)[0]
			if err := e.Bind(1, own); !errors.Is(err, ErrPortTaken) {
				t.Errorf("second bind of our own port: %v, want ErrPortTaken", err)
			}
			stranger.Close()
			if err := e.Bind(0, taken); err != nil {
				t.Errorf("bind after the stranger left: %v", err)
			}
			e.Unbind(own)
			if err := e.Bind(1, own); err != nil {
				t.Errorf("bind after unbind: %v", err)
			}
		})
	}
}

func TestTheSamePortOfTwoFamiliesIsTwoPorts(t *testing.T) {
	addresses := loopbacks(t)
	if len(addresses) < 2 {
		t.Skip("TANDEM_NO_IPV6 is set")
	}
	e := openTest(t, Options{Addresses: addresses})
	v4 := bindPorts(t, e, 0, 0, 1)[0]
	v6 := MakeLocal(1, v4.Port())
	if err := e.Bind(0, v6); err != nil {
		t.Fatal(err)
	}
	for slot, l := range []Local{v4, v6} {
		peer := openPeer(t, addresses[slot])
		write(t, peer, e.address(l), "for one")
		var b Batch
		recv(t, e.Queue(0), &b)
		if b.N != 1 || b.Packets[0].In != l || b.Packets[0].Src != addressOf(peer) {
			t.Errorf("%d packets, the first to %v from %v", b.N, e.address(b.Packets[0].In), b.Packets[0].Src.AddrPort())
		}
	}
}

func TestBindAndSetDSCPRefuseWhatDoesNotExist(t *testing.T) {
	e := openTest(t, Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}})
	own := bindPorts(t, e, 0, 0, 1)[0]
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"no such queue", e.Bind(1, MakeLocal(0, 20000)), "no such queue"},
		{"negative queue", e.Bind(-1, MakeLocal(0, 20000)), "no such queue"},
		{"no such slot", e.Bind(0, MakeLocal(2, 20000)), "no such slot or port"},
		{"port 0", e.Bind(0, MakeLocal(0, 0)), "no such slot or port"},
		{"address of another machine", e.Bind(0, MakeLocal(1, 20000)), "no interface of this machine"},
		{"DSCP beyond six bits", e.SetDSCP(own, 64), "0 to 63"},
		{"DSCP of an unbound port", e.SetDSCP(MakeLocal(0, 1), 46), "not bound"},
		{"DSCP of no slot", e.SetDSCP(MakeLocal(7, 1), 46), "no such slot"},
	}
	for _, test := range tests {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", test.name, test.err, test.want)
		}
	}
	e.Unbind(MakeLocal(0, 1)) // not bound, no such slot: left alone
	e.Unbind(MakeLocal(9, 1))
}

func TestOptionsAreRefusedWithTheirReason(t *testing.T) {
	v4 := netip.MustParseAddr("127.0.0.1")
	tests := []struct {
		options Options
		want    string
	}{
		{Options{Workers: 1}, "local addresses"},
		{Options{Addresses: []netip.Addr{v4}}, "workers"},
		{Options{Addresses: []netip.Addr{v4}, Workers: 1, RcvBuf: -1}, "receive buffer"},
		{Options{Addresses: []netip.Addr{{}}, Workers: 1}, "empty"},
		{Options{Addresses: loopbacks(t)[:1], Workers: 1, UDP: make([]bool, 2)}, "there are 1 addresses"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("fe80::1")}, Workers: 1}, "link-local"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("fe80::1%lo")}, Workers: 1}, "link-local"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("169.254.0.1")}, Workers: 1}, "link-local"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("0.0.0.0")}, Workers: 1}, "one interface"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("ff02::1")}, Workers: 1}, "one interface"},
		{Options{Addresses: []netip.Addr{v4, netip.MustParseAddr("::ffff:127.0.0.1")}, Workers: 1}, "twice"},
	}
	for _, test := range tests {
		if _, err := OpenSockets(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want an error with %q", test.options, err, test.want)
		}
	}
}

func TestDSCPReachesTheSocketWithoutECN(t *testing.T) {
	for slot, address := range loopbacks(t) {
		t.Run(address.String(), func(t *testing.T) {
			e := openTest(t, Options{Addresses: loopbacks(t)})
			l := bindPorts(t, e, 0, slot, 1)[0]
			const expedited = 46 // EF, RFC 3246
			if err := e.SetDSCP(l, expedited); err != nil {
				t.Fatal(err)
			}
			fd, _ := e.descriptor(l)
			level, option := unix.IPPROTO_IP, unix.IP_TOS
			if address.Is6() {
				level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
			}
			if got, err := unix.GetsockoptInt(fd, level, option); err != nil || got != expedited<<2 {
				t.Errorf("traffic class %#x, %v; want %#x", got, err, expedited<<2)
			}
		})
	}
}

func TestDescriptorsAreNamedWhileTheyLive(t *testing.T) {
	registry := NewRegistry(nil)
	e := openTest(t, Options{Addresses: loopbacks(t)[:1], Workers: 2, Registry: registry})
	l := bindPorts(t, e, 1, 0, 1)[0]
	want := []string{"epoll/0", "epoll/1", "udp/" + e.address(l).String(), "wake/0", "wake/1"}
	if got := registry.Names(); !slices.Equal(got, want) {
		t.Errorf("descriptors %v, want %v", got, want)
	}
	e.Unbind(l)
	if registry.Len() != 4 {
		t.Errorf("after unbind: %v", registry.Names())
	}
}

func TestInheritedSocketIsTakenOverWithWhatWaitsInIt(t *testing.T) {
	address := netip.MustParseAddr("127.0.0.1")
	fd, bound := predecessorSocket(t, address)
	peer := openPeer(t, address)
	write(t, peer, bound, "sent to the predecessor")
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	registry := NewRegistry(map[string]int{"udp/" + bound.String(): fd, "epoll/0": epoll})
	e := openTest(t, Options{Addresses: []netip.Addr{address}, Registry: registry})
	if got := registry.Unclaimed(); !slices.Equal(got, []string{"udp/" + bound.String()}) {
		t.Fatalf("unclaimed before the bind: %v", got)
	}
	l := MakeLocal(0, bound.Port())
	if err := e.Bind(0, l); err != nil {
		t.Fatal(err)
	}
	if got, _ := e.descriptor(l); got != fd {
		t.Errorf("the engine uses descriptor %d, inherited was %d", got, fd)
	}
	var b Batch
	recv(t, e.Queue(0), &b)
	if string(b.Packets[0].Data) != "sent to the predecessor" {
		t.Errorf("received %q", b.Packets[0].Data)
	}
}

func TestInheritedDescriptorThatIsNotThePortIsRefused(t *testing.T) {
	address := netip.MustParseAddr("127.0.0.1")
	fd, bound := predecessorSocket(t, address)
	other := netip.AddrPortFrom(address, bound.Port()^1)
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[1])
	noSocket := netip.AddrPortFrom(address, bound.Port()^2)
	registry := NewRegistry(map[string]int{"udp/" + other.String(): fd, "udp/" + noSocket.String(): pipe[0]})
	e := openTest(t, Options{Addresses: []netip.Addr{address}, Registry: registry})
	for _, a := range []netip.AddrPort{other, noSocket} {
		err := e.Bind(0, MakeLocal(0, a.Port()))
		if err == nil || !strings.Contains(err.Error(), "udp/"+a.String()+": inherited socket") {
			t.Errorf("bind %v: %v, want an error that names the inherited socket", a, err)
		}
	}
	if got := registry.Unclaimed(); len(got) != 0 {
		t.Errorf("refused descriptors were not closed: %v", got)
	}
}

// predecessorSocket returns a bound UDP socket as another process would hand it over.
func predecessorSocket(t *testing.T, address netip.Addr) (fd int, bound netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, bindAddress(netip.AddrPortFrom(address, 0))); err != nil {
		t.Fatal(err)
	}
	if bound, err = boundAddress(fd); err != nil {
		t.Fatal(err)
	}
	return fd, bound
}

func TestClosedEngineEndsItsQueuesWithAClearError(t *testing.T) {
	engine, err := OpenSockets(Options{Addresses: loopbacks(t)[:1], Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	bindPorts(t, engine, 0, 0, 3)
	for range 2 { // the second Close has nothing to do
		if err := engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var b Batch
	if err := engine.Queue(0).Recv(&b, patienceForTests); !errors.Is(err, ErrClosed) || b.N != 0 {
		t.Errorf("receive after close: %d packets, %v; want ErrClosed", b.N, err)
	}
	engine.Queue(0).Wake() // must not write to a descriptor that is somebody else's by now
}
