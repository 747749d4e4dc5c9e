package hop

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"
)

// fakeKernel answers from maps and counts the questions.
type fakeKernel struct {
	routes     map[netip.Addr]route // by destination; one that is missing is unreachable
	devices    map[int32]device
	neighbours map[neighbourKey]neighbourState
	set        map[uint32]policy
	block      bool
	refuse     bool // to list policies

	asked map[netip.Addr]int // destinations of route questions
}

var errNone = errors.New("no such thing")

func (k *fakeKernel) route(_, dst netip.Addr) (route, error) {
	if k.asked == nil {
		k.asked = make(map[netip.Addr]int)
	}
	k.asked[dst]++
	if r, ok := k.routes[dst]; ok {
		return r, nil
	}
	return route{}, errNone
}

func (k *fakeKernel) device(index int32) (device, error) {
	if d, ok := k.devices[index]; ok {
		return d, nil
	}
	return device{}, errNone
}

func (k *fakeKernel) neighbour(key neighbourKey) (neighbourState, error) {
	if s, ok := k.neighbours[key]; ok {
		return s, nil
	}
	return neighbourState{}, errNone
}

func (k *fakeKernel) policies() (map[uint32]policy, bool, error) {
	if k.refuse {
		return nil, false, errNone
	}
	return k.set, k.block, nil
}

var (
	ourMAC   = [6]byte{2, 0, 0, 0, 0, 1}
	theirMAC = [6]byte{2, 0, 0, 0, 0, 2}

	us      = netip.MustParseAddr("198.18.0.1")
	us6     = netip.MustParseAddr("2001:db8::1")
	gateway = netip.MustParseAddr("198.18.0.2")
	peer    = netip.MustParseAddr("198.19.0.7")
	other   = netip.MustParseAddr("198.19.1.8")
)

const eth0 = int32(2)

var discard = slog.New(slog.DiscardHandler)

// newFakeKernel knows one Ethernet, a gateway on it, and routes to peer and other over the gateway.
func newFakeKernel() *fakeKernel {
	overGateway := route{kind: routeLink, device: eth0, gateway: gateway}
	return &fakeKernel{
		routes:     map[netip.Addr]route{peer: overGateway, other: overGateway, gateway: {kind: routeLink, device: eth0}},
		devices:    map[int32]device{eth0: {up: true, ethernet: true, mac: ourMAC, mtu: 1500}},
		neighbours: map[neighbourKey]neighbourState{{eth0, gateway}: {usable: true, mac: theirMAC}},
	}
}

// newTestTable returns a table whose resolver runs only when the test says so.
func newTestTable(k asker) *Table {
	return newTable(Options{Addresses: []netip.Addr{us, us6}}, k, discard)
}

// settled lets the resolver do what a Find asked it to do.
func (t *Table) settled() {
	var pending [maxPending]destination
	for _, d := range pending[:t.take(&pending)] {
		t.resolver.admit(d)
	}
}

// sweep makes the pass that is due.
func (t *Table) sweep() {
	for t.resolver.begin(); t.resolver.pass.cursor > 0; {
		t.resolver.slice()
	}
}

// must returns the Ref of a destination, which the resolver may still have to learn.
func must(t *testing.T, table *Table, slot int, dst netip.Addr) Ref {
	t.Helper()
	ip := dst.As16()
	r, ok := table.Find(slot, &ip)
	if !ok {
		table.settled()
		if r, ok = table.Find(slot, &ip); !ok {
			t.Fatalf("%s is not found after the resolver was asked", dst)
		}
	}
	return r
}

func read(table *Table, r Ref) Hop {
	var h Hop
	table.Read(r, &h)
	return h
}
