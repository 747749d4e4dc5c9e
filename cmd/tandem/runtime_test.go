package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/internal/beside"
)

// TestEveryThreadMaySleepALittleLonger asks the kernel about the program as it is shipped: in one built with cgo, as tests may be, Go
// does not know all threads.
func TestEveryThreadMaySleepALittleLonger(t *testing.T) {
	const patience = 10 * time.Second
	dir := t.TempDir()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0") // a port that is free: a listener must name one
	check(t, err)
	check(t, socket.Close())
	file := filepath.Join(dir, "tandem.yaml")
	check(t, os.WriteFile(file, fmt.Appendf(nil, `
node: slack
control: {socket: %[1]s/relay.sock}
metrics: {relay: "off", sip: "off"}
media: {engine: sockets, networks: {local: {addresses: [127.0.0.1], ports: 41000-41099}}}
sip:
  socket: %[1]s/sip.sock
  listeners: {in: {transport: udp, address: "%[2]s"}}
trunks: {a: {listener: in, peer: "127.0.0.2:5060", network: local}}
`, dir, socket.LocalAddr()), 0o600))
	for _, plane := range []struct{ command, ready string }{{"relay", "relay ready"}, {"sip", "sip ready"}, {"run", "sip ready"}} {
		t.Run(plane.command, func(t *testing.T) {
			command := exec.Command(binary(t), plane.command, "-c", file)
			p := beside.Start(t, plane.command, command, patience, nil)
			p.Says(plane.ready)
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", command.Process.Pid))
			if err != nil || len(threads) == 0 {
				t.Fatalf("%d threads, %v", len(threads), err)
			}
			for _, thread := range threads {
				text, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
				if os.IsPermission(err) {
					t.Skip("to read another process's slack needs CAP_SYS_NICE")
				}
				if os.IsNotExist(err) {
					continue // it has ended
				}
				if got, _ := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || got != int(timerSlack) {
					t.Errorf("thread %s: slack %q, %v; want %d ns", filepath.Base(thread), text, err, timerSlack)
				}
			}
			p.Terminate()
		})
	}
}
