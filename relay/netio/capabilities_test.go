package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// asChild is set in the environment of a test binary that runs one test as a child process of itself, because what the test
// does cannot be undone. Its value says what is tested.
const asChild = "TANDEM_TEST_CHILD"

// TestTheEnginesWorkWithoutCapabilities drops all capabilities of a process and then asks everything of its engine. The
// process is this test, built without cgo as the product is.
func TestTheEnginesWorkWithoutCapabilities(t *testing.T) {
	which := os.Getenv(asChild)
	if which == "" {
		if missing := MissingCapabilities(); len(missing) > 0 {
			leaveOut(t, fmt.Sprintf("the engines need %v", missing))
		}
		binary := build(t, "CGO_ENABLED=0")
		for _, k := range kinds {
			runAsChild(t, binary, k.name)
		}
		return
	}
	k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == which })]
	p := newPlace(t)
	e := k.open(t, Options{Workers: 2})
	early := bindPorts(t, e, 0, 0, 1)[0]
	bounce(t, e, p.peer(t, far4), early, "before")
	must(t, DropCapabilities())
	checkDropped(t)
	if _, err := OpenFunnel(Options{Addresses: []netip.Addr{near4}, Workers: 1}); err == nil ||
		!strings.Contains(err.Error(), "lacks CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW") {
		t.Errorf("open without capabilities: %v, want an error that names them", err)
	}
	for _, f := range placeFamilies {
		peer := p.peer(t, f.far)
		l := bindPorts(t, e, 0, f.slot, 1)[0]
		must(t, e.SetDSCP(l, 46))
		bounceUntil(t, e, peer, l, k.best) // a destination that was first asked for without capabilities
		e.Unbind(l)
		must(t, e.Bind(1, l))
		write(t, peer, e.address(l), "for the other worker")
		var b Batch
		if k.best == XDP {
			must(t, e.Queue(0).Recv(&b, patienceForTests)) // which has the only queue
		}
		recv(t, e.Queue(1), &b)
		e.Unbind(l)
		bounceUntil(t, e, openPeer(t, f.near), bindPorts(t, e, 0, f.slot, 1)[0], SocketLocal)
	}
	if e.Steered() == 0 {
		t.Error("the counter of steered datagrams cannot be read")
	}
}

// checkDropped reads what the kernel says of every thread of the process.
func checkDropped(t *testing.T) {
	t.Helper()
	if missing := MissingCapabilities(); !slices.Equal(missing, []string{"CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"}) {
		t.Errorf("missing after the drop: %v", missing)
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) {
			continue // it ended meanwhile
		}
		must(t, err)
		for _, line := range []string{
			"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000",
			"NoNewPrivs:\t1",
		} {
			if !strings.Contains(string(status), line+"\n") {
				t.Errorf("%s does not say %q", thread, line)
			}
		}
	}
}

// TestDropCapabilitiesWithCgoChangesNothingAndSaysSo runs in a child, for the case that it does change something.
func TestDropCapabilitiesWithCgoChangesNothingAndSaysSo(t *testing.T) {
	if os.Getenv(asChild) == "" {
		if !usesCgo(t) {
			leaveOut(t, "this test is built without cgo: set CGO_ENABLED=1 and install a C compiler")
		}
		self, err := os.Executable()
		must(t, err)
		runAsChild(t, self, "cgo")
		return
	}
	before := MissingCapabilities()
	if err := DropCapabilities(); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("%v, want an error that says how to build", err)
	}
	if after := MissingCapabilities(); !slices.Equal(before, after) {
		t.Errorf("missing before %v, after %v", before, after)
	}
	status, err := os.ReadFile("/proc/thread-self/status")
	must(t, err)
	if !strings.Contains(string(status), "NoNewPrivs:\t0\n") {
		t.Error("no new privileges are allowed, although nothing was to change")
	}
}

// usesCgo tells how this test was built.
func usesCgo(t *testing.T) bool {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the test does not know how it was built")
	}
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"})
}

// runAsChild runs the test that calls it once more, in a process of its own.
func runAsChild(t *testing.T, binary, which string) {
	t.Helper()
	command := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	command.Env = append(os.Environ(), asChild+"="+which)
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("the child %s: %v\n%s", which, err, out)
	}
}

// build builds the tests of this package once more.
func build(t *testing.T, environment string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "child")
	command := exec.Command("go", "test", "-c", "-o", binary, ".")
	command.Env = append(os.Environ(), environment)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build with %s: %v\n%s", environment, err, out)
	}
	return binary
}
