package netio

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"tandem/relay/netio/nic"
	"tandem/relay/netio/xsk"
	"tandem/relay/verdict"
)

// openXDPTest opens an xdp engine and checks at the end of the test that it leaves no descriptor behind.
func openXDPTest(t testing.TB, o Options) *xdp { return openXDPOn(t, o, nic.Find) }

func openXDPOn(t testing.TB, o Options, find func([]netip.Addr) ([]nic.Device, error)) *xdp {
	t.Helper()
	if o.Registry == nil {
		o.Registry = NewRegistry(nil)
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Addresses == nil {
		o.Addresses = []netip.Addr{near4, near6}
	}
	e, err := openXDP(o, find)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := o.Registry.Names(); len(left) != 0 {
			t.Errorf("descriptors left open: %v", left)
		}
	})
	return e
}

func TestOverflowsOfARingAreCountedAndTheSumIsWhatWasSent(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	const sent = xsk.Depth + 500
	for range sent {
		write(t, peer, e.address(l), "more than fits")
	}
	received := 0
	var b Batch
	for must(t, e.Queue(0).Recv(&b, 0)); b.N > 0; must(t, e.Queue(0).Recv(&b, 0)) {
		received += b.N
	}
	if s := e.Queue(0).Stats(); s.Overflows == 0 || uint64(received)+s.Overflows != sent {
		t.Errorf("sent %d, received %d, overflows %d", sent, received, s.Overflows)
	}
	bounceUntil(t, e, peer, l, XDP) // and it goes on
}

func TestAFullRingLetsPacketsLeaveAsFrames(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	q := e.queues[0]
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	away, other := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, XDP)
	bounceUntil(t, e, other, away, XDP)
	must(t, p.near.LinkSetDown(link(t, p.near, nearDevice))) // the ring is not emptied any more, and the news has not come
	x := e.exit(away)
	full := 0
	for range 2 * xsk.Depth {
		pkt := Packet{Data: []byte("waits"), Out: away, Dst: addressOf(other)}
		if q.place(x, &pkt) == FrameFull {
			full++
		}
	}
	if full == 0 {
		t.Error("the ring was never full")
	}
	must(t, p.near.LinkSetUp(link(t, p.near, nearDevice)))
	var b Batch
	for ring := e.devices[0].rings[0]; ring.socket.Unsent(); must(t, q.Recv(&b, 1)) { // what a worker does anyway
	}
	bounceUntil(t, e, peer, l, XDP)
}

func TestTwoDevicesOfOneRelayForwardToEachOther(t *testing.T) {
	p := newPlace(t)
	addresses := p.second(t)
	e := openXDPTest(t, Options{Addresses: []netip.Addr{near4, addresses[0]}})
	if len(e.devices) != 2 {
		t.Fatalf("%d devices: %v", len(e.devices), e.Paths())
	}
	first, other := bindPorts(t, e, 0, 0, 1)[0], bindPorts(t, e, 0, 1, 1)[0]
	a, b := p.peer(t, far4), p.peer(t, addresses[1])
	bounceUntil(t, e, a, first, XDP)
	bounceUntil(t, e, b, other, XDP)
	for _, way := range []struct {
		from, to *net.UDPConn
		in, out  Local
	}{{a, b, first, other}, {b, a, other, first}} {
		write(t, way.from, e.address(way.in), "across")
		var batch Batch
		recv(t, e.Queue(0), &batch)
		batch.Packets[0].Out, batch.Packets[0].Dst = way.out, addressOf(way.to)
		if ways := sentBy(e, func() { e.Queue(0).Send(&batch) }); ways[XDP] != 1 {
			t.Errorf("sent %v, want one by XDP", ways)
		}
		if text, from := read(t, way.to); text != "across" || from != e.address(way.out) {
			t.Errorf("%q from %v", text, from)
		}
	}
}

