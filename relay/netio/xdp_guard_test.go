package netio

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// What the device did not take at once is offered again while the worker waits for packets, not when the next one comes.
func TestWhatTheDeviceDidNotTakeIsOfferedAgainWhileTheWorkerWaits(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	q := e.queues[0]
	away, other := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, other, away, XDP)
	x, ring := e.exit(away), e.devices[0].rings[0]
	must(t, p.near.LinkSetDown(link(t, p.near, nearDevice)))
	pkt := Packet{Data: []byte("waits"), Out: away, Dst: addressOf(other)}
	if way := q.place(x, &pkt); way != XDP {
		t.Fatal(way)
	}
	q.kick(ring)
	if !ring.socket.Unsent() {
		t.Fatal("a device that is down took it")
	}
	var b Batch
	must(t, q.Recv(&b, 0))
	ended := make(chan error, 1)
	go func() { ended <- q.Recv(&b, patienceForTests) }()
	for q.doorbell.sleep.Load() == 0 { // until it waits
		runtime.Gosched()
	}
	must(t, p.near.LinkSetUp(link(t, p.near, nearDevice)))
	if text, _ := read(t, other); text != "waits" {
		t.Errorf("%q came", text)
	}
	select {
	case err := <-ended:
		t.Errorf("Recv had ended before: nobody offered it to the device meanwhile (%v)", err)
	default:
		q.Wake()
		must(t, <-ended)
	}
}

// A worker whose own ring never runs dry still takes what others hand to it.
func TestAFloodOnItsOwnQueueDoesNotKeepAWorkerFromWhatIsHandedToIt(t *testing.T) {
	p := newWidePlace(t, 2)
	e := openXDPTest(t, Options{Workers: 2})
	var mine Local
	var b Batch
	// A flow whose packets come to the queue of the worker that owns the port.
	peer := p.peer(t, far4)
	for found := false; !found; {
		mine = bindPorts(t, e, 0, 0, 1)[0]
		write(t, peer, e.address(mine), "where does it come?")
		must(t, e.Queue(0).Recv(&b, 0)) // what was sent is with the device's queue, or with the other worker
		if found = b.N == 1; !found {
			must(t, e.Queue(1).Recv(&b, time.Second))
			must(t, e.Queue(0).Recv(&b, time.Second))
			peer = p.peer(t, far4)
		}
	}
	for range 20 * BatchSize {
		write(t, peer, e.address(mine), "flood")
	}
	h := &e.hands[1][0]
	src := addressOf(peer)
	if !h.put(mine, &src, []byte("handed")) {
		t.Fatal("no room")
	}
	h.publish()
	e.queues[0].doorbell.ring(e.queues[0].wake, &e.queues[0].wakeOne)
	for looks := 1; ; looks++ {
		must(t, e.Queue(0).Recv(&b, time.Second))
		for i := range b.Packets[:b.N] {
			if string(b.Packets[i].Data) == "handed" {
				if looks > 4 {
					t.Errorf("taken with batch %d, after the flood had ended", looks)
				}
				return
			}
		}
	}
}

// The same for what comes by the kernel's sockets: fragments, options.
func TestAFloodOfARingDoesNotKeepAWorkerFromItsSockets(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	mine, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	local := openPeer(t, near4) // from this machine itself: past the device
	for range 40 * BatchSize {
		write(t, peer, e.address(mine), "flood")
	}
	write(t, local, e.address(mine), "by a socket")
	var b Batch
	for looks := 1; ; looks++ {
		must(t, e.Queue(0).Recv(&b, time.Second))
		for i := range b.Packets[:b.N] {
			if string(b.Packets[i].Data) == "by a socket" {
				if looks > 2*socketsEvery {
					t.Errorf("taken with batch %d", looks)
				}
				return
			}
		}
	}
}

// With another link address the device's packets take the funnel's way, slower and right.
func TestADeviceThatChangesItsLinkAddressIsServed(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, XDP)
	must(t, p.near.LinkSetHardwareAddr(link(t, p.near, nearDevice), []byte{2, 7, 7, 7, 7, 7}))
	must(t, p.far.NeighDel(&netlink.Neigh{LinkIndex: link(t, p.far, farDevice).Attrs().Index, IP: near4.AsSlice()}))
	bounceUntil(t, e, peer, l, XDP)
	if e.Steered() == 0 {
		t.Error("nothing came by the funnel")
	}
}

// What is not for this device's link address is not ours, even if it carries our IP address: a switch that floods, a promiscuous
// device (tcpdump), a standby machine with the same address. Nor is what says it comes from ourselves. The kernel drops it all.
func TestAFrameThatTheKernelWouldDropIsNotTaken(t *testing.T) {
	for _, engine := range []struct {
		name string
		open func(testing.TB) placed
	}{
		{"funnel", func(t testing.TB) placed { return openFunnelTest(t, Options{}) }},
		{"xdp", func(t testing.TB) placed { return openXDPTest(t, Options{}) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			p := newPlace(t)
			e := engine.open(t)
			x, l, peer := p.tap(t), bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
			from := addressOf(peer).AddrPort()
			far, near := link(t, p.far, farDevice).Attrs().HardwareAddr, link(t, p.near, nearDevice).Attrs().HardwareAddr
			for _, c := range []struct {
				what string
				dst  []byte
				from netip.AddrPort
			}{
				{"for another link address", []byte{2, 9, 9, 9, 9, 9}, from},
				{"from an address of our own", near, netip.AddrPortFrom(near4, 4000)},
				{"from loopback", near, netip.MustParseAddrPort("127.0.0.1:4000")},
				{"from a multicast address", near, netip.MustParseAddrPort("224.0.0.9:4000")},
			} {
				x.send(t, wire(far, c.dst, c.from, e.address(l), 0, c.what))
				x.send(t, wire(far, near, from, e.address(l), 0, "after it"))
				var b Batch
				if recv(t, e.Queue(0), &b); b.N == 0 {
					recv(t, e.Queue(0), &b)
				}
				if b.N != 1 || string(b.Packets[0].Data) != "after it" {
					t.Errorf("%s: %d packets, the first %q", c.what, b.N, b.Packets[0].Data)
				}
			}
		})
	}
}
