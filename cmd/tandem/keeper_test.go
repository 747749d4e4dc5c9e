package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	ebpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/config"
	"tandem/relay/netio/nic"
)

// polledDevice makes a device with an address and a NAPI, in a network namespace of the test's own thread.
func polledDevice(t *testing.T) (index int) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip("a network namespace needs CAP_SYS_ADMIN")
	}
	device := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "td-keep", TxQLen: -1, NumRxQueues: 1, NumTxQueues: 1}, PeerName: "td-keep-far"}
	loopback, err := netlink.LinkByName("lo")
	check(t, err)
	check(t, netlink.LinkAdd(device))
	check(t, netlink.AddrAdd(device, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 18, 11, 1), Mask: net.CIDRMask(24, 32)}}))
	for _, l := range []netlink.Link{loopback, device} {
		check(t, netlink.LinkSetUp(l))
	}
	link, err := netlink.LinkByName("td-keep")
	check(t, err)
	passAll(t, link.Attrs().Index)
	return link.Attrs().Index
}

// passAll attaches an XDP program that changes nothing: without one a veth pair has no NAPI.
func passAll(t *testing.T, index int) {
	t.Helper()
	const pass = 2 // XDP_PASS of linux/bpf.h
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()}})
	check(t, err)
	attached, err := ebpflink.AttachXDP(ebpflink.XDPOptions{Program: program, Interface: index})
	check(t, err)
	t.Cleanup(func() { attached.Close(); program.Close() })
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// napi returns the device's only one.
func napi(t *testing.T, index int) nic.NAPI {
	t.Helper()
	found, err := nic.NAPIs(index)
	check(t, err)
	if len(found) != 1 {
		t.Fatalf("%d NAPIs", len(found))
	}
	return found[0]
}

// polling is a relay that makes the device of polledDevice wait for polls.
type polling struct {
	*exec.Cmd
	poll time.Duration
	said *bufio.Reader
	log  strings.Builder
}

// startPolling returns when the relay is set up.
func startPolling(t *testing.T, poll time.Duration) *polling {
	t.Helper()
	r := beginPolling(t, poll)
	r.await(t, "capabilities dropped")
	return r
}

// beginPolling starts a relay, each with a socket of its own.
func beginPolling(t *testing.T, poll time.Duration) *polling {
	t.Helper()
	return beginPollingWith(t, config.EngineFunnel, poll)
}

func beginPollingWith(t *testing.T, engine string, poll time.Duration) *polling {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "t.yaml")
	check(t, os.WriteFile(file, fmt.Appendf(nil, `control: {socket: %q}
metrics: {relay: "off", sip: "off"}
media: {engine: %s, workers: 1, poll: %s, networks: {inside: {addresses: [198.18.11.1], ports: 30000-30099}}}
`, filepath.Join(dir, "relay.sock"), engine, poll), 0o600))
	r := &polling{Cmd: exec.Command(binary(t), "relay", "-c", file), poll: poll}
	said, err := r.StderrPipe()
	check(t, err)
	r.said = bufio.NewReader(said)
	check(t, r.Start())
	t.Cleanup(func() { r.Process.Kill() })
	return r
}

// await returns when the relay, or its keeper, has said so.
func (r *polling) await(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(r.log.String(), text) {
		line, err := r.said.ReadString('\n')
		if r.log.WriteString(line); err != nil {
			t.Fatalf("%v:\n%s", err, &r.log)
		}
	}
}

// end ends the relay and waits until its keeper, which has the same standard error, has ended too.
func (r *polling) end(t *testing.T, by syscall.Signal) {
	t.Helper()
	check(t, r.Process.Signal(by))
	rest, _ := io.ReadAll(r.said)
	r.log.Write(rest)
	_ = r.Wait()
}

// keeper returns the relay's only child.
func (r *polling) keeper(t *testing.T) *os.Process {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", r.Process.Pid))
	check(t, err)
	var children []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		check(t, err)
		children = append(children, strings.Fields(string(text))...)
	}
	if len(children) != 1 {
		t.Fatalf("children %v, want one", children)
	}
	pid, err := strconv.Atoi(children[0])
	check(t, err)
	p, err := os.FindProcess(pid)
	check(t, err)
	return p
}

