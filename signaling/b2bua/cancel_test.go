package b2bua

import (
	"strings"
	"testing"
)

func TestCancelReachesTheGateway(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	ringing := w.caller.next("180")
	a.cancel(`Reason: SIP;cause=200;text="Call completed elsewhere"`)
	w.caller.next("200 CANCEL")
	res := w.caller.next("487")
	a.ackFailure(res)
	if tagOf(res.get("To")) != tagOf(ringing.get("To")) {
		t.Errorf("180 and 487 carry different tags: %s, %s", ringing.get("To"), res.get("To"))
	}
	cancel := w.gw1.next("CANCEL")
	if cancel.get("Reason") != "SIP;cause=200" || cancel.seq() != inv.seq() || cancel.get("Via") != inv.get("Via") {
		t.Errorf("CANCEL:\n%s", cancel.raw)
	}
	w.gw1.reply(cancel, "200 OK", "x", "")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	w.gw1.next("ACK")
	if r := w.record(); r.Code != 487 || r.By != "caller" {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestCancelBeforeAnyAnswerOfTheGatewayWaitsForOne(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	a.cancel()
	a.ackFailure(w.caller.next("487"))
	w.record()
	if w.gw1.had("CANCEL") != 0 {
		t.Error("CANCEL was sent before a provisional response (RFC 3261 section 9.1)")
	}
	w.gw1.reply(inv, "100 Trying", "", "")
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	w.gone()
}

func TestAnswerThatCrossesTheCancelIsAcknowledgedAndEnded(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	w.caller.next("180")
	a.cancel()
	a.ackFailure(w.caller.next("487"))
	w.gw1.next("CANCEL")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestCancelThatOvertakesItsInviteStillCancels(t *testing.T) {
	w := newWorld(t)
	a := &dialog{p: w.caller, to: w.west, callID: "early@alice", local: "<sip:1@alice>;tag=early", remote: "<sip:2@tandem>",
		target: "sip:2@" + w.west.String(), seq: 1, inviteSeq: 1, branch: "z9hG4bKearly", uri: "sip:2@" + w.west.String()}
	a.cancel()
	eventually(t, "the CANCEL to be parked", func() bool {
		w.b.mu.Lock()
		defer w.b.mu.Unlock()
		return len(w.b.parked) == 1
	})
	a.request("INVITE", 1, a.branch, a.uri, sdpOf("192.0.2.10", 5000, ""))
	ok := w.caller.next("200 CANCEL")
	end := w.caller.next("487")
	if tagOf(ok.get("To")) != tagOf(end.get("To")) {
		t.Errorf("two tags: %s and %s", ok.get("To"), end.get("To"))
	}
	a.ackFailure(end)
	if r := w.record(); r.Code != 487 {
		t.Errorf("record %+v", r)
	}
	finishAttempts(w)
}

// finishAttempts answers an INVITE that went out before it was cancelled, if there is one.
func finishAttempts(w *world) {
	w.t.Helper()
	eventually(w.t, "the call to be gone", func() bool {
		select {
		case m := <-w.gw1.in:
			switch {
			case m.is("INVITE"):
				w.gw1.reply(m, "487 Request Terminated", "x", "")
			case m.is("CANCEL"):
				w.gw1.reply(m, "200 OK", "x", "")
			}
		default:
		}
		return w.b.Stats().Table == 0
	})
}

func TestCancelOfNothingGets481(t *testing.T) {
	w := newWorld(t)
	a := &dialog{p: w.caller, to: w.west, callID: "none@alice", local: "<sip:1@alice>;tag=none", remote: "<sip:2@tandem>",
		seq: 1, inviteSeq: 1, branch: "z9hG4bKnone", uri: "sip:2@" + w.west.String()}
	a.cancel()
	w.caller.next("481 CANCEL")
}

func TestByeBeforeTheAnswerIsAsGoodAsACancel(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	ringing := w.caller.next("180")
	invite := *a
	a.answered(ringing)
	a.bye()
	w.caller.next("200 BYE")
	invite.ackFailure(w.caller.next("487"))
	w.gw1.next("CANCEL")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	w.gone()
}

func TestReinviteThatIsCancelledIsCancelledOnTheOtherSide(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "100 Trying", "", "")
	k.a.cancel()
	w.caller.next("200 CANCEL")
	k.a.ackFailure(w.caller.next("487"))
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "", "")
	w.gw1.reply(inv, "487 Request Terminated", "", "")
	w.gw1.next("ACK")
	if a := w.relay.leg(t, "a"); a.Direction != "sendrecv" {
		t.Errorf("direction %s after a hold that was taken back", a.Direction)
	}
	k.hangUp()
}

func TestHoldTakenBackTooLateIsUndone(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "100 Trying", "", "")
	k.a.cancel()
	k.a.ackFailure(w.caller.next("487"))
	w.gw1.next("CANCEL")
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.gw1.next("ACK")
	undo := w.gw1.next("INVITE")
	if !strings.Contains(undo.body, "a=sendrecv") {
		t.Errorf("the gateway was left on hold:\n%s", undo.body)
	}
	w.gw1.reply(undo, "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	k.hangUp()
}
