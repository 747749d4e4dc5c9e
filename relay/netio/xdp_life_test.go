package netio

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"

	"tandem/relay/netio/xsk"
)

// attached tells whether the device has an XDP program.
func attached(t testing.TB, handle *netlink.Handle, device string) bool {
	x := link(t, handle, device).Attrs().Xdp
	return x != nil && x.Attached
}

func TestOpenedAndClosedAHundredTimesItLeavesNothing(t *testing.T) {
	p := newPlace(t)
	peer := p.peer(t, far4)
	round := func() {
		e := openXDPTest(t, Options{})
		bounce(t, e, peer, bindPorts(t, e, 0, 0, 1)[0], "once")
		if !attached(t, p.near, nearDevice) {
			t.Fatal("no program is attached")
		}
		must(t, e.Close())
	}
	count := func() (descriptors, mappings int) {
		d, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		m, err := os.ReadFile("/proc/self/maps")
		must(t, err)
		for line := range bytes.Lines(m) {
			if bytes.Contains(line, []byte("xdp")) || bytes.Contains(line, []byte("bpf")) || bytes.Contains(line, []byte("XDP")) {
				mappings++
			}
		}
		return len(d), mappings
	}
	round()
	descriptors, mappings := count()
	locked := lockedMemory(t)
	for range 100 {
		round()
	}
	if d, m := count(); d > descriptors || m > mappings {
		t.Errorf("%d descriptors and %d mappings before, %d and %d after", descriptors, mappings, d, m)
	}
	if after := lockedMemory(t); after > locked {
		t.Errorf("%s locked or pinned before, %s after", locked, after)
	}
	if attached(t, p.near, nearDevice) {
		t.Error("a program is still attached")
	}
}

// lockedMemory is what the kernel says this process has locked and pinned.
func lockedMemory(t *testing.T) string {
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	var found []string
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmLck:") || strings.HasPrefix(line, "VmPin:") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, ", ")
}

func TestStartedAndStoppedUnderLoadItServesInBetween(t *testing.T) {
	p := newPlace(t)
	var stop atomic.Bool
	var group sync.WaitGroup
	const number = 31000
	at := netip.AddrPortFrom(near4, number)
	flood := p.peer(t, far4)
	group.Go(func() {
		for !stop.Load() {
			_, _ = flood.WriteToUDPAddrPort([]byte("flood"), at) // refused while nobody has the port
		}
	})
	for range 20 {
		e := openXDPTest(t, Options{})
		must(t, e.Bind(0, MakeLocal(0, number)))
		var b Batch
		for received := 0; received < 300; received += b.N {
			recv(t, e.Queue(0), &b)
			echo(&b)
			e.Queue(0).Send(&b)
		}
		must(t, e.Close())
	}
	stop.Store(true)
	group.Wait()
}

func TestAStrangersProgramIsAClearErrorAndTheFunnelWorksBesideIt(t *testing.T) {
	p := newPlace(t)
	first := openXDPTest(t, Options{})
	registry := NewRegistry(nil)
	_, err := OpenXDP(Options{Addresses: []netip.Addr{near4}, Workers: 1, Registry: registry})
	if !errors.Is(err, xsk.ErrTaken) || !strings.Contains(err.Error(), "ip link set dev td-near xdp off") {
		t.Errorf("opened beside another program: %v", err)
	}
	if left := registry.Names(); len(left) != 0 {
		t.Errorf("descriptors left open: %v", left)
	}
	l, peer := bindPorts(t, first, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, first, peer, l, XDP)
	must(t, first.Close())
	second := openXDPTest(t, Options{})
	bounceUntil(t, second, peer, bindPorts(t, second, 0, 0, 1)[0], XDP)
}

func TestOpenXDPSaysWhatDidNotWork(t *testing.T) {
	p := newPlace(t)
	parent := link(t, p.near, nearDevice).Attrs().Index
	must(t, p.near.LinkAdd(&netlink.Macvlan{Mode: netlink.MACVLAN_MODE_BRIDGE, LinkAttrs: netlink.LinkAttrs{Name: "td-mac", ParentIndex: parent, TxQLen: -1}}))
	must(t, p.near.LinkSetUp(link(t, p.near, "td-mac")))
	stacked := netip.MustParseAddr("198.18.77.1")
	addAddress(t, p.near, "td-mac", stacked)
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		name    string
		options Options
		want    string // in the error; "": it opens
	}{
		{"loopback", Options{Addresses: []netip.Addr{loopback}}, "lo is the loopback device"},
		{"stacked device", Options{Addresses: []netip.Addr{stacked}}, "td-mac is a macvlan"},
		{"native on a virtual device", Options{Addresses: []netip.Addr{near4}, XDP: XDPOptions{Native: true}}, "only when it is asked for by name"},
		{"busy polling for a second", Options{Addresses: []netip.Addr{near4}, Poll: 1e9}, "need 0 (never), or 20µs to 10ms"},
		{"one device that can and one that cannot", Options{Addresses: []netip.Addr{stacked, near4}}, ""},
	} {
		var log strings.Builder
		o := c.options
		o.Workers, o.Registry, o.Log = 1, NewRegistry(nil), slog.New(slog.NewTextHandler(&log, nil))
		e, err := OpenXDP(o)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v; want an error with %q", c.name, err, c.want)
		case err == nil:
			if !strings.Contains(log.String(), `reason="is a macvlan`) {
				t.Errorf("%s: the log does not say why a device is left out:\n%s", c.name, &log)
			}
			must(t, e.Close())
		}
		if left := o.Registry.Names(); len(left) != 0 {
			t.Errorf("%s: descriptors left open: %v", c.name, left)
		}
	}
}

