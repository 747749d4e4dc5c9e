package netio

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAKilledProcessLeavesNoProgramBehind has a child that opens the engine in this test's namespace and is killed.
func TestAKilledProcessLeavesNoProgramBehind(t *testing.T) {
	if os.Getenv(asChild) == "killed" {
		serveUntilKilled(t)
		return
	}
	p := newPlace(t)
	namespace, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer namespace.Close()
	self, err := os.Executable()
	must(t, err)
	child := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.count=1")
	child.Env = append(os.Environ(), asChild+"=killed")
	child.ExtraFiles = []*os.File{namespace} // descriptor 3
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "open\n" || !attached(t, p.near, nearDevice) {
		t.Errorf("the child said %q (%v), and a program is attached: %v", said, err, attached(t, p.near, nearDevice))
	}
	must(t, child.Process.Kill())
	_ = child.Wait() // "killed"
	eventually(t, "the program is gone", func() bool { return !attached(t, p.near, nearDevice) })
	e := openXDPTest(t, Options{})
	bounceUntil(t, e, p.peer(t, far4), bindPorts(t, e, 0, 0, 1)[0], XDP)
}

func serveUntilKilled(t *testing.T) {
	runtime.LockOSThread()
	must(t, unix.Setns(3, unix.CLONE_NEWNET))
	_, err := OpenXDP(Options{Addresses: []netip.Addr{near4}, Workers: 1})
	must(t, err)
	fmt.Println("open")
	select {}
}
