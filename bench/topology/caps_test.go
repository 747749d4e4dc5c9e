package topology

import (
	"slices"
	"testing"
)

func TestTrunkTakesExactlyTheCallsOfItsCap(t *testing.T) {
	t.Parallel()
	const (
		calls    = 11 // at once
		entering = 10 // places of the PBX's trunk
		first    = 3  // of the first gateway's
	)
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	text := edit(t, config(t, "failover"), "gw1: {listener: lan-udp, peer: 198.18.0.21}", "gw1: {listener: lan-udp, peer: 198.18.0.21, max_calls: 3}")
	text = edit(t, text, "pbx: {listener: lan-udp, peer: 198.18.0.11}", "pbx: {listener: lan-udp, peer: 198.18.0.11, max_calls: 10}")
	n := w.hosts["node-a"].tandem(text)
	w.hosts["gw1"].gateway(part{})
	w.hosts["gw2"].gateway(part{})
	caller := w.hosts["pbx"].call(dial{
		called: "+4312345", to: n.sip(sipPort), hold: forever, flags: []string{"-m", "11", "-l", "11", "-r", "1000"},
	})
	n.up(entering)
	for name, want := range map[string]int{"pbx": entering, "gw1": first, "gw2": entering - first} {
		if tr := n.trunk(name); tr.Calls != want {
			t.Errorf("trunk %s carries %d calls, want %d", name, tr.Calls, want)
		}
	}
	turnedAway := caller.logs("refused 503", calls-entering)
	for _, id := range caller.logs("answered", entering) {
		caller.hangup(id)
	}
	caller.Finish()
	full := try{trunk: "gw1", skipped: true, why: "all 3 places are taken"}
	r := n.record(turnedAway[0])
	r.Tried = nil // its route was found first, and the gateway was full by then, or not yet
	n.agrees(&r, story{
		from: "pbx", called: "+4312345", code: 503, cause: 34, by: "tandem", why: "trunk pbx takes no more: all 10 places are taken",
	})
	taken := map[string]int{}
	for _, id := range caller.logs("hung-up", entering) {
		r := n.record(id)
		want := through("pbx", r.To)
		if want.called, want.talked = "+4312345", 0; r.To == "gw2" {
			want.tried = slices.Insert(want.tried, 0, full)
		}
		n.agrees(&r, want)
		taken[r.To]++
	}
	if taken["gw1"] != first || taken["gw2"] != entering-first {
		t.Errorf("calls by trunk: %v; want %d and %d", taken, first, entering-first)
	}
	n.settled()
	for _, name := range []string{"pbx", "gw1", "gw2"} {
		if tr := n.trunk(name); tr.Calls != 0 {
			t.Errorf("trunk %s still has %d places taken after the last call", name, tr.Calls)
		}
	}
	if got := len(n.records()); got != calls {
		t.Errorf("%d records, want %d", got, calls)
	}
	n.close()
}