// waits is how the device waits while the relay runs.
func (r *polling) waits(former nic.NAPI) nic.NAPI {
	return nic.NAPI{ID: former.ID, Defer: 1, Flush: min(flushPerPoll*r.poll, r.poll+mostFlushBeyond)}
}

// owned makes the device wait as its owner wants it to, and returns that.
func owned(t *testing.T, index int) nic.NAPI {
	t.Helper()
	former := napi(t, index)
	former.Defer, former.Flush = 3, 20*time.Microsecond
	check(t, former.Set())
	return former
}

// Who looks at sockets only polls no device: it delivers as often as the worker looks.
func TestADeviceDeliversForTheSocketsEngineEveryPoll(t *testing.T) {
	index := polledDevice(t)
	former := owned(t, index)
	const poll = 200 * time.Microsecond
	relay := beginPollingWith(t, config.EngineSockets, poll)
	relay.await(t, "device waits to be polled")
	if got, want := napi(t, index), (nic.NAPI{ID: former.ID, Defer: 1, Flush: poll}); got != want {
		t.Errorf("while the relay runs: %+v, want %+v", got, want)
	}
	relay.end(t, syscall.SIGTERM)
	if got := napi(t, index); got != former {
		t.Errorf("afterwards: %+v, want %+v\n%s", got, former, &relay.log)
	}
}

func TestDevicesThatWaitForPollsArePutBackHoweverTheRelayEnds(t *testing.T) {
	for _, end := range []struct {
		name string
		by   syscall.Signal
		poll time.Duration
	}{{"stopped", syscall.SIGTERM, 200 * time.Microsecond}, {"killed", syscall.SIGKILL, 200 * time.Microsecond}, {"of long naps", syscall.SIGTERM, 10 * time.Millisecond}} {
		t.Run(end.name, func(t *testing.T) {
			index := polledDevice(t)
			former := owned(t, index)
			relay := startPolling(t, end.poll)
			if got, want := napi(t, index), relay.waits(former); got != want {
				t.Errorf("while the relay runs: %+v, want %+v", got, want)
			}
			check(t, relay.keeper(t).Signal(syscall.SIGTERM)) // as who stops the whole service does
			relay.end(t, end.by)
			if got := napi(t, index); got != former {
				t.Errorf("afterwards: %+v, want %+v\n%s", got, former, &relay.log)
			}
		})
	}
}

func TestASecondRelayLeavesTheDeviceOfTheFirstAlone(t *testing.T) {
	for _, c := range []struct {
		name       string
		firstEnds  bool
		first, sec time.Duration
	}{{"the first ends first", true, 200 * time.Microsecond, 500 * time.Microsecond}, {"the second ends first", false, 200 * time.Microsecond, 200 * time.Microsecond}} {
		t.Run(c.name, func(t *testing.T) {
			index := polledDevice(t)
			former := owned(t, index)
			first, second := startPolling(t, c.first), startPolling(t, c.sec)
			if !strings.Contains(second.log.String(), "another relay has set") {
				t.Errorf("the second does not say so:\n%s", &second.log)
			}
			if got, want := napi(t, index), first.waits(former); got != want {
				t.Errorf("with both: %+v, want %+v", got, want)
			}
			order := []*polling{first, second}
			if !c.firstEnds {
				order = []*polling{second, first}
			}
			for _, r := range order {
				r.end(t, syscall.SIGTERM)
			}
			if got := napi(t, index); got != former {
				t.Errorf("afterwards: %+v, want %+v", got, former)
			}
		})
	}
}

