package b2bua

import (
	"strings"
	"testing"
)

func TestCallIsAnsweredAndHungUpByTheCaller(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	if got := line(k.invite.body, "m=audio "); !strings.HasPrefix(got, "40002 RTP/AVP 0 8 101") {
		t.Errorf("offer to the gateway: m=audio %s", got)
	}
	if got := line(k.ok.body, "m=audio "); !strings.HasPrefix(got, "40000 RTP/AVP 0 8 101") {
		t.Errorf("answer to the caller: m=audio %s", got)
	}
	opens, updates, _ := w.relay.counts()
	if opens != 1 || updates != 1 {
		t.Errorf("%d opens and %d updates for one call, want 1 and 1", opens, updates)
	}
	if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Remote != "192.0.2.10:5000" || b.Remote != "198.51.100.20:6000" ||
		a.Direction != "sendrecv" || b.Direction != "sendrecv" || a.Pin != "exact" {
		t.Errorf("the relay was told %+v and %+v", a, b)
	}
	k.hangUp()
	r := w.record()
	if r.Code != 200 || r.By != "caller" || r.From != "alice" || r.To != "gw1" || r.Called != "+4312345" || len(r.Media) != 2 || r.Answer.IsZero() {
		t.Errorf("record %+v", r)
	}
}

func TestCalleeHangsUpAndItsReasonReachesTheCallerReencoded(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.b.bye(`Reason: Q.850 ; cause=16 ; text="from switch.gw1.secret.example"`)
	w.gw1.next("200 BYE")
	bye := w.caller.next("BYE")
	if got := bye.get("Reason"); got != "Q.850;cause=16" {
		t.Errorf("Reason %q", got)
	}
	w.caller.reply(bye, "200 OK", "", "")
	if r := w.record(); r.By != "callee" || r.Cause != 16 {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestEarlyMediaReachesTheCallerAndTheRelay(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, "", "8"))
	early := w.caller.next("183")
	if !strings.HasPrefix(line(early.body, "m=audio "), "40000 RTP/AVP 8") {
		t.Errorf("early SDP:\n%s", early.body)
	}
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6000" {
		t.Errorf("the relay sends early media to %q", b.Remote)
	}
	w.gw1.reply(inv, "180 Ringing", "x", "")
	if r := w.caller.next("180"); r.body != "" {
		t.Errorf("180 without SDP was passed with one:\n%s", r.body)
	}
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, "", "8"))
	ok := w.caller.next("200 INVITE")
	if ok.body != early.body {
		t.Errorf("the same answer was written differently:\n%s\n%s", early.body, ok.body)
	}
	if _, updates, _ := w.relay.counts(); updates != 2 { // early media, then only that it is answered
		t.Errorf("%d updates, want 2", updates)
	}
	a.answered(ok)
	a.ack()
	k := &talk{w: w, a: a}
	k.hangUp()
}

func TestAnswerWithoutSdpUsesThatOfTheEarlyMedia(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.reply(inv, "200 OK", "x", "")
	w.gw1.next("ACK")
	ok := w.caller.next("200 INVITE")
	if line(ok.body, "m=audio ") == "" {
		t.Errorf("200 without an answer:\n%s", ok.raw)
	}
	a.answered(ok)
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestAnswerIsRepeatedUntilItsAck(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	first := w.caller.next("200 INVITE")
	for range 3 {
		if again := w.caller.next("200 INVITE"); again.raw != first.raw {
			t.Errorf("repeated differently:\n%s\n%s", first.raw, again.raw)
		}
	}
	a.answered(first)
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestAnswerNeverAcknowledgedEndsBothSides(t *testing.T) {
	w := newWorld(t)
	w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	if r := w.record(); r.By != "tandem" || r.Why != "no ACK: leg a (trunk alice)" {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestRepeatedAnswerOfTheCalleeGetsItsAckAgain(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	w.gw1.reply(k.invite, "200 OK", "gwtag", sdpOf("198.51.100.20", 6000, ""))
	if again := w.gw1.next("ACK"); again.seq() != k.invite.seq() || tagOf(again.get("To")) != "gwtag" {
		t.Errorf("ACK again:\n%s", again.raw)
	}
	k.hangUp()
}

func TestSecondAnswerOfAForkIsAcknowledgedAndEnded(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	w.gw1.reply(k.invite, "200 OK", "forked", sdpOf("198.51.100.21", 6000, ""))
	for {
		if ack := w.gw1.next("ACK"); tagOf(ack.get("To")) == "forked" {
			break
		}
	}
	bye := w.gw1.next("BYE")
	if tagOf(bye.get("To")) != "forked" {
		t.Errorf("BYE to the wrong branch:\n%s", bye.raw)
	}
	w.gw1.reply(bye, "200 OK", "", "")
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6000" {
		t.Errorf("media went to the fork: %s", b.Remote)
	}
	k.hangUp()
}

func TestByeThatOvertakesTheAckWaits(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	a.answered(w.caller.next("200 INVITE"))
	a.bye()
	a.ack()
	w.caller.next("200 BYE")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	if r := w.record(); r.By != "caller" || r.Why != "BYE" {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestByeWithoutAckEndsTheCallAllTheSame(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	a.answered(w.caller.next("200 INVITE"))
	a.bye()
	w.caller.next("200 BYE")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestCalleeHangsUpBeforeTheCallersAck(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	ok := w.caller.next("200 INVITE")
	w.gw1.uas(inv, "x").bye()
	w.gw1.next("200 BYE")
	w.record()
	if w.caller.had("BYE") != 0 {
		t.Error("a BYE was sent before the ACK (RFC 3261 section 15)")
	}
	a.answered(ok)
	a.ack()
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestCrossingByesAreBothAnswered(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.bye()
	w.caller.next("200 BYE")
	bye := w.gw1.next("BYE")
	k.b.bye()
	w.gw1.next("200 BYE")
	w.gw1.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestMaxForwardsGoesDownByOne(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	if got := k.invite.get("Max-Forwards"); got != "69" {
		t.Errorf("Max-Forwards %s", got)
	}
	k.hangUp()
}

func TestRequestsOfNoDialogGet481(t *testing.T) {
	w := newWorld(t)
	d := w.caller.uas(message{from: w.west, head: [][2]string{{"To", "<sip:x@y>"}, {"From", "<sip:z@y>;tag=node1.none"},
		{"Call-ID", "nothing"}, {"Contact", "<sip:" + w.west.String() + ">"}}}, "mine")
	d.bye()
	w.caller.next("481 BYE")
	d.invite(sdpOf("192.0.2.10", 5000, ""))
	w.caller.next("481 INVITE")
	k := w.call()
	stolen := *k.a
	stolen.callID = "another call"
	stolen.bye()
	w.caller.next("481 BYE")
	k.hangUp()
}

func TestMethodsOfNoCallAreRefusedWithAllow(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	for _, m := range []string{"MESSAGE", "PUBLISH", "REGISTER"} {
		k.a.other(m, "")
		if res := w.caller.next("405 " + m); res.get("Allow") != allow {
			t.Errorf("%s: Allow %q", m, res.get("Allow"))
		}
	}
	k.a.other("OPTIONS", "")
	w.caller.next("200 OPTIONS")
	k.hangUp()
}

func TestRequestWithAnOldCSeqIsRefused(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.seq = 0
	k.a.other("BYE", "")
	w.caller.next("500 BYE")
	k.a.seq = 5
	k.hangUp()
}
