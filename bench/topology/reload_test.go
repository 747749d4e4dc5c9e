package topology

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"tandem/signaling/console"
)

// Of the load under which a node is reloaded.
const (
	loadRate  = 20 // calls a second
	loadCalls = 300
	phase     = 40 // calls that each configuration carries at least, to the last of which it is in force
)

// carried waits until so many calls of the load have ended beyond those of before, and returns how many these are now.
func (n *node) carried(before, more int) (now int) {
	n.T.Helper()
	await(n.T, "calls end", func() bool {
		now = len(n.records())
		return now >= before+more
	})
	return now
}

// versions are what the file says one after the other: gw3 is added; gw2 gets a cap and gw1 goes; and a mistake is made.
func versions(t *testing.T) (first, added, changed, wrong string) {
	t.Helper()
	first = config(t, "reload")
	added = edit(t, first, "  gw2: {listener: lan, peer: 198.18.0.22}\n", "  gw2: {listener: lan, peer: 198.18.0.22}\n  gw3: {listener: lan, peer: 198.18.0.23}\n")
	added = edit(t, added, "[gw1, gw2]", "[gw1, gw2, gw3]")
	changed = edit(t, added, "198.18.0.22}", "198.18.0.22, max_calls: 2}")
	changed = edit(t, changed, "  gw1: {listener: lan, peer: 198.18.0.21}\n", "")
	changed = edit(t, changed, "[gw1, gw2, gw3]", "[gw2, gw3]")
	changed = edit(t, changed, "to: [gw1]", "to: [gw2]")
	return first, added, changed, edit(t, changed, "peer: 198.18.0.23", "pear: 198.18.0.23")
}

func TestReloadsUnderLoadHarmNoCall(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2", "gw3")
	first, added, changed, wrong := versions(t)
	n := w.hosts["node-a"].tandem(first)
	for _, name := range []string{"gw1", "gw2", "gw3"} {
		w.hosts[name].gateway(part{})
	}
	long := w.hosts["pbx"].call(dial{called: "+4321", to: n.sip(sipPort), hold: forever})
	longID := long.logs("answered", 1)[0]
	load := w.hosts["pbx"].call(dial{
		called: "+4312345", to: n.sip(sipPort), hold: 400, flags: []string{"-m", fmt.Sprint(loadCalls), "-r", fmt.Sprint(loadRate), "-l", "100"},
	})
	ended := n.carried(0, phase)

	// A trunk is added, by SIGHUP.
	var at moments
	at.added = time.Now()
	n.h.write(configFile, added)
	n.Signal(syscall.SIGHUP)
	n.Says("change=\"added trunks.gw3: ")
	n.Says("change=\"changed groups.city.trunks: [gw1, gw2] -> [gw1, gw2, gw3]\"")
	n.Says("changes=2 need_restart=0")
	ended = n.carried(ended, phase)

	// One is changed and one removed, by the console; the calls that it has go on.
	n.h.write(configFile, changed)
	at.changing = time.Now()
	var answer console.Reloaded
	if err := json.Unmarshal([]byte(n.ctl("config.reload")), &answer); err != nil || !answer.Applied || len(answer.Restart) != 0 ||
		!slices.Contains(answer.Changes, "changed trunks.gw2.max_calls: 0 -> 2") {
		t.Errorf("tandem ctl config.reload: %v: %+v", err, answer)
	}
	at.changed = time.Now()
	n.Says("change=\"removed trunks.gw1: was ")
	n.Says("change=\"changed trunks.gw2.max_calls: 0 -> 2\"")
	ended = n.carried(ended, phase)

	// One that is wrong changes nothing.
	n.h.write(configFile, wrong)
	n.Signal(syscall.SIGHUP)
	n.Says("configuration not reloaded; everything is as it was")
	n.carried(ended, phase)

	load.Finish()
	if calls := n.calls(); len(calls) != 1 || calls[0].Phase != "answered" || calls[0].To != "gw1" {
		t.Errorf("the calls are %+v; want the one on the trunk that was removed", calls)
	}
	long.hangup(longID)
	long.Finish()
	want := through("pbx", "gw1")
	want.called = "+4321"
	n.tells(longID, want)
	if got := len(load.logged("hung-up")); got != loadCalls {
		t.Errorf("%d calls went well, want %d", got, loadCalls)
	}
	n.spread(at)
	n.close()
}

// moments are when new configurations came to be: gw3 was not there before the first, gw2 had no cap before the second, and
// gw1 was gone after the third.
type moments struct{ added, changing, changed time.Time }

// spread asserts of each call of the load that it went well, and by a trunk that there was when it came.
func (n *node) spread(at moments) {
	n.T.Helper()
	by := map[string]int{}
	for _, r := range n.records() {
		if r.Called != "+4312345" {
			continue
		}
		by[r.To]++
		want := through("pbx", r.To)
		want.called, want.talked = "+4312345", 1
		skipped := r.Tried[0].Skipped
		if skipped {
			want.tried = slices.Insert(want.tried, 0, try{trunk: "gw2", skipped: true, why: "all 2 places are taken"})
		}
		n.agrees(&r, want)
		if r.To == "gw3" && r.Start.Before(at.added) || skipped && r.Start.Before(at.changing) || r.To == "gw1" && r.Start.After(at.changed) {
			n.T.Errorf("a call of %v tried %+v; the configuration changed at %+v", r.Start, r.Tried, at)
		}
	}
	if by["gw1"] == 0 || by["gw2"] == 0 || by["gw3"] == 0 || by["gw1"]+by["gw2"]+by["gw3"] != loadCalls {
		n.T.Errorf("calls by trunk: %v; want some by each, %d in all", by, loadCalls)
	}
}