func TestARelayThatStartsWhileItsPredecessorsKeeperIsAtWorkFindsTheFormerState(t *testing.T) {
	index := polledDevice(t)
	former := owned(t, index)
	first := startPolling(t, 200*time.Microsecond)
	keeper := first.keeper(t)
	check(t, keeper.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { keeper.Signal(syscall.SIGCONT) })
	check(t, first.Process.Kill())
	second := beginPolling(t, 500*time.Microsecond)
	second.await(t, "funnel receive buffer") // the engine is open: devices come next
	check(t, keeper.Signal(syscall.SIGCONT))
	second.await(t, "capabilities dropped")
	if got, want := napi(t, index), second.waits(former); got != want {
		t.Errorf("while the second runs: %+v, want %+v\n%s", got, want, &second.log)
	}
	second.end(t, syscall.SIGTERM)
	if got := napi(t, index); got != former {
		t.Errorf("afterwards: %+v, want %+v", got, former)
	}
	first.end(t, syscall.SIGKILL)
}

func TestWhoeverSetsAPolledDeviceAnewKeepsThat(t *testing.T) {
	index := polledDevice(t)
	owned(t, index)
	relay := startPolling(t, 200*time.Microsecond)
	anew := napi(t, index)
	anew.Defer, anew.Flush = 7, time.Millisecond/2
	check(t, anew.Set())
	relay.end(t, syscall.SIGTERM)
	if got := napi(t, index); got != anew {
		t.Errorf("afterwards: %+v, want %+v", got, anew)
	}
}

func TestADeviceThatIsGoneNeedsNothing(t *testing.T) {
	polledDevice(t)
	relay := startPolling(t, 200*time.Microsecond)
	link, err := netlink.LinkByName("td-keep")
	check(t, err)
	check(t, netlink.LinkDel(link))
	relay.end(t, syscall.SIGTERM)
	if !relay.ProcessState.Success() {
		t.Errorf("%v\n%s", relay.ProcessState, &relay.log)
	}
}

func TestTheEndOfTheKeeperIsTold(t *testing.T) {
	polledDevice(t)
	relay := startPolling(t, 200*time.Microsecond)
	check(t, relay.keeper(t).Kill())
	relay.await(t, "what puts the devices back when the relay ends is gone")
	relay.end(t, syscall.SIGTERM)
	if relay.ProcessState.Success() {
		t.Error("the relay ends as if it had put the devices back")
	}
}

func TestTheKeeperHasNothingButWhatItNeeds(t *testing.T) {
	polledDevice(t)
	relay := startPolling(t, 200*time.Microsecond)
	pid := relay.keeper(t).Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	if want := fmt.Sprintf("CapEff:\t%016x\n", 1<<unix.CAP_NET_ADMIN); !strings.Contains(string(status), want) {
		t.Errorf("capabilities are not %q:\n%s", want, status)
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	check(t, err)
	if len(environment) > 0 {
		t.Errorf("environment %q", environment)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	check(t, err)
	sockets := 0
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		check(t, err)
		switch {
		case strings.HasPrefix(to, "socket:"):
			sockets++ // the claim to the device
		case strings.Contains(to, "bpf"), strings.Contains(to, "packet"):
			t.Errorf("%s is %s", fd, to)
		}
	}
	if sockets != 1 {
		t.Errorf("%d sockets among %d descriptors, want the claim only", sockets, len(fds))
	}
}

func TestAKeeperThatCannotPutBackSaysSoBeforeAnythingIsChanged(t *testing.T) {
	polledDevice(t)
	for _, c := range []struct{ name, state, want string }{
		{"no state", "", "relay's own use"},
		{"half of it", `[{"Name":"td-keep","Ind`, "relay's own use"},
		{"a NAPI that is not there", `[{"Name":"td-keep","Index":2,"Former":[{"ID":1073741824}]}]`, "device td-keep: set NAPI 1073741824"},
	} {
		child := exec.Command(binary(t), "keep-devices")
		child.Stdin = strings.NewReader(c.state)
		var said, faults strings.Builder
		child.Stdout, child.Stderr = &said, &faults
		if err := child.Run(); err == nil || said.String() == keeperReady || !strings.Contains(faults.String(), c.want) {
			t.Errorf("%s: %v, %q, %q", c.name, err, &said, &faults)
		}
	}
}
