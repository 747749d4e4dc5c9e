package hop

import (
	"net/netip"
	"testing"
	"time"
)

func TestStateSaysWhyADestinationHasNoFrames(t *testing.T) {
	k := newFakeKernel()
	at := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	k.devices[3] = device{up: true, mtu: 1500}                                // a tunnel
	k.devices[4] = device{up: false, ethernet: true, mac: ourMAC, mtu: 1500}  // no link
	k.devices[5] = device{up: true, ethernet: true, mac: theirMAC, mtu: 9000} // another Ethernet
	k.neighbours[neighbourKey{5, at("fe80::1")}] = neighbourState{usable: true, mac: ourMAC}
	k.neighbours[neighbourKey{4, at("10.0.0.4")}] = neighbourState{usable: true, mac: theirMAC}
	k.routes[at("10.0.0.1")] = route{kind: routeLocal}
	k.routes[at("10.0.0.2")] = route{kind: routeNone}
	k.routes[at("10.0.0.3")] = route{kind: routeLink, device: 3}
	k.routes[at("10.0.0.4")] = route{kind: routeLink, device: 4}
	k.routes[at("10.0.0.5")] = route{kind: routeLink, device: eth0} // its neighbour has not answered
	k.routes[at("10.0.0.6")] = route{kind: routeLink, device: eth0, gateway: gateway, encapsulates: true}
	k.routes[at("10.0.0.7")] = route{kind: routeLink, device: eth0, gateway: gateway, mtu: 1280}
	k.routes[at("10.0.0.8")] = route{kind: routeLink, device: 5, gateway: at("fe80::1")}
	k.routes[at("10.0.0.9")] = route{kind: routeLink, device: 99}
	k.routes[at("10.0.0.10")] = route{kind: routeLink, device: eth0, gateway: gateway, mtu: 9000}
	k.set = map[uint32]policy{8: {dst: netip.MustParsePrefix("10.9.0.0/16")}}
	table := newTestTable(k)
	if err := table.resolver.readPolicies(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dst  string
		want Hop
	}{
		{"198.19.0.7", Hop{Ready, eth0, 1500, ourMAC, theirMAC}},
		{"198.18.0.2", Hop{Ready, eth0, 1500, ourMAC, theirMAC}}, // the gateway itself, on the link
		{"10.0.0.1", Hop{State: Local}},
		{"10.0.0.2", Hop{}},
		{"10.0.0.3", Hop{State: Device}},
		{"10.0.0.4", Hop{}},
		{"10.0.0.5", Hop{}},
		{"10.0.0.6", Hop{State: Device}},
		{"10.0.0.7", Hop{Ready, eth0, 1280, ourMAC, theirMAC}},
		{"10.0.0.8", Hop{Ready, 5, 9000, theirMAC, ourMAC}},
		{"10.0.0.9", Hop{}},
		{"10.0.0.10", Hop{Ready, eth0, 1500, ourMAC, theirMAC}},
		{"10.0.0.99", Hop{}}, // unreachable
		{"10.9.8.7", Hop{State: Policy}},
		{"239.1.2.3", Hop{State: Local}},
		{"2001:db8::9", Hop{}}, // slot 0 is IPv4
	} {
		if h := read(table, must(t, table, 0, at(c.dst))); h != c.want {
			t.Errorf("%s: %+v; want %+v", c.dst, h, c.want)
		}
	}
	want := Stats{Hops: [States]int{Unresolved: 6, Ready: 5, Local: 2, Device: 2, Policy: 1}, Resolutions: 16}
	if s := table.Stats(); s != want {
		t.Errorf("%+v; want %+v", s, want)
	}
}

func TestAddressThatIsConfiguredForUDPAsksNothing(t *testing.T) {
	k := newFakeKernel()
	table := newTable(Options{Addresses: []netip.Addr{us, us}, UDP: []bool{false, true}}, k, discard)
	if h := read(table, must(t, table, 1, peer)); h.State != Configured {
		t.Errorf("%+v; want configured", h)
	}
	if k.asked[peer] != 0 {
		t.Error("the route was asked for")
	}
	if h := read(table, must(t, table, 0, peer)); h.State != Ready {
		t.Errorf("the other address: %+v; want ready", h)
	}
}

func TestSlotThatDoesNotExistHasNoHop(t *testing.T) {
	table := newTestTable(newFakeKernel())
	ip := peer.As16()
	for _, slot := range []int{-1, 2} {
		table.Find(slot, &ip)
		table.settled()
		if _, ok := table.Find(slot, &ip); ok {
			t.Errorf("slot %d has a hop", slot)
		}
	}
}

