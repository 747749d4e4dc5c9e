package steer

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience ends a test that waits for what never comes; nothing is measured by it.
const patience = 10 * time.Second

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

var (
	first, second, third = netip.MustParseAddr("198.18.7.1"), netip.MustParseAddr("198.18.7.2"), netip.MustParseAddr("198.18.7.3")
	first6, second6      = netip.MustParseAddr("2001:2:7::1"), netip.MustParseAddr("2001:2:7::2")
)

// enter puts the test into a network namespace of its own, with these addresses on its loopback device. The namespace has no
// name and ends with the test's thread, which is never given back.
func enter(t testing.TB, addresses ...netip.Addr) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		leaveOut(t, "a network namespace needs CAP_SYS_ADMIN: unshare: "+err.Error())
	}
	handle, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	lo, err := handle.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		address, err := netlink.ParseAddr(netip.PrefixFrom(a, a.BitLen()).String())
		if err != nil {
			t.Fatal(err)
		}
		address.Flags = unix.IFA_F_NODAD
		if err := handle.AddrAdd(lo, address); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	for _, a := range addresses {
		awaitRoute(t, a)
	}
}

// awaitRoute returns when datagrams to the address arrive: the kernel enters the route of a fresh IPv6 address a moment after it.
func awaitRoute(t testing.TB, a netip.Addr) {
	t.Helper()
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) // its port may be one that the test is about to use
	if err := unix.Bind(fd, sockaddr(at(a, 0))); err != nil {
		t.Fatalf("bind %s: %v", a, err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		_ = unix.Sendto(fd, []byte("is it there?"), 0, own) // an error says: not yet
		var buffer [16]byte
		if n, _, err := unix.Recvfrom(fd, buffer[:], unix.MSG_DONTWAIT); err == nil && n > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("datagrams to %s do not arrive", a)
		}
	}
}

// load loads the program, or leaves the test out where it is not permitted.
func load(t testing.TB, o Options) *Steer {
	t.Helper()
	s, err := Load(o)
	if errors.Is(err, os.ErrPermission) {
		leaveOut(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open loads the program until the end of the test.
func open(t testing.TB, o Options) *Steer {
	t.Helper()
	s := load(t, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// udp opens a blocking socket with a time limit. A socket of the net package would not give its descriptor away.
func udp(t testing.TB, at netip.AddrPort) int {
	t.Helper()
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if at.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			t.Fatal(err)
		}
	}
	limit := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		t.Fatalf("bind %s: %v", at, err)
	}
	return fd
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func send(t testing.TB, fd int, to netip.AddrPort, text string) {
	t.Helper()
	if err := unix.Sendto(fd, []byte(text), 0, sockaddr(to)); err != nil {
		t.Fatalf("send to %s: %v", to, err)
	}
}

func receive(t testing.TB, fd int) string {
	t.Helper()
	var buffer [256]byte
	n, _, err := unix.Recvfrom(fd, buffer[:], 0)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return string(buffer[:n])
}
