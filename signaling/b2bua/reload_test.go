package b2bua

import (
	"crypto/tls"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// changed is a copy of a config with something else in it.
func changed(c *config.Config, change func(*config.Config)) *config.Config {
	next := *c
	next.Trunks = maps.Clone(c.Trunks)
	next.Routes = append([]config.Route(nil), c.Routes...)
	change(&next)
	return &next
}

// reload takes another config up, as the call plane does.
func (w *world) reload(cfg *config.Config, before *trunk.Table) *trunk.Table {
	w.t.Helper()
	trunks, err := trunk.New(cfg, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	trunks.Adopt(before)
	w.b.Reload(cfg, trunks, route.New(cfg))
	return trunks
}

func without(name string) func(*config.Config) {
	return func(c *config.Config) {
		delete(c.Trunks, name)
		c.Routes[0].To = []string{"gw2"}
	}
}

func TestTwoHundredCallsGoOnOverFiftyReloads(t *testing.T) {
	w := newWorld(t)
	go w.gw1.serve()
	go w.gw2.serve()
	tables := []*trunk.Table{w.trunks}
	done := 0
	reload := func() { // one for every eighth of what the 200 calls do: some while they are set up, some while they end
		if done++; done%8 != 0 {
			return
		}
		cfg := w.cfg
		switch done / 8 % 4 {
		case 0:
			cfg = changed(w.cfg, without("gw1"))
		case 1:
			cfg = changed(w.cfg, func(c *config.Config) { edit(c, "gw1", func(tr *config.Trunk) { tr.MaxCalls = 1000 }) })
		case 2:
			cfg = changed(w.cfg, func(c *config.Config) { c.Routes[0].To = []string{"gw2", "gw1"} })
		}
		tables = append(tables, w.reload(cfg, tables[len(tables)-1]))
	}
	open := w.place(manyCalls, callsAtOnce, reload)
	if s := w.b.Stats(); s.Active != manyCalls {
		t.Errorf("%d calls at once, want %d", s.Active, manyCalls)
	}
	w.hangUp(open, reload)
	to := map[string]int{}
	for range manyCalls {
		r := w.record()
		to[r.To]++
		if r.Code != 200 || r.By != byCaller {
			t.Errorf("record %+v", r)
		}
	}
	if len(tables) != 51 || to["gw1"] == 0 || to["gw2"] == 0 {
		t.Errorf("%d tables, calls went to %v", len(tables), to)
	}
	w.gone()
	for _, table := range tables {
		for _, tr := range table.All() {
			if s := tr.Snapshot(time.Now()); s.Calls != 0 || s.Bandwidth != 0 {
				t.Fatalf("trunk %s: %d places and %d kbit/s left taken", tr.Name, s.Calls, s.Bandwidth)
			}
		}
	}
	if s := w.b.Stats(); s.Drops != [drops]uint64{} || len(w.b.running) != 0 {
		t.Errorf("%+v, %d configs still in use", s, len(w.b.running))
	}
}

func TestTrunkThatIsGoneServesItsCallsToTheirEnd(t *testing.T) {
	only := func(c *config.Config, _ *Timers) {
		for name, a := range map[string]string{"gw1": "127.0.0.1/32", "gw2": "127.0.0.2/32"} {
			edit(c, name, func(tr *config.Trunk) { tr.Sources = []netip.Prefix{netip.MustParsePrefix(a)} })
		}
	}
	w := newWorld(t, only)
	k := w.call()
	home := netip.MustParseAddr("127.0.0.1")
	w.reload(changed(w.cfg, without("gw1")), w.trunks)
	if !w.b.Known("east", home) {
		t.Error("the peer of a running call has the rate of a stranger")
	}
	k.b.invite(sdpOf("198.51.100.99", 6000, ""))
	w.gw1.next("200 INVITE")
	k.b.ack()
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.99:6000" {
		t.Errorf("leg b goes to %s", b.Remote)
	}
	other := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw2.next("INVITE")
	w.gw2.reply(inv, "486 Busy Here", "x", "")
	other.ackFailure(w.caller.next("486"))
	if r := w.record(); len(r.Tried) != 1 || r.Tried[0].Trunk != "gw2" {
		t.Errorf("a new call tried %+v", r.Tried)
	}
	k.hangUp()
	if w.b.Known("east", home) {
		t.Error("the peer is known though its trunk and its calls are gone")
	}
}

func TestReloadTurnsThePollingToTheNewTrunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polled := func(name string) func(*config.Config) {
			return func(c *config.Config) {
				edit(c, name, func(tr *config.Trunk) { tr.Options = config.Options{Every: time.Minute} })
			}
		}
		p := newPaper(t, polled("b1"))
		synctest.Wait()
		off := changed(p.cfg, func(c *config.Config) {
			edit(c, "b1", func(tr *config.Trunk) { tr.Options = config.Options{Off: true} })
		})
		p.reload(t, changed(off, polled("b2")))
		time.Sleep(90 * time.Second)
		synctest.Wait()
		var to []string
		for _, tx := range p.stack.sent {
			to = append(to, tx.to.Dest.Addr().String())
		}
		if len(to) != 3 || to[0] != b1 || to[1] != b2 || to[2] != b2 {
			t.Errorf("OPTIONS went to %v", to)
		}
		p.over(t)
	})
}

func TestConnectionsOfATrunkShowItsOwnIdentityToTheEndOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		own := map[string]*tls.Config{"b1": {ServerName: "ours"}}
		p.b.o.Identity = func(trunk string) *tls.Config { return own[trunk] }
		p.reload(t, p.cfg)
		p.invite(0)
		synctest.Wait()
		p.answer(0, 200, "callee", true)
		synctest.Wait()
		before := own["b1"]
		own = nil
		p.reload(t, changed(p.cfg, func(c *config.Config) { delete(c.Trunks, "b1") }))
		p.fromCaller(0, sip.ACK, "")
		p.seq = 1
		p.fromCaller(0, sip.BYE, "")
		synctest.Wait()
		p.invite(1)
		synctest.Wait()
		for n, want := range []*tls.Config{before, before, nil} { // INVITE and BYE of the first call, INVITE of the second
			if tx := p.stack.at(n); tx.to.TLS != want {
				t.Errorf("%s to %s shows another identity", tx.req.Method, tx.to.Dest)
			}
		}
		p.over(t)
	})
}

func TestPlacesOutliveAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) { edit(c, "b1", func(tr *config.Trunk) { tr.MaxCalls = 1 }) })
		p.invite(0)
		synctest.Wait()
		p.reload(t, changed(p.cfg, func(*config.Config) {}))
		p.invite(1)
		p.wantInvites(t, "with the only place of b1 taken before the reload", b1+" "+b2)
		p.over(t)
		if n := p.trunk("b1").Active(); n != 0 {
			t.Errorf("%d places left taken", n)
		}
	})
}
