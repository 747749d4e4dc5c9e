package trunk

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk/names"
)

func TestTargetsOfAnAddressNeedNoDNS(t *testing.T) {
	zone := &dns{}
	tab := table(t, zone, newClock())
	for trunk, want := range map[string]string{"gw1": "198.51.100.1:5060", "gw6": "[2001:db8::9]:5060"} {
		got, _, err := trunkOf(t, tab, trunk).Targets(context.Background())
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("%s: %v, %v", trunk, got, err)
		}
	}
	if zone.questions() != 0 {
		t.Errorf("%d questions were asked", zone.questions())
	}
}

func TestTargetsAreTheUsableAddressesOfTheListenersFamilyEachOnce(t *testing.T) {
	zone := &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2", "2001:db8::2", "::ffff:198.51.100.1", "198.51.100.2", "0.0.0.0", "224.0.0.1")
	tab := table(t, zone, newClock())
	for trunk, want := range map[string][]string{
		"gw2":  {"198.51.100.1:5066", "198.51.100.2:5066"},
		"none": {"[2001:db8::2]:5060"},
	} {
		got, _, err := trunkOf(t, tab, trunk).Targets(context.Background())
		var list []string
		for _, a := range got {
			list = append(list, a.String())
		}
		slices.Sort(list)
		if err != nil || !slices.Equal(list, want) {
			t.Errorf("%s: %v, %v, want %v", trunk, list, err, want)
		}
	}
}

func TestPeerOfAnotherFamilyIsAnErrorThatNamesTheListener(t *testing.T) {
	zone := &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	_, _, err := trunkOf(t, table(t, zone, newClock()), "none").Targets(context.Background())
	want := "trunk none: gw2.example.net has no address of the family of listener gw6 (2001:db8::1)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSilenceTellsWhetherThereWasAnAddressToAsk(t *testing.T) {
	zone := &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	tab, clk := table(t, zone, newClock()), newClock()
	none := trunkOf(t, tab, "none")
	unasked := none.Silence(clk.now())
	if want := "no address to send OPTIONS to: gw2.example.net is not resolved"; unasked != want {
		t.Errorf("before any lookup: %q, want %q", unasked, want)
	}
	if _, _, err := none.Targets(context.Background()); err == nil {
		t.Error("a peer of another family has a target")
	}
	if got, want := none.Silence(clk.now()), "no address to send OPTIONS to: those of gw2.example.net are of another family than listener gw6"; got != want {
		t.Errorf("another family: %q, want %q", got, want)
	}
	there := trunkOf(t, tab, "gw2")
	if _, _, err := there.Targets(context.Background()); err != nil {
		t.Error(err)
	}
	there.Missed(clk.now())
	there.Missed(clk.now())
	if got, want := there.Silence(clk.now()), "2 OPTIONS in a row not answered"; got != want {
		t.Errorf("an address that is silent: %q, want %q", got, want)
	}
	lost := trunkOf(t, table(t, &dns{}, clk), "gw2")
	if _, _, err := lost.Targets(context.Background()); err == nil {
		t.Error("a name that does not exist has a target")
	}
	if got := lost.Silence(clk.now()); !strings.HasPrefix(got, "no address to send OPTIONS to: ") || !strings.Contains(got, "no such record") {
		t.Errorf("a name that does not exist: %q", got)
	}
}

func TestServerNameIsOneThatTheTrunkTrusts(t *testing.T) {
	for _, tc := range []struct {
		host  string
		names []string
		want  string
	}{
		{"sip.example.com", []string{"sip.example.com"}, "sip.example.com"},
		{"sip.example.com", []string{"other.example.net", "*.example.com"}, "sip.example.com"},
		{"sip.example.com", []string{"*.example.net", "SBC.example.net."}, "sbc.example.net"},
		{"192.0.2.9", []string{"*.example.net", "sbc.example.net"}, "sbc.example.net"},
		{"192.0.2.9", []string{"192.0.2.9"}, "192.0.2.9"},
		{"sip.example.com", nil, "sip.example.com"},
	} {
		tr := &Trunk{Host: tc.host, Policy: config.Trunk{TLSNames: tc.names}}
		if got := tr.serverName(); got != tc.want {
			t.Errorf("%s with %v: %s, want %s", tc.host, tc.names, got, tc.want)
		}
	}
}

