package subject

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/bench/load"
	"tandem/internal/config"
)

// counters of a good run of the sockets engine: 90 of 100 packets forwarded, 8 dropped, 2 lost before.
func good() Counters {
	return Counters{Received: 98, Forwarded: 90, Drops: map[string]uint64{"replay": 8}, Ways: map[string]uint64{"socket": 90}}
}

func TestAPathIsProvenByCountersOnly(t *testing.T) {
	for name, c := range map[string]struct {
		engine string
		change func(*Counters, *load.Result)
		says   string // "": proven
	}{
		"all is well":           {"sockets", func(*Counters, *load.Result) {}, ""},
		"nothing happened":      {"sockets", func(c *Counters, r *load.Result) { *c, *r = Counters{}, load.Result{} }, ""},
		"frames":                {"funnel", func(c *Counters, _ *load.Result) { c.Ways = map[string]uint64{"frame": 90} }, ""},
		"a neighbour lapsed":    {"funnel", func(c *Counters, _ *load.Result) { c.Ways = map[string]uint64{"frame": 9999, "socket_unresolved": 1} }, ""},
		"fell back":             {"funnel", func(c *Counters, _ *load.Result) { c.Ways = map[string]uint64{"frame": 60, "socket_local": 30} }, `packets left by: frame 60, socket_local 30`},
		"sockets under another": {"funnel", func(*Counters, *load.Result) {}, `should send by "frame"`},
		"no ways":               {"sockets", func(c *Counters, _ *load.Result) { c.Ways = nil }, "older than the rig"},
		"others' packets":       {"sockets", func(c *Counters, _ *load.Result) { c.Received, c.Forwarded = 101, 93 }, "somebody else's traffic"},
		"past the relay":        {"sockets", func(c *Counters, _ *load.Result) { c.Forwarded, c.Received = 80, 88 }, "another path"},
		"a wrong sum":           {"sockets", func(c *Counters, _ *load.Result) { c.Received = 99 }, "dropped 8 (replay 8): the sum is wrong"},
	} {
		before := Counters{Received: 7, Forwarded: 7, Drops: map[string]uint64{"replay": 1}, Ways: map[string]uint64{"socket": 7, "frame": 7}}
		d, r := good(), load.Result{Sent: 100, Delivered: 90}
		c.change(&d, &r)
		after := Counters{Received: 7 + d.Received, Forwarded: 7 + d.Forwarded, Drops: map[string]uint64{}, Ways: map[string]uint64{}}
		for _, m := range []struct{ to, before, d map[string]uint64 }{{after.Drops, before.Drops, d.Drops}, {after.Ways, before.Ways, d.Ways}} {
			for k, v := range m.before {
				m.to[k] += v
			}
			for k, v := range m.d {
				m.to[k] += v
			}
		}
		path, err := (&Tandem{Engine: c.engine}).Prove(before, after, &r)
		switch {
		case c.says == "" && (err != nil || path != c.engine+"/"+ownWay(c.engine)):
			t.Errorf("%s: %q %v", name, path, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
	}
}

func TestTheConfigurationIsOneThatTandemReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	relay := &Tandem{Engine: "sockets", Sessions: 20_000}
	addresses := []netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("fd00::1")}
	if err := os.WriteFile(path, relay.configuration("/tmp/x/relay.sock", addresses), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Media.Networks[network]
	if len(n.Addresses) != 2 || n.Ports.Low != FirstPort || n.Ports.High != LastPort || c.Media.Workers != 1 || c.Media.Sessions < 20_000 || c.Metrics.Relay != "off" {
		t.Errorf("%+v", c.Media)
	}
}

func TestALegSaysWhatItsPeerSpeaks(t *testing.T) {
	call := load.Call{
		A: load.Side{Peer: netip.MustParseAddrPort("198.18.1.1:10000"), Suite: load.DefaultSuite, PeerKey: []byte("peer"), RelayKey: []byte("relay")},
		B: load.Side{Peer: netip.MustParseAddrPort("198.18.1.2:10000")},
	}
	legs := Session(3, &call).Streams[0].Legs
	if a := legs[0]; a.Pin != "auth" || a.RX.Key != "cGVlcg==" || a.TX.Key != "cmVsYXk=" || a.RX.Suite != load.DefaultSuite || a.RTCP != "mux" {
		t.Errorf("secure leg %+v", a)
	}
	if b := legs[1]; b.Pin != "exact" || b.RX != nil || b.TX != nil || b.Remote != "198.18.1.2:10000" {
		t.Errorf("plain leg %+v", b)
	}
}

func TestInParallelDoesEverythingOnceOrSaysTheFirstError(t *testing.T) {
	var seen [1000]atomic.Int32
	if err := InParallel(t.Context(), len(seen), func(_ context.Context, i int) error { seen[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if seen[i].Load() != 1 {
			t.Fatalf("%d was done %d times", i, seen[i].Load())
		}
	}
	broken, begun := errors.New("broken"), atomic.Int32{}
	err := InParallel(t.Context(), 1000, func(_ context.Context, i int) error { begun.Add(1); return broken })
	if !errors.Is(err, broken) || begun.Load() > InFlight {
		t.Errorf("%v after %d", err, begun.Load())
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := InParallel(cancelled, 10, func(context.Context, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := InParallel(t.Context(), 0, nil); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}

func TestAMissingBinarySaysHowToBuildIt(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"", filepath.Join(dir, "tandem"), dir} {
		if _, err := FindBinary(path); err == nil || !strings.Contains(err.Error(), "make build") {
			t.Errorf("%q: %v", path, err)
		}
	}
	path := filepath.Join(dir, "found")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := FindBinary(path); err != nil || got != path {
		t.Errorf("%q %v", got, err)
	}
}

func TestRelaysInheritTheRaisedLimitOfOpenFiles(t *testing.T) {
	raised, err := RaiseFileLimit()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "ulimit -n").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64); err != nil || got != raised {
		t.Errorf("a child has %s open files, %v; want %d", out, err, raised)
	}
}
