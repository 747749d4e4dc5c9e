package hop

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long an event of the kernel may take that comes within milliseconds on an idle machine.
const patience = 30 * time.Second

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// world is two network namespaces without names, joined by a veth pair. The test's thread is in ours; it is never given
// back, and when it ends, both namespaces and all that is in them are gone.
//
//	ours  198.18.0.1/24 2001:db8::1/64   ---   theirs  198.18.0.2/24 198.18.0.3/24 2001:db8::2/64
type world struct {
	t       *testing.T
	near    *netlink.Handle // devices, routes, neighbours, policies of ours
	far     *netlink.Handle // those of the peer
	device  netlink.Link    // our end
	other   netlink.Link    // the peer's end
	turns   chan struct{}   // one token after a turn of the resolver
	blocked sync.Mutex      // held by a test: the resolver stands still
}

func newWorld(t *testing.T) *world {
	t.Helper()
	runtime.LockOSThread()
	w := &world{t: t, turns: make(chan struct{}, 1)}
	enter := func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			leaveOut(t, fmt.Sprintf("cannot make a network namespace (%v): run as root", err))
		}
	}
	handle := func() *netlink.Handle {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
		if err != nil {
			leaveOut(t, fmt.Sprintf("cannot speak netlink and xfrm: %v", err))
		}
		t.Cleanup(h.Close)
		return h
	}
	enter()
	far, err := os.Open("/proc/thread-self/ns/net")
	w.check("open the peer's namespace", err)
	defer far.Close()
	w.far = handle()
	enter()
	w.near = handle()

	ours, theirs := fmt.Sprintf("td-%da", os.Getpid()), fmt.Sprintf("td-%db", os.Getpid())
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: ours, MTU: 1500}, PeerName: theirs, PeerNamespace: netlink.NsFd(far.Fd())}
	w.check("add veth", w.near.LinkAdd(pair))
	w.device, err = w.near.LinkByName(ours)
	w.check("find our device", err)
	w.other, err = w.far.LinkByName(theirs)
	w.check("find the peer's device", err)
	w.address(w.near, w.device, "198.18.0.1/24", "2001:db8::1/64")
	w.address(w.far, w.other, "198.18.0.2/24", "198.18.0.3/24", "2001:db8::2/64")
	w.up(w.far, w.other)
	w.up(w.near, w.device)
	if loopback, err := w.near.LinkByName("lo"); err == nil {
		w.up(w.near, loopback)
	}
	return w
}

func (w *world) check(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func (w *world) address(h *netlink.Handle, l netlink.Link, prefixes ...string) {
	w.t.Helper()
	for _, p := range prefixes {
		a, err := netlink.ParseAddr(p)
		w.check("parse address", err)
		a.Flags = unix.IFA_F_NODAD
		w.check("add address "+p, h.AddrAdd(l, a))
	}
}

func (w *world) up(h *netlink.Handle, l netlink.Link) {
	w.t.Helper()
	w.check("set link up", h.LinkSetUp(l))
}

// neighbour sets an entry of our neighbour table.
func (w *world) neighbour(l netlink.Link, addr string, state int, mac [6]byte) {
	w.t.Helper()
	ip := net.ParseIP(addr)
	family := netlink.FAMILY_V4
	if ip.To4() == nil {
		family = netlink.FAMILY_V6
	}
	w.check("set neighbour "+addr, w.near.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: family, State: state, IP: ip, HardwareAddr: mac[:],
	}))
}

// gateways makes both addresses of the peer neighbours with link addresses of their own.
func (w *world) gateways() {
	w.neighbour(w.device, "198.18.0.2", unix.NUD_PERMANENT, mac2)
	w.neighbour(w.device, "198.18.0.3", unix.NUD_PERMANENT, mac3)
}

var (
	mac2 = [6]byte{2, 0, 0, 0, 0, 2}
	mac3 = [6]byte{2, 0, 0, 0, 0, 3}
)

// route replaces our route to a prefix.
func (w *world) route(prefix string, change func(*netlink.Route)) {
	w.t.Helper()
	dst, err := netlink.ParseIPNet(prefix)
	w.check("parse prefix", err)
	r := netlink.Route{Dst: dst, LinkIndex: w.device.Attrs().Index}
	change(&r)
	w.check("replace route to "+prefix, w.near.RouteReplace(&r))
}

func (w *world) via(prefix, gateway string) {
	w.t.Helper()
	w.route(prefix, func(r *netlink.Route) { r.Gw = net.ParseIP(gateway) })
}

// sources are the slots of the tables that open makes.
var sources = []netip.Addr{us, us6, netip.MustParseAddr("198.18.0.11")}

// open opens a table in our namespace.
func (w *world) open() *Table {
	w.t.Helper()
	table, err := open(Options{Addresses: sources, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))}, w.turned)
	w.check("open", err)
	w.t.Cleanup(func() { _ = table.Close() })
	return table
}

func (w *world) turned() {
	select {
	case w.turns <- struct{}{}:
	default:
	}
	w.blocked.Lock()
	defer w.blocked.Unlock()
}

// await waits until ok, looking again after every turn of the resolver.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	late := time.After(patience)
	for !ok() {
		select {
		case <-w.turns:
		case <-late:
			w.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// becomes waits until a destination of slot 0, or 1 for IPv6, has a hop that is ok, and returns it with its Ref.
func (w *world) becomes(table *Table, dst, what string, ok func(Hop) bool) (Hop, Ref) {
	w.t.Helper()
	slot := 0
	if netip.MustParseAddr(dst).Is6() {
		slot = 1
	}
	return w.becomesFrom(table, slot, dst, what, ok)
}

func (w *world) becomesFrom(table *Table, slot int, dst, what string, ok func(Hop) bool) (h Hop, r Ref) {
	w.t.Helper()
	ip := netip.MustParseAddr(dst).As16()
	w.await(dst+" "+what, func() bool {
		var found bool
		if r, found = table.Find(slot, &ip); !found {
			return false
		}
		return table.Read(r, &h) != 0 && ok(h)
	})
	return h, r
}

func in(s State) func(Hop) bool { return func(h Hop) bool { return h.State == s } }

func to(mac [6]byte) func(Hop) bool {
	return func(h Hop) bool { return h.State == Ready && h.DstMAC == mac }
}

// send sends a datagram by the kernel's own way.
func (w *world) send(dst string) {
	w.t.Helper()
	c, err := net.Dial("udp", net.JoinHostPort(dst, "9"))
	w.check("dial", err)
	defer c.Close()
	_, err = c.Write([]byte("resolve"))
	w.check("send", err)
}

func macOf(l netlink.Link) [6]byte { return [6]byte(l.Attrs().HardwareAddr) }