func TestTwoRelaysOnTwoDevicesOfOneMachine(t *testing.T) {
	p := newPlace(t)
	addresses := p.second(t)
	one := openXDPTest(t, Options{Addresses: []netip.Addr{near4}})
	two := openXDPTest(t, Options{Addresses: addresses[:1]})
	bounceUntil(t, one, p.peer(t, far4), bindPorts(t, one, 0, 0, 1)[0], XDP)
	bounceUntil(t, two, p.peer(t, addresses[1]), bindPorts(t, two, 0, 0, 1)[0], XDP)
	must(t, one.Close())
	bounceUntil(t, two, p.peer(t, addresses[1]), bindPorts(t, two, 0, 0, 1)[0], XDP)
}

// second adds a second pair of devices and returns the address of its near and of its far end.
func (p *place) second(t testing.TB) []netip.Addr {
	t.Helper()
	addresses := []netip.Addr{netip.MustParseAddr("198.18.19.1"), netip.MustParseAddr("198.18.19.2")}
	p.inFar(func() {
		// Made in the far namespace: the near one is where the test's thread is, which the far thread has no handle of.
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "td-far2", TxQLen: -1, NumTxQueues: 1, NumRxQueues: 1}, PeerName: "td-near2"}
		must(t, p.far.LinkAdd(pair))
	})
	namespace, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer namespace.Close()
	must(t, p.far.LinkSetNsFd(link(t, p.far, "td-near2"), int(namespace.Fd())))
	for i, side := range []struct {
		handle *netlink.Handle
		device string
	}{{p.near, "td-near2"}, {p.far, "td-far2"}} {
		must(t, side.handle.LinkSetUp(link(t, side.handle, side.device)))
		addAddress(t, side.handle, side.device, addresses[i])
	}
	return addresses
}

func TestPacketsThatWaitedInTheRingLongerThanTheirPortWasBoundAreUnmatched(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Workers: 2})
	ports, peer := bindPorts(t, e, 0, 0, 2), p.peer(t, far4)
	handed := bindPorts(t, e, 1, 0, 1)[0]
	write(t, peer, e.address(ports[0]), "for a call that ended")
	write(t, peer, e.address(handed), "for one that will have")
	write(t, peer, e.address(ports[1]), "for one that goes on")
	e.Unbind(ports[0])
	var b Batch
	recv(t, e.Queue(0), &b)
	if pkt := &b.Packets[0]; b.N != 1 || pkt.In != ports[1] || string(pkt.Data) != "for one that goes on" {
		t.Errorf("%d packets, the first %q", b.N, pkt.Data)
	}
	e.Unbind(handed)
	must(t, e.Queue(1).Recv(&b, 0))
	first, second := e.Queue(0).Stats(), e.Queue(1).Stats()
	if b.N != 0 || first.Unmatched != 1 || second.Unmatched != 1 || second.RecvPackets != 0 {
		t.Errorf("%d packets, stats %+v and %+v", b.N, first, second)
	}
}

func TestXDPSendsNothingForPortsThatAreNotBound(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	b := Batch{N: 2}
	b.Packets[0] = Packet{Data: []byte("x"), Out: MakeLocal(0, 1), Dst: addressOf(p.peer(t, far4))}
	b.Packets[1] = Packet{Data: []byte("x"), Out: MakeLocal(9, 1), Dst: addressOf(p.peer(t, far4))}
	e.Queue(0).Send(&b)
	if b.Packets[0].Verdict != verdict.SendFailed || b.Packets[1].Verdict != verdict.SendFailed {
		t.Errorf("verdicts %v and %v", b.Packets[0].Verdict, b.Packets[1].Verdict)
	}
	if e.Name() != "xdp" || len(e.Paths()) != 1 || !strings.HasPrefix(e.Paths()[0], "td-near: native on 1 of 1 queues, ") {
		t.Errorf("%s %q", e.Name(), e.Paths())
	}
}

// withVLAN finds the devices as they are, and a VLAN on each that the kernel knows nothing of.
func withVLAN(id uint16) func([]netip.Addr) ([]nic.Device, error) {
	return func(addresses []netip.Addr) ([]nic.Device, error) {
		found, err := nic.Find(addresses)
		for i := range found {
			found[i].VLANs = append(found[i].VLANs, nic.VLAN{Index: 1 << 20, ID: id})
		}
		return found, err
	}
}
