package trunk

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/signaling/trunk/names"
)

// pools has a trunk of each transport whose peer is a name without a port, and one that names its port.
const pools = `
media:
  networks:
    lan: {addresses: [192.0.2.1], ports: 40000-40099}
sip:
  listeners:
    udp: {transport: udp, address: 192.0.2.1:5060}
    tcp: {transport: tcp, address: 192.0.2.1:5060}
    tls: {transport: tls, address: 192.0.2.1:5061, tls: {certificate: c.pem, key: k.pem}}
    six: {transport: udp, address: '[2001:db8::1]:5060'}
trunks:
  u: {listener: udp, peer: pool.example.net}
  v: {listener: six, peer: pool.example.net}
  t: {listener: tcp, peer: pool.example.net}
  s: {listener: tls, peer: pool.example.net, sources: [192.0.2.0/24]}
  p: {listener: udp, peer: 'pool.example.net:5070'}
`

// pool is a DNS with the SRV records of pool.example.net for UDP and the addresses of their hosts.
func pool(records ...names.Service) *dns {
	return &dns{
		services: map[string][]names.Service{"_sip._udp.pool.example.net": records},
		answers: map[string][]string{
			"a": {"198.51.100.1"}, "b": {"198.51.100.2"}, "c": {"198.51.100.3"}, "d": {"198.51.100.4", "198.51.100.5", "2001:db8::4"},
			"pool.example.net": {"198.51.100.9"},
		},
	}
}

