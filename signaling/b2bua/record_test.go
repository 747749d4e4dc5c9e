package b2bua

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecordOfACallerWhoNeverGotIts200SaysSo(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world, a *dialog, callee *dialog)
		code int
		by   string
	}{
		{"CANCEL", func(w *world, a, _ *dialog) {
			a.cancel()
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
		}, 487, byCaller},
		{"BYE of the caller", func(w *world, a, _ *dialog) {
			a.bye()
			w.caller.next("200 BYE")
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
		}, 487, byCaller},
		{"BYE of the callee", func(w *world, _, callee *dialog) {
			callee.bye()
			w.gw1.next("200 BYE")
		}, 480, byCallee},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Require: 100rel")
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
			early := w.caller.next("183")
			w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
			w.gw1.next("ACK") // and the 200 to the caller waits for its PRACK
			if tt.name != "CANCEL" {
				a.remote, a.target = early.get("To"), uriOf(early.get("Contact"))
			}
			tt.end(w, a, w.gw1.uas(inv, "x"))
			a.ackFailure(w.caller.next(fmt.Sprintf("%d INVITE", tt.code)))
			if r := w.record(); r.Code != tt.code || !r.Answer.IsZero() || r.By != tt.by || r.Tried[0].Code != 200 {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestRecordOfAJoinedCallNamesWhoCameAndKeepsTheMediaOfBefore(t *testing.T) {
	w := transferring(t)
	k := w.call()
	second := w.caller.invite(w.west, "+43888", sdpOf("192.0.2.10", 5100, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "503 Service Unavailable", "other", "")
	inv = w.gw2.next("INVITE")
	w.gw2.reply(inv, "200 OK", "other", sdpOf("203.0.113.30", 7000, ""))
	w.gw2.next("ACK")
	second.answered(w.caller.next("200 INVITE"))
	second.ack()
	k.a.other("REFER", "", fmt.Sprintf("Refer-To: <sip:+43888@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
		strings.ReplaceAll(second.callID, "@", "%40"), tagOf(second.remote), tagOf(second.local)))
	w.caller.next("202 REFER")
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.gw2.reply(w.gw2.next("INVITE"), "200 OK", "", sdpOf("203.0.113.30", 7000, ""))
	w.caller.progress("200")
	for range 2 {
		w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	}
	given := w.record()
	k.b.bye()
	w.gw1.next("200 BYE")
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	r := w.record()
	if len(r.Joined) != 1 || r.Joined[0].Call != given.Call || r.Joined[0].Left != byCaller || r.Joined[0].Trunk != "gw2" || r.Joined[0].At.Before(r.Answer) {
		t.Errorf("joined: %+v, given by %s", r.Joined, given.Call)
	}
	var legs []string
	for _, m := range r.Media {
		legs = append(legs, m.Leg+" "+m.Trunk)
	}
	if got := strings.Join(legs, ", "); got != "a alice, b gw1, a gw2, b gw1" {
		t.Errorf("media of %s", got)
	}
	w.gone()
}
