package xsk

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	ours4, ours6 = netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:2::1")
	peer4, peer6 = netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:2::2")
)

const (
	leased   = 20000 // on both addresses
	ourVLAN  = 7
	loopback = 1 // index of lo in every namespace
)

// tables are what a program looks into: both addresses, one port leased on each.
type tables struct{ slots, leases *ebpf.Map }

func newTables(t testing.TB) tables {
	t.Helper()
	slots, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 16, ValueSize: 4, MaxEntries: 2})
	if errors.Is(err, os.ErrPermission) {
		leaveOut(t, "BPF needs CAP_BPF and CAP_NET_ADMIN")
	}
	must(t, err)
	t.Cleanup(func() { slots.Close() })
	leases, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 16, MaxEntries: 2})
	must(t, err)
	t.Cleanup(func() { leases.Close() })
	ports := make([]byte, 1<<16)
	ports[leased] = 1
	for slot, a := range []netip.Addr{ours4, ours6} {
		must(t, slots.Put(a.As16(), uint32(slot)))
		must(t, leases.Put(uint32(slot), ports))
	}
	return tables{slots, leases}
}

// newProgram loads a program whose queue 0 has a socket.
func newProgram(t testing.TB, s tables) *Program {
	t.Helper()
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), MAC: ourMAC, VLANs: []uint16{ourVLAN}, Queues: 2})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	fd, err := Descriptor()
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, p.Enter(0, fd))
	return p
}

// enterNamespace puts the test's thread into a network namespace of its own, whose loopback device is up. The thread is never
// given back, so the namespace ends with the test.
func enterNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		leaveOut(t, "a network namespace needs CAP_SYS_ADMIN")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	must(t, err)
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	must(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r))
}
