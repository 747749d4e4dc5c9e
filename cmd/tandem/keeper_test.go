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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	ebpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

func TestDevicesThatWaitForPollsArePutBackHoweverTheRelayEnds(t *testing.T) {
	for _, end := range []struct {
		name string
		by   syscall.Signal
	}{{"stopped", syscall.SIGTERM}, {"killed", syscall.SIGKILL}} {
		t.Run(end.name, func(t *testing.T) {
			index := polledDevice(t)
			former := napi(t, index)
			former.Defer, former.Flush = 3, 20*time.Microsecond // as its owner had set it
			check(t, former.Set())

			dir := t.TempDir()
			file := filepath.Join(dir, "t.yaml")
			check(t, os.WriteFile(file, fmt.Appendf(nil, `control: {socket: %q}
metrics: {relay: "off", sip: "off"}
media: {engine: funnel, workers: 1, poll: 200us, networks: {inside: {addresses: [198.18.11.1], ports: 30000-30099}}}
`, filepath.Join(dir, "relay.sock")), 0o600))
			relay := exec.Command(binary(t), "relay", "-c", file)
			said, err := relay.StderrPipe()
			check(t, err)
			check(t, relay.Start())
			t.Cleanup(func() { relay.Process.Kill() })
			lines := bufio.NewReader(said)
			var log strings.Builder
			for !strings.Contains(log.String(), "capabilities dropped") {
				line, err := lines.ReadString('\n')
				if log.WriteString(line); err != nil {
					t.Fatalf("%v:\n%s", err, &log)
				}
			}
			if got, want := napi(t, index), (nic.NAPI{ID: former.ID, Defer: 1, Flush: flushPerPoll * 200 * time.Microsecond}); got != want {
				t.Errorf("while the relay runs: %+v, want %+v", got, want)
			}
			check(t, relay.Process.Signal(end.by))
			rest, _ := io.ReadAll(lines) // until the keeper, which has the same standard error, has ended too
			_ = relay.Wait()
			if got := napi(t, index); got != former {
				t.Errorf("afterwards: %+v, want %+v\n%s", got, former, rest)
			}
		})
	}
}
