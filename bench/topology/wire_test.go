package topology

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Who is where on every wire (RFC 2544 gives 198.18.0.0/15 to tests).
var addresses = map[string]netip.Addr{
	"node-a": netip.MustParseAddr("198.18.0.1"),
	"node-b": netip.MustParseAddr("198.18.0.2"),
	"pbx":    netip.MustParseAddr("198.18.0.11"),
	"gw1":    netip.MustParseAddr("198.18.0.21"),
	"gw2":    netip.MustParseAddr("198.18.0.22"),
	"gw3":    netip.MustParseAddr("198.18.0.23"),
	"sbc":    netip.MustParseAddr("198.18.0.31"),
}

const prefix = 24 // bits of the wire's network

// wire is a bridge and the hosts at it: the place of one test.
type wire struct {
	t     *testing.T
	hub   *host // has the bridge, and no address
	hosts map[string]*host
}

// host is a machine as far as a program can tell: a network of its own, and a /run of its own. It is a thread that entered
// both and never returns to Go's pool: with it and its processes all of that is gone.
type host struct {
	t       *testing.T
	name    string
	addr    netip.Addr
	run     string // its /run/tandem, as this process finds it
	port    string // its device at the bridge
	hub     *host
	errands chan func()
	network netns.NsHandle
}

// newWire makes the hosts of those names. Everything goes with the test.
func newWire(t *testing.T, names ...string) *wire {
	t.Helper()
	root(t)
	tag := fmt.Sprintf("td-%d-", os.Getpid())
	dir, err := os.MkdirTemp("", tag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &wire{t: t, hosts: map[string]*host{}}
	w.hub = newHost(t, "hub", dir)
	bridge := tag + "b"
	w.hub.must("bridge", func() error { return makeBridge(bridge) })
	for i, name := range names {
		h := newHost(t, name, dir)
		h.hub, h.addr, h.port = w.hub, addresses[name], fmt.Sprint(tag, i)
		w.hosts[name] = h
		w.hub.must("port of "+name, func() error { return plug(bridge, h.port, tag+"h", h.network) })
		h.must("address", func() error { return furnish(tag+"h", h.addr) })
	}
	return w
}

// root leaves a test out where namespaces cannot be made; with STRICT=1 that is a failure.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const why = "network namespaces need root"
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// newHost starts the thread.
func newHost(t *testing.T, name, dir string) *host {
	t.Helper()
	h := &host{t: t, name: name, run: filepath.Join(dir, name), errands: make(chan func())}
	if err := os.Mkdir(h.run, 0o700); err != nil {
		t.Fatal(err)
	}
	ready := make(chan error)
	left := make(chan struct{})
	go func() {
		defer close(left)
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		err := h.enter()
		ready <- err
		if err != nil {
			return
		}
		defer h.network.Close()
		for do := range h.errands {
			do()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("host %s: %v", name, err)
	}
	t.Cleanup(func() {
		close(h.errands)
		<-left
	})
	return h
}

// enter takes the thread into namespaces that are new. Mounts are private first: this machine sees nothing of them.
func (h *host) enter() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := os.Mkdir("/run/tandem", 0o700); err != nil {
		return err
	}
	if err := unix.Mount(h.run, "/run/tandem", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /run/tandem: %w", err)
	}
	h.network, err = netns.Get()
	return err
}

// do runs f on the host.
func (h *host) do(f func() error) error {
	done := make(chan error, 1)
	h.errands <- func() { done <- f() }
	return <-done
}

func (h *host) must(what string, f func() error) {
	h.t.Helper()
	if err := h.do(f); err != nil {
		h.t.Fatalf("host %s: %s: %v", h.name, what, err)
	}
}

// makeBridge runs on the hub.
func makeBridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	return errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge))
}

// plug runs on the hub: a pair of devices, one a port of the bridge, the other on a host.
func plug(bridge, port, device string, to netns.NsHandle) error {
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = port, master.Attrs().Index
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(to)}
	return errors.Join(netlink.LinkAdd(pair), netlink.LinkSetUp(pair))
}

// furnish runs on the host itself.
func furnish(device string, at netip.Addr) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	mask := &net.IPNet{IP: at.AsSlice(), Mask: net.CIDRMask(prefix, at.BitLen())}
	return errors.Join(netlink.AddrAdd(link, &netlink.Addr{IPNet: mask}), netlink.LinkSetUp(lo), netlink.LinkSetUp(link))
}

// cut takes the host off the wire: what is sent to it goes nowhere, and nobody is told.
func (h *host) cut() {
	h.t.Helper()
	h.hub.must("cut "+h.name, func() error {
		port, err := netlink.LinkByName(h.port)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(port)
	})
}

// heard is the number of packets that reached the host by the wire.
func (h *host) heard() (packets uint64) {
	h.t.Helper()
	h.hub.must("counters of "+h.name, func() error {
		port, err := netlink.LinkByName(h.port)
		if err != nil {
			return err
		}
		if port.Attrs().Statistics == nil {
			return errors.New("the device has none")
		}
		packets = port.Attrs().Statistics.TxPackets // the bridge's sending is the host's hearing
		return nil
	})
	return packets
}

// bound reports whether somebody on the host listens at a port, without disturbing whoever is about to: by the kernel's
// table of sockets.
func (h *host) bound(transport string, port uint16) (found bool) {
	h.t.Helper()
	h.must("sockets", func() error {
		table, err := os.ReadFile(fmt.Sprintf("/proc/thread-self/net/%s", transport))
		if err != nil {
			return err
		}
		want := fmt.Sprintf(":%04X", port)
		for line := range strings.Lines(string(table)) {
			// local address, remote address, state: 07 is an unconnected UDP socket, 0A a listening TCP one
			c := strings.Fields(line)
			found = found || len(c) > 3 && strings.HasSuffix(c[1], want) && (c[3] == "07" || c[3] == "0A")
		}
		return nil
	})
	return found
}
