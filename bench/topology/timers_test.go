package topology

import (
	"fmt"
	"syscall"
	"testing"

	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/trunk"
)

// watched makes of the configuration for failover one that asks peers every second how they are.
func watched(t *testing.T) string {
	t.Helper()
	return edit(t, config(t, "failover"), "options: {off: true}", "options: {every: 1s, demote: 3s, down: 5}")
}

// awaitTrunk waits until a trunk is in a state.
func (n *node) awaitTrunk(name, what string, is func(console.Trunk) bool) {
	n.T.Helper()
	await(n.T, "trunk "+name+" "+what, func() bool { return is(n.trunk(name)) })
}

func in(state trunk.State) func(console.Trunk) bool {
	return func(tr console.Trunk) bool { return tr.State == state && tr.RestSeconds == 0 }
}

// places has the PBX place a brief call, and asserts its story: its trunk and those before it.
func (n *node) places(from *host, called, to string, tried ...try) b2bua.CallRecord {
	n.T.Helper()
	caller := from.call(dial{called: called, to: n.sip(sipPort)})
	caller.Finish()
	want := through("pbx", to)
	want.called, want.tried = called, tried
	return n.tells(caller.logs("hung-up", 1)[0], want)
}

func TestPeerThatOnlySaysTryingIsLeftAfterTheFailoverTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, policy, after string }{
		{"of the configuration", "failover: {timeout: 2s}", "2s"},
		{"by default", "failover: {codes: [408, 503, 504]}", "10s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, "node-a", "pbx", "gw1", "gw2")
			text := edit(t, config(t, "failover"), "failover: {timeout: 2s}", c.policy)
			n := w.hosts["node-a"].tandem(edit(t, text, "ring_timeout: 10s", "ring_timeout: 30s"))
			silent := w.hosts["gw1"].sipp(part{scenario: "trying", port: sipPort})
			w.hosts["gw2"].gateway(part{})
			n.places(w.hosts["pbx"], "+4312345", "gw2", try{trunk: "gw1", code: 504, why: "no 18x within " + c.after}, try{trunk: "gw2", code: 200})
			silent.logs("cancelled", 1)
			n.close()
		})
	}
}

func TestRetryAfterRestsATrunkForThatTime(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	n := w.hosts["node-a"].tandem(watched(t))
	busy := w.hosts["gw1"].sipp(part{
		scenario: "refusing", port: sipPort, words: map[string]string{"status": "503 Service Unavailable", "told": "Retry-After: 4"},
	})
	w.hosts["gw2"].gateway(part{})
	taken, unavailable := try{trunk: "gw2", code: 200}, try{trunk: "gw1", code: 503, why: "Service Unavailable"}
	n.awaitTrunk("gw2", "is heard", func(tr console.Trunk) bool { return tr.LastCode == 200 })
	pbx := w.hosts["pbx"]
	n.places(pbx, "+4312345", "gw2", unavailable, taken)
	n.places(pbx, "+4312345", "gw2", try{trunk: "gw1", skipped: true, why: "it asked for rest, "}, taken)
	n.awaitTrunk("gw1", "has rested, and answered again", in(trunk.Up))
	n.places(pbx, "+4312345", "gw2", unavailable, taken)
	if got := len(busy.logged("called")); got != 2 {
		t.Errorf("the peer that asked for rest was called %d times, want before and after it", got)
	}
	n.close()
}

func TestSilentPeerIsTriedLastAndFirstAgainAfterOneAnswer(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	gw1 := w.hosts["gw1"].gateway(part{})
	w.hosts["gw2"].gateway(part{})
	n := w.hosts["node-a"].tandem(watched(t))
	pbx := w.hosts["pbx"]
	n.awaitTrunk("gw1", "is heard", func(tr console.Trunk) bool { return tr.LastCode == 200 })
	order := func(want string, to string) {
		t.Helper()
		if r := n.places(pbx, "+4312345", to, try{trunk: to, code: 200}); r.Decision != "route by-udp to "+want {
			t.Errorf("the decision is %q, want the order %s", r.Decision, want)
		}
	}
	order("gw1, gw2", "gw1")
	gw1.Signal(syscall.SIGSTOP)
	n.awaitTrunk("gw1", "is demoted", in(trunk.Demoted))
	n.changed("gw1", "up", "demoted")
	order("gw2, gw1", "gw2")
	gw1.Signal(syscall.SIGCONT)
	n.awaitTrunk("gw1", "is up", in(trunk.Up))
	n.changed("gw1", "demoted", "up")
	order("gw1, gw2", "gw1")
	n.close()
}

// changed waits until the log tells of a change of a trunk's state: each of them, and within a second.
func (n *node) changed(name, before, after string) {
	n.T.Helper()
	n.Says(fmt.Sprintf(`msg="trunk health changed" trunk=%s before=%s after=%s`, name, before, after))
}

func TestDeadPeerIsLeftOutUnlessNothingElseIsLeft(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	dying := part{transport: "tcp"}
	gw1 := w.hosts["gw1"].gateway(dying)
	w.hosts["gw2"].gateway(part{})
	text := watched(t) + "\n"
	text = edit(t, text, "routes:\n", "routes:\n  - {name: alone, from: [office], match: '^\\+44', to: [gw1-tcp]}\n")
	n := w.hosts["node-a"].tandem(text)
	pbx := w.hosts["pbx"]
	n.awaitTrunk("gw1-tcp", "is heard", func(tr console.Trunk) bool { return tr.LastCode == 200 })
	gw1.Kill()
	n.awaitTrunk("gw1-tcp", "is down", in(trunk.Down))
	n.places(pbx, "+4912345", "gw2", try{trunk: "gw1-tcp", skipped: true, why: "it is down"}, try{trunk: "gw2", code: 200})
	caller := pbx.call(dial{called: "+4412345", to: n.sip(sipPort)})
	caller.Finish()
	n.tells(caller.logs("refused 503", 1)[0], story{
		from: "pbx", called: "+4412345", code: 503, cause: 41, by: "tandem", why: "no trunk took the call",
		tried: []try{{trunk: "gw1-tcp", code: 503, why: failed}},
	})
	w.hosts["gw1"].gateway(dying)
	n.awaitTrunk("gw1-tcp", "is up", in(trunk.Up))
	n.places(pbx, "+4412345", "gw1-tcp", try{trunk: "gw1-tcp", code: 200})
	n.changed("gw1-tcp", "up", "demoted")
	n.changed("gw1-tcp", "demoted", "down")
	n.changed("gw1-tcp", "down", "up")
	n.close()
}
