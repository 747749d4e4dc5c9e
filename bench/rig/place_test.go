package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience ends a test that waits for what never comes; nothing is measured by it.
const patience = 30 * time.Second

// role makes the test binary something else than tests when it is set in the environment.
const role = "TANDEM_RIG_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "holder":
		os.Exit(hold())
	case "echo":
		os.Exit(echo(os.Args[1]))
	}
	fmt.Fprintln(os.Stderr, "unknown role", os.Getenv(role))
	os.Exit(2)
}

// hold builds a place with a process in it, says so, and waits for its end.
func hold() int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	place, err := Build(ctx, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := place.Start(context.Background(), "sleep", []string{"1000"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("built", p.PID())
	<-ctx.Done()
	if err := place.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// echo sends datagrams back and says on what CPUs it may run.
func echo(at string) int {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		fmt.Println(err)
		return 1
	}
	for cpu := range 64 * len(set) {
		if set.IsSet(cpu) && set.Count() == 1 {
			fmt.Println("listening on CPU", cpu)
		}
	}
	for b := make([]byte, 2048); ; {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return 1
		}
		conn.WriteToUDPAddrPort(b[:n], from)
	}
}

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needRoot leaves a test out where no namespaces can be made.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		leaveOut(t, "network namespaces need root")
	}
	if runtime.NumCPU() < 2 {
		leaveOut(t, "a measurement needs two CPUs")
	}
}

func build(t *testing.T) *Place {
	t.Helper()
	needRoot(t)
	place, err := Build(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := place.Close(); err != nil {
			t.Error(err)
		}
	})
	return place
}

