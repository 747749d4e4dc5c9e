package b2bua

import (
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
)

func TestOptionsAreAnsweredToTrunksOnly(t *testing.T) {
	w := newWorld(t)
	d := &dialog{p: w.caller, to: w.west, callID: "ping", local: "<sip:a@x>;tag=1", remote: "<sip:t@y>", target: "sip:" + w.west.String()}
	d.other("OPTIONS", "")
	res := w.caller.next("200 OPTIONS")
	if res.get("Accept") != contentSDP || res.get("Allow") != allow || len(res.all("Supported")) != 1 {
		t.Errorf("200:\n%s", res.raw)
	}
	w = newWorld(t, func(c *config.Config, _ *Timers) { edit(c, "alice", func(tr *config.Trunk) { tr.Listener = "east" }) })
	d.p, d.to = w.caller, w.west
	d.other("OPTIONS", "")
	w.caller.next("403 OPTIONS")
}

func TestOptionsAreRefusedWhileCallsWouldBe(t *testing.T) {
	w := newWorld(t)
	d := &dialog{p: w.caller, to: w.west, callID: "ping", local: "<sip:a@x>;tag=1", remote: "<sip:t@y>", target: "sip:" + w.west.String()}
	w.away.Store(true)
	d.other("OPTIONS", "")
	if res := w.caller.next("503 OPTIONS"); res.get("Retry-After") == "" {
		t.Errorf("503:\n%s", res.raw)
	}
}

func TestTrunksArePolledAndTheirHealthFollows(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Options = config.Options{Every: testT1} })
	})
	gw1, _ := w.trunks.ByName("gw1")
	ping := w.gw1.next("OPTIONS")
	if !strings.HasPrefix(ping.start, "OPTIONS sip:"+w.gw1.addr.String()+" ") || ping.get("Contact") != "<sip:"+w.east.String()+";transport=udp>" {
		t.Errorf("ping:\n%s", ping.raw)
	}
	w.gw1.reply(ping, "503 Service Unavailable", "x", "")
	eventually(t, "the trunk to be demoted", func() bool { return gw1.State(time.Now()).String() == "demoted" })
	for gw1.State(time.Now()).String() != "up" {
		w.gw1.reply(w.gw1.next("OPTIONS"), "404 Not Found", "x", "")
	}
}

func TestMediaTimeoutEndsBothSidesWithAReason(t *testing.T) {
	w := newWorld(t)
	w.call()
	w.b.MediaEvent(control.EventPinned, control.Event{Session: w.relay.opened(0).ID})
	w.b.MediaEvent(control.EventTimeout, control.Event{Session: "another"})
	w.b.MediaEvent(control.EventTimeout, control.Event{Session: w.relay.opened(0).ID, Leg: "b", After: "running", SilentMS: 60000})
	for _, p := range []*peer{w.caller, w.gw1} {
		bye := p.next("BYE")
		if bye.get("Reason") != `SIP;cause=408;text="media timeout"` {
			t.Errorf("Reason %q", bye.get("Reason"))
		}
		p.reply(bye, "200 OK", "", "")
	}
	if r := w.record(); r.By != "tandem" || r.Why != "media timeout: nothing heard from leg b (trunk gw1) for 60000 ms" || r.Call != w.relay.opened(0).ID {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestCallWhoseSessionVanishedIsEnded(t *testing.T) {
	w := newWorld(t)
	w.call()
	w.b.RelayUp(control.HelloResult{Boot: "first"})
	w.relay.forget()
	w.b.RelayUp(control.HelloResult{Boot: "second"})
	for _, p := range []*peer{w.caller, w.gw1} {
		p.reply(p.next("BYE"), "200 OK", "", "")
	}
	w.gone()
}

func TestSessionOfNoCallIsClosedAndThatOfACallIsKept(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	_, err := w.relay.Open(t.Context(), control.Open{ID: "node1.stale", Generation: 1, Owner: "node1",
		Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{{Name: "a"}, {Name: "b"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.b.RelayUp(control.HelloResult{Boot: "first"})
	eventually(t, "the stale session to be closed", func() bool { _, _, open := w.relay.counts(); return open == 1 })
	k.hangUp()
}

func TestSessionThatCouldNotBeClosedIsClosedLater(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	w.relay.failing(func(method, _ string) error { return errTest })
	k.a.bye()
	w.caller.next("200 BYE")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
	if n := w.b.Stats().Unclosed; n != 1 {
		t.Errorf("%d sessions wait to be closed, want 1", n)
	}
	w.relay.failing(nil)
	eventually(t, "the session to be closed", func() bool { return w.b.Stats().Unclosed == 0 })
}

func TestCallsAreListed(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	list := w.b.Calls()
	if len(list) != 1 || list[0].Phase != "answered" || list[0].From != "alice" || list[0].To != "gw1" || list[0].Session == "" {
		t.Errorf("%+v", list)
	}
	k.hangUp()
	if list := w.b.Calls(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