func TestTheProgramStaysWhenTheLinkGoesDownAndTheAddressMoves(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, XDP)
	near := link(t, p.near, nearDevice)
	for _, change := range []struct {
		name string
		make func()
	}{
		{"link down and up", func() { must(t, p.near.LinkSetDown(near)); must(t, p.near.LinkSetUp(near)) }},
		{"far link down and up", func() {
			far := link(t, p.far, farDevice)
			must(t, p.far.LinkSetDown(far))
			must(t, p.far.LinkSetUp(far))
		}},
		{"address removed and added", func() {
			address, err := netlink.ParseAddr(near4.String() + "/24")
			must(t, err)
			must(t, p.near.AddrDel(near, address))
			must(t, p.near.AddrAdd(near, address))
		}},
		{"another link address", func() { must(t, p.near.LinkSetHardwareAddr(near, net.HardwareAddr{2, 0, 0, 0, 0x77, 1})) }},
	} {
		change.make()
		if !attached(t, p.near, nearDevice) {
			t.Fatalf("%s: the program is gone", change.name)
		}
		for way := Way(Ways); way != XDP; { // the far end may still have the old link address: what it sends is lost then
			write(t, peer, e.address(l), change.name)
			var b Batch
			must(t, e.Queue(0).Recv(&b, probeAgain))
			echo(&b)
			if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[XDP] > 0 {
				way = XDP
			}
			if t.Context().Err() != nil {
				return
			}
		}
	}
}

func TestItOpensBeforeTheLinkIsUp(t *testing.T) {
	p := newPlace(t)
	near := link(t, p.near, nearDevice)
	must(t, p.near.LinkSetDown(near))
	e := openXDPTest(t, Options{Addresses: []netip.Addr{near4}})
	must(t, p.near.LinkSetUp(near))
	bounceUntil(t, e, p.peer(t, far4), bindPorts(t, e, 0, 0, 1)[0], XDP)
}

func TestExamineTellsOfTheDevicesThatHaveTheAddresses(t *testing.T) {
	newPlace(t)
	found, err := Examine(Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), near4, near6}, Workers: 3})
	must(t, err)
	var said strings.Builder
	for _, f := range found {
		fmt.Fprintln(&said, f)
	}
	for _, want := range []string{"td-near: driver veth, 1 receive queues, MTU 1500", "td-near: 1 receive queues for 3 workers"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, &said)
		}
	}
	if strings.Contains(said.String(), "lo:") {
		t.Errorf("loopback has nothing to set up:\n%s", &said)
	}
	if _, err := Examine(Options{Workers: 1}); err == nil {
		t.Error("no address: no error")
	}
}

func TestADeviceThatIsRemovedLeavesTheEngineAlive(t *testing.T) {
	p := newPlace(t)
	addresses := p.second(t)
	var log strings.Builder
	e := openXDPTest(t, Options{Addresses: []netip.Addr{near4, addresses[0]}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	first, other := bindPorts(t, e, 0, 0, 1)[0], bindPorts(t, e, 0, 1, 1)[0]
	a := p.peer(t, far4)
	bounceUntil(t, e, a, first, XDP)
	bounceUntil(t, e, p.peer(t, addresses[1]), other, XDP)
	x := e.exit(other)
	must(t, p.near.LinkDel(link(t, p.near, "td-near2")))
	pkt := Packet{Data: []byte("into the void"), Out: other, Dst: Addr{IP: addresses[1].As16(), Port: 9}}
	ring := e.devices[1].rings[0]
	for !ring.gone { // the packet that finds out
		e.queues[0].place(x, &pkt)
		e.queues[0].kick(ring)
	}
	if way := e.queues[0].place(x, &pkt); way != Frame {
		t.Errorf("afterwards packets leave by %v, want %v", way, Frame)
	}
	bounceUntil(t, e, a, first, XDP)
	if !strings.Contains(log.String(), "td-near2") || !strings.Contains(log.String(), "the device is gone") {
		t.Errorf("the log does not tell:\n%s", &log)
	}
}
