package netio

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/nic"
)

// setFeature switches a feature of a device in the calling thread's namespace by a command of linux/ethtool.h.
func setFeature(device string, command, value uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	feature := struct{ command, value uint32 }{command, value}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&feature)}
	copy(request.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// receiveByNAPI makes the near device's receive work a NAPI's, as a card's is. A veth pair's is only with an XDP program, or with
// GRO here and without TSO there.
func (p *place) receiveByNAPI(t *testing.T) {
	t.Helper()
	const setGRO, setTSO = 0x2c, 0x1f // ETHTOOL_SGRO, ETHTOOL_STSO
	must(t, setFeature(nearDevice, setGRO, 1))
	done := make(chan error)
	p.calls <- func() { done <- setFeature(farDevice, setTSO, 0) }
	must(t, <-done)
}

// waitForPolls makes the near device wait a millisecond for polls. It returns its NAPI.
func (p *place) waitForPolls(t *testing.T) nic.NAPI {
	t.Helper()
	link, err := p.near.LinkByName(nearDevice)
	must(t, err)
	found, err := nic.NAPIs(link.Attrs().Index)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%d NAPIs of a device with one queue", len(found))
	}
	n := found[0]
	n.Defer, n.Flush = 1, time.Millisecond
	must(t, n.Set())
	return n
}

// bounceAll bounces packets of both families until the worker naps between its looks, and then some more.
func bounceAll(t *testing.T, p *place, e placed, steady *bool, way Way) {
	t.Helper()
	for _, f := range placeFamilies {
		l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
		bounceUntil(t, e, peer, l, way)
		for i := range 100 {
			bounce(t, e, peer, l, fmt.Sprintf("%s, packet %d", f.name, i))
		}
		var none Batch
		for end := Now() + int64(patienceForTests); !*steady; {
			must(t, e.Queue(0).Recv(&none, time.Millisecond)) // a moment with nothing to do
			if bounce(t, e, peer, l, "more"); Now() > end {
				t.Fatalf("%s: with a packet all the time the worker does not nap", f.name)
			}
		}
		for i := range 20 {
			bounce(t, e, peer, l, fmt.Sprintf("%s, packet %d between naps", f.name, i))
		}
	}
	if s := e.Queue(0).Stats(); s.Sent[way] < 240 {
		t.Errorf("sent: %v", s.Sent)
	}
}

func TestAFunnelThatPollsMovesTheSamePackets(t *testing.T) {
	p := newPlace(t)
	p.receiveByNAPI(t)
	e := openFunnelTest(t, Options{Poll: maxPoll})
	napi := p.waitForPolls(t)
	bounceAll(t, p, e, &e.queues[0].pace.steady, Frame)
	for i := range e.queues[0].inputs {
		input := &e.queues[0].inputs[i]
		learnt, err := unix.GetsockoptInt(input.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
		if must(t, err); uint32(learnt) != napi.ID {
			t.Errorf("%s polls NAPI %d, the device has %d", input.name, learnt, napi.ID)
		}
	}
}

// polledPackets returns how many packets busy polls took from the devices of the test's namespace.
func polledPackets(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	must(t, err)
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != "TcpExt:" {
			continue
		}
		if names != nil {
			n, err := strconv.ParseUint(fields[slices.Index(names, "BusyPollRxPackets")], 10, 64)
			must(t, err)
			return n
		}
		names = fields
	}
	t.Fatal("netstat has no TcpExt")
	return 0
}

