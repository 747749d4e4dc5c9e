package b2bua

import (
	"strings"
	"testing"
)

const allowUpdate = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK"

// early is a call in an early dialog whose first offer and answer were exchanged reliably on both sides.
func (w *world) early() (a, b *dialog, inv message) {
	w.t.Helper()
	a = w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rel, allowUpdate)
	inv = w.gw1.next("INVITE")
	w.gw1.reliably(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""), 1)
	w.gw1.reply(w.gw1.next("PRACK"), "200 OK", "", "")
	a.prack(w.caller.next("183"), "")
	w.caller.next("200 PRACK")
	return a, w.gw1.uas(inv, "x"), inv
}

// answerEarly completes it.
func (w *world) answerEarly(a *dialog, inv message) *talk {
	w.t.Helper()
	w.gw1.reply(inv, "200 OK", "x", "")
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	return &talk{w: w, a: a, b: w.gw1.uas(inv, "x")}
}

func TestEarlyUpdateOfTheCallerReachesTheCallee(t *testing.T) {
	w := newWorld(t)
	a, _, inv := w.early()
	a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	up := w.gw1.next("UPDATE")
	if !strings.Contains(up.body, "a=sendonly") || tagOf(up.get("To")) != "x" {
		t.Errorf("UPDATE to the callee:\n%s", up.raw)
	}
	w.gw1.reply(up, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	if ok := w.caller.next("200 UPDATE"); !strings.Contains(ok.body, "a=recvonly") || ok.get("Contact") == "" {
		t.Errorf("answer to the caller:\n%s", ok.raw)
	}
	if leg := w.relay.leg(t, "a"); leg.Direction != "recvonly" {
		t.Errorf("leg a is %s", leg.Direction)
	}
	w.answerEarly(a, inv).hangUp()
}

func TestEarlyUpdateOfTheCalleeReachesTheCaller(t *testing.T) {
	w := newWorld(t)
	a, b, inv := w.early()
	b.other("UPDATE", sdpOf("198.51.100.30", 6100, "", "8"))
	up := w.caller.next("UPDATE")
	if !strings.HasPrefix(line(up.body, "m=audio "), "40000 RTP/AVP 8") {
		t.Errorf("UPDATE to the caller:\n%s", up.raw)
	}
	w.caller.reply(up, "200 OK", "", sdpOf("192.0.2.10", 5000, "", "8"))
	w.gw1.next("200 UPDATE")
	if leg := w.relay.leg(t, "b"); leg.Remote != "198.51.100.30:6100" {
		t.Errorf("leg b is at %s", leg.Remote)
	}
	w.answerEarly(a, inv).hangUp()
}

func TestEarlyUpdateThatConcernsOneSideIsAnsweredAlone(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, "")) // it has no PRACK
	inv := w.gw1.next("INVITE")
	w.gw1.reliably(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""), 1)
	w.gw1.reply(w.gw1.next("PRACK"), "200 OK", "", "")
	w.caller.next("183")
	b := w.gw1.uas(inv, "x")
	b.other("UPDATE", sdpOf("198.51.100.30", 6100, ""))
	w.gw1.next("200 UPDATE")
	if leg := w.relay.leg(t, "b"); leg.Remote != "198.51.100.30:6100" {
		t.Errorf("leg b is at %s", leg.Remote)
	}
	b.other("UPDATE", sdpOf("198.51.100.30", 6100, "", "3"))
	w.gw1.next("504 UPDATE")
	w.answerEarly(a, inv).hangUp()
}

func TestUpdateBeforeTheAnswerToTheFirstOfferIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	a.answered(w.caller.next("180"))
	invite := *a
	a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	if res := w.caller.next("500 UPDATE"); res.get("Retry-After") == "" {
		t.Errorf("500 without Retry-After:\n%s", res.raw)
	}
	a.other("UPDATE", "") // a refresh says nothing about media
	w.caller.next("200 UPDATE")
	invite.cancel()
	w.caller.next("487 INVITE")
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	w.gone()
}

