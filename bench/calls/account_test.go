package calls

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestAProgramsAccountHasItsChildren(t *testing.T) {
	// A shell with a child that burns CPU until it has been seen, in a session of its own.
	cmd := exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 1000' & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "done\n" {
		t.Fatalf("%q, %v", line, err)
	}
	children := childrenOf(cmd.Process.Pid)
	if len(children) != 1 {
		t.Fatalf("children %v, want one", children)
	}
	all := sessionOf(cmd.Process.Pid)
	if len(all) != 2 || !slices.Contains(all, cmd.Process.Pid) || !slices.Contains(all, children[0]) {
		t.Errorf("session %v of %d and %v", all, cmd.Process.Pid, children)
	}
	whole, err := SessionTime(cmd.Process.Pid)
	if err != nil || whole <= 0 {
		t.Errorf("run-time %v, %v", whole, err)
	}
	if memory, err := SessionMemory(cmd.Process.Pid); err != nil || memory == 0 {
		t.Errorf("memory %d, %v", memory, err)
	}
}

func TestANameWithParenthesesDoesNotShiftTheFields(t *testing.T) {
	rest, found := afterName("12 (a) b) (c) S 7 8 9 0\n")
	if !found || word(rest, 1) != "7" || word(rest, 3) != "9" {
		t.Errorf("%q, %v", rest, found)
	}
	if _, found := afterName("nothing"); found {
		t.Error("no name was found")
	}
}

func TestSharedMemoryIsReadAsItsShare(t *testing.T) {
	text := "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:  1234 kB\nPss_Dirty: 99 kB\n"
	if kb, err := proportional([]byte(text)); err != nil || kb != 1234 {
		t.Errorf("%d, %v", kb, err)
	}
	if _, err := proportional([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no line, no error")
	}
}

func TestOverflowsAreFoundByTheNameOfTheirColumn(t *testing.T) {
	table := "Ip: A B\nIp: 1 2\nUdp: InDatagrams RcvbufErrors X\nUdp: 10 4 9\nUdpLite: RcvbufErrors\nUdpLite: 7\n"
	if n, err := snmp(table, "Udp:", "RcvbufErrors"); err != nil || n != 4 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := snmp(strings.ReplaceAll(table, "RcvbufErrors", "Y"), "Udp:", "RcvbufErrors"); err == nil {
		t.Error("no column, no error")
	}
	if _, err := os.Stat("/proc/thread-self/net/snmp"); err == nil {
		if _, err := Overflows(); err != nil {
			t.Error(err)
		}
	}
}