// here returns a socket in the test's own namespace, where the engine is.
func here(t *testing.T, a netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// taught returns a place and an engine whose worker naps, and a funnel's socket of which polls for the ring.
func taught(t *testing.T) (*place, *xdp, nic.NAPI) {
	t.Helper()
	p := newPlace(t)
	e := openXDPTest(t, Options{Poll: maxPoll})
	napi := p.waitForPolls(t)
	if !e.Polled() || !e.queues[0].pilot.missing() {
		t.Fatalf("polled %v, pilot %+v", e.Polled(), e.queues[0].pilot)
	}
	bounceAll(t, p, e, &e.queues[0].pace.steady, XDP)
	return p, e, napi
}

// A veth pair's driver does not tell which NAPI a queue has, so that its rings cannot poll: a funnel's socket does it for the only one.
func TestAFunnelsSocketPollsForARingThatCannot(t *testing.T) {
	p, e, napi := taught(t)
	q := e.queues[0]
	learnt, err := unix.GetsockoptInt(q.pilot.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
	if must(t, err); uint32(learnt) != napi.ID || q.pilot.trying() {
		t.Errorf("pilot %+v polls NAPI %d, the device has %d", q.pilot, learnt, napi.ID)
	}
	napi.Flush = time.Minute // from now on only polls bring anything
	must(t, napi.Set())
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	write(t, peer, e.address(l), "the last that the device delivers by itself")
	var b Batch
	recv(t, q, &b)
	before := polledPackets(t)
	const many = 3 * BatchSize // more than a look takes
	for i := range many {
		write(t, peer, e.address(l), fmt.Sprint(i))
	}
	next := 0
	for next < many {
		q.pace.steady = true
		recv(t, q, &b)
		for _, pkt := range b.Packets[:b.N] {
			if string(pkt.Data) != fmt.Sprint(next) {
				t.Fatalf("%q instead of %d", pkt.Data, next)
			}
			next++
		}
	}
	if n := polledPackets(t) - before; 2*n < many { // the second half of a full poll is not counted
		t.Errorf("polls took %d of %d packets", n, many)
	}
}

// What a ring's packets are polled for by must not lose what comes by the socket itself, nor the other way round.
func TestAPilotLeavesADatagramWhereItIs(t *testing.T) {
	p, e, _ := taught(t)
	q := e.queues[0]
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	local := here(t, near4)
	const many = 4 * BatchSize
	for i := range many {
		write(t, local, e.address(l), fmt.Sprintf("here %d", i)) // by the loopback device, so by the kernel
		write(t, peer, e.address(l), fmt.Sprintf("there %d", i))
	}
	var b Batch
	next := map[string]int{}
	for next["here"]+next["there"] < 2*many {
		q.pace.steady = true
		recv(t, q, &b)
		for _, pkt := range b.Packets[:b.N] {
			from, number, _ := strings.Cut(string(pkt.Data), " ")
			if number != fmt.Sprint(next[from]) {
				t.Fatalf("%q after %d from %s", pkt.Data, next[from], from)
			}
			next[from]++
		}
	}
}

// givesUp lets packets come until the engine has given up to poll, and then bounces some by its ring.
func givesUp(t *testing.T, p *place, e *xdp, l Local) {
	t.Helper()
	q, peer := e.queues[0], p.peer(t, far4)
	var b Batch
	for end := Now() + int64(patienceForTests); q.pilot.ring != nil; {
		if Now() > end {
			t.Fatalf("it tries on: %+v", q.pilot)
		}
		write(t, peer, e.address(l), "all the time")
		must(t, q.Recv(&b, time.Millisecond))
		must(t, q.Recv(&b, time.Millisecond)) // a moment with nothing to do
	}
	bounceUntil(t, e, peer, l, XDP)
	for i := range 100 {
		bounce(t, e, peer, l, fmt.Sprintf("packet %d", i))
	}
	if q.pace.steady || q.pilot.tries != 0 || q.pilot.trying() {
		t.Errorf("naps: %v, pilot %+v", q.pace.steady, q.pilot)
	}
}

// A socket learns once and for all, and what this machine says to itself first teaches it nothing.
func TestARingIsUsedWithoutPollsWhenThePilotHeardThisMachineFirst(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Poll: maxPoll})
	p.waitForPolls(t)
	l, local := bindPorts(t, e, 0, 0, 1)[0], here(t, near4)
	var b Batch
	write(t, local, e.address(l), "from this machine")
	recv(t, e.Queue(0), &b)
	givesUp(t, p, e, l)
}

// A packet filter that lets no media in, which the ring does not see, costs a moment for each try and no more.
func TestARingIsUsedWithoutPollsWhenNothingReachesThePilot(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Poll: maxPoll})
	p.waitForPolls(t)
	l := bindPorts(t, e, 0, 0, 1)[0]
	bounceUntil(t, e, p.peer(t, far4), l, XDP)
	nft(t, "add table inet td; add chain inet td input { type filter hook input priority 0; policy drop; }")
	givesUp(t, p, e, l)
}

