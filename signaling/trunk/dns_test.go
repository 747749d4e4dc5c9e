package trunk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	server "github.com/miekg/dns"

	"tandem/signaling/trunk/names"
	"tandem/signaling/trunk/names/fake"
)

// asking is a DNS of the real kind: it asks the servers, in this order.
func asking(t *testing.T, servers ...*fake.Server) *names.Client {
	t.Helper()
	c := &names.Client{Hosts: filepath.Join(t.TempDir(), "hosts"), Try: 20 * time.Second}
	for _, s := range servers {
		c.Servers = append(c.Servers, s.Addr)
	}
	return c
}

// tick is what the once-a-second round over the trunks does, and waits for what it set off.
func tick(tr *Trunk, now time.Time) {
	tr.PollDue(now)
	settled(tr)
}

func TestPoolOfARealServerIsFoundByServiceAndAddress(t *testing.T) {
	s := fake.Serve(t,
		"_sip._udp.pool.example.net. 60 IN CNAME _sip._udp.pool.example.org.",
		"_sip._udp.pool.example.org. 60 IN SRV 10 0 5061 a.example.org.",
		"_sip._udp.pool.example.org. 60 IN SRV 20 0 5062 b.example.org.",
		"_sip._udp.pool.example.org. 60 IN SRV 30 0 5063 gone.example.org.",
		"a.example.org. 60 IN A 198.51.100.1", "b.example.org. 60 IN CNAME c.example.org.", "c.example.org. 60 IN A 198.51.100.3", "c.example.org. 60 IN AAAA 2001:db8::3",
	)
	tab := tableOf(t, pools, asking(t, s), newClock())
	if err := tab.Refresh(context.Background()); err == nil || !strings.Contains(err.Error(), "resolve pool.example.net: addresses of pool.example.net: no such record") {
		t.Errorf("the trunks without records: %v", err)
	}
	for trunk, want := range map[string]string{"u": "198.51.100.1:5061 198.51.100.3:5062", "v": "[2001:db8::3]:5062"} {
		if got := targets(t, trunkOf(t, tab, trunk)); got != want {
			t.Errorf("%s: %s, want %s", trunk, got, want)
		}
	}
}

func TestWeightsOfARealServerAreTheSharesOfTheCalls(t *testing.T) {
	s := fake.Serve(t,
		"_sip._udp.pool.example.net. 60 IN SRV 10 75 5060 a.example.net.", "_sip._udp.pool.example.net. 60 IN SRV 10 25 5060 b.example.net.",
		"a.example.net. 60 IN A 198.51.100.1", "b.example.net. 60 IN A 198.51.100.2")
	tab := tableOf(t, pools, asking(t, s), newClock())
	tab.Draw(rand.New(rand.NewPCG(3, 5)).IntN)
	tr, first := trunkOf(t, tab, "u"), make(map[string]float64)
	for range draws {
		first[strings.Fields(targets(t, tr))[0]] += 1. / draws
	}
	near(t, "first", first, map[string]float64{"198.51.100.1:5060": 0.75, "198.51.100.2:5060": 0.25})
	if n := len(s.Asked()); n > 5 { // SRV, then addresses of both
		t.Errorf("%d questions for %d calls", n, draws)
	}
}

func TestFirstAnswerThatIsDeadIsLeftForTheOthers(t *testing.T) {
	s := fake.Serve(t,
		"_sip._udp.pool.example.net. 60 IN SRV 10 0 5060 a.example.net.", "_sip._udp.pool.example.net. 60 IN SRV 20 0 5060 b.example.net.",
		"a.example.net. 60 IN A 198.51.100.1", "b.example.net. 60 IN A 198.51.100.2")
	clk := newClock()
	tr := trunkOf(t, tableOf(t, pools, asking(t, s), clk), "u")
	first := strings.Fields(targets(t, tr))[0]
	tr.AddressFailed(netip.MustParseAddrPort(first), clk.now())
	if got, want := targets(t, tr), "198.51.100.2:5060 198.51.100.1:5060"; got != want {
		t.Errorf("the next call: %s, want %s", got, want)
	}
}