func TestUpdateInACallBecomesWhatTheOtherSideUnderstands(t *testing.T) {
	for name, tt := range map[string]struct{ allow, method string }{
		"it knows UPDATE": {allowUpdate, "UPDATE"}, "it does not": {"Allow: INVITE, ACK, BYE", "INVITE"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""), tt.allow)
			w.gw1.next("ACK")
			a.answered(w.caller.next("200 INVITE"))
			a.ack()
			a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
			req := w.gw1.next(tt.method)
			if !strings.Contains(req.body, "a=sendonly") {
				t.Errorf("the gateway was told:\n%s", req.raw)
			}
			w.gw1.reply(req, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
			if ok := w.caller.next("200 UPDATE"); !strings.Contains(ok.body, "a=recvonly") {
				t.Errorf("answer:\n%s", ok.raw)
			}
			(&talk{w: w, a: a}).hangUp()
			if n := w.gw1.had("ACK"); (n == 2) != (tt.method == "INVITE") {
				t.Errorf("%d ACKs", n)
			}
		})
	}
}

func TestUpdatesThatCrossAreRefusedAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	a, _, inv := w.early()
	k := w.answerEarly(a, inv)
	a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	up := w.gw1.next("UPDATE")
	b := k.b
	b.other("UPDATE", sdpOf("198.51.100.20", 6000, "a=sendonly\r\n"))
	w.gw1.next("491 UPDATE") // ours is not answered yet
	a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	if res := w.caller.next("500 UPDATE"); res.get("Retry-After") == "" {
		t.Errorf("second offer:\n%s", res.raw)
	}
	w.gw1.reply(up, "491 Request Pending", "", "")
	again := w.gw1.next("UPDATE")
	if again.seq() == up.seq() || again.body != up.body {
		t.Errorf("second try:\n%s", again.raw)
	}
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.caller.next("200 UPDATE")
	k.hangUp()
}

func TestUpdateWithoutSdpMovesTheTarget(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	moved := newPeer(t, "moved")
	k.a.p = moved
	k.a.other("UPDATE", "")
	if ok := moved.next("200 UPDATE"); ok.body != "" || ok.get("Contact") == "" {
		t.Errorf("200:\n%s", ok.raw)
	}
	k.b.bye()
	w.gw1.next("200 BYE")
	moved.reply(moved.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestWhatAnEarlyUpdateChangedOutlivesTheAnswer(t *testing.T) {
	for name, body := range map[string]string{"none": "", "the first again": sdpOf("198.51.100.20", 6000, "")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b, inv := w.early()
			b.other("UPDATE", sdpOf("198.51.100.30", 6100, ""))
			w.gw1.next("200 UPDATE")
			w.gw1.reply(inv, "200 OK", "x", body)
			w.gw1.next("ACK")
			ok := w.caller.next("200 INVITE")
			a.answered(ok)
			a.ack()
			if leg := w.relay.leg(t, "b"); leg.Remote != "198.51.100.30:6100" || ok.body != "" {
				t.Errorf("leg b is at %s, 200 with %q", leg.Remote, ok.body)
			}
			(&talk{w: w, a: a}).hangUp()
		})
	}
}

func TestCallerThatHeldWhileItRangIsHeldInTheCall(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rel)
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, "")) // without PRACK
	a.prack(w.caller.next("183"), "")
	w.caller.next("200 PRACK")
	a.other("UPDATE", sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	if ok := w.caller.next("200 UPDATE"); !strings.Contains(ok.body, "a=inactive") {
		t.Errorf("answer:\n%s", ok.body)
	}
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	hold := w.gw1.next("INVITE")
	if !strings.Contains(hold.body, "a=inactive") {
		t.Errorf("the gateway is told:\n%s", hold.body)
	}
	w.gw1.reply(hold, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=inactive\r\n"))
	w.gw1.next("ACK")
	(&talk{w: w, a: a}).hangUp()
}

func TestAnswerThatDiffersFromReliableEarlyMediaIsOfferedToTheCaller(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rel)
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, "", "0"))
	a.prack(w.caller.next("183"), "")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.77", 7700, "", "8"))
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	again := w.caller.next("INVITE")
	if !strings.HasSuffix(line(again.body, "m=audio "), "RTP/AVP 8") {
		t.Errorf("offer to the caller:\n%s", again.body)
	}
	w.caller.reply(again, "200 OK", "", sdpOf("192.0.2.10", 5000, "", "8"))
	w.caller.next("ACK")
	if leg := w.relay.leg(t, "b"); leg.Remote != "198.51.100.77:7700" {
		t.Errorf("leg b is at %s", leg.Remote)
	}
	(&talk{w: w, a: a}).hangUp()
}
