package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// bypassed is a world in which the caller and the first gateway let media go past us.
func bypassed(c *config.Config, _ *Timers) {
	for _, name := range []string{"alice", "gw1"} {
		edit(c, name, func(tr *config.Trunk) { tr.Bypass = true })
	}
	c.Routes = append(c.Routes, config.Route{Name: "back", From: []string{"gw1"}, To: []string{"gw2"}})
}

func TestBodiesCrossAsTheyAreWhereBothTrunksBypassUs(t *testing.T) {
	w := newWorld(t, bypassed)
	offer, answer := sdpOf("192.0.2.10", 5000, "")+"m=video 5002 RTP/AVP 96\r\n", sdpOf("198.51.100.20", 6000, "")+"m=video 0 RTP/AVP 96\r\n"
	k := w.callWith(offer, answer)
	if k.invite.body != offer || k.ok.body != answer {
		t.Errorf("bodies were changed:\n%s\n%s", k.invite.body, k.ok.body)
	}
	hold := sdpOf("192.0.2.10", 5000, "a=sendonly\r\n")
	k.a.invite(hold)
	inv := w.gw1.next("INVITE")
	if inv.body != hold {
		t.Errorf("hold:\n%s", inv.body)
	}
	held := sdpOf("198.51.100.20", 6000, "a=recvonly\r\n")
	w.gw1.reply(inv, "200 OK", "", held)
	w.gw1.next("ACK")
	if ok := w.caller.next("200 INVITE"); ok.body != held {
		t.Errorf("answer:\n%s", ok.body)
	}
	k.a.ack()
	k.a.invite(hold) // says nothing new
	if ok := w.caller.next("200 INVITE"); ok.body != held {
		t.Errorf("answer to a refresh:\n%s", ok.body)
	}
	k.a.ack()
	k.b.invite("")
	if ok := w.gw1.next("200 INVITE"); ok.body != hold {
		t.Errorf("our SDP as it stands:\n%s", ok.body)
	}
	k.b.ackWith(sdpOf("198.51.100.99", 6000, "a=recvonly\r\n"))
	moved := w.caller.next("INVITE")
	if line(moved.body, "c=") != "IN IP4 198.51.100.99" {
		t.Errorf("new address:\n%s", moved.body)
	}
	w.caller.reply(moved, "200 OK", "", hold)
	w.caller.next("ACK")
	if opens, _, _ := w.relay.counts(); opens != 0 {
		t.Errorf("%d sessions of the relay", opens)
	}
	k.hangUp()
}

func TestFailoverFromABypassedTrunkIsRelayed(t *testing.T) {
	w := newWorld(t, bypassed)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "503 Service Unavailable", "x", "")
	w.answerOn2(a)
	w.record()
	if opens, _, _ := w.relay.counts(); opens != 1 {
		t.Errorf("%d sessions of the relay", opens)
	}
	w.gone()
}

func TestTransferOfABypassedCallIsRelayed(t *testing.T) {
	w := newWorld(t, bypassed)
	k := w.call()
	k.b.other("REFER", "", "Refer-To: <sip:5@x>")
	inv := w.gw2.next("INVITE")
	w.gw2.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, ""))
	again := w.caller.next("INVITE")
	if line(again.body, "c=") != "IN IP4 127.0.0.1" {
		t.Errorf("re-INVITE:\n%s", again.body)
	}
	w.caller.reply(again, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
	w.caller.next("ACK")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	k.a.bye()
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestRecordOfABypassedCallSaysFax(t *testing.T) {
	image := func(addr string, port int) string { return faxOf(addr, port) }
	both := func(addr string, port int) string { return beside(faxOf(addr, port)) }
	for name, fax := range map[string]func(string, int) string{"in the place of the audio": image, "beside the audio": both} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, bypassed)
			k := w.call()
			x, y := k.parties(true)
			x.fax, y.fax = fax(x.addr, 5002), fax(y.addr, 6002)
			if told, got := y.change(x, y.fax, x.fax); told.body != y.fax || got.body != x.fax {
				t.Errorf("bodies were changed:\n%s\n%s", told.body, got.body)
			}
			if told, got := x.change(y, x.audio, y.audio); told.body != x.audio || got.body != y.audio {
				t.Errorf("bodies were changed:\n%s\n%s", told.body, got.body)
			}
			k.hangUp()
			if r := w.record(); r.Fax.IsZero() || r.Fax.Before(r.Answer) || r.End.Before(r.Fax) || len(r.Media) != 0 {
				t.Errorf("record %+v", r)
			}
		})
	}
	t.Run("that begins with one", func(t *testing.T) {
		w := newWorld(t, bypassed, passing)
		k := w.faxCall()
		if offer, answer := faxOf("192.0.2.10", 5002), faxOf("198.51.100.20", 6002); k.invite.body != offer || k.ok.body != answer {
			t.Errorf("bodies were changed:\n%s\n%s", k.invite.body, k.ok.body)
		}
		k.hangUp()
		if r := w.record(); r.Fax.IsZero() || r.Fax.Before(r.Answer) {
			t.Errorf("record %+v", r)
		}
		if opens, _, _ := w.relay.counts(); opens != 0 {
			t.Errorf("%d sessions of the relay", opens)
		}
	})
}

