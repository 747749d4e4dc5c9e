package netio

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

type hot struct {
	version uint32
	keys    [2][16]byte
	counts  [3]struct{ in, out uint64 }
	remote  Addr
}

func TestArenaIsZeroedPageAlignedAndNamed(t *testing.T) {
	r := NewRegistry(nil)
	const n = 1000
	legs, release, err := MapArena[hot](r, "arena/legs", n)
	if err != nil {
		t.Fatal(err)
	}
	if len(legs) != n || cap(legs) != n {
		t.Errorf("%d elements with room for %d, want %d", len(legs), cap(legs), n)
	}
	if at := uintptr(unsafe.Pointer(&legs[0])); at%uintptr(unix.Getpagesize()) != 0 {
		t.Errorf("the arena begins at %#x, which is no page", at)
	}
	for i := range legs {
		if legs[i] != (hot{}) {
			t.Fatalf("element %d is not zero", i)
		}
		legs[i].version = uint32(i)
	}
	if r.Len() != 1 || r.Names()[0] != "arena/legs" {
		t.Errorf("descriptors %v", r.Names())
	}
	if err := release(); err != nil || r.Len() != 0 {
		t.Errorf("release: %v, descriptors %v", err, r.Names())
	}
	if err := release(); err == nil {
		t.Error("a second release gave no error")
	}
}

func TestSecretMemoryIsLockedAndNotDumped(t *testing.T) {
	keys, release, err := MapArena[hot](NewRegistry(nil), "arena/secret", 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	}()
	if err := KeepSecret(keys); err != nil {
		t.Fatal(err)
	}
	flags := flagsOf(t, uintptr(unsafe.Pointer(&keys[0])))
	for flag, meaning := range map[string]string{"dd": "not dumped", "lo": "locked", "lf": "locked when touched"} {
		if !slices.Contains(flags, flag) {
			t.Errorf("the memory is not %s: flags %v", meaning, flags)
		}
	}
	if err := KeepSecret[hot](nil); err != nil {
		t.Errorf("nothing to keep: %v", err)
	}
}

// flagsOf returns the VmFlags of the mapping that begins at address (proc_pid_smaps(5)).
func flagsOf(t *testing.T, address uintptr) []string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for line := range strings.Lines(string(maps)) {
		if strings.HasPrefix(line, fmt.Sprintf("%x-", address)) {
			found = true
		}
		if flags, is := strings.CutPrefix(line, "VmFlags:"); is && found {
			return strings.Fields(flags)
		}
	}
	t.Fatalf("no mapping begins at %#x", address)
	return nil
}

func TestInheritedArenaKeepsItsContent(t *testing.T) {
	predecessor := NewRegistry(nil)
	old, release, err := MapArena[hot](predecessor, "arena/legs", 10)
	if err != nil {
		t.Fatal(err)
	}
	old[9].remote.Port = 4000
	handOver := func() map[string]int {
		fd, err := unix.Dup(predecessor.claimed["arena/legs"])
		if err != nil {
			t.Fatal(err)
		}
		return map[string]int{"arena/legs": fd}
	}
	r := NewRegistry(handOver())
	legs, releaseLegs, err := MapArena[hot](r, "arena/legs", 10)
	if err != nil {
		t.Fatal(err)
	}
	if legs[9].remote.Port != 4000 {
		t.Error("the successor does not see what the predecessor wrote")
	}
	other := NewRegistry(handOver())
	if _, _, err := MapArena[hot](other, "arena/legs", 11); err == nil || !strings.Contains(err.Error(), "arena/legs") {
		t.Errorf("an arena of another size: %v, want an error with its name", err)
	}
	if other.Len() != 0 {
		t.Errorf("the refused arena left %v open", other.Names())
	}
	for _, release := range []func() error{release, releaseLegs} {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
}

// named holds a pointer three steps deep: the data of Name.
type named struct {
	ID    uint32
	Inner [4]struct {
		At struct {
			Count uint64
			Name  string
		}
	}
}

func TestArenaRefusesGoPointersAndNamesTheField(t *testing.T) {
	r := NewRegistry(nil)
	check := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	refusal := func(_ any, _ func() error, err error) error { return err }
	check("named.Inner[].At.Name is a string", refusal(MapArena[named](r, "arena/x", 1)))
	check("AddrPort.ip.z", refusal(MapArena[netip.AddrPort](r, "arena/x", 1)))
	check(".p is a ptr", refusal(MapArena[struct{ p *int }](r, "arena/x", 1)))
	check(".s is a slice", refusal(MapArena[struct{ s []byte }](r, "arena/x", 1)))
	check(".m is a map", refusal(MapArena[struct{ m map[int]int }](r, "arena/x", 1)))
	check(".i is a interface", refusal(MapArena[struct{ i any }](r, "arena/x", 1)))
	check(".c is a chan", refusal(MapArena[struct{ c chan int }](r, "arena/x", 1)))
	check(".f is a func", refusal(MapArena[struct{ f func() }](r, "arena/x", 1)))
	check(".u is a unsafe.Pointer", refusal(MapArena[struct{ u unsafe.Pointer }](r, "arena/x", 1)))
	check("is not a size", refusal(MapArena[struct{}](r, "arena/x", 1)))
	check("is not a size", refusal(MapArena[[0]*int](r, "arena/x", 1)))
	check("is not a size", refusal(MapArena[uint64](r, "arena/x", 0)))
	check("is not a size", refusal(MapArena[uint64](r, "arena/x", -1)))
	check("is not a size", refusal(MapArena[uint64](r, "arena/x", math.MaxInt/4)))
	if r.Len() != 0 {
		t.Errorf("refused arenas left %v", r.Names())
	}
}

func TestPrivateMemoryIsZeroedAndGivenBack(t *testing.T) {
	ports, unmap, err := mapPrivate[exit](portCount)
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != portCount || cap(ports) != portCount {
		t.Errorf("%d elements with room for %d, want %d", len(ports), cap(ports), portCount)
	}
	if at := uintptr(unsafe.Pointer(&ports[0])); at%uintptr(unix.Getpagesize()) != 0 {
		t.Errorf("the memory begins at %#x, which is no page", at)
	}
	for _, i := range []int{0, 1, portCount / 2, portCount - 1} {
		if ports[i].socket.Load() != 0 || ports[i].lease != 0 || ports[i].dst != (Addr{}) {
			t.Errorf("element %d is not zero", i)
		}
		ports[i].lease = uint32(i)
	}
	if err := unmap(); err != nil {
		t.Error(err)
	}
	if err := unmap(); err == nil {
		t.Error("a second unmap gave no error")
	}
	if _, _, err := mapPrivate[exit](0); err == nil {
		t.Error("no elements gave no error")
	}
}
