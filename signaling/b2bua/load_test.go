package b2bua

import (
	"runtime"
	"testing"
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

func TestTwoHundredCallsLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.call().hangUp() // the stack and its workers run from now on
	w.record()
	go w.gw1.serve()
	before := runtime.NumGoroutine() + 2 // the last goroutines of the stack may not have begun
	const calls, atOnce = 200, 20        // atOnce in setup: a loopback socket holds some 200 messages
	open := map[string]*dialog{}
	start := func() {
		d := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
		open[d.callID] = d
	}
	for range atOnce {
		start()
	}
	answered := map[string]bool{}
	for len(answered) < calls {
		ok := w.caller.next("200 INVITE")
		id := ok.get("Call-ID")
		open[id].answered(ok)
		open[id].ack()
		if answered[id] {
			continue // repeated: the first ACK was slow
		}
		answered[id] = true
		if len(open) < calls {
			start()
		}
	}
	if s := w.b.Stats(); s.Active != calls {
		t.Errorf("%d calls at once, want %d", s.Active, calls)
	}
	ended := map[string]bool{}
	for id, d := range open {
		d.bye()
		for !ended[id] {
			ended[w.caller.next("200 BYE").get("Call-ID")] = true
		}
	}
	for range calls {
		if r := w.record(); r.Code != 200 || r.To != "gw1" {
			t.Errorf("record %+v", r)
		}
	}
	w.gone()
	eventually(t, "every goroutine to end", func() bool { return runtime.NumGoroutine() <= before })
	if opens, updates, left := w.relay.counts(); opens != calls+1 || updates != calls+1 || left != 0 {
		t.Errorf("%d opens, %d updates, %d sessions left", opens, updates, left)
	}
	if s := w.b.Stats(); s.Drops != [drops]uint64{} || s.Dialogs != 0 {
		t.Errorf("%+v", s)
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