func TestRecordOfABypassedCallWithoutAFaxSaysNone(t *testing.T) {
	for name, refuse := range map[string]func(w *world, k *talk){
		"refused by the far side": func(w *world, k *talk) {
			k.b.invite(faxOf("198.51.100.20", 6002))
			w.caller.reply(w.caller.next("INVITE"), "488 Not Acceptable Here", "", "")
			k.b.ackFailure(w.gw1.next("488"))
		},
		"refused in its 200": func(w *world, k *talk) {
			k.b.invite(faxOf("198.51.100.20", 6002))
			w.caller.reply(w.caller.next("INVITE"), "200 OK", "", faxOf("192.0.2.10", 0))
			w.caller.next("ACK")
			if ok := w.gw1.next("200 INVITE"); ok.body != faxOf("192.0.2.10", 0) {
				t.Errorf("answer:\n%s", ok.body)
			}
			k.b.ack()
		},
		"never asked for": func(*world, *talk) {},
		"taken back too late": func(w *world, k *talk) {
			k.b.invite(faxOf("198.51.100.20", 6002))
			inv := w.caller.next("INVITE")
			w.caller.reply(inv, "180 Ringing", "", "") // without which no CANCEL may be sent
			k.b.cancel()
			k.b.ackFailure(w.gw1.next("487"))
			w.caller.reply(w.caller.next("CANCEL"), "200 OK", "", "")
			w.caller.reply(inv, "200 OK", "", faxOf("192.0.2.10", 5002))
			w.caller.next("ACK")
			back := w.caller.next("INVITE") // it must not believe in a fax
			if back.body != sdpOf("198.51.100.20", 6000, "") {
				t.Errorf("put back:\n%s", back.body)
			}
			w.caller.reply(back, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
			w.caller.next("ACK")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, bypassed)
			k := w.call()
			refuse(w, k)
			k.hangUp()
			if r := w.record(); !r.Fax.IsZero() {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestTransferInTheMiddleOfABypassedFaxIsRelayedAsAudioWithKeysWhereTheTrunkRequiresThem(t *testing.T) {
	w := newWorld(t, bypassed, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.SRTP, tr.Pin = config.SRTPRequired, config.PinAuth })
	})
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1), savp(sdpOf("198.51.100.20", 6000, ""), 1, testKey2))
	x, y := k.parties(true)
	y.change(x, y.fax, x.fax)
	k.b.other("REFER", "", "Refer-To: <sip:5@x>")
	inv := w.gw2.next("INVITE")
	isAudio(t, inv)
	w.gw2.reply(inv, "200 OK", "n", sdpOf("203.0.113.30", 7000, "", "8"))
	again := w.caller.next("INVITE")
	isAudio(t, again)
	if !strings.Contains(line(again.body, "m=audio "), "RTP/SAVP") || line(again.body, "a=crypto:") == "" || line(again.body, "c=") != "IN IP4 127.0.0.1" {
		t.Errorf("re-INVITE:\n%s", again.body)
	}
	w.caller.reply(again, "200 OK", "", savp(sdpOf("192.0.2.10", 5000, "", "8"), 1, testKey1))
	w.caller.next("ACK")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	k.a.bye()
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestAHoldThatIsTakenBackTooLateIsTakenBackOnBothSides(t *testing.T) {
	for _, bypass := range []bool{false, true} {
		t.Run(fmt.Sprintf("bypass %t", bypass), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, func(c *config.Config) {
					for _, name := range []string{"a", "b1"} {
						edit(c, name, func(tr *config.Trunk) { tr.Bypass = bypass })
					}
				})
				p.talk()
				p.fromCaller(0, sip.INVITE, sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
				synctest.Wait()
				seq := p.seq
				p.answer(1, 200, "callee", true) // the callee is held now
				synctest.Wait()
				late := p.inbound(sip.CANCEL, "192.0.2.10", "call0", "from", p.calls[0].id, seq)
				late.Invite = p.inbound(sip.INVITE, "192.0.2.10", "call0", "from", p.calls[0].id, seq)
				p.b.Handle(late) // the stack's 487 was faster than our 200
				synctest.Wait()
				if n := p.stack.count(); n != 3 {
					t.Errorf("%d requests, want 3: the callee is not told", n)
				}
				p.over(t)
			})
		})
	}
}
