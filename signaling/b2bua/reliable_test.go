package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
)

const rel = "Supported: 100rel"

// prack acknowledges a reliable response to the latest INVITE.
func (d *dialog) prack(res message, body string) {
	d.p.t.Helper()
	d.answered(res)
	d.other("PRACK", body, fmt.Sprintf("RAck: %s %d INVITE", res.get("RSeq"), d.inviteSeq))
}

// reliably answers an INVITE with a provisional response that wants a PRACK.
func (p *peer) reliably(inv message, status, tag, body string, rseq int, extra ...string) {
	p.t.Helper()
	p.reply(inv, status, tag, body, append(extra, "Require: 100rel", fmt.Sprintf("RSeq: %d", rseq), "Allow: INVITE, UPDATE, PRACK")...)
}

func TestReliable18xIsAcknowledgedOnBothSides(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rel)
	inv := w.gw1.next("INVITE")
	if !strings.Contains(inv.get("Supported"), "100rel") || inv.get("Require") != "" {
		t.Errorf("Supported %q, Require %q", inv.get("Supported"), inv.get("Require"))
	}
	w.gw1.reliably(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""), 7)
	prack := w.gw1.next("PRACK")
	if prack.get("RAck") != "7 "+inv.seq()+" INVITE" || tagOf(prack.get("To")) != "x" || !strings.HasPrefix(prack.start, "PRACK sip:gw1@"+w.gw1.addr.String()) {
		t.Errorf("PRACK:\n%s", prack.raw)
	}
	w.gw1.reply(prack, "200 OK", "", "")
	w.gw1.reliably(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""), 7)
	early := w.caller.next("183")
	if early.get("Require") != "100rel" || early.get("RSeq") == "" || line(early.body, "m=audio ") == "" {
		t.Errorf("early media:\n%s", early.raw)
	}
	again := w.caller.next("183")
	if again.raw != early.raw {
		t.Errorf("repeated differently:\n%s\n%s", early.raw, again.raw)
	}
	a.answered(early)
	a.other("PRACK", "", "RAck: 1 99 INVITE")
	w.caller.next("481 PRACK")
	a.prack(early, "")
	w.caller.next("200 PRACK")
	a.prack(early, "")
	w.caller.next("481 PRACK")
	w.gw1.reliably(inv, "180 Ringing", "x", "", 8)
	w.gw1.reply(w.gw1.next("PRACK"), "200 OK", "", "")
	ringing := w.caller.next("180")
	if ringing.get("RSeq") != plusOne(early.get("RSeq")) {
		t.Errorf("RSeq %s after %s", ringing.get("RSeq"), early.get("RSeq"))
	}
	a.prack(ringing, "")
	w.caller.next("200 PRACK")
	w.gw1.reply(inv, "200 OK", "x", "")
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	if n := w.gw1.had("PRACK"); n != 2 {
		t.Errorf("%d PRACKs: a repetition gets none of its own", n)
	}
	(&talk{w: w, a: a}).hangUp()
}

func plusOne(n string) string {
	var x int
	fmt.Sscan(n, &x)
	return fmt.Sprint(x + 1)
}

func TestAnswerWaitsForThePrackOfEarlyMedia(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Require: 100rel")
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	early := w.caller.next("183")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	w.caller.next("183") // once more: the 200 must not overtake it
	if n := w.caller.had("200 INVITE"); n != 0 {
		t.Error("the 200 came before the PRACK")
	}
	a.prack(early, "")
	w.caller.next("200 PRACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestCallerThatNeverAcknowledgesAn18xIsRefused(t *testing.T) {
	for name, answered := range map[string]bool{"ringing": false, "answered": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Require: 100rel")
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
			if answered {
				w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
				w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			} else {
				w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "", "")
				w.gw1.reply(inv, "487 Request Terminated", "x", "")
			}
			a.ackFailure(w.caller.next("504"))
			if r := w.record(); r.Code != 504 || r.Why != "no PRACK" || !r.Answer.IsZero() {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestCancelWhileThe200WaitsForAPrackEndsBothSides(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Require: 100rel")
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	a.cancel()
	a.ackFailure(w.caller.next("487"))
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestLateOfferInAReliable18xIsAnsweredInThePrack(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", "", rel)
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	offer := w.caller.next("183")
	if offer.get("Require") != "100rel" || !strings.HasPrefix(line(offer.body, "m=audio "), "40000 ") {
		t.Errorf("the offer:\n%s", offer.raw)
	}
	a.prack(offer, sdpOf("192.0.2.10", 5000, ""))
	w.caller.next("200 PRACK")
	eventually(t, "the caller's address to reach the relay", func() bool { return w.relay.leg(t, "a").Remote == "192.0.2.10:5000" })
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	ok := w.caller.next("200 INVITE")
	if ok.body != "" {
		t.Errorf("offer and answer were exchanged already:\n%s", ok.body)
	}
	a.answered(ok)
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestEarlyMediaWithoutAnOfferIsHeardByNobody(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", "")
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	if early := w.caller.next("183"); early.body != "" || early.get("Require") != "" {
		t.Errorf("an unreliable response with an offer:\n%s", early.raw)
	}
	w.gw1.reply(inv, "200 OK", "x", "")
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ackWith(sdpOf("192.0.2.10", 5000, ""))
	(&talk{w: w, a: a}).hangUp()
}

func TestTrunksMayForbidOrDemandReliable18x(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.Prack = config.PrackOff })
		edit(c, "gw1", func(tr *config.Trunk) { tr.Prack = config.PrackRequired })
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Require: 100rel")
	res := w.caller.next("420")
	if res.get("Unsupported") != "100rel" {
		t.Errorf("420:\n%s", res.raw)
	}
	a.ackFailure(res)
	a = w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rel)
	inv := w.gw1.next("INVITE")
	if inv.get("Require") != "100rel" {
		t.Errorf("Require %q", inv.get("Require"))
	}
	w.gw1.reply(inv, "420 Bad Extension", "x", "", "Unsupported: 100rel")
	a.ackFailure(w.caller.next("480"))
	w.gone()

	w = newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.Prack = config.PrackRequired })
	})
	a = w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	if res = w.caller.next("421"); res.get("Require") != "100rel" {
		t.Errorf("421:\n%s", res.raw)
	}
	a.ackFailure(res)
	w.gone()
}
