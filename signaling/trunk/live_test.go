package trunk

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// reloaded is the table of a config after a replacement in its text, adopted from the old one.
func reloaded(t *testing.T, old *Table, zone *dns, clk *clock, replace ...string) *Table {
	t.Helper()
	tab := tableOf(t, strings.NewReplacer(replace...).Replace(capped), zone, clk)
	tab.Adopt(old)
	return tab
}

func TestReloadKeepsWhatIsKnownOfATrunkThatStays(t *testing.T) {
	clk := newClock()
	old := tableOf(t, capped, &dns{}, clk)
	was := trunkOf(t, old, "calls")
	was.Answered(503, clk.now())
	was.RetryAfter(time.Minute, clk.now())
	was.Tried()
	was.Failed(503, "no")
	was.SetRegistration("registered")
	take(t, was, Ask{Bandwidth: 80}, clk.now(), "")
	is := trunkOf(t, reloaded(t, old, &dns{}, clk), "calls")
	s := is.Snapshot(clk.now())
	if s.State != Demoted || s.RestSeconds != 60 || s.Calls != 1 || s.Bandwidth != 80 || s.CPS != 1 ||
		s.Counters.Attempts != 1 || s.Counters.Failed != 1 || s.LastError.Why != "no" || s.Registration != "registered" {
		t.Errorf("%+v", s)
	}
}

func TestCallOfBeforeTheReloadFreesItsPlaceInTheNewTable(t *testing.T) {
	clk := newClock()
	old := tableOf(t, capped, &dns{}, clk)
	was := trunkOf(t, old, "calls")
	for range 30 {
		take(t, was, Ask{}, clk.now(), "")
	}
	is := trunkOf(t, reloaded(t, old, &dns{}, clk), "calls")
	take(t, is, Ask{}, clk.now(), "all 30 places are taken")
	was.Give(Ask{})
	take(t, is, Ask{}, clk.now(), "")
	is.Give(Ask{})
	if was.Active() != 29 || is.Active() != 29 {
		t.Errorf("%d and %d places", was.Active(), is.Active())
	}
}

func TestReloadChangesTheCapsAndTheRulesOfHealth(t *testing.T) {
	clk := newClock()
	old := tableOf(t, capped, &dns{}, clk)
	was := trunkOf(t, old, "calls")
	for range 30 {
		take(t, was, Ask{}, clk.now(), "")
	}
	tab := reloaded(t, old, &dns{}, clk, "max_calls: 30", "max_calls: 20, options: {every: 10s, demote: 20s, down: 2}")
	is := trunkOf(t, tab, "calls")
	take(t, is, Ask{}, clk.now(), "all 20 places are taken")
	take(t, was, Ask{}, clk.now(), "all 20 places are taken") // a call that still fails over by the old table
	for range 11 {
		was.Give(Ask{})
	}
	take(t, is, Ask{}, clk.now(), "")
	is.Missed(clk.now())
	if got := is.State(clk.advance(20 * time.Second)); got != Demoted {
		t.Errorf("after options.demote: %s", got)
	}
	if is.Missed(clk.now()); is.State(clk.now()) != Down || was.State(clk.now()) != Down {
		t.Errorf("after options.down: %s, %s", is.State(clk.now()), was.State(clk.now()))
	}
}

func TestReloadThatEndsPollsRestoresWhatPollsTookDown(t *testing.T) {
	clk := newClock()
	old := tableOf(t, capped, &dns{}, clk)
	sink(trunkOf(t, old, "calls"), clk.now())
	is := trunkOf(t, reloaded(t, old, &dns{}, clk, "max_calls: 30", "options: {off: true}"), "calls")
	if got := is.State(clk.now()); got != Up {
		t.Errorf("%s, and nothing would ever change that", got)
	}
}

func TestReloadKeepsTheSecondBehindIt(t *testing.T) {
	const why = "calls began within a second, which is the most"
	clk := newClock()
	old := tableOf(t, capped, &dns{}, clk)
	for range 5 {
		take(t, trunkOf(t, old, "rate"), Ask{}, clk.now(), "")
		clk.advance(100 * time.Millisecond)
	}
	smaller := reloaded(t, old, &dns{}, clk, "max_cps: 5", "max_cps: 3")
	take(t, trunkOf(t, smaller, "rate"), Ask{}, clk.now(), "3 "+why)
	larger := reloaded(t, smaller, &dns{}, clk, "max_cps: 5", "max_cps: 6")
	tr := trunkOf(t, larger, "rate")
	take(t, tr, Ask{}, clk.advance(699*time.Millisecond), "") // within the second before it: those at 200, 300 and 400 ms
	take(t, tr, Ask{}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), "6 "+why)
	take(t, tr, Ask{}, clk.advance(time.Millisecond), "")
	take(t, tr, Ask{}, clk.now(), "6 "+why)
}

func TestTrunkWithAnotherPeerOrListenerBeginsAnew(t *testing.T) {
	for name, change := range map[string][]string{
		"peer":      {"peer: 198.51.100.1,", "peer: 198.51.100.9,"},
		"port":      {"peer: 198.51.100.1,", "peer: '198.51.100.1:5070',"},
		"name":      {"calls: {", "other: {"},
		"address":   {"192.0.2.1:5060", "192.0.2.1:5062"},
		"transport": {"transport: udp", "transport: tcp"},
		"listener":  {"listener: gw", "listener: hw", "gw: {", "hw: {"},
	} {
		t.Run(name, func(t *testing.T) {
			clk := newClock()
			old := tableOf(t, capped, &dns{}, clk)
			was := trunkOf(t, old, "calls")
			sink(was, clk.now())
			take(t, was, Ask{}, clk.now(), "")
			tab := reloaded(t, old, &dns{}, clk, change...)
			for _, is := range tab.All() {
				if is.State(clk.now()) != Up || is.Active() != 0 {
					t.Errorf("%s: %s with %d calls", is.Name, is.State(clk.now()), is.Active())
				}
			}
		})
	}
}

func TestReloadKeepsTheAnswersOfDNS(t *testing.T) {
	clk, zone := newClock(), &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.2")
	old := table(t, zone, clk)
	old.Refresh(context.Background())
	n := zone.questions()
	tab := table(t, zone, clk)
	tab.Adopt(old)
	got, _, err := trunkOf(t, tab, "gw2").Targets(context.Background())
	if err != nil || len(got) != 1 || zone.questions() != n {
		t.Errorf("%v, %v after %d more questions", got, err, zone.questions()-n)
	}
}

func TestReloadUnderLoadLosesNoPlace(t *testing.T) {
	clk := newClock()
	var mu sync.Mutex
	tab := tableOf(t, capped, &dns{}, clk)
	current := func() *Table { mu.Lock(); defer mu.Unlock(); return tab }
	stop := make(chan struct{})
	var calls, reloads sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 300 {
				tr := trunkOf(t, current(), "calls")
				if _, ok := tr.Take(Ask{Bandwidth: 80}, clk.now()); ok {
					tr.Answered(200, clk.now())
					tr.Snapshot(clk.now())
					tr.Give(Ask{Bandwidth: 80})
				}
			}
		})
	}
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			next := reloaded(t, current(), &dns{}, clk)
			mu.Lock()
			tab = next
			mu.Unlock()
		}
	})
	calls.Wait()
	close(stop)
	reloads.Wait()
	if s := trunkOf(t, tab, "calls").Snapshot(clk.now()); s.Calls != 0 || s.Bandwidth != 0 {
		t.Errorf("%+v", s)
	}
}