// targets are the trunk's, as text.
func targets(t testing.TB, tr *Trunk) string {
	t.Helper()
	list, _, err := tr.Targets(context.Background())
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

func TestNameWithoutPortIsLookedUpByTheServiceOfTheTransport(t *testing.T) {
	zone := pool(names.Service{Host: "a", Port: 5061})
	zone.services["_sip._tcp.pool.example.net"] = []names.Service{{Host: "b", Port: 5062}}
	zone.services["_sips._tcp.pool.example.net"] = []names.Service{{Host: "c", Port: 5063}}
	tab := tableOf(t, pools, zone, newClock())
	for trunk, want := range map[string]string{
		"u": "198.51.100.1:5061", "t": "198.51.100.2:5062", "s": "198.51.100.3:5063", "p": "198.51.100.9:5070",
	} {
		if got := targets(t, trunkOf(t, tab, trunk)); got != want {
			t.Errorf("%s: %s, want %s", trunk, got, want)
		}
	}
	if _, server, _ := trunkOf(t, tab, "s").Targets(context.Background()); server != "pool.example.net" {
		t.Errorf("the certificate must be that of %s, an SRV record's word", server)
	}
}

func TestWithoutServiceRecordsTheNameItselfIsThePeer(t *testing.T) {
	tab := tableOf(t, pools, pool(), newClock())
	for trunk, want := range map[string]string{"u": "198.51.100.9:5060", "s": "198.51.100.9:5061"} {
		if got := targets(t, trunkOf(t, tab, trunk)); got != want {
			t.Errorf("%s: %s, want %s", trunk, got, want)
		}
	}
}

func TestNameOfTheHostsFileNeedsNoServiceRecords(t *testing.T) {
	zone := pool(names.Service{Host: "a", Port: 5061})
	zone.local = map[string]string{"pool.example.net": "198.51.100.9"}
	zone.err = nil
	if got := targets(t, trunkOf(t, tableOf(t, pools, zone, newClock()), "u")); got != "198.51.100.9:5060" {
		t.Errorf("%s", got)
	}
}

func TestServiceThatIsNotOfferedLeadsNowhere(t *testing.T) {
	tr := trunkOf(t, tableOf(t, pools, pool(names.Service{}), newClock()), "u")
	want := `trunk u: resolve pool.example.net: _sip._udp.pool.example.net is ".": the service is not offered (RFC 2782): no such record`
	if got := targets(t, tr); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestServiceLookupThatFailsDoesNotFallBackToTheName(t *testing.T) {
	zone := pool()
	zone.failing = map[string]error{"_sip._udp.pool.example.net": errors.New("SERVFAIL")}
	if got, want := targets(t, trunkOf(t, tableOf(t, pools, zone, newClock()), "u")), "trunk u: resolve pool.example.net: SERVFAIL"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPrioritiesComeInTheirOrderForEveryCall(t *testing.T) {
	tab := tableOf(t, pools, pool(
		names.Service{Host: "c", Port: 5060, Priority: 30, Weight: 65535}, names.Service{Host: "a", Port: 5060, Priority: 10},
		names.Service{Host: "b", Port: 5060, Priority: 20, Weight: 9}, names.Service{Host: "a", Port: 5062, Priority: 20, Weight: 1},
	), newClock())
	seen := make(map[string]bool)
	for range 200 {
		seen[targets(t, trunkOf(t, tab, "u"))] = true
	}
	want := map[string]bool{
		"198.51.100.1:5060 198.51.100.2:5060 198.51.100.1:5062 198.51.100.3:5060": true,
		"198.51.100.1:5060 198.51.100.1:5062 198.51.100.2:5060 198.51.100.3:5060": true,
	}
	for got := range seen {
		if !want[got] {
			t.Errorf("order %s", got)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d different orders of %d", len(seen), len(want))
	}
}

func TestAddressThatSeveralRecordsLeadToIsTriedOnce(t *testing.T) {
	tab := tableOf(t, pools, pool(names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "a", Port: 5060, Priority: 2}), newClock())
	if got := targets(t, trunkOf(t, tab, "u")); got != "198.51.100.1:5060" {
		t.Errorf("%s", got)
	}
}

func TestAddressesAreThoseOfTheListenersFamilyOfAllRecords(t *testing.T) {
	tab := tableOf(t, pools, pool(names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "d", Port: 5070, Priority: 2}), newClock())
	if got := targets(t, trunkOf(t, tab, "v")); got != "[2001:db8::4]:5070" {
		t.Errorf("%s", got)
	}
	if got := targets(t, trunkOf(t, tab, "u")); len(strings.Fields(got)) != 3 {
		t.Errorf("%s", got)
	}
}

// drawn counts which address comes at a place of n draws.
func drawn(t *testing.T, n, place int, services ...names.Service) map[string]float64 {
	t.Helper()
	tab := tableOf(t, pools, pool(services...), newClock())
	random := rand.New(rand.NewPCG(7, 11))
	tab.Draw(random.IntN)
	tr, count := trunkOf(t, tab, "u"), make(map[string]float64)
	for range n {
		list, _, err := tr.Targets(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		count[list[place].Addr().String()] += 1 / float64(n)
	}
	return count
}

// near fails the test unless every share is within a hundredth of what is wanted. With 40,000 draws that is more than four
// standard deviations of the widest.
func near(t *testing.T, what string, got map[string]float64, want map[string]float64) {
	t.Helper()
	for addr, share := range want {
		if d := got[addr] - share; d > 0.01 || d < -0.01 {
			t.Errorf("%s: %s in %.4f of the draws, want %.4f", what, addr, got[addr], share)
		}
	}
}

const draws = 40_000

func TestWeightsAreTheSharesOfTheCalls(t *testing.T) {
	services := []names.Service{{Host: "a", Weight: 60}, {Host: "b", Weight: 30}, {Host: "c", Weight: 10}}
	near(t, "first", drawn(t, draws, 0, services...), map[string]float64{"198.51.100.1": 0.6, "198.51.100.2": 0.3, "198.51.100.3": 0.1})
	// Second is b after a (0.6 * 30/40) or after c (0.1 * 30/90), and so on.
	near(t, "second", drawn(t, draws, 1, services...), map[string]float64{
		"198.51.100.1": 0.3*60/70 + 0.1*60/90, "198.51.100.2": 0.6*30/40 + 0.1*30/90, "198.51.100.3": 0.6*10/40 + 0.3*10/70,
	})
}

func TestSmallWeightsAreAsExactAsLargeOnes(t *testing.T) {
	near(t, "first", drawn(t, draws, 0, names.Service{Host: "a", Weight: 3}, names.Service{Host: "b", Weight: 1}),
		map[string]float64{"198.51.100.1": 0.75, "198.51.100.2": 0.25})
}

func TestRecordsWithoutWeightAreEquals(t *testing.T) {
	third := map[string]float64{"198.51.100.1": 1. / 3, "198.51.100.2": 1. / 3, "198.51.100.3": 1. / 3}
	for place := range 3 {
		near(t, "any place", drawn(t, draws, place, names.Service{Host: "a"}, names.Service{Host: "b"}, names.Service{Host: "c"}), third)
	}
}

func TestRecordWithoutWeightAmongOthersHasAVerySmallChance(t *testing.T) {
	got := drawn(t, draws, 0, names.Service{Host: "a"}, names.Service{Host: "b", Weight: 1})
	if share := got["198.51.100.1"]; share == 0 || share > 0.02 {
		t.Errorf("first in %.4f of the draws", share)
	}
}

func TestAddressesOfOneHostAreShuffled(t *testing.T) {
	near(t, "first", drawn(t, draws, 0, names.Service{Host: "d"}), map[string]float64{"198.51.100.4": 0.5, "198.51.100.5": 0.5})
}

// FuzzSpin checks that any draw of any weights is an order of all records.
func FuzzSpin(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 255, 255}, uint64(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0}, uint64(2))
	f.Fuzz(func(t *testing.T, weights []byte, seed uint64) {
		var records []record
		for i := 0; i+1 < min(len(weights), 2*servicesMost); i += 2 {
			records = append(records, record{weight: uint16(weights[i])<<8 | uint16(weights[i+1]), addrs: []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i))}})
		}
		want := len(records)
		spin(records, rand.New(rand.NewPCG(seed, 0)).IntN)
		seen := make(map[uint16]bool)
		for _, r := range records {
			seen[r.addrs[0].Port()] = true
		}
		if len(seen) != want || len(records) != want {
			t.Fatalf("%d records of %d", len(seen), want)
		}
	})
}

