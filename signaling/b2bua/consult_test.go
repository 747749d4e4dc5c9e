package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
)

// consulting is an answered call whose caller rings somebody else, too.
type consulting struct {
	*talk
	second *dialog // the caller's dialog that rings
	rings  message // the INVITE as gw1 got it
}

func consulted(t *testing.T, body string) *consulting {
	w := transferring(t, func(_ *config.Config, timers *Timers) { timers.T1 = testT1 / 10 }) // a call that was given away stays 64 times that
	k := &consulting{talk: w.call()}
	k.second = w.caller.invite(w.west, "+43888", body)
	k.rings = w.gw1.next("INVITE")
	w.gw1.reply(k.rings, "180 Ringing", "other", "")
	k.second.remote = w.caller.next("180").get("To")
	return k
}

// refer asks for the transfer: the callee of the first call shall talk to who rings.
func (k *consulting) refer() {
	k.w.t.Helper()
	k.a.other("REFER", "", fmt.Sprintf("Refer-To: <sip:+43888@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
		strings.ReplaceAll(k.second.callID, "@", "%40"), tagOf(k.second.remote), tagOf(k.second.local)))
	k.w.caller.next("202 REFER")
	k.w.caller.progress("180")
}

// answers has who rings answer, and joins the two: both are told of each other, and nobody of the caller.
func (k *consulting) answers() {
	w := k.w
	w.t.Helper()
	w.gw1.reply(k.rings, "200 OK", "other", sdpOf("203.0.113.30", 7000, "", "8"))
	w.gw1.next("ACK")
	first := w.gw1.next("INVITE")
	if tagOf(first.get("To")) != "gwtag" || !strings.HasSuffix(line(first.body, "m=audio "), "RTP/AVP 8") {
		w.t.Errorf("first re-INVITE:\n%s", first.raw)
	}
	w.gw1.reply(first, "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	then := w.gw1.next("INVITE")
	if tagOf(then.get("To")) != "other" || tagOf(then.get("From")) != tagOf(k.rings.get("From")) {
		w.t.Errorf("second re-INVITE:\n%s", then.raw)
	}
	w.gw1.reply(then, "200 OK", "", sdpOf("203.0.113.30", 7000, "", "8"))
	eventually(w.t, "media between the two", func() bool {
		a, b := w.relay.leg(w.t, "a"), w.relay.leg(w.t, "b")
		return a.Remote == "203.0.113.30:7000" && b.Remote == "198.51.100.20:6000" && a.Direction == "sendrecv" && b.Direction == "sendrecv"
	})
}

// end hangs up the call of the two.
func (k *consulting) end() {
	w := k.w
	w.t.Helper()
	w.gw1.uas(k.rings, "other").bye()
	w.gw1.next("200 BYE")
	bye := w.gw1.next("BYE")
	if tagOf(bye.get("To")) != "gwtag" {
		w.t.Errorf("BYE:\n%s", bye.raw)
	}
	w.gw1.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestTransferToACallThatStillRingsWaitsForItsAnswer(t *testing.T) {
	for name, body := range map[string]string{"an offer": sdpOf("192.0.2.10", 5100, ""), "a late offer": ""} {
		t.Run(name, func(t *testing.T) {
			k := consulted(t, body)
			w := k.w
			k.refer()
			k.answers()
			ended := w.caller.next("487 INVITE")
			if !strings.Contains(ended.get("Reason"), "cause=200") {
				t.Errorf("the caller's phone shows a failed call:\n%s", ended.raw)
			}
			k.second.ackFailure(ended)
			w.caller.progress("200")
			w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
			if r := w.record(); r.Code != 487 || !r.Answer.IsZero() || r.To != "gw1" || r.Tried[0].Code != 200 || r.Why != "transferred while it rang" {
				t.Errorf("record of the call that rang %+v", r)
			}
			k.end()
		})
	}
}

func TestWhoAskedMayLeaveTheCallThatRingsAndTheTransferGoesOn(t *testing.T) {
	for name, leave := range map[string]func(k *consulting){
		"CANCEL": func(k *consulting) { k.second.cancel(); k.w.caller.next("200 CANCEL") },
		"BYE":    func(k *consulting) { k.second.bye(); k.w.caller.next("200 BYE") },
	} {
		t.Run(name, func(t *testing.T) {
			k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
			w := k.w
			k.refer()
			leave(k)
			k.second.ackFailure(w.caller.next("487 INVITE"))
			w.left()
			k.a.bye() // both of its calls
			w.caller.next("200 BYE")
			w.gw1.reply(k.rings, "180 Ringing", "other", "")
			k.answers()
			if n := w.gw1.had("CANCEL"); n != 0 {
				t.Errorf("%d CANCELs", n)
			}
			if r := w.record(); r.Code != 487 || !r.Answer.IsZero() {
				t.Errorf("record of the call that rang %+v", r)
			}
			k.end()
		})
	}
}

func TestCallThatRingsTriesTheNextTrunkWhenWhoAskedHasLeft(t *testing.T) {
	k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
	w := k.w
	k.refer()
	k.second.cancel()
	k.second.ackFailure(w.caller.next("487 INVITE"))
	w.gw1.reply(k.rings, "503 Service Unavailable", "other", "")
	inv := w.gw2.next("INVITE")
	w.gw2.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, "", "8"))
	w.gw2.next("ACK")
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	w.gw2.reply(w.gw2.next("INVITE"), "200 OK", "", sdpOf("203.0.113.30", 7000, "", "8"))
	w.caller.progress("200")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gw2.uas(inv, "n").bye()
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestTransferToACallThatIsNotAnsweredLeavesTheFirstOne(t *testing.T) {
	for name, left := range map[string]bool{"who asked waits": false, "who asked left it": true} {
		t.Run(name, func(t *testing.T) {
			k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
			w := k.w
			k.refer()
			if left {
				k.second.cancel()
				k.second.ackFailure(w.caller.next("487 INVITE"))
				w.left()
			}
			w.gw1.reply(k.rings, "486 Busy Here", "other", "")
			if !left {
				k.second.ackFailure(w.caller.next("486 INVITE"))
			}
			w.caller.progress("486")
			if r, want := w.record(), map[bool]int{false: 486, true: 487}[left]; r.Code != want || r.Tried[0].Code != 486 {
				t.Errorf("record %+v", r)
			}
			k.hangUp()
		})
	}
}

func TestTransferThatIsOverGivesTheCallThatRingsBack(t *testing.T) {
	t.Run("who asked still waits, and talks", func(t *testing.T) {
		k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
		w := k.w
		k.refer()
		k.b.bye() // who was to stay
		w.gw1.next("200 BYE")
		w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
		w.record()
		eventually(t, "the promise to be taken back", func() bool { return among(w, func(c *call) bool { return c.promised != nil }) == 0 })
		w.gw1.reply(k.rings, "200 OK", "other", sdpOf("203.0.113.30", 7000, "", "8"))
		w.gw1.next("ACK")
		k.second.answered(w.caller.next("200 INVITE"))
		k.second.ack()
		k.second.bye()
		w.caller.next("200 BYE")
		w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
		w.gone()
	})
	t.Run("who asked has left: it stops ringing", func(t *testing.T) {
		k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
		w := k.w
		k.refer()
		k.second.cancel()
		k.second.ackFailure(w.caller.next("487 INVITE"))
		k.b.bye()
		w.gw1.next("200 BYE")
		w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
		w.gw1.next("CANCEL")
		w.gw1.reply(k.rings, "487 Request Terminated", "other", "")
		w.gone()
	})
}

func TestCancelThatOvertakesTheReferMakesItATransferToTheNumber(t *testing.T) {
	k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
	w := k.w
	k.second.cancel()
	k.second.ackFailure(w.caller.next("487 INVITE"))
	w.gw1.next("CANCEL") // and its answer is still on its way: we know the call
	k.a.other("REFER", "", fmt.Sprintf("Refer-To: <sip:+43888@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
		strings.ReplaceAll(k.second.callID, "@", "%40"), tagOf(k.second.remote), tagOf(k.second.local)))
	w.caller.next("202 REFER")
	inv := w.gw1.next("INVITE")
	if inv.get("Replaces") != "" || !strings.HasPrefix(inv.start, "INVITE sip:+43888@") {
		t.Errorf("%s", inv.raw)
	}
	w.gw1.reply(k.rings, "487 Request Terminated", "other", "")
	w.gw1.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, ""))
	w.gw1.next("ACK")
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.caller.progress("200")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gw1.uas(inv, "n").bye()
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

// left waits for a call to know that its caller left.
func (w *world) left() {
	w.t.Helper()
	eventually(w.t, "the call to know that its caller left", func() bool { return among(w, func(c *call) bool { return c.a.ended }) == 1 })
}

// among counts the calls of which something is true, once they have worked off what came before.
func among(w *world, is func(*call) bool) (n int) {
	for _, c := range w.b.all() {
		told := make(chan bool)
		if c.postOwn(func() { told <- is(c) }) && <-told {
			n++
		}
	}
	return n
}

func TestCallThatRingsIsPromisedOnce(t *testing.T) {
	k := consulted(t, sdpOf("192.0.2.10", 5100, ""))
	w := k.w
	k.refer()
	x := w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, ""), replacing(k.rings.get("Call-ID"), tagOf(k.rings.get("From")), "other"))
	x.ackFailure(w.gw1.next("491"))
	k.answers()
	w.caller.progress("200")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	k.end()
}
