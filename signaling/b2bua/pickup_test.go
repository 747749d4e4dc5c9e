package b2bua

import (
	"fmt"
	"strings"
	"testing"
)

// replacing is a Replaces header.
func replacing(callID, toTag, fromTag string) string {
	return fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", callID, toTag, fromTag)
}

func TestCallThatRingsIsPickedUpByAnotherPhone(t *testing.T) {
	for name, early := range map[string]bool{"no early media": false, "early media": true} {
		t.Run(name, func(t *testing.T) {
			w := transferring(t)
			a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, "", "0", "8"))
			inv := w.gw1.next("INVITE")
			if early {
				w.gw1.reply(inv, "183 Session Progress", "ring", sdpOf("198.51.100.20", 6000, "", "8"))
				w.caller.next("183")
			} else {
				w.gw1.reply(inv, "180 Ringing", "other", "")
				w.gw1.reply(inv, "180 Ringing", "ring", "") // two phones ring; the first one spoke last
				w.gw1.reply(inv, "180 Ringing", "other", "")
				for range 3 {
					w.caller.next("180")
				}
			}
			x := w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, "", "8"),
				replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "ring")+";early-only")
			cancel := w.gw1.next("CANCEL")
			if got := cancel.get("Reason"); got != `SIP;cause=200;text="Call completed elsewhere"` {
				t.Errorf("Reason: %s", got)
			}
			w.gw1.reply(inv, "487 Request Terminated", "ring", "")
			ok := w.caller.next("200 INVITE")
			if strings.Contains(ok.body, "a=inactive") == early || line(ok.body, "m=audio ") == "" {
				t.Errorf("200:\n%s", ok.raw)
			}
			a.answered(ok)
			a.ack()
			again := w.caller.next("INVITE")
			if got := line(again.body, "m=audio "); again.get("Call-ID") != a.callID || !strings.HasSuffix(got, "RTP/AVP 8") || strings.Contains(again.body, "a=inactive") {
				t.Errorf("re-INVITE:\n%s", again.raw)
			}
			w.caller.reply(again, "200 OK", "", sdpOf("192.0.2.10", 5000, "", "8"))
			w.caller.next("ACK")
			x.answered(w.gw1.next("200 INVITE"))
			x.ack()
			if p, q := w.relay.leg(t, "a"), w.relay.leg(t, "b"); p.Remote != "203.0.113.30:7000" || q.Remote != "192.0.2.10:5000" ||
				p.Direction != "sendrecv" || q.Direction != "sendrecv" {
				t.Errorf("media between %s %s and %s %s", p.Remote, p.Direction, q.Remote, q.Direction)
			}
			if r := w.record(); r.Why != "picked up by another call" {
				t.Errorf("record %+v", r)
			}
			x.bye()
			w.gw1.next("200 BYE")
			w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
			w.gone()
		})
	}
}

func TestPickUpThatCannotBeIsRefusedAndTheCallRingsOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string // of the caller's INVITE
		of   func(w *world, a *dialog, inv message) *dialog
	}{
		{"the leg that called us", sdpOf("192.0.2.10", 5000, ""), func(w *world, a *dialog, _ message) *dialog {
			return w.caller.invite(w.west, "any", sdpOf("192.0.2.99", 5500, ""), replacing(a.callID, tagOf(a.remote), tagOf(a.local)))
		}},
		{"a fork that is not there", sdpOf("192.0.2.10", 5000, ""), func(w *world, _ *dialog, inv message) *dialog {
			return w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, ""), replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "none"))
		}},
		{"a caller without an offer", "", func(w *world, _ *dialog, inv message) *dialog {
			return w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, ""), replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "ring"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := transferring(t)
			a := w.caller.invite(w.west, "+4312345", tt.body)
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "180 Ringing", "ring", "")
			a.remote = w.caller.next("180").get("To")
			x := tt.of(w, a, inv)
			x.ackFailure(x.p.next("481"))
			if n := w.gw1.had("CANCEL"); n != 0 {
				t.Errorf("%d CANCELs", n)
			}
			w.record()
			w.gw1.reply(inv, "486 Busy Here", "ring", "")
			a.ackFailure(w.caller.next("486"))
			w.gone()
		})
	}
}

func TestPickUpByAnotherTrunkIsRefused(t *testing.T) {
	w := transferring(t)
	a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "ring", "")
	w.caller.next("180")
	x := w.caller.invite(w.west, "any", sdpOf("192.0.2.99", 5500, ""), replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "ring"))
	x.ackFailure(w.caller.next("403")) // another trunk learned the tags
	w.gw1.reply(inv, "486 Busy Here", "ring", "")
	a.ackFailure(w.caller.next("486"))
	w.gone()
}

func TestCallerWhoHangsUpWhileTheCallIsPickedUpEndsBoth(t *testing.T) {
	for name, moved := range map[string]bool{"before its ACK": false, "when it was given away": true} {
		t.Run(name, func(t *testing.T) {
			w := transferring(t)
			a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "180 Ringing", "ring", "")
			w.caller.next("180")
			x := w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, ""), replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "ring"))
			w.gw1.next("CANCEL")
			w.gw1.reply(inv, "487 Request Terminated", "ring", "")
			a.answered(w.caller.next("200 INVITE"))
			if !moved {
				a.bye()
				a.ack()
				w.caller.next("200 BYE")
				x.ackFailure(x.p.next("487"))
				w.gone()
				return
			}
			a.ack()
			again := w.caller.next("INVITE")
			a.bye()
			w.caller.next("200 BYE")
			w.caller.reply(again, "487 Request Terminated", "", "")
			x.ackFailure(x.p.next("480"))
			w.gone()
		})
	}
}
