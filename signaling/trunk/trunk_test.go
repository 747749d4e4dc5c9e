package trunk

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/internal/config"
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

// dns is a resolver whose answers the test sets. Each question is told on asked, if that is set, and then waits for gate.
type dns struct {
	mu      sync.Mutex
	answers map[string][]string
	err     error
	count   int
	gate    chan struct{}
	asked   chan string
}

func (d *dns) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if d.asked != nil {
		d.asked <- host
	}
	if d.gate != nil {
		select {
		case <-d.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	var list []netip.Addr
	for _, a := range d.answers[host] {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, d.err
}

func (d *dns) set(host string, err error, answers ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = map[string][]string{host: answers}
	d.err = err
}

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

func table(t testing.TB, resolver Resolver, clk *clock) *Table {
	t.Helper()
	c, err := config.Parse("t.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := New(&c.SIP, resolver, clk.now)
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
		_, err := New(&config.SIP{Listeners: listeners, Trunks: map[string]config.Trunk{"x": tr}}, nil, nil)
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

// fillUp takes places until there are no more, and counts them.
func fillUp(tr *Trunk) (n int) {
	for tr.Acquire() {
		n++
	}
	return n
}

func TestFullTrunkTakesNoCallUntilOneIsReleased(t *testing.T) {
	tr := trunkOf(t, table(t, &dns{}, newClock()), "gw1")
	if n := fillUp(tr); n != 2 || tr.Active() != 2 {
		t.Fatalf("%d places given, %d taken of 2", n, tr.Active())
	}
	tr.Release()
	if fillUp(tr) != 1 {
		t.Error("a released place was not given again")
	}
}

func TestOneReleaseTooManyLendsNoPlace(t *testing.T) {
	tr := trunkOf(t, table(t, &dns{}, newClock()), "gw1")
	tr.Release()
	if tr.Active() != 0 {
		t.Errorf("%d places are taken", tr.Active())
	}
	if n := fillUp(tr); n != 2 {
		t.Errorf("%d places given of 2", n)
	}
}

func TestCapHoldsUnderConcurrentCalls(t *testing.T) {
	tr := trunkOf(t, table(t, &dns{}, newClock()), "gw1")
	var taken atomic.Int64
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			if tr.Acquire() {
				taken.Add(1)
			}
		})
	}
	calls.Wait()
	if taken.Load() != 2 || tr.Active() != 2 {
		t.Errorf("%d places given, %d taken of 2", taken.Load(), tr.Active())
	}
	for range 100 {
		calls.Go(tr.Release)
	}
	calls.Wait()
	if tr.Active() != 0 {
		t.Errorf("%d places are left taken", tr.Active())
	}
}

func TestTrunkWithoutCapIsNeverFull(t *testing.T) {
	tr := trunkOf(t, table(t, &dns{}, newClock()), "gw3")
	for range 1000 {
		if !tr.Acquire() {
			t.Fatalf("full at %d", tr.Active())
		}
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

// ordered calls Order and writes the outcome as "gw1 gw2 | gw3: it is down".
func ordered(tab *Table, now time.Time, names ...string) string {
	order, skips := tab.Order(names, now)
	var out, why []string
	for _, tr := range order {
		out = append(out, tr.Name)
	}
	for _, s := range skips {
		why = append(why, s.Trunk+": "+s.Why)
	}
	return strings.Join(out, " ") + " | " + strings.Join(why, "; ")
}

// sink makes a trunk go down.
func sink(tr *Trunk, now time.Time) {
	for range downAfter {
		tr.Missed(now)
	}
}

func TestOrderPutsTheHealthyFirstAndLeavesOutWhatCannotTakeACall(t *testing.T) {
	clk := newClock()
	now := clk.now()
	for _, tc := range []struct {
		name  string
		spoil func(tab *Table)
		want  string
	}{
		{"all up: as listed", func(*Table) {}, "gw3 gw1 gw2 | "},
		{"a demoted one is last", func(tab *Table) {
			trunkOf(t, tab, "gw3").Answered(503, now)
		}, "gw1 gw2 gw3 | "},
		{"several demoted keep their order", func(tab *Table) {
			trunkOf(t, tab, "gw3").Answered(503, now)
			trunkOf(t, tab, "gw1").Answered(503, now)
		}, "gw2 gw3 gw1 | "},
		{"one that is down is not tried", func(tab *Table) {
			sink(trunkOf(t, tab, "gw3"), now)
		}, "gw1 gw2 | gw3: it is down"},
		{"a demoted one is better than one that is down", func(tab *Table) {
			sink(trunkOf(t, tab, "gw3"), now)
			sink(trunkOf(t, tab, "gw1"), now)
			trunkOf(t, tab, "gw2").Answered(503, now)
		}, "gw2 | gw3: it is down; gw1: it is down"},
		{"those that are down are tried when nothing else is left", func(tab *Table) {
			for _, name := range []string{"gw1", "gw2", "gw3"} {
				sink(trunkOf(t, tab, name), now)
			}
		}, "gw3 gw1 gw2 | "},
		{"a full one is skipped", func(tab *Table) {
			trunkOf(t, tab, "gw1").Acquire()
			trunkOf(t, tab, "gw1").Acquire()
		}, "gw3 gw2 | gw1: all 2 places are taken"},
		{"one that asked for rest is skipped", func(tab *Table) {
			trunkOf(t, tab, "gw3").Answered(503, now)
			trunkOf(t, tab, "gw3").RetryAfter(120*time.Second, now)
		}, "gw1 gw2 | gw3: it asked for rest, 2m0s more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab := table(t, &dns{}, clk)
			tc.spoil(tab)
			if got := ordered(tab, now, "gw3", "gw1", "gw2"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOrderNamesEachTrunkOnceAndUnknownOnesAsSuch(t *testing.T) {
	clk := newClock()
	tab := table(t, &dns{}, clk)
	if got, want := ordered(tab, clk.now(), "gw1", "gw9", "gw1"), "gw1 | gw9: there is no such trunk"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
