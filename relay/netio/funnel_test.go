package netio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

func TestFramesAreTakenByAnOrdinaryReceiver(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		for _, f := range placeFamilies {
			peer := p.peer(t, f.far)
			ports := bindPorts(t, e, 0, f.slot, 20)
			bounceUntil(t, e, peer, ports[0], k.best)
			// Lengths around every boundary of the checksum, and the shortest frames that an Ethernet pads.
			lengths := []int{0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 172, 182, 1200, 1400, 1401}
			ways := sentBy(e, func() {
				for i, length := range lengths {
					bounce(t, e, peer, ports[i%len(ports)], strings.Repeat("\xff\x00\x81", length)[:length])
				}
			})
			if ways[k.best] != uint64(len(lengths)) {
				t.Errorf("%s: sent %v, want %d frames", f.name, ways, len(lengths))
			}
		}
		if e.Steered() == 0 || e.Queue(0).Stats().Unmatched != 0 {
			t.Errorf("%d steered, stats %+v", e.Steered(), e.Queue(0).Stats())
		}
	})
}

func TestOneCallTakesAndSendsPacketsOfManyPortsInOrder(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		const each = 20
		var b Batch
		for _, f := range placeFamilies {
			peer := p.peer(t, f.far)
			ports := bindPorts(t, e, 0, f.slot, each)
			bounceUntil(t, e, peer, ports[0], k.best)
			before := e.Queue(0).Stats()
			for i, l := range ports {
				write(t, peer, e.address(l), fmt.Sprint(i))
			}
			recv(t, e.Queue(0), &b)
			if b.N != each {
				t.Fatalf("%s: %d packets in the batch, want %d", f.name, b.N, each)
			}
			echo(&b)
			e.Queue(0).Send(&b)
			for i, l := range ports {
				if text, from := read(t, peer); text != fmt.Sprint(i) || from != e.address(l) {
					t.Errorf("%s: %q from %v, want %d from %v", f.name, text, from, i, e.address(l))
				}
			}
			after := e.Queue(0).Stats()
			if after.RecvCalls-before.RecvCalls != 1 || after.SendCalls-before.SendCalls != 1 || after.SendPackets-before.SendPackets != each {
				t.Errorf("%s: before %+v, after %+v: want one call each way", f.name, before, after)
			}
		}
	})
}

func TestEveryWorkerGetsThePacketsOfItsOwnPorts(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		const workers = 3
		e := k.open(t, Options{Workers: workers})
		var b Batch
		for _, f := range placeFamilies {
			peer := p.peer(t, f.far)
			var ports []Local
			for queue := range workers {
				number := uint16(30000 + queue) // neighbours in the byte table
				l := MakeLocal(f.slot, number)
				must(t, e.Bind(queue, l))
				ports = append(ports, l)
			}
			for _, l := range ports {
				write(t, peer, e.address(l), "for one worker")
			}
			for queue, l := range ports {
				recv(t, e.Queue(queue), &b)
				if b.N != 1 || b.Packets[0].In != l {
					t.Errorf("%s: queue %d has %d packets, the first for %v", f.name, queue, b.N, e.address(b.Packets[0].In))
				}
			}
		}
	})
}

func TestPortOfAStrangerIsRefusedAndKeepsItsTraffic(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		for _, f := range placeFamilies {
			stranger, peer := openPeer(t, f.near), p.peer(t, f.far)
			at := addressOf(stranger)
			l := MakeLocal(f.slot, at.Port)
			if err := e.Bind(0, l); !errors.Is(err, ErrPortTaken) {
				t.Errorf("%s: bind: %v, want ErrPortTaken", f.name, err)
			}
			own := bindPorts(t, e, 0, f.slot, 1)[0]
			write(t, peer, at.AddrPort(), "for the stranger")
			if text, _ := read(t, stranger); text != "for the stranger" {
				t.Errorf("%s: the stranger got %q", f.name, text)
			}
			bounce(t, e, peer, own, "for us")
			if err := e.Bind(0, own); !errors.Is(err, ErrPortTaken) {
				t.Errorf("%s: bind again: %v, want ErrPortTaken", f.name, err)
			}
			fd, err := openSocket(e.address(own), portRcvBuf)
			if !errors.Is(err, ErrPortTaken) {
				t.Errorf("%s: a stranger could bind our port: descriptor %d, %v", f.name, fd, err)
			}
		}
	})
}