func TestNeighbourEventChangesAllHopsOfTheGatewayWithOneQuestion(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	a, b := must(t, table, 0, peer), must(t, table, 0, other)
	key := neighbourKey{eth0, gateway}
	k.neighbours[key] = neighbourState{usable: true, mac: [6]byte{2, 9}}
	questions := table.Stats().Resolutions
	table.resolver.hear([]event{{kind: neighbourChanged, neighbour: key}})
	for _, r := range []Ref{a, b} {
		if h := read(table, r); h.DstMAC != [6]byte{2, 9} {
			t.Errorf("%+v; want the new address", h)
		}
	}
	delete(k.neighbours, key)
	table.resolver.hear([]event{{kind: neighbourChanged, neighbour: key}})
	if h := read(table, a); h.State != Unresolved {
		t.Errorf("%+v without its neighbour; want unresolved", h)
	}
	if table.Stats().Resolutions != questions {
		t.Error("a neighbour's event had routes looked up")
	}
}

func TestLinkThatGoesDownMakesItsHopsUnresolvedAtOnce(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	r := must(t, table, 0, peer)
	down := k.devices[eth0]
	down.up = false
	up := k.devices[eth0]
	k.devices[eth0] = down
	table.resolver.hear([]event{{kind: linkChanged, link: eth0, device: down}})
	if h := read(table, r); h.State != Unresolved {
		t.Fatalf("%+v; want unresolved before any pass", h)
	}
	k.devices[eth0] = up
	table.resolver.hear([]event{{kind: linkChanged, link: eth0, device: up}})
	table.sweep()
	if h := read(table, r); h.State != Ready {
		t.Errorf("%+v after the link came back; want ready", h)
	}
	delete(k.devices, eth0)
	table.resolver.hear([]event{{kind: linkChanged, link: eth0}})
	if h := read(table, r); h.State != Unresolved {
		t.Errorf("%+v on a device that was removed; want unresolved", h)
	}
}

func TestLinkThatWasDownForAMomentHasItsRoutesAskedAgain(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	must(t, table, 0, peer)
	flap := k.devices[eth0]
	flap.up = false
	table.resolver.hear([]event{{kind: linkChanged, link: eth0, device: flap}, {kind: linkChanged, link: eth0, device: k.devices[eth0]}})
	if !table.resolver.next.all {
		t.Error("no pass is due: the kernel may have dropped the routes of the device")
	}
	table.sweep()
	table.resolver.hear([]event{{kind: linkChanged, link: eth0, device: k.devices[eth0]}})
	if table.resolver.next.any() {
		t.Error("an event that changes nothing makes a pass due")
	}
}

func TestRouteEventConcernsTheHopsInsideIt(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	must(t, table, 0, peer)
	must(t, table, 0, other)
	table.resolver.hear([]event{{kind: routeChanged, prefix: netip.MustParsePrefix("198.19.0.0/24")}})
	table.sweep()
	if k.asked[peer] != 2 || k.asked[other] != 1 {
		t.Errorf("peer asked for %d times, other %d; want 2 and 1", k.asked[peer], k.asked[other])
	}
	var many []event
	for i := range byte(maxPrefixes + 1) {
		many = append(many, event{kind: routeChanged, prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, i}), 16)})
	}
	table.resolver.hear(many)
	table.sweep()
	if k.asked[peer] != 3 || k.asked[other] != 2 {
		t.Errorf("after many routes: peer %d times, other %d; want 3 and 2", k.asked[peer], k.asked[other])
	}
	table.resolver.hear([]event{{kind: allChanged}})
	table.sweep()
	if k.asked[peer] != 4 || k.asked[other] != 3 {
		t.Errorf("after a rule: peer %d times, other %d; want 4 and 3", k.asked[peer], k.asked[other])
	}
}

func TestPassIsMadeInSlicesAndRests(t *testing.T) {
	k := &fakeKernel{}
	table := newTestTable(k)
	for i := range uint32(3 * sliceSize) {
		table.resolver.admit(destination{slot: 1, ip: numbered(i)})
	}
	r := table.resolver
	r.hear([]event{{kind: allChanged}})
	if !r.resting {
		t.Fatal("the pass does not wait for more changes")
	}
	r.begin()
	before := table.Stats().Resolutions
	r.slice()
	if n := table.Stats().Resolutions - before; n == 0 || n > sliceSize || r.pass.cursor == 0 {
		t.Errorf("the first slice looked at %d hops", n)
	}
	r.hear([]event{{kind: allChanged}}) // during the pass: it gets one of its own
	for r.pass.cursor > 0 {
		r.slice()
	}
	if n := table.Stats().Resolutions - before; n != 3*sliceSize {
		t.Errorf("the pass looked at %d hops; want %d", n, 3*sliceSize)
	}
	if !r.resting || !r.next.all {
		t.Error("the next pass is not due, or does not rest")
	}
}

