package topology

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/console"
)

// Where a node's things are on its host: the configurations name /run/tandem, which is each host's own.
const (
	configFile  = "tandem.yaml"
	recordsFile = "records.jsonl"
	relaySocket = "relay.sock"
	sipSocket   = "sip.sock"
)

// node is a tandem on a host.
type node struct {
	*process
	h *host
}

// config reads one of configs/.
func config(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("configs", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// edit replaces what must be there once.
func edit(t *testing.T, text, old, new string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("the configuration has %q %d times, not once:\n%s", old, strings.Count(text, old), text)
	}
	return strings.Replace(text, old, new, 1)
}

// tandem starts a tandem on the host as an operator would, and waits until its listeners answer and its planes know each
// other.
func (h *host) tandem(text string, flags ...string) *node {
	h.t.Helper()
	n := &node{h: h}
	h.write(configFile, text)
	n.process = h.start(h.run, "tandem", nil, tandem, append([]string{"run", "-c", "/run/tandem/" + configFile}, flags...)...)
	n.Says("sip ready")
	n.Says("relay connected")
	return n
}

// write puts a file into the host's /run/tandem, whole or not at all.
func (h *host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.run, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.t.Fatal(err)
	}
}

// sip is the address of the node's listener at a port.
func (n *node) sip(port uint16) netip.AddrPort { return netip.AddrPortFrom(n.h.addr, port) }

// ask calls a method of one of the node's sockets.
func (n *node) ask(socket, method string, params, result any) {
	n.T.Helper()
	p, err := json.Marshal(params)
	if err != nil {
		n.T.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := control.Raw(ctx, filepath.Join(n.h.run, socket), method, p)
	if err == nil {
		err = json.Unmarshal(answer, result)
	}
	if err != nil {
		n.T.Fatalf("%s: %s: %v", n.Name, method, err)
	}
}

// ctl runs tandem ctl beside the node, as an operator does, and returns what it printed.
func (n *node) ctl(args ...string) string {
	n.T.Helper()
	p := n.h.start(n.h.run, "tandem ctl", nil, tandem, append([]string{"ctl"}, args...)...)
	p.Finish()
	return p.Said()
}

// trunk is the state of one of the node's trunks.
func (n *node) trunk(name string) console.Trunk {
	n.T.Helper()
	var list console.TrunkList
	n.ask(sipSocket, console.MethodTrunks, console.List{Trunk: name}, &list)
	if len(list.Trunks) != 1 {
		n.T.Fatalf("%s: trunk %s: found %d", n.Name, name, len(list.Trunks))
	}
	return list.Trunks[0]
}

// calls are those that are not over.
func (n *node) calls() []b2bua.CallInfo {
	n.T.Helper()
	var list console.CallList
	n.ask(sipSocket, console.MethodCalls, console.List{}, &list)
	return list.Calls
}

// up waits until so many calls are answered.
func (n *node) up(want int) {
	n.T.Helper()
	await(n.T, "calls are up", func() bool {
		answered := slices.DeleteFunc(n.calls(), func(c b2bua.CallInfo) bool { return c.Phase != "answered" })
		return len(answered) == want
	})
}

// heardBoth waits until both peers of the node's only call have said so many packets.
func (n *node) heardBoth(least uint64) {
	n.T.Helper()
	await(n.T, "both sides of the call are heard", func() bool {
		var list control.ListResult
		n.ask(relaySocket, control.MethodList, control.List{}, &list)
		if len(list.Sessions) != 1 {
			return false
		}
		for _, leg := range list.Sessions[0].Streams[0].Legs {
			if leg.In.Packets < least {
				return false
			}
		}
		return true
	})
}

// records are the call records that the node has written so far.
func (n *node) records() (list []b2bua.CallRecord) {
	n.T.Helper()
	text, err := os.ReadFile(filepath.Join(n.h.run, recordsFile))
	if err != nil && !os.IsNotExist(err) {
		n.T.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r b2bua.CallRecord
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			n.T.Fatalf("%s: record %q: %v", n.Name, lines.Text(), err)
		}
		list = append(list, r)
	}
	return list
}

// record waits for the record of the call that a peer knows by a Call-ID.
func (n *node) record(callID string) (found b2bua.CallRecord) {
	n.T.Helper()
	return n.find("of "+callID, func(r *b2bua.CallRecord) bool { return r.CallIDA == callID })
}

// find waits for a record.
func (n *node) find(what string, which func(*b2bua.CallRecord) bool) (found b2bua.CallRecord) {
	n.T.Helper()
	await(n.T, n.Name+" writes the record "+what, func() bool {
		for _, found = range n.records() {
			if which(&found) {
				return true
			}
		}
		return false
	})
	return found
}

// settled waits until the node has no call left, and asserts that no packet is left uncounted and no call ended by a fault.
func (n *node) settled() {
	n.T.Helper()
	var s control.Stats
	await(n.T, n.Name+" has no call left", func() bool {
		n.ask(relaySocket, control.MethodStats, struct{}{}, &s)
		return len(n.calls()) == 0 && s.Sessions == 0
	})
	dropped := uint64(0)
	for _, count := range s.Drops {
		dropped += count
	}
	if s.Received != s.Forwarded+dropped {
		n.T.Errorf("%s: the relay received %d packets, but forwarded %d and dropped %d", n.Name, s.Received, s.Forwarded, dropped)
	}
	if strings.Contains(n.Said(), "ended by a fault") {
		n.T.Errorf("%s: a call ended by a fault in tandem", n.Name)
	}
}

// close ends a settled node as a service manager would. With peers that do not answer any more it takes its time.
func (n *node) close() {
	n.T.Helper()
	n.settled()
	n.Terminate()
}
