package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
)

// transferring is a world in which gateways may call out too.
func transferring(t *testing.T, change ...func(*config.Config, *Timers)) *world {
	return newWorld(t, append(change, func(c *config.Config, _ *Timers) {
		c.Routes = append(c.Routes, config.Route{Name: "back", From: []string{"gw1", "gw2"}, To: []string{"gw2", "alice"}})
	})...)
}

// progress waits for a NOTIFY that says so, answers it, and returns it.
func (p *peer) progress(frag string) message {
	p.t.Helper()
	for {
		m := p.next("NOTIFY")
		p.reply(m, "200 OK", "", "")
		if strings.HasPrefix(m.body, "SIP/2.0 "+frag) {
			return m
		}
	}
}

func TestBlindTransferByTheCalleeIsDoneByUs(t *testing.T) {
	w := transferring(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.SRTP = config.SRTPRequired })
	})
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1), sdpOf("198.51.100.20", 6000, ""))
	w.record0()
	k.b.other("REFER", "", "Refer-To: <sip:+43555@gw1.secret.example;user=phone>", "Referred-By: <sip:+4312345@gw1.secret.example>")
	if res := w.gw1.next("202 REFER"); res.get("Contact") == "" {
		t.Errorf("202:\n%s", res.raw)
	}
	trying := w.gw1.progress("100")
	if trying.get("Event") != "refer" || !strings.HasPrefix(trying.get("Subscription-State"), "active") || !strings.HasPrefix(trying.get("Content-Type"), "message/sipfrag") {
		t.Errorf("NOTIFY:\n%s", trying.raw)
	}
	inv := w.gw2.next("INVITE")
	if !strings.HasPrefix(inv.start, "INVITE sip:+43555@") || !strings.Contains(inv.get("From"), "+4311111") || strings.Contains(inv.raw, "secret.example") {
		t.Errorf("new call:\n%s", inv.raw)
	}
	w.gw2.reply(inv, "180 Ringing", "n", "")
	w.gw1.progress("180")
	w.gw2.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, "", "8"))
	w.gw2.next("ACK")
	if done := w.gw1.progress("200"); !strings.HasPrefix(done.get("Subscription-State"), "terminated") {
		t.Errorf("last NOTIFY:\n%s", done.raw)
	}
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	again := w.caller.next("INVITE")
	key := line(again.body, "a=crypto:")
	if got := line(again.body, "m=audio "); !strings.HasSuffix(got, " RTP/SAVP 8") || strings.HasPrefix(got, "40000 ") {
		t.Errorf("re-INVITE to who stays:\n%s", again.body)
	}
	if old := line(k.ok.body, "a=crypto:"); old == key || key == "" {
		t.Error("a key that was in use begins anew under another index")
	}
	w.caller.reply(again, "200 OK", "", savp(sdpOf("192.0.2.10", 5000, "", "8"), 1, testKey2))
	w.caller.next("ACK")
	eventually(t, "media between the two", func() bool {
		a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
		return a.Remote == "192.0.2.10:5000" && a.RX.Key == testKey2 && b.Remote == "203.0.113.30:7000" && a.Direction == "sendrecv" && b.Direction == "sendrecv"
	})
	first := w.record()
	if first.Why != "transferred" || first.By != byCallee {
		t.Errorf("record of the first call %+v", first)
	}
	k.a.bye()
	w.caller.next("200 BYE")
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	if r := w.record(); r.TransferOf != first.Call || r.From != "gw1" || r.To != "gw2" || r.By != byCaller || r.Called != "+43555" {
		t.Errorf("record of the second call %+v", r)
	}
	w.gone()
}

// record0 asserts that no call has ended yet.
func (w *world) record0() {
	w.t.Helper()
	select {
	case r := <-w.kept:
		w.t.Fatalf("ended already: %+v", r)
	default:
	}
}

func TestBlindTransferByTheCallerJoinsTheCallee(t *testing.T) {
	w := transferring(t)
	k := w.call()
	long := strings.Repeat("x", 420)
	k.a.other("REFER", "", "Refer-To: <sip:+43777@tandem.example;x-conference="+long+">", "Refer-Sub: false")
	if res := w.caller.next("202 REFER"); res.get("Refer-Sub") != "false" {
		t.Errorf("202:\n%s", res.raw)
	}
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, ""))
	w.gw1.next("ACK")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	again := w.gw1.next("INVITE")
	if tagOf(again.get("To")) != "gwtag" {
		t.Errorf("re-INVITE:\n%s", again.raw)
	}
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	if n := w.caller.had("NOTIFY"); n != 0 {
		t.Errorf("%d NOTIFYs that nobody wanted", n)
	}
	w.gw1.uas(inv, "n").bye()
	w.gw1.next("200 BYE")
	bye := w.gw1.next("BYE")
	if tagOf(bye.get("To")) != "gwtag" {
		t.Errorf("BYE:\n%s", bye.raw)
	}
	w.gw1.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestTransferThatNobodyTakesLeavesTheFirstCall(t *testing.T) {
	w := transferring(t)
	k := w.call()
	k.a.other("REFER", "", "Refer-To: <sip:1@x>")
	w.caller.next("202 REFER")
	k.a.other("REFER", "", "Refer-To: <sip:2@x>")
	w.caller.next("491 REFER")
	w.gw1.reply(w.gw1.next("INVITE"), "486 Busy Here", "n", "")
	if last := w.caller.progress("486"); !strings.HasPrefix(last.get("Subscription-State"), "terminated") || last.body != "SIP/2.0 486 Busy Here\r\n" {
		t.Errorf("NOTIFY:\n%s", last.raw)
	}
	if r := w.record(); r.Code != 486 || r.TransferOf == "" {
		t.Errorf("record %+v", r)
	}
	k.a.other("REFER", "", "Refer-To: <sip:2@x>")
	w.caller.next("202 REFER")
	if n := w.caller.progress("100"); !strings.HasPrefix(n.get("Event"), "refer;id=") {
		t.Errorf("Event %q", n.get("Event"))
	}
	w.gw1.reply(w.gw1.next("INVITE"), "404 Not Found", "n", "")
	w.caller.progress("404")
	k.hangUp()
}