func TestUnusedHopIsForgottenAndAUsedOneIsNot(t *testing.T) {
	table := newTestTable(newFakeKernel())
	idle, busy := must(t, table, 0, peer), must(t, table, 0, other)
	for range forgetAfter + 1 {
		if table.Generation(idle) == 0 {
			t.Fatal("forgotten too early")
		}
		table.Probe(busy)
		table.resolver.age()
	}
	if table.Generation(idle) != 0 {
		t.Error("the idle hop is still there")
	}
	if table.Generation(busy) == 0 || read(table, busy).State != Ready {
		t.Error("the hop in use was forgotten")
	}
	if len(table.resolver.neighbours) != 1 {
		t.Errorf("%d neighbours; want the one in use", len(table.resolver.neighbours))
	}
	table.resolver.forget(busy.index())
	if len(table.resolver.neighbours) != 0 {
		t.Error("a neighbour outlives its last hop")
	}
}

func TestStaleNeighbourInUseIsProbedOnceATick(t *testing.T) {
	k := newFakeKernel()
	key := neighbourKey{eth0, gateway}
	k.neighbours[key] = neighbourState{usable: true, stale: true, mac: theirMAC}
	table := newTestTable(k)
	r := must(t, table, 0, peer)
	if h := read(table, r); h.State != Ready {
		t.Fatalf("a stale neighbour makes %+v; want ready", h)
	}
	table.resolver.age() // takes the use by Find
	table.Probe(r)
	table.resolver.age()
	if !table.Probe(r) {
		t.Fatal("no probe for a stale neighbour in use")
	}
	if table.Probe(r) {
		t.Error("two probes in one tick")
	}
	k.neighbours[key] = neighbourState{usable: true, mac: theirMAC}
	table.resolver.hear([]event{{kind: neighbourChanged, neighbour: key}})
	table.resolver.age()
	if table.Probe(r) {
		t.Error("a probe although the neighbour was verified")
	}
}

func TestStaleNeighbourNobodyUsesIsNotProbed(t *testing.T) {
	k := newFakeKernel()
	k.neighbours[neighbourKey{eth0, gateway}] = neighbourState{usable: true, stale: true, mac: theirMAC}
	table := newTestTable(k)
	r := must(t, table, 0, peer)
	table.resolver.age()
	table.records.records[r.index()].probe.Store(0)
	table.resolver.age()
	if table.records.records[r.index()].probe.Load() != 0 {
		t.Error("a hop that is not in use is to probe")
	}
}

func TestAGatewayIsProbedByAFewOfItsHops(t *testing.T) {
	k := newFakeKernel()
	k.neighbours[neighbourKey{eth0, gateway}] = neighbourState{usable: true, stale: true, mac: theirMAC}
	table := newTestTable(k)
	for i := range byte(20) {
		dst := netip.AddrFrom4([4]byte{10, 0, 0, i})
		k.routes[dst] = route{kind: routeLink, device: eth0, gateway: gateway}
		must(t, table, 0, dst)
	}
	table.resolver.age()
	probes := 0
	for i := range byte(20) {
		if table.Probe(must(t, table, 0, netip.AddrFrom4([4]byte{10, 0, 0, i}))) {
			probes++
		}
	}
	if probes != maxProbes {
		t.Errorf("%d of 20 hops probe; want %d", probes, maxProbes)
	}
}

func TestEverythingIsAskedAgainOnceAMinute(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	must(t, table, 0, peer)
	for range refreshAfter {
		table.resolver.age()
	}
	table.sweep()
	if k.asked[peer] != 2 {
		t.Errorf("asked for %d times; want 2", k.asked[peer])
	}
}

func TestRunAnswersEndsAndPasses(t *testing.T) {
	k := newFakeKernel()
	table := newTestTable(k)
	turns := make(chan struct{}, 1000)
	table.resolver.turned = func() { turns <- struct{}{} }
	events, ticks, ended := make(chan []event), make(chan time.Time), make(chan struct{})
	go func() {
		table.resolver.run(events, ticks, table.done)
		close(ended)
	}()
	ip := peer.As16()
	table.Find(0, &ip)
	<-turns
	if _, ok := table.Find(0, &ip); !ok {
		t.Error("not found after the resolver's turn")
	}
	events <- []event{{kind: allChanged}}
	for table.Stats().Resolutions != 2 { // the pass comes after settling
		<-turns
	}
	ticks <- time.Time{}
	<-turns
	close(table.done)
	<-ended
}