func TestPacketsToPortsThatAreNotLeasedGetAnErrorFromTheKernel(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		for _, f := range placeFamilies {
			l := bindPorts(t, e, 0, f.slot, 1)[0]
			at := e.address(l)
			bounce(t, e, p.peer(t, f.far), l, "while it is bound")
			e.Unbind(l)
			steered := e.Steered()
			fd := -1
			p.inFar(func() { fd, _ = openSocket(netip.AddrPortFrom(f.far, 0), 4096) })
			must(t, unix.SetNonblock(fd, false))
			limit := unix.NsecToTimeval(int64(patienceForTests))
			must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
			must(t, unix.Connect(fd, bindAddress(at)))
			if _, err := unix.Write(fd, []byte("nobody is there")); err != nil {
				t.Fatal(err)
			}
			var buffer [64]byte
			if n, err := unix.Read(fd, buffer[:]); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s: %q, %v; want connection refused", f.name, buffer[:max(n, 0)], err)
			}
			unix.Close(fd)
			var b Batch
			must(t, e.Queue(0).Recv(&b, 0))
			if b.N != 0 || e.Steered() != steered || e.Queue(0).Stats().Unmatched != 0 {
				t.Errorf("%s: %d packets, %d steered, stats %+v", f.name, b.N, e.Steered()-steered, e.Queue(0).Stats())
			}
		}
	})
}

func TestPacketsThatWaitedLongerThanTheirPortWasBoundAreUnmatched(t *testing.T) {
	p := newPlace(t)
	e := openFunnelTest(t, Options{})
	ports := bindPorts(t, e, 0, 0, 2)
	peer := p.peer(t, far4)
	write(t, peer, e.address(ports[0]), "for a call that ended")
	write(t, peer, e.address(ports[1]), "for one that goes on")
	own, err := boundAddress(e.queues[0].inputs[0].fd)
	must(t, err)
	write(t, openPeer(t, near4), own, "for the funnel's own port") // which is no port of ours
	e.Unbind(ports[0])
	var b Batch
	recv(t, e.Queue(0), &b)
	if p := &b.Packets[0]; b.N != 1 || p.In != ports[1] || string(p.Data) != "for one that goes on" {
		t.Errorf("%d packets, the first %q", b.N, p.Data)
	}
	if s := e.queues[0].stats; s.Unmatched != 2 || s.RecvPackets != 1 || e.Steered() < 2 {
		t.Errorf("stats %+v, want 2 unmatched and 1 received", s)
	}
}

func TestFunnelBindRefusesWhatDoesNotExist(t *testing.T) {
	onEachKind(t, func(t *testing.T, _ *place, k kind) {
		e := k.open(t, Options{Addresses: []netip.Addr{near4, netip.MustParseAddr("192.0.2.1")}})
		own := bindPorts(t, e, 0, 0, 1)[0]
		tests := []struct {
			name string
			err  error
			want string
		}{
			{"no such queue", e.Bind(1, MakeLocal(0, 20000)), "no such queue"},
			{"negative queue", e.Bind(-1, MakeLocal(0, 20000)), "no such queue"},
			{"no such slot", e.Bind(0, MakeLocal(2, 20000)), "no such slot"},
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
	})
}

func TestAnInheritedPortSocketMakesWayForTheLease(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		fd, bound := predecessorSocket(t, near4)
		e := k.open(t, Options{Registry: NewRegistry(map[string]int{"udp/" + bound.String(): fd})})
		l := MakeLocal(0, bound.Port())
		must(t, e.Bind(0, l))
		bounce(t, e, p.peer(t, far4), l, "by the funnel")
	})
}

func TestPortsHaveNoSocketUntilAPacketNeedsOneAndTheOldestMakesRoom(t *testing.T) {
	p := newPlace(t)
	e := openFunnelTest(t, Options{UDP: []bool{true}})
	q := e.queues[0]
	q.own.held = make([]ownSocket, 2)
	ports, peer := bindPorts(t, e, 0, 0, 3), p.peer(t, far4)
	holds := func(want ...bool) {
		t.Helper()
		for i, l := range ports {
			if word := e.exit(l).socket.Load(); (uint32(word) != noSocket) != want[i] {
				t.Errorf("port %d has a socket: %v, want %v", i, !want[i], want[i])
			}
		}
	}
	say := func(l Local) {
		t.Helper()
		b := Batch{N: 1}
		b.Packets[0] = Packet{Data: []byte("hello"), Out: l, Dst: addressOf(peer)}
		q.Send(&b)
		if _, from := read(t, peer); from.Port() != l.Port() {
			t.Errorf("the datagram came from port %d, want %d", from.Port(), l.Port())
		}
	}
	holds(false, false, false)
	say(ports[0])
	say(ports[0])
	say(ports[1])
	holds(true, true, false)
	say(ports[2])
	holds(false, true, true)
	say(ports[0])
	holds(true, false, true)
	must(t, e.SetDSCP(ports[2], 10))
	holds(true, false, false)
	e.Unbind(ports[0])
	must(t, e.Bind(0, ports[0]))
	holds(false, false, false)
}