// await polls until ok, or fails the test.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// namespaces returns what exists of a process's place.
func namespaces(t *testing.T, pid int) (names []string) {
	t.Helper()
	for _, suffix := range []string{loadSuffix, relaySuffix} {
		name := fmt.Sprintf("%s%d%s", namePrefix, pid, suffix)
		if _, err := os.Lstat(filepath.Join(namedIn, name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

func TestClosingAPlaceRemovesNamespacesAndThreads(t *testing.T) {
	place := build(t)
	if n := namespaces(t, os.Getpid()); len(n) != 2 {
		t.Fatalf("while the place is there: namespaces %v", n)
	}
	process, err := place.Start(t.Context(), "sleep", []string{"1000"})
	if err != nil {
		t.Fatal(err)
	}
	if err := place.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-process.Done():
	default:
		t.Error("a process outlived its place")
	}
	if n := namespaces(t, os.Getpid()); len(n) != 0 {
		t.Errorf("after Close: namespaces %v", n)
	}
	if left, err := napiThreads(place.RelayDevice().Name); err != nil || len(left) != 0 {
		t.Errorf("after Close: NAPI threads %v, %v", left, err)
	}
	if err := place.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := place.InRelay(func() error { return nil }); !errors.Is(err, errGone) {
		t.Errorf("InRelay of a closed place: %v", err)
	}
	if _, err := place.Start(t.Context(), "sleep", []string{"1000"}); !errors.Is(err, errGone) {
		t.Errorf("Start in a closed place: %v", err)
	}
}

func TestWhatIsUnderTestGoesFirstUnderThePolicyThatWasAskedFor(t *testing.T) {
	needRoot(t)
	for calm, want := range map[bool]uint32{false: unix.SCHED_NORMAL, true: unix.SCHED_BATCH} {
		place, err := Build(context.Background(), Options{Calm: calm})
		if err != nil {
			t.Fatal(err)
		}
		process, err := place.Start(t.Context(), "sleep", []string{"1000"})
		if err != nil {
			t.Fatal(errors.Join(err, place.Close()))
		}
		if place.NoHalt() && !calm {
			t.Error("CPUs do not halt though nobody asked for it")
		}
		for what, tids := range map[string][]int{"the program": {process.PID()}, "the receive thread": place.relay.napi} {
			for _, tid := range tids {
				if a, err := unix.SchedGetAttr(tid, 0); err != nil || a.Policy != want || a.Nice != precedence {
					t.Errorf("calm %t: %s has policy %d, nice %d, want %d, %d; %v", calm, what, a.Policy, a.Nice, want, precedence, err)
				}
			}
		}
		if err := place.InRelay(func() error {
			if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Policy != unix.SCHED_NORMAL || a.Nice != 0 {
				return fmt.Errorf("the thread that starts programs is left with policy %d, nice %d: %w", a.Policy, a.Nice, err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if a, err := unix.SchedGetAttr(place.load.napi[0], 0); err != nil || (a.Policy == unix.SCHED_FIFO) == calm {
			t.Errorf("calm %t: the load's receive thread has policy %d; %v", calm, a.Policy, err)
		}
		if err := place.Close(); err != nil {
			t.Error(err)
		}
		if place.latency != nil && place.latency.Close() == nil {
			t.Error("CPUs do not halt after Close")
		}
	}
}

func TestThePlaceGoesWithItsContext(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	place, err := Build(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	await(t, "no namespaces after the context ended", func() bool { return len(namespaces(t, os.Getpid())) == 0 })
	if err := place.Close(); err != nil {
		t.Error(err)
	}
}

// holder starts this test binary as one that holds a place.
func holder(t *testing.T) (cmd *exec.Cmd, child int) {
	t.Helper()
	needRoot(t)
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"=holder")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "built %d", &child); err != nil || scanErr != nil {
		t.Fatalf("the holder said %q (%v)", line, err)
	}
	if n := namespaces(t, cmd.Process.Pid); len(n) != 2 {
		t.Fatalf("the holder has namespaces %v", n)
	}
	return cmd, child
}

func gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func TestAnotherProcesssPlaceIsANeighbour(t *testing.T) {
	place := build(t)
	cmd, _ := holder(t)
	others, err := place.Neighbours()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range namespaces(t, cmd.Process.Pid) {
		if !slices.Contains(others, name) {
			t.Errorf("%s is not among %v", name, others)
		}
	}
	for _, name := range namespaces(t, os.Getpid()) {
		if slices.Contains(others, name) {
			t.Errorf("our own %s is among %v", name, others)
		}
	}
}

func TestASignalRemovesThePlace(t *testing.T) {
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			cmd, child := holder(t)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("the holder: %v", err)
			}
			if n := namespaces(t, cmd.Process.Pid); len(n) != 0 {
				t.Errorf("left behind: %v", n)
			}
			if !gone(child) {
				t.Error("its process lives on")
			}
		})
	}
}

func TestTheNextPlaceRemovesWhatAKilledOneLeft(t *testing.T) {
	cmd, child := holder(t)
	pid := cmd.Process.Pid
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	await(t, "the process of a killed holder dies with it", func() bool { return gone(child) })
	build(t)
	if n := namespaces(t, pid); len(n) != 0 {
		t.Errorf("still there: %v", n)
	}
}

func TestOnlyOurNamespacesAreStale(t *testing.T) {
	for name, want := range map[string]int{
		"td-17-load": 17, "td-17-relay": 17, "td-4194304-relay": 4194304,
		"td-17": 0, "td-17-other": 0, "td--load": 0, "td-0-load": 0, "td-+5-load": 0, "td-05-load": 0, "td-1x-load": 0,
		"xtd-17-load": 0, "td-17-load-relay": 0, "": 0,
	} {
		if pid, ours := owner(name); ours != (want != 0) || ours && pid != want {
			t.Errorf("owner(%q) = %d, %v", name, pid, ours)
		}
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	needRoot(t)
	for want, o := range map[string]Options{
		"both on CPU 1": {RelayCPU: 1, LoadCPU: 1},
		"201 addresses": {RelayAddresses: 201},
		"-1 addresses":  {PeerAddresses: -1},
		"pin to CPU":    {RelayCPU: 1000},
	} {
		place, err := Build(t.Context(), o)
		if err == nil {
			place.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
		if n := namespaces(t, os.Getpid()); len(n) != 0 {
			t.Errorf("%+v leaves %v", o, n)
		}
	}
}

func TestAddressesOfBothFamiliesWork(t *testing.T) {
	place := build(t)
	relays, peers := place.RelayAddresses(), place.PeerAddresses()
	if len(relays) != 2*defaultRelay || len(peers) != 2*defaultPeers {
		t.Fatalf("relay %v, peers %v", relays, peers)
	}
	if slices.ContainsFunc(relays, func(a netip.Addr) bool { return slices.Contains(peers, a) }) {
		t.Fatal("an address is on both sides")
	}
	for i := range relays {
		pingPong(t, place, netip.AddrPortFrom(relays[i], 4000), netip.AddrPortFrom(peers[i], 5000), 1)
	}
}

// pingPong starts an echo at the relay's address and gets n datagrams back, one after the other.
func pingPong(t *testing.T, place *Place, relay, peer netip.AddrPort, n int) *Process {
	t.Helper()
	process, err := place.Start(t.Context(), os.Args[0], []string{relay.String()}, role+"=echo")
	if err != nil {
		t.Fatal(err)
	}
	says := fmt.Sprintf("listening on CPU %d\n", place.RelayCPU())
	await(t, "the echo says "+says, func() bool { return process.Output() == says })
	var conn *net.UDPConn
	err = place.InLoad(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(peer), net.UDPAddrFromAddrPort(relay))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for range n {
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.Read(make([]byte, 10)); err != nil || got != 4 {
			t.Fatalf("%s to %s: %d bytes, %v", peer, relay, got, err)
		}
	}
	return process
}
