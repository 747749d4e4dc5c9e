package netio

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

var (
	near4, far4   = netip.MustParseAddr("198.18.9.1"), netip.MustParseAddr("198.18.9.2")
	near6, far6   = netip.MustParseAddr("2001:2:9::1"), netip.MustParseAddr("2001:2:9::2")
	placeFamilies = []struct {
		name      string
		slot      int
		near, far netip.Addr
	}{{"IPv4", 0, near4, far4}, {"IPv6", 1, near6, far6}}
)

const nearDevice, farDevice = "td-near", "td-far"

// place is two network namespaces joined by a veth pair. The test's own thread is in the near one, where engines are
// opened; peers live in the far one. Neither has a name: they end with their threads, which are never given back.
type place struct {
	near, far *netlink.Handle
	calls     chan func() // what the far thread is to do
}

func newPlace(t testing.TB) *place { return newWidePlace(t, 1) }

// newWidePlace has that many queues between the two devices, each way.
func newWidePlace(t testing.TB, queues int) *place {
	t.Helper()
	if missing := MissingCapabilities(); len(missing) > 0 {
		leaveOut(t, fmt.Sprintf("the funnel engine needs %v", missing))
	}
	p := &place{calls: make(chan func())}
	farNamespace := make(chan *os.File)
	go func() {
		defer close(farNamespace)
		runtime.LockOSThread() // and never unlocked: the thread is no use to others
		if f, err := enterNamespace(); err == nil {
			farNamespace <- f
			for call := range p.calls {
				call()
			}
		}
	}()
	namespace, ok := <-farNamespace
	if !ok {
		leaveOut(t, "a network namespace needs CAP_SYS_ADMIN")
	}
	defer namespace.Close()
	t.Cleanup(func() { close(p.calls) })
	runtime.LockOSThread()
	own, err := enterNamespace()
	if err != nil {
		t.Fatal(err)
	}
	own.Close()
	p.near = newHandle(t)
	p.inFar(func() { p.far = newHandle(t) })
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nearDevice, TxQLen: -1, NumTxQueues: queues, NumRxQueues: queues}, PeerName: farDevice,
		PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues),
	}
	must(t, p.near.LinkAdd(pair))
	far, err := p.near.LinkByName(farDevice)
	must(t, err)
	must(t, p.near.LinkSetNsFd(far, int(namespace.Fd())))
	for _, side := range []struct {
		handle    *netlink.Handle
		device    string
		addresses []netip.Addr
	}{{p.near, nearDevice, []netip.Addr{near4, near6}}, {p.far, farDevice, []netip.Addr{far4, far6}}} {
		must(t, side.handle.LinkSetUp(link(t, side.handle, "lo")))
		must(t, side.handle.LinkSetUp(link(t, side.handle, side.device)))
		for _, a := range side.addresses {
			addAddress(t, side.handle, side.device, a)
		}
	}
	return p
}

// enterNamespace puts the calling thread into a new network namespace.
func enterNamespace() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/net")
}

func newHandle(t testing.TB) *netlink.Handle {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(handle.Close)
	return handle
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, handle *netlink.Handle, name string) netlink.Link {
	t.Helper()
	l, err := handle.LinkByName(name)
	must(t, err)
	return l
}

// addAddress gives the device the address in a network of 256 (IPv4) or 2^64.
func addAddress(t testing.TB, handle *netlink.Handle, device string, a netip.Addr) {
	t.Helper()
	width := 24
	if a.Is6() {
		width = 64
	}
	address, err := netlink.ParseAddr(netip.PrefixFrom(a, width).String())
	must(t, err)
	if a.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	must(t, handle.AddrAdd(link(t, handle, device), address))
}

// inFar runs f on the far thread.
func (p *place) inFar(f func()) {
	done := make(chan struct{})
	p.calls <- func() { defer close(done); f() }
	<-done
}

// peer opens a socket in the far namespace.
func (p *place) peer(t testing.TB, a netip.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	var err error
	p.inFar(func() { conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))) })
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetReadDeadline(time.Now().Add(patienceForTests)))
	return conn
}

// openFunnelTest opens a funnel engine and checks at the end of the test that it leaves no descriptor behind.
func openFunnelTest(t testing.TB, o Options) *funnel {
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
	engine, err := OpenFunnel(o)
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
	return engine.(*funnel)
}

// bounce sends a text from the peer to a port of queue 0, sends back what came, and checks that the peer gets it from there.
func bounce(t testing.TB, e placed, peer *net.UDPConn, l Local, text string) {
	t.Helper()
	write(t, peer, e.address(l), text)
	var b Batch
	recv(t, e.Queue(0), &b)
	if p := &b.Packets[0]; b.N != 1 || p.In != l || p.Src != addressOf(peer) || string(p.Data) != text {
		t.Fatalf("%d packets, the first to %v from %v: %q", b.N, e.address(p.In), p.Src.AddrPort(), p.Data)
	}
	echo(&b)
	e.Queue(0).Send(&b)
	if v := b.Packets[0].Verdict; v != verdict.Forward {
		t.Fatalf("sent: %v", v)
	}
	if got, from := read(t, peer); got != text || from != e.address(l) {
		t.Fatalf("%q came back from %v, want %q from %v", got, from, text, e.address(l))
	}
}

// bounceUntil bounces until packets leave in that way. How long that takes is netlink's to say; patience is the limit.
func bounceUntil(t testing.TB, e placed, peer *net.UDPConn, l Local, way Way) {
	t.Helper()
	for end := Now() + int64(patienceForTests); Now() < end; runtime.Gosched() {
		before := e.Queue(0).Stats().Sent[way]
		bounce(t, e, peer, l, "on the way")
		if e.Queue(0).Stats().Sent[way] > before {
			return
		}
	}
	t.Fatalf("no packet left by %v: %v, hops %+v", way, e.Queue(0).Stats().Sent, e.Hops())
}

// sentBy returns what is sent by which way while f runs.
func sentBy(e placed, f func()) (ways [Ways]uint64) {
	before := e.Queue(0).Stats().Sent
	f()
	for i, n := range e.Queue(0).Stats().Sent {
		ways[i] = n - before[i]
	}
	return ways
}

// eventually waits for what another thread, the resolver's, does on its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := Now() + int64(patienceForTests); !ok(); runtime.Gosched() {
		if Now() > end {
			t.Fatalf("not within %v: %s", patienceForTests, what)
		}
	}
}