// However long the worker would wait, a try is over in time.
func TestATryEndsWhileTheWorkerWaits(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Poll: maxPoll})
	p.waitForPolls(t)
	q := e.queues[0]
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, XDP)
	nft(t, "add table inet td; add chain inet td input { type filter hook input priority 0; policy drop; }")
	q.pace.packets, q.pace.since = steadyPackets, Now() // traffic is steady
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				peer.WriteToUDPAddrPort([]byte("all the time"), e.address(l))
			}
		}
	}()
	var b Batch
	for end := Now() + int64(patienceForTests); q.pilot.next == 0 && Now() < end; {
		must(t, q.Recv(&b, patienceForTests)) // a batch before the try, or the first after it
	}
	close(stop)
	<-done
	if q.pilot.tries != pilotTries-1 || q.pilot.trying() || b.N == 0 {
		t.Errorf("pilot %+v, %d packets", q.pilot, b.N)
	}
}

func TestAnXDPEngineThatCannotPollMovesTheSamePackets(t *testing.T) {
	p := newWidePlace(t, 2)
	e := openXDPTest(t, Options{Poll: maxPoll})
	if e.Polled() {
		t.Error("it says that it polls")
	}
	for _, f := range placeFamilies {
		l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
		bounceUntil(t, e, peer, l, XDP)
		for i := range 100 {
			bounce(t, e, peer, l, fmt.Sprintf("%s, packet %d", f.name, i))
		}
	}
	if e.queues[0].pace.steady {
		t.Error("the worker naps")
	}
}

// The other way cannot be had with virtual devices: a ring whose own polls find what has come by itself.
func TestAnXDPEngineThatNapsMovesTheSamePackets(t *testing.T) {
	p := newWidePlace(t, 2)
	e := openXDPTest(t, Options{Poll: maxPoll})
	e.queues[0].pace.longest = maxPoll
	bounceAll(t, p, e, &e.queues[0].pace.steady, XDP)
}

func TestAWorkerThatNappedIsWokenWhenTrafficComesAgain(t *testing.T) {
	p := newPlace(t)
	p.receiveByNAPI(t)
	e := openFunnelTest(t, Options{Poll: 100 * time.Microsecond})
	p.waitForPolls(t)
	q := e.queues[0]
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, Frame)
	q.pace.steady = true
	var b Batch
	must(t, q.Recv(&b, time.Second/10)) // much longer than the naps in vain that end it
	if b.N != 0 || q.pace.steady {
		t.Errorf("%d packets, naps: %v", b.N, q.pace.steady)
	}
	bounce(t, e, peer, l, "after the pause")
}

func TestASocketsEngineThatNapsMovesTheSamePackets(t *testing.T) {
	e, err := OpenSockets(Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Workers: 1, Poll: maxPoll})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	q := e.Queue(0).(*socketQueue)
	ports := bindPorts(t, e, 0, 0, 2)
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	at := func(l Local) netip.AddrPort { return e.(*sockets).address(l) }
	var b Batch
	for end := Now() + int64(patienceForTests); !q.pace.steady; {
		for i := range 2 * steadyPackets {
			l := ports[i%len(ports)]
			write(t, peer, at(l), "often")
			if recv(t, q, &b); b.N != 1 || b.Packets[0].In != l {
				t.Fatalf("%d packets, the first to %v", b.N, b.Packets[0].In)
			}
		}
		must(t, q.Recv(&b, time.Millisecond)) // a moment with nothing to do
		if Now() > end {
			t.Fatal("with a packet all the time the worker does not nap")
		}
	}
	for i, l := range ports {
		text := fmt.Sprintf("between naps, %d", i)
		write(t, peer, at(l), text)
		if recv(t, q, &b); b.N != 1 || string(b.Packets[0].Data) != text {
			t.Fatalf("%d packets, the first %q", b.N, b.Packets[0].Data)
		}
	}
	for q.pace.steady {
		must(t, q.Recv(&b, time.Millisecond))
	}
	write(t, peer, at(ports[0]), "after a pause")
	if recv(t, q, &b); b.N != 1 || string(b.Packets[0].Data) != "after a pause" {
		t.Fatalf("%d packets, the first %q", b.N, b.Packets[0].Data)
	}
}