func TestAnswersAreAskedForOnceInTheirLife(t *testing.T) {
	clk, zone := newClock(), &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	tr := trunkOf(t, table(t, zone, clk), "gw2")
	for range 5 {
		if _, _, err := tr.Targets(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	clk.advance(testLife - lead(testLife) - 1)
	tr.Targets(context.Background())
	if zone.questions() != 1 {
		t.Errorf("%d questions within the life of one answer", zone.questions())
	}
}

// settled waits until no lookup of the trunk's peer runs.
func settled(tr *Trunk) {
	tr.peer.mu.Lock()
	pending := tr.peer.pending
	tr.peer.mu.Unlock()
	if pending != nil {
		<-pending
	}
}

func TestAgedAnswerIsUsedWhileTheNextIsFetched(t *testing.T) {
	clk, zone := newClock(), &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	tr := trunkOf(t, table(t, zone, clk), "gw2")
	if _, _, err := tr.Targets(context.Background()); err != nil {
		t.Fatal(err)
	}
	zone.set("gw2.example.net", nil, "198.51.100.3")
	clk.advance(testLife)
	if got, _, _ := tr.Targets(context.Background()); got[0].Addr().String() != "198.51.100.2" {
		t.Errorf("the call waited for %v", got)
	}
	settled(tr)
	if got, _, _ := tr.Targets(context.Background()); got[0].Addr().String() != "198.51.100.3" {
		t.Errorf("the fresh answer was not taken: %v", got)
	}
}

func TestAnswerOutlivesFailuresOfDNSForADay(t *testing.T) {
	clk, zone := newClock(), &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	tab := table(t, zone, clk)
	tr := trunkOf(t, tab, "gw2")
	if _, _, err := tr.Targets(context.Background()); err != nil {
		t.Fatal(err)
	}
	zone.set("gw2.example.net", errors.New("SERVFAIL"))
	clk.advance(resolveStale)
	if got, _, err := tr.Targets(context.Background()); err != nil || got[0].Addr().String() != "198.51.100.2" {
		t.Errorf("after a day: %v, %v", got, err)
	}
	settled(tr)
	clk.advance(resolveAgain)
	if tab.Known("gw6", netip.MustParseAddr("198.51.100.2")) {
		t.Error("an address of more than a day ago is still a source")
	}
	settled(tr)
	_, _, err := tr.Targets(context.Background())
	if want := "trunk gw2: resolve gw2.example.net: SERVFAIL"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFailureIsNotAskedAgainForEveryCall(t *testing.T) {
	clk, zone := newClock(), &dns{}
	tr := trunkOf(t, table(t, zone, clk), "gw2")
	for range 5 {
		_, _, err := tr.Targets(context.Background())
		if want := "trunk gw2: resolve gw2.example.net: no such record"; err == nil || err.Error() != want {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
	if zone.questions() != 1 {
		t.Errorf("%d questions for 5 calls", zone.questions())
	}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	clk.advance(resolveAgain)
	if _, _, err := tr.Targets(context.Background()); err != nil {
		t.Errorf("ten seconds later: %v", err)
	}
}

func TestCallsThatNeedTheSameNameShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := &dns{gate: make(chan struct{})}
		zone.set("gw2.example.net", nil, "198.51.100.2")
		tr := trunkOf(t, table(t, zone, newClock()), "gw2")
		results := make(chan error, 20)
		for range cap(results) {
			go func() {
				_, _, err := tr.Targets(context.Background())
				results <- err
			}()
		}
		synctest.Wait() // all calls wait for the one question
		close(zone.gate)
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if zone.questions() != 1 {
			t.Errorf("%d questions", zone.questions())
		}
	})
}

func TestSystemResolverTakesAddressesAndTellsFailures(t *testing.T) {
	got, err := System{}.LookupHost(context.Background(), "192.0.2.7")
	if err != nil || len(got) != 1 || got[0].Unmap().String() != "192.0.2.7" {
		t.Errorf("an address: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got, err := (System{}).LookupHost(ctx, "gw.invalid"); err == nil {
		t.Errorf("a name that cannot exist: %v", got)
	}
}

// deaf is a resolver that neither answers nor obeys its deadline until the test ends.
type deaf struct{ end chan struct{} }

func (d deaf) Services(context.Context, string) ([]names.Service, time.Duration, error) {
	<-d.end
	return nil, 0, errors.New("too late")
}

func (d deaf) Addresses(context.Context, string) ([]netip.Addr, time.Duration, error) {
	<-d.end
	return nil, 0, errors.New("too late")
}

func (d deaf) Local(string) []netip.Addr { return nil }

func TestCallWaitsForDNSNoLongerThanItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{make(chan struct{})}
		defer close(d.end)
		tr := trunkOf(t, table(t, d, newClock()), "gw2")
		before := time.Now()
		_, _, err := tr.Targets(context.Background())
		if waited := time.Since(before); waited != resolveBound || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited %s, %v", waited, err)
		}
	})
}

