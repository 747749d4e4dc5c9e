package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
)

// faxTransferring is a world in which a fax passes and gateways may call out.
func faxTransferring(t *testing.T) *world {
	w := transferring(t, func(c *config.Config, timers *Timers) { passing(c, timers) })
	return w
}

// isAudio asserts an offer of audio alone, a fax that was there before being switched off.
func isAudio(t *testing.T, m message) {
	t.Helper()
	if f := strings.Fields(line(m.body, "m=audio ")); len(f) < 3 || f[0] == "0" || strings.Contains(m.body, "a=T38") {
		t.Errorf("no offer of audio:\n%s", m.raw)
	}
	if image := line(m.body, "m=image "); image != "" && !strings.HasPrefix(image, "0 ") {
		t.Errorf("a fax that nobody asked for:\n%s", m.raw)
	}
}

func TestBlindTransferInTheMiddleOfAFaxGoesOnAsAudio(t *testing.T) {
	for _, from := range []string{"the call begins with one", "in the place of the audio", "beside the audio"} {
		t.Run(from, func(t *testing.T) {
			w := faxTransferring(t)
			k := &talk{w: w}
			if from == "the call begins with one" {
				k = w.callWith(faxOf("192.0.2.10", 5002), faxOf("198.51.100.20", 6002))
			} else {
				k = w.call()
				x, y := k.parties(from == "in the place of the audio")
				y.change(x, y.fax, faxOf(x.addr, x.port+2))
			}
			k.b.other("REFER", "", "Refer-To: <sip:+43555@gw1.secret.example>")
			w.gw1.next("202 REFER")
			inv := w.gw2.next("INVITE")
			isAudio(t, inv)
			w.gw2.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, "", "8"))
			w.gw2.next("ACK")
			again := w.caller.next("INVITE")
			isAudio(t, again)
			w.caller.reply(again, "200 OK", "", sdpOf("192.0.2.10", 5000, "", "8"))
			w.gw1.progress("200")
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			eventually(t, "audio between the two", func() bool {
				a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
				return a.Remote == "192.0.2.10:5000" && b.Remote == "203.0.113.30:7000" && a.Direction == "sendrecv"
			})
			if r := w.record(); r.Fax.IsZero() || r.Fax.Before(r.Answer) || r.End.Before(r.Fax) {
				t.Errorf("record of the fax: %+v", r)
			}
			k.a.bye()
			w.caller.next("200 BYE")
			w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
			if r := w.record(); !r.Fax.IsZero() {
				t.Errorf("record of the call after it: %+v", r)
			}
			w.gone()
		})
	}
}

func TestAttendedTransferInTheMiddleOfAFaxGoesOnAsAudio(t *testing.T) {
	for name, second := range map[string]bool{"of who stays": false, "of whom he is given to": true} {
		t.Run(name, func(t *testing.T) {
			w := faxTransferring(t)
			k := w.call()
			other := w.caller.invite(w.west, "+43888", sdpOf("192.0.2.10", 5100, ""))
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "200 OK", "other", sdpOf("203.0.113.30", 7000, ""))
			w.gw1.next("ACK")
			other.answered(w.caller.next("200 INVITE"))
			other.ack()
			who, given := k.b, w.gw1.uas(inv, "other")
			if second {
				who = given
			}
			who.invite(faxOf("198.51.100.20", 6002))
			w.caller.reply(w.caller.next("INVITE"), "200 OK", "", faxOf("192.0.2.10", 5002))
			w.caller.next("ACK")
			w.gw1.next("200 INVITE")
			who.ack()
			k.a.other("REFER", "", fmt.Sprintf("Refer-To: <sip:+43888@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>",
				strings.ReplaceAll(other.callID, "@", "%40"), tagOf(other.remote), tagOf(other.local)))
			w.caller.next("202 REFER")
			for _, to := range []struct{ tag, sdp string }{{"gwtag", sdpOf("198.51.100.20", 6000, "", "8")}, {"other", sdpOf("203.0.113.30", 7000, "", "8")}} {
				told := w.gw1.next("INVITE")
				if tagOf(told.get("To")) != to.tag && tagOf(told.get("From")) != to.tag {
					t.Errorf("re-INVITE to somebody else:\n%s", told.raw)
				}
				isAudio(t, told)
				w.gw1.reply(told, "200 OK", "", to.sdp)
			}
			w.caller.progress("200")
			eventually(t, "audio between the two", func() bool {
				a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
				return a.Remote == "203.0.113.30:7000" && b.Remote == "198.51.100.20:6000"
			})
			for range 2 {
				w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
			}
			given.bye()
			w.gw1.next("200 BYE")
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			w.gone()
		})
	}
}

func TestACallThatBeginsWithAFaxAndIsPickedUpGoesOnAsAudio(t *testing.T) {
	w := faxTransferring(t)
	a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "ring", "")
	w.caller.next("180")
	x := w.gw1.invite(w.east, "any", sdpOf("203.0.113.30", 7000, "", "8"), replacing(inv.get("Call-ID"), tagOf(inv.get("From")), "ring"))
	w.gw1.next("CANCEL")
	w.gw1.reply(inv, "487 Request Terminated", "ring", "")
	ok := w.caller.next("200 INVITE")
	if line(ok.body, "m=image ") != "40000 udptl t38" || !strings.Contains(ok.body, "a=inactive\r\n") {
		t.Errorf("200:\n%s", ok.body)
	}
	a.answered(ok)
	a.ack()
	again := w.caller.next("INVITE")
	isAudio(t, again)
	w.caller.reply(again, "200 OK", "", sdpOf("192.0.2.10", 5000, "", "8"))
	w.caller.next("ACK")
	x.answered(w.gw1.next("200 INVITE"))
	x.ack()
	if p, q := w.relay.leg(t, "a"), w.relay.leg(t, "b"); p.Remote != "203.0.113.30:7000" || q.Remote != "192.0.2.10:5000" || w.relay.kind() != "" {
		t.Errorf("%q between %s and %s", w.relay.kind(), p.Remote, q.Remote)
	}
	if r := w.record(); !r.Fax.IsZero() {
		t.Errorf("record %+v", r)
	}
	x.bye()
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gone()
}
