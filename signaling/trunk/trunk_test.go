package trunk

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk/names"
)

// file has a UC side on mutual TLS with two tenants, a listener that only requests certificates, and plain gateways.
const file = `
media:
  networks:
    lan: {addresses: [192.0.2.1], ports: 40000-40099}
sip:
  listeners:
    uc:
      transport: tls
      address: 192.0.2.1:5061
      tls: {certificate: c.pem, key: k.pem}
    lax:
      transport: tls
      address: 192.0.2.1:5062
      tls: {certificate: c.pem, key: k.pem, client: request}
    gw: {transport: udp, address: 192.0.2.1:5060}
    gw6: {transport: tcp, address: '[2001:db8::1]:5068'}
    idle: {transport: udp, address: 192.0.2.1:5070}
trunks:
  tenant-a: {listener: uc, peer: a.uc.example.com, sources: [203.0.113.0/24], tls_names: [a.uc.example.com]}
  tenant-b: {listener: uc, peer: b.uc.example.com, sources: [203.0.113.0/24], tls_names: ['*.b.example.com', b.uc.example.com]}
  narrow: {listener: uc, peer: 203.0.113.7, sources: [203.0.113.7], tls_names: [a.uc.example.com]}
  lax1: {listener: lax, peer: lax.example.com:5067, sources: [203.0.113.0/24]}
  gw1: {listener: gw, peer: 198.51.100.1, max_calls: 2}
  gw2: {listener: gw, peer: 'GW2.example.net:5066', failover: {codes: [480]}}
  gw3: {listener: gw, peer: 198.51.100.3, sources: [198.51.100.0/24]}
  gw6: {listener: gw6, peer: '2001:db8::9'}
  six: {listener: gw6, peer: '[2001:db8::A]'}
  none: {listener: gw6, peer: gw2.example.net}
`

// dns is a DNS whose answers the test sets; they hold for a minute. Each question for addresses is told on asked, if that is
// set, and then waits for gate.
type dns struct {
	mu       sync.Mutex
	services map[string][]names.Service
	answers  map[string][]string
	local    map[string]string
	err      error
	failing  map[string]error // questions that fail, by name
	half     map[string]error // hosts of which one family cannot be asked
	count    int
	gate     chan struct{}
	asked    chan string
}

// testLife is how long the answers of the fake hold.
const testLife = time.Minute

func (d *dns) Services(_ context.Context, name string) ([]names.Service, time.Duration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := cmp.Or(d.failing[name], d.err); err != nil {
		return nil, 0, err
	}
	if len(d.services[name]) == 0 {
		return nil, testLife, names.ErrNone
	}
	return slices.Clone(d.services[name]), testLife, nil
}

func (d *dns) Addresses(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	if d.asked != nil {
		d.asked <- host
	}
	if d.gate != nil {
		select {
		case <-d.gate:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if err := cmp.Or(d.failing[host], d.err); err != nil {
		return nil, 0, err
	}
	var list []netip.Addr
	for _, a := range d.answers[host] {
		list = append(list, netip.MustParseAddr(a))
	}
	if len(list) == 0 {
		return nil, 0, names.ErrNone
	}
	return list, testLife, d.half[host]
}

func (d *dns) Local(host string) []netip.Addr {
	if a, ok := d.local[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}
	}
	return nil
}

// set makes one host the only one that has addresses, and err what every question gets.
func (d *dns) set(host string, err error, answers ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = map[string][]string{host: answers}
	d.err = err
}

// change changes the answers.
func (d *dns) change(f func(*dns)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

// questions is how often addresses were asked for.
func (d *dns) questions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// clock is a clock that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock {
	return &clock{at: time.Unix(1_700_000_000, 0)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return c.at
}

func table(t testing.TB, dns DNS, clk *clock) *Table {
	t.Helper()
	return tableOf(t, file, dns, clk)
}

// tableOf is the table of a config. Chance is that of a fixed seed.
func tableOf(t testing.TB, file string, dns DNS, clk *clock) *Table {
	t.Helper()
	c, err := config.Parse("t.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := New(c, dns, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func trunkOf(t testing.TB, tab *Table, name string) *Trunk {
	t.Helper()
	tr, ok := tab.ByName(name)
	if !ok {
		t.Fatalf("no trunk %s", name)
	}
	return tr
}

func TestPeerIsSplitIntoHostAndPortOfItsTransport(t *testing.T) {
	tab := table(t, &dns{}, newClock())
	for name, want := range map[string]struct {
		host string
		port uint16
	}{
		"tenant-a": {"a.uc.example.com", 5061}, "lax1": {"lax.example.com", 5067}, "gw1": {"198.51.100.1", 5060},
		"gw2": {"gw2.example.net", 5066}, "gw6": {"2001:db8::9", 5060}, "six": {"2001:db8::a", 5060},
	} {
		if tr := trunkOf(t, tab, name); tr.Host != want.host || tr.Port != want.port {
			t.Errorf("%s: %s %d, want %v", name, tr.Host, tr.Port, want)
		}
	}
}

func TestTrunkThatCannotBeResolvedIsNamed(t *testing.T) {
	listeners := map[string]config.Listener{"l": {Transport: "udp"}}
	for want, tr := range map[string]config.Trunk{
		`trunk x: there is no listener "m"`:                                          {Listener: "m", Peer: "a"},
		`trunk x: peer "a:0": port "0" is not 1..65535`:                              {Listener: "l", Peer: "a:0"},
		`trunk x: peer "a:b:c": address a:b:c: too many colons in address`:           {Listener: "l", Peer: "a:b:c"},
		`trunk x: peer ":5060": it has no host`:                                      {Listener: "l", Peer: ":5060"},
		`trunk x: peer "[2001:db8::1": address [2001:db8::1: missing ']' in address`: {Listener: "l", Peer: "[2001:db8::1"},
	} {
		_, err := New(&config.Config{SIP: config.SIP{Listeners: listeners}, Trunks: map[string]config.Trunk{"x": tr}}, nil, nil)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAllTrunksComeInTheOrderOfTheirNames(t *testing.T) {
	var names []string
	for _, tr := range table(t, &dns{}, newClock()).All() {
		names = append(names, tr.Name)
	}
	if !slices.IsSorted(names) || len(names) != 10 {
		t.Errorf("got %v", names)
	}
}

func TestFailoverFollowsTheTrunksCodesAnd503(t *testing.T) {
	tab := table(t, &dns{}, newClock())
	for _, tc := range []struct {
		trunk string
		code  int
		want  bool
	}{
		{"gw1", 408, true}, {"gw1", 504, true}, {"gw1", 503, true}, {"gw1", 486, false}, {"gw1", 480, false}, {"gw1", 603, false},
		{"gw2", 480, true}, {"gw2", 503, true}, {"gw2", 408, false},
	} {
		if got := trunkOf(t, tab, tc.trunk).FailsOver(tc.code); got != tc.want {
			t.Errorf("%s: FailsOver(%d) = %v", tc.trunk, tc.code, got)
		}
	}
}