func TestAddressThatFailedComesLastForHalfAMinute(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, pools, pool(
		names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "b", Port: 5060, Priority: 2}, names.Service{Host: "c", Port: 5060, Priority: 3},
	), clk), "u")
	const asListed = "198.51.100.1:5060 198.51.100.2:5060 198.51.100.3:5060"
	expect := func(what, want string) {
		t.Helper()
		if got := targets(t, tr); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	a, b := netip.MustParseAddrPort("198.51.100.1:5060"), netip.MustParseAddrPort("198.51.100.2:5060")
	expect("at first", asListed)
	tr.AddressFailed(a, clk.now())
	expect("the first failed", "198.51.100.2:5060 198.51.100.3:5060 198.51.100.1:5060")
	tr.AddressFailed(b, clk.now())
	expect("two failed", "198.51.100.3:5060 198.51.100.1:5060 198.51.100.2:5060")
	tr.AddressWorked(b)
	expect("one works again", "198.51.100.2:5060 198.51.100.3:5060 198.51.100.1:5060")
	clk.advance(avoidFor - 1)
	expect("just before the time is over", "198.51.100.2:5060 198.51.100.3:5060 198.51.100.1:5060")
	clk.advance(1)
	expect("afterwards", asListed)
	for _, addr := range []string{"198.51.100.1:5060", "198.51.100.2:5060", "198.51.100.3:5060"} {
		tr.AddressFailed(netip.MustParseAddrPort(addr), clk.now())
	}
	expect("all failed: tried all the same", asListed)
}

func TestMemoryOfFailedAddressesIsBounded(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, pools, pool(), clk), "u")
	for port := range 1000 {
		tr.AddressFailed(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(port)), clk.now())
	}
	if n := len(tr.live.avoid); n != addressesMost {
		t.Errorf("%d addresses", n)
	}
	tr.AddressFailed(netip.MustParseAddrPort("198.51.100.2:1"), clk.advance(avoidFor))
	if n := len(tr.live.avoid); n != 1 {
		t.Errorf("%d addresses after their time", n)
	}
}

