package b2bua

import (
	"runtime"
	"testing"
	"time"
)

// serve answers every INVITE and every BYE that reaches the peer, until its socket is closed.
func (p *peer) serve() {
	for m := range p.in {
		switch {
		case m.is("INVITE"):
			p.reply(m, "180 Ringing", "gw", "")
			p.reply(m, "200 OK", "gw", sdpOf("198.51.100.20", 6000, ""))
		case m.is("BYE"):
			p.reply(m, "200 OK", "", "")
		}
	}
}

// place sets calls up, atOnce in setup, and gives each of them to answered. It returns their dialogs once all are up.
func (w *world) place(calls, atOnce int, answered func()) map[string]*dialog {
	open := map[string]*dialog{}
	start := func() {
		d := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
		open[d.callID] = d
	}
	for range atOnce {
		start()
	}
	up := map[string]bool{}
	for len(up) < calls {
		ok := w.caller.next("200 INVITE")
		id := ok.get("Call-ID")
		open[id].answered(ok)
		open[id].ack()
		if up[id] {
			continue // repeated: the first ACK was slow
		}
		up[id] = true
		answered()
		if len(open) < calls {
			start()
		}
	}
	return open
}

// hangUp ends calls one after another.
func (w *world) hangUp(open map[string]*dialog, ended func()) {
	over := map[string]bool{}
	for id, d := range open {
		d.bye()
		for !over[id] {
			over[w.caller.next("200 BYE").get("Call-ID")] = true
		}
		ended()
	}
}

// A loopback socket holds some 200 messages, so that not all calls can be in setup at once.
const manyCalls, callsAtOnce = 200, 20

func TestTwoHundredCallsLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.call().hangUp() // the stack and its workers run from now on
	w.record()
	go w.gw1.serve()
	before := runtime.NumGoroutine() + 2 // the last goroutines of the stack may not have begun
	open := w.place(manyCalls, callsAtOnce, func() {})
	if s := w.b.Stats(); s.Active != manyCalls {
		t.Errorf("%d calls at once, want %d", s.Active, manyCalls)
	}
	gw1, _ := w.trunks.ByName("gw1")
	alice, _ := w.trunks.ByName("alice")
	if a, b := alice.Active(), gw1.Active(); a != manyCalls || b != manyCalls {
		t.Errorf("%d and %d places taken", a, b)
	}
	w.hangUp(open, func() {})
	for range manyCalls {
		if r := w.record(); r.Code != 200 || r.To != "gw1" {
			t.Errorf("record %+v", r)
		}
	}
	w.gone()
	eventually(t, "every goroutine to end", func() bool { return runtime.NumGoroutine() <= before })
	if opens, updates, left := w.relay.counts(); opens != manyCalls+1 || updates != manyCalls+1 || left != 0 {
		t.Errorf("%d opens, %d updates, %d sessions left", opens, updates, left)
	}
	if s := w.b.Stats(); s.Drops != [drops]uint64{} || s.Dialogs != 0 {
		t.Errorf("%+v", s)
	}
	if a, b := alice.Snapshot(time.Now()), gw1.Snapshot(time.Now()); a.Calls+b.Calls+a.Bandwidth+b.Bandwidth != 0 {
		t.Errorf("places left taken: %+v, %+v", a, b)
	}
}

// BenchmarkCall is a whole call over loopback: INVITE to the last 200 of BYE, both sides, the peers' own work included.
func BenchmarkCall(b *testing.B) {
	w := newWorld(b)
	go w.gw1.serve()
	b.ReportAllocs()
	for b.Loop() {
		d := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
		d.answered(w.caller.next("200 INVITE"))
		d.ack()
		d.bye()
		w.caller.next("200 BYE")
		w.record()
		w.caller.seen = w.caller.seen[:0]
	}
}
