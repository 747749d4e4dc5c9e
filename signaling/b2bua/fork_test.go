package b2bua

import (
	"fmt"
	"testing"

	"tandem/internal/config"
)

func TestCallerHearsTheForkThatSpokeLastAndTheAnswerOfAThird(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	tag := ""
	for i, fork := range []string{"one", "two"} {
		w.gw1.reply(inv, "183 Session Progress", fork, sdpOf("198.51.100.20", 6000+10*i, ""))
		early := w.caller.next("183")
		if tag == "" {
			tag = tagOf(early.get("To"))
		}
		if tagOf(early.get("To")) != tag {
			t.Error("the caller sees several dialogs")
		}
		if b, want := w.relay.leg(t, "b"), fmt.Sprintf("198.51.100.20:%d", 6000+10*i); b.Remote != want {
			t.Errorf("early media of %s goes to %s", fork, b.Remote)
		}
	}
	w.gw1.reply(inv, "200 OK", "three", sdpOf("198.51.100.20", 7000, "", "8"))
	if ack := w.gw1.next("ACK"); tagOf(ack.get("To")) != "three" {
		t.Errorf("ACK:\n%s", ack.raw)
	}
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:7000" {
		t.Errorf("media goes to %s", b.Remote)
	}
	(&talk{w: w, a: a}).hangUp()
}

func TestAnswerOfAForkWithoutSdpUsesItsOwnEarlyMedia(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "one", sdpOf("198.51.100.20", 6000, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "183 Session Progress", "two", sdpOf("198.51.100.20", 6010, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "200 OK", "one", "")
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6000" {
		t.Errorf("media goes to %s, which is another fork's", b.Remote)
	}
	(&talk{w: w, a: a}).hangUp()
}

func TestForkThatIsOverGivesWayToTheOneBefore(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "one", sdpOf("198.51.100.20", 6000, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "183 Session Progress", "two", sdpOf("198.51.100.20", 6010, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "199 Early Dialog Terminated", "two", "")
	w.caller.next("183")
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6000" {
		t.Errorf("early media goes to %s", b.Remote)
	}
	w.gw1.reply(inv, "181 Call Is Being Forwarded", "one", "")
	w.caller.next("181")
	if w.caller.had("199") != 0 {
		t.Error("a 199 would end the caller's only early dialog")
	}
	a.cancel()
	a.ackFailure(w.caller.next("487"))
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "one", "")
	w.gw1.reply(inv, "487 Request Terminated", "one", "")
	w.gone()
}

func TestEarlyDialogsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) { edit(c, "gw1", func(tr *config.Trunk) { tr.MaxEarly = 2 }) })
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	for i := range 4 {
		w.gw1.reply(inv, "180 Ringing", fmt.Sprint("fork", i), "")
	}
	w.gw1.reply(inv, "200 OK", "late", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	if n := w.caller.had("180"); n != 2 {
		t.Errorf("%d of 4 were told, 2 are allowed", n)
	}
	(&talk{w: w, a: a}).hangUp()
}