func TestSourcesAreTheAddressesOfEveryRecord(t *testing.T) {
	tab := tableOf(t, pools, pool(names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "d", Port: 5070, Priority: 2}), newClock())
	tab.Refresh(context.Background())
	for _, addr := range []string{"198.51.100.1", "198.51.100.4", "198.51.100.5"} {
		src := netip.MustParseAddr(addr)
		if tr, why := tab.Identify("udp", src, nil); !tab.Known("udp", src) || tr == nil || tr.Name != "u" {
			t.Errorf("%s: %v, %s", addr, tr, why)
		}
	}
	if src := netip.MustParseAddr("198.51.100.9"); tab.Known("six", src) {
		t.Error("the name's own address is a source although its records lead elsewhere")
	}
}

func TestRecordsAndAddressesOfOnePeerAreBounded(t *testing.T) {
	var services []names.Service
	zone := pool()
	for i := range 100 {
		services = append(services, names.Service{Host: string(rune('A' + i)), Port: 5060, Priority: uint16(100 - i)})
		for j := range 10 {
			zone.answers[string(rune('A'+i))] = append(zone.answers[string(rune('A'+i))], netip.AddrFrom4([4]byte{10, 0, byte(i), byte(j)}).String())
		}
	}
	zone.services["_sip._udp.pool.example.net"] = services
	tab := tableOf(t, pools, zone, newClock())
	list := strings.Fields(targets(t, trunkOf(t, tab, "u")))
	if len(list) != addressesMost || !slices.ContainsFunc(list, func(a string) bool { return strings.HasPrefix(a, "10.0.99.") }) {
		t.Errorf("%d addresses, %v", len(list), list)
	}
	if zone.questions() != servicesMost {
		t.Errorf("%d hosts were asked for", zone.questions())
	}
}

func TestHostThatFailsKeepsItsOldAddressesBesideTheOthers(t *testing.T) {
	clk := newClock()
	zone := pool(names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "b", Port: 5060, Priority: 2})
	tr := trunkOf(t, tableOf(t, pools, zone, clk), "u")
	targets(t, tr)
	step := func(d time.Duration, change func(*dns), want string) {
		t.Helper()
		zone.change(change)
		clk.advance(d)
		tr.PollDue(clk.now())
		settled(tr)
		if got := targets(t, tr); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	step(testLife, func(d *dns) {
		d.failing = map[string]error{"a": errors.New("SERVFAIL")}
		d.answers["b"] = []string{"198.51.100.22"}
	}, "198.51.100.1:5060 198.51.100.22:5060")
	step(resolveStale, func(*dns) {}, "198.51.100.22:5060")
	step(resolveAgain, func(d *dns) { d.failing = nil }, "198.51.100.1:5060 198.51.100.22:5060")
	step(testLife, func(d *dns) { delete(d.answers, "a") }, "198.51.100.22:5060")
}

func TestFamilyThatCannotBeAskedKeepsItsOldAddresses(t *testing.T) {
	clk, zone := newClock(), pool()
	zone.answers["pool.example.net"] = []string{"198.51.100.9", "2001:db8::9"}
	tab := tableOf(t, pools, zone, clk)
	tr := trunkOf(t, tab, "u")
	targets(t, tr)
	zone.change(func(d *dns) {
		d.answers["pool.example.net"] = []string{"198.51.100.9"}
		d.half = map[string]error{"pool.example.net": errors.New("AAAA: SERVFAIL")}
	})
	tr.PollDue(clk.advance(testLife))
	settled(tr)
	s := tr.Snapshot(clk.now())
	if len(s.Addresses) != 2 || s.DNSError != "resolve pool.example.net: AAAA: SERVFAIL" {
		t.Errorf("%+v", s)
	}
	if got := targets(t, trunkOf(t, tab, "v")) + " " + targets(t, tr); got != "[2001:db8::9]:5060 198.51.100.9:5060" {
		t.Error(got)
	}
}

func BenchmarkTargets(b *testing.B) {
	tab := tableOf(b, pools, pool(
		names.Service{Host: "a", Port: 5060, Priority: 1}, names.Service{Host: "b", Port: 5060, Priority: 2, Weight: 1}, names.Service{Host: "d", Port: 5060, Priority: 2, Weight: 3},
	), newClock())
	tr, ctx := trunkOf(b, tab, "u"), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tr.Targets(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