func TestOpenSaysWhatDidNotWork(t *testing.T) {
	p := newPlace(t)
	refuse := func(what string, o Options, want string) {
		t.Helper()
		o.Workers, o.Registry = 1, NewRegistry(nil)
		engine, err := OpenFunnel(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", what, engine, err, want)
		}
		if left := o.Registry.Names(); len(left) != 0 {
			t.Errorf("%s: descriptors left open: %v", what, left)
		}
	}
	refuse("no address", Options{}, "0 local addresses")
	refuse("an address of another machine", Options{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "192.0.2.1")
	must(t, p.near.LinkSetDown(link(t, p.near, "lo")))
	refuse("loopback down", Options{Addresses: []netip.Addr{near4}}, "is the device lo up?")
}

func TestReceiveBufferIsForcedAndReported(t *testing.T) {
	newPlace(t)
	const half = 1 << 30 // the kernel doubles what it is asked for; this does not fit 32 bits then
	for _, test := range []struct {
		asked, least, most int
		log                string
	}{
		{0, defaultFunnelRcvBuf, defaultFunnelRcvBuf, "level=INFO"},
		{1 << 20, 1 << 20, 1 << 20, "level=INFO"},
		{half, 1, half - 1, "level=WARN"},
	} {
		var log strings.Builder
		e := openFunnelTest(t, Options{RcvBuf: test.asked, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if got := e.RcvBuf(); got < test.least || got > test.most {
			t.Errorf("asked for %d, got %d", test.asked, got)
		}
		if text := log.String(); !strings.Contains(text, test.log) || !strings.Contains(text, fmt.Sprintf("granted_bytes=%d", e.RcvBuf())) {
			t.Errorf("asked for %d, logged %q", test.asked, text)
		}
		must(t, e.Close())
	}
}

func TestOverflowsOfTheFunnelAreCountedAndTheSumIsWhatWasSent(t *testing.T) {
	p := newPlace(t)
	for _, f := range placeFamilies {
		e := openFunnelTest(t, Options{RcvBuf: 1})
		q, l := e.Queue(0), bindPorts(t, e, 0, f.slot, 1)[0]
		peer := p.peer(t, f.far)
		var b Batch
		sent, received := uint64(0), uint64(0)
		settled := func() bool {
			s := q.Stats()
			return s.Overflows > 0 && received+s.Overflows == sent
		}
		for range 2 * BatchSize {
			write(t, peer, e.address(l), "more than fits")
			sent++
		}
		// A datagram reports the drops before it, so one that is received after the flood settles the account.
		for range 1000 {
			for recv(t, q, &b); b.N > 0; must(t, q.Recv(&b, 0)) {
				received += uint64(b.N)
			}
			if settled() {
				break
			}
			write(t, peer, e.address(l), "and one more")
			sent++
		}
		if !settled() {
			t.Errorf("%s: sent %d, received %d, overflows %d", f.name, sent, received, q.Stats().Overflows)
		}
		must(t, e.Close()) // the next family's engine steers in the same namespace
	}
}

func TestTooLongDatagramsAreMarked(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		for _, side := range []struct {
			name  string
			lower func()
		}{{"near", func() { must(t, p.near.LinkSetMTU(link(t, p.near, nearDevice), 9000)) }},
			{"far", func() { must(t, p.far.LinkSetMTU(link(t, p.far, farDevice), 9000)) }}} {
			side.lower()
		}
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		write(t, peer, e.address(l), strings.Repeat("x", MaxDatagram+1))
		write(t, peer, e.address(l), strings.Repeat("x", MaxDatagram))
		var b Batch
		recv(t, e.Queue(0), &b)
		if b.N != 2 || b.Packets[0].Verdict != verdict.TooLong || b.Packets[1].Verdict != verdict.Forward {
			t.Errorf("%d packets, verdicts %v and %v", b.N, b.Packets[0].Verdict, b.Packets[1].Verdict)
		}
	})
}