func TestChangedAnswerIsUsedBeforeTheOldOneEnds(t *testing.T) {
	clk := newClock()
	s := fake.Serve(t, "pool.example.net. 100 IN A 198.51.100.1")
	tr := trunkOf(t, tableOf(t, pools, asking(t, s), clk), "p")
	expect := func(what, want string) {
		t.Helper()
		if got := targets(t, tr); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("at first", "198.51.100.1:5070")
	s.Set(t, "pool.example.net. 20 IN A 198.51.100.2")
	tick(tr, clk.advance(90*time.Second-1))
	expect("before a tenth of the life is left", "198.51.100.1:5070")
	tick(tr, clk.advance(1))
	expect("after it, though nobody called", "198.51.100.2:5070")
	s.Set(t, "pool.example.net. 0 IN A 198.51.100.3")
	tick(tr, clk.advance(18*time.Second))
	expect("a life of 20 s", "198.51.100.3:5070")
	s.Set(t, "pool.example.net. 1000000 IN A 198.51.100.4")
	tick(tr, clk.advance(lifeLeast-leadLeast-1))
	expect("no life is shorter than the least", "198.51.100.3:5070")
	tick(tr, clk.advance(1))
	expect("nor longer than that", "198.51.100.4:5070")
	s.Set(t, "pool.example.net. 60 IN A 198.51.100.5")
	tick(tr, clk.advance(lifeMost-leadMost))
	expect("and none longer than the most", "198.51.100.5:5070")
}

func TestServersThatFailLeaveTheOldAnswerAndADenialDoesNot(t *testing.T) {
	clk := newClock()
	s := fake.Serve(t, "pool.example.net. 60 IN A 198.51.100.1")
	tr := trunkOf(t, tableOf(t, pools, asking(t, s), clk), "p")
	targets(t, tr)
	s.Hook(func(w server.ResponseWriter, q *server.Msg) bool {
		w.WriteMsg(new(server.Msg).SetRcode(q, server.RcodeServerFailure))
		return true
	})
	for range 5 {
		tick(tr, clk.advance(time.Hour))
	}
	status := tr.Snapshot(clk.now())
	if got := targets(t, tr); got != "198.51.100.1:5070" || !strings.Contains(status.DNSError, "SERVFAIL") {
		t.Errorf("while DNS fails: %s, %q", got, status.DNSError)
	}
	s.Hook(nil)
	s.Set(t)
	tick(tr, clk.advance(resolveAgain))
	if got, want := targets(t, tr), "trunk p: resolve pool.example.net: addresses of pool.example.net: no such record"; got != want {
		t.Errorf("after DNS took the name away: %s, want %s", got, want)
	}
	if src := netip.MustParseAddr("198.51.100.1"); tr.peer.has(src, clk.now()) {
		t.Error("the address is still a source")
	}
}

func TestServicesThatAppearAreFoundWhenTheDenialEnds(t *testing.T) {
	clk := newClock()
	s := fake.Serve(t, "pool.example.net. 3600 IN A 198.51.100.1")
	tr := trunkOf(t, tableOf(t, pools, asking(t, s), clk), "u")
	if got := targets(t, tr); got != "198.51.100.1:5060" {
		t.Fatal(got)
	}
	s.Set(t, "_sip._udp.pool.example.net. 60 IN SRV 0 0 5066 a.example.net.", "a.example.net. 60 IN A 198.51.100.2")
	tick(tr, clk.advance(7*time.Second)) // the server's denial of SRV holds for 7 s, the address for an hour
	if got := targets(t, tr); got != "198.51.100.2:5066" {
		t.Error(got)
	}
}

func TestLargePoolComesByTCPAndIsBounded(t *testing.T) {
	var records []string
	for i := range 60 {
		records = append(records, fmt.Sprintf("_sip._udp.pool.example.net. 60 IN SRV %d 0 5060 a-host-with-a-name-that-fills-datagrams-%d.example.net.", i, i),
			fmt.Sprintf("a-host-with-a-name-that-fills-datagrams-%d.example.net. 60 IN A 198.51.100.%d", i, i))
	}
	s := fake.Serve(t, records...)
	got := strings.Fields(targets(t, trunkOf(t, tableOf(t, pools, asking(t, s), newClock()), "u")))
	if len(got) != servicesMost || got[0] != "198.51.100.0:5060" {
		t.Errorf("%v", got)
	}
	if asked := s.Asked(); asked[1] != "tcp SRV _sip._udp.pool.example.net." {
		t.Errorf("%q", asked[:2])
	}
}

func TestSystemsFilesServeATableWithoutADNSOfItsOwn(t *testing.T) {
	s := fake.Serve(t, "pool.example.net. 60 IN A 198.51.100.1")
	c := asking(t, s)
	if err := os.WriteFile(c.Hosts, []byte("198.51.100.77 pool.example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := targets(t, trunkOf(t, tableOf(t, pools, c, newClock()), "u")); got != "198.51.100.77:5060" || len(s.Asked()) != 0 {
		t.Errorf("%s after %v", got, s.Asked())
	}
}
