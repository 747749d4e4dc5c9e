package hop

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

func TestLostRouteEventsAreMadeUpFor(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	r := must(t, table, 0, peer)
	d := k.devices[eth0]
	d.mac = [6]byte{2, 7}
	k.devices[eth0] = d
	k.neighbours[neighbourKey{eth0, gateway}] = neighbourState{usable: true, mac: [6]byte{2, 8}}
	table.resolver.hear([]event{{kind: routesLost}})
	table.sweep()
	if h := read(table, r); h.SrcMAC != [6]byte{2, 7} || h.DstMAC != [6]byte{2, 8} {
		t.Errorf("%+v after a resync; want the new addresses", h)
	}
	if s := table.Stats(); s.Resyncs != 1 {
		t.Errorf("%d resyncs; want 1", s.Resyncs)
	}
}

func TestPolicyThatAppearsIsObeyedAtOnceAndReleasedByAPass(t *testing.T) {
	table := newTestTable(newFakeKernel())
	inside, outside := must(t, table, 0, peer), must(t, table, 0, other)
	p := policy{src: netip.MustParsePrefix("198.18.0.0/24"), dst: netip.MustParsePrefix("198.19.0.0/24")}
	table.resolver.hear([]event{{kind: policyChanged, policy: policyEvent{kind: policySet, index: 9, policy: p}}})
	if h := read(table, inside); h.State != Policy {
		t.Errorf("%+v; want policy before any pass", h)
	}
	table.sweep()
	if h := read(table, outside); h.State != Ready {
		t.Errorf("%+v outside of the policy; want ready", h)
	}
	table.resolver.hear([]event{{kind: policyChanged, policy: policyEvent{kind: policyGone, index: 9}}})
	table.sweep()
	if h := read(table, inside); h.State != Ready {
		t.Errorf("%+v after the policy has gone; want ready", h)
	}
	table.resolver.hear([]event{{kind: policyChanged, policy: policyEvent{kind: policyDefault, block: true}}})
	if h := read(table, outside); h.State != Policy {
		t.Errorf("%+v while the default is to block; want policy", h)
	}
}

func TestLostPolicyEventsAreListedAgain(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	r := must(t, table, 0, peer)
	k.set = map[uint32]policy{1: {}}
	table.resolver.hear([]event{{kind: policiesLost}})
	if h := read(table, r); h.State != Policy {
		t.Errorf("%+v; want policy", h)
	}
}

func TestPoliciesThatCannotBeListedAgainAreTakenForGrantedAndLoggedOnce(t *testing.T) {
	k := newFakeKernel()
	var log bytes.Buffer
	table := newTable(Options{Addresses: []netip.Addr{us}}, k, slog.New(slog.NewTextHandler(&log, nil)))
	r := must(t, table, 0, peer)
	k.refuse = true
	for range 3 {
		table.resolver.hear([]event{{kind: policiesLost}})
	}
	table.sweep()
	if a, b := read(table, r), read(table, must(t, table, 0, other)); a.State != Policy || b.State != Policy {
		t.Errorf("%+v, %+v; want policy for old and new destinations", a, b)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("logged %d lines; want 1:\n%s", n, &log)
	}
}

func TestWithoutEventsNothingIsReady(t *testing.T) {
	table := newTestTable(newFakeKernel())
	r := must(t, table, 0, peer)
	table.resolver.hear([]event{{kind: ended, err: errors.New("gone")}})
	if a, b := read(table, r), read(table, must(t, table, 0, other)); a.State != Unresolved || b.State != Unresolved {
		t.Errorf("%+v, %+v; want unresolved", a, b)
	}
}