func TestReferrerMayHangUpBeforeTheTransferIsDone(t *testing.T) {
	for name, answered := range map[string]bool{"answered": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			w := transferring(t)
			k := w.call()
			k.a.other("REFER", "", "Refer-To: <sip:1@x>")
			w.caller.next("202 REFER")
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "180 Ringing", "n", "")
			w.caller.progress("180")
			k.a.bye()
			w.caller.next("200 BYE")
			if !answered {
				w.gw1.reply(inv, "486 Busy Here", "n", "")
				bye := w.gw1.next("BYE")
				if tagOf(bye.get("To")) != "gwtag" {
					t.Errorf("BYE:\n%s", bye.raw)
				}
				w.gw1.reply(bye, "200 OK", "", "")
				w.gone()
				return
			}
			w.gw1.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, ""))
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
			w.gw1.uas(inv, "n").bye()
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			w.gone()
		})
	}
}

func TestWhoStaysMayHangUpWhileTheNewCallRings(t *testing.T) {
	w := transferring(t)
	k := w.call()
	k.a.other("REFER", "", "Refer-To: <sip:1@x>")
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "n", "")
	w.caller.progress("180")
	k.b.bye()
	w.gw1.next("CANCEL")
	w.gw1.reply(inv, "487 Request Terminated", "n", "")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestAttendedTransferJoinsTwoCallsOfOurs(t *testing.T) {
	w := transferring(t)
	k := w.call()
	second := w.caller.invite(w.west, "+43888", sdpOf("192.0.2.10", 5100, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "other", sdpOf("203.0.113.30", 7000, "", "8"))
	w.gw1.next("ACK")
	second.answered(w.caller.next("200 INVITE"))
	second.ack()
	k.a.other("REFER", "", fmt.Sprintf("Refer-To: <sip:+43888@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
		strings.ReplaceAll(second.callID, "@", "%40"), tagOf(second.remote), tagOf(second.local)))
	w.caller.next("202 REFER")
	first := w.gw1.next("INVITE") // to who stays: the codecs of the other
	if got := line(first.body, "m=audio "); tagOf(first.get("To")) != "gwtag" || !strings.HasSuffix(got, "RTP/AVP 8") {
		t.Errorf("first re-INVITE:\n%s", first.raw)
	}
	w.gw1.reply(first, "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	then := w.gw1.next("INVITE")
	if tagOf(then.get("To")) != "other" {
		t.Errorf("second re-INVITE:\n%s", then.raw)
	}
	w.gw1.reply(then, "200 OK", "", sdpOf("203.0.113.30", 7000, "", "8"))
	w.caller.progress("200")
	eventually(t, "media between the two", func() bool {
		a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
		return a.Remote == "203.0.113.30:7000" && b.Remote == "198.51.100.20:6000"
	})
	for range 2 {
		w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	}
	if r := w.record(); r.Why != "replaced by another call" {
		t.Errorf("record %+v", r)
	}
	w.gw1.uas(inv, "other").bye()
	w.gw1.next("200 BYE")
	bye := w.gw1.next("BYE")
	if tagOf(bye.get("To")) != "gwtag" {
		t.Errorf("BYE:\n%s", bye.raw)
	}
	w.gw1.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestInviteWithReplacesTakesThePlaceOfADialog(t *testing.T) {
	w := transferring(t)
	k := w.call()
	replaces := "Replaces: " + k.a.callID + ";to-tag=" + tagOf(k.a.remote) + ";from-tag=" + tagOf(k.a.local)
	x := w.caller.invite(w.west, "any", sdpOf("192.0.2.99", 5500, "", "8"), replaces, "Require: replaces")
	again := w.gw1.next("INVITE")
	if got := line(again.body, "m=audio "); tagOf(again.get("To")) != "gwtag" || !strings.HasSuffix(got, "RTP/AVP 8") {
		t.Errorf("re-INVITE:\n%s", again.raw)
	}
	bye := w.caller.next("BYE")
	if bye.get("Call-ID") != k.a.callID {
		t.Errorf("BYE:\n%s", bye.raw)
	}
	w.caller.reply(bye, "200 OK", "", "")
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	x.answered(w.caller.next("200 INVITE"))
	x.ack()
	if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Remote != "192.0.2.99:5500" || b.Remote != "198.51.100.20:6000" {
		t.Errorf("media between %s and %s", a.Remote, b.Remote)
	}
	x.bye()
	w.caller.next("200 BYE")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestReplacesThatMeansNothingOrTooMuchIsRefused(t *testing.T) {
	w := transferring(t)
	k := w.call()
	right := k.a.callID + ";to-tag=" + tagOf(k.a.remote) + ";from-tag=" + tagOf(k.a.local)
	for _, tt := range []struct{ value, code string }{
		{"nothing;to-tag=a;from-tag=b", "481"}, {"nothing", "400"}, {right + "x", "481"}, {right + ";early-only", "486"},
		{strings.Replace(right, "cid-", "dic-", 1), "481"},
	} {
		a := w.caller.invite(w.west, "any", sdpOf("192.0.2.99", 5500, ""), "Replaces: "+tt.value)
		a.ackFailure(w.caller.next(tt.code))
	}
	foreign := w.gw2.invite(w.east, "any", sdpOf("192.0.2.99", 5500, ""), "Replaces: "+right)
	foreign.ackFailure(w.gw2.next("403")) // another trunk learned the tags
	a := w.caller.invite(w.west, "any", "", "Replaces: "+right)
	a.ackFailure(w.caller.next("488"))
	k.hangUp()
}

func TestReferIsPassedOnWhereTheTrunkDoesItItself(t *testing.T) {
	w := transferring(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.Refer = config.ReferForward })
	})
	k := w.call()
	k.b.other("REFER", "", "Refer-To: <sip:+43555@gw1.secret.example>")
	refer := w.caller.next("REFER")
	if !strings.HasPrefix(refer.get("Refer-To"), "<sip:+43555@127.0.0.1;user=phone>") || strings.Contains(refer.raw, "secret") && !strings.Contains(refer.get("To"), "secret") {
		t.Errorf("REFER:\n%s", refer.raw)
	}
	w.caller.reply(refer, "202 Accepted", "", "")
	w.gw1.next("202 REFER")
	k.a.other("NOTIFY", "SIP/2.0 180 Ringing at 192.0.2.10\r\nX-Secret: y\r\n", "Event: refer", "Subscription-State: active", "Content-Type: message/sipfrag")
	w.caller.next("200 NOTIFY")
	if n := w.gw1.progress("180"); n.body != "SIP/2.0 180 Ringing\r\n" {
		t.Errorf("NOTIFY:\n%s", n.raw)
	}
	k.a.other("NOTIFY", "SIP/2.0 200 OK\r\n", "Event: refer", "Subscription-State: terminated", "Content-Type: message/sipfrag")
	w.caller.next("200 NOTIFY")
	w.gw1.progress("200")
	k.a.other("NOTIFY", "SIP/2.0 200 OK\r\n", "Event: refer", "Content-Type: message/sipfrag")
	w.caller.next("481 NOTIFY")
	k.hangUp()
}

func TestReferThatTheOtherSideDoesNotKnowIsDoneByUs(t *testing.T) {
	w := transferring(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Refer = config.ReferForward })
	})
	k := w.call()
	k.a.other("REFER", "", "Refer-To: <tel:+43-555>")
	w.gw1.reply(w.gw1.next("REFER"), "405 Method Not Allowed", "", "")
	w.caller.next("202 REFER")
	inv := w.gw1.next("INVITE")
	if !strings.HasPrefix(inv.start, "INVITE sip:+43555@") {
		t.Errorf("%q", inv.start)
	}
	w.gw1.reply(inv, "603 Decline", "n", "")
	w.caller.progress("603")
	k.hangUp()
}

func TestReferThatCannotBeReadIsRefused(t *testing.T) {
	w := transferring(t)
	k := w.call()
	for _, h := range []string{"X-None: y", "Refer-To: <mailto:a@b>", "Refer-To: <sip:x@y;method=BYE>", "Refer-To: <sip:y>",
		"Refer-To: <sip:x@y?Replaces=z>", "Refer-To: <sip:" + strings.Repeat("9", 3000) + "@y>"} {
		k.a.other("REFER", "", h)
		w.caller.next("400 REFER")
	}
	k.a.other("SUBSCRIBE", "", "Event: presence")
	w.caller.next("489 SUBSCRIBE")
	k.a.other("SUBSCRIBE", "", "Event: refer")
	w.caller.next("481 SUBSCRIBE")
	k.hangUp()
}

func TestTransfersBehindEachOtherAreBounded(t *testing.T) {
	w := transferring(t)
	k := w.call()
	for _, c := range w.b.all() {
		c.postOwn(func() { c.depth = transfersMost })
	}
	k.a.other("REFER", "", "Refer-To: <sip:1@x>")
	w.caller.next("403 REFER")
	k.hangUp()
}