func TestCallThatEndsStopsWaitingForDNS(t *testing.T) {
	d := deaf{make(chan struct{})}
	defer close(d.end)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := trunkOf(t, table(t, d, newClock()), "gw2").Targets(ctx)
	if want := "trunk gw2: resolve gw2.example.net: context canceled"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestKnownNeverWaitsAndAsksOncePerPeer(t *testing.T) {
	zone := &dns{gate: make(chan struct{}), asked: make(chan string, 10)}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	tab := table(t, zone, newClock())
	src := netip.MustParseAddr("198.51.100.2")
	for range 100 {
		if tr, _ := tab.Identify("gw6", src, nil); tr != nil || tab.Known("gw6", src) {
			t.Fatal("a stranger entered")
		}
	}
	if host := <-zone.asked; host != "gw2.example.net" {
		t.Errorf("asked for %s", host)
	}
	close(zone.gate)
	settled(trunkOf(t, tab, "none"))
	if !tab.Known("gw6", src) || len(zone.asked) != 0 {
		t.Errorf("known %v, %d more questions", tab.Known("gw6", src), len(zone.asked))
	}
}

func TestKnownAllocatesNothing(t *testing.T) {
	tab := table(t, &dns{}, newClock())
	tab.Refresh(context.Background())
	peer, stranger := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.99")
	if n := testing.AllocsPerRun(1000, func() {
		tab.Known("gw", peer)
		tab.Known("gw", stranger)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKnown(b *testing.B) {
	stranger := netip.MustParseAddr("203.0.113.99")
	for kind, peer := range map[string]string{"addresses": "198.51.100.%d", "names": "gw%d.example.net:5060"} {
		for _, trunks := range []int{1, 10, 100} {
			b.Run(fmt.Sprint(kind, trunks), func(b *testing.B) {
				cfg := config.Config{
					SIP:    config.SIP{Listeners: map[string]config.Listener{"l": {Transport: "udp"}}},
					Trunks: make(map[string]config.Trunk),
				}
				zone := &dns{answers: make(map[string][]string)}
				for i := range trunks {
					cfg.Trunks[fmt.Sprint(i)] = config.Trunk{Listener: "l", Peer: fmt.Sprintf(peer, i)}
					zone.answers[fmt.Sprintf("gw%d.example.net", i)] = []string{fmt.Sprintf("198.51.100.%d", i)}
				}
				tab, err := New(&cfg, zone, newClock().now)
				if err != nil {
					b.Fatal(err)
				}
				if err := tab.Refresh(context.Background()); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					tab.Known("l", stranger)
				}
			})
		}
	}
}
