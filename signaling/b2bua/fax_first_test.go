package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
)

// faxCall places a call that begins with a fax and that gw1 answers.
func (w *world) faxCall() *talk {
	w.t.Helper()
	return w.callWith(faxOf("192.0.2.10", 5002), faxOf("198.51.100.20", 6002))
}

func TestACallMayBeginWithAFaxAndAudioComesAndGoes(t *testing.T) {
	for _, alone := range []bool{true, false} {
		for _, byCaller := range []bool{true, false} {
			t.Run(fmt.Sprintf("alone %t, audio by the caller %t", alone, byCaller), func(t *testing.T) {
				w := newWorld(t, passing)
				offer := faxOf("192.0.2.10", 5002)
				if !alone {
					offer = beside(offer)
				}
				k := w.callWith(offer, faxOf("198.51.100.20", 6002))
				for _, m := range []struct {
					message
					leased string
					lines  int
				}{{k.invite, "40002", 1}, {k.ok, "40000", strings.Count(offer, "m=")}} {
					if line(m.body, "m=image ") != m.leased+" udptl t38" || strings.Count(m.body, "m=") != m.lines || line(m.body, "c=") != "IN IP4 127.0.0.1" {
						t.Errorf("fax:\n%s", m.body)
					}
					if line(m.body, "a=T38MaxBitRate:") != "14400" || strings.Contains(m.body, "secret") || strings.Contains(m.body, "192.0.2.") || strings.Contains(m.body, "198.51.") {
						t.Errorf("of the other side there should be the fax and nothing else:\n%s", m.body)
					}
				}
				if opened := w.relay.opened(0).Streams[0].Kind; opened != "opaque" || w.relay.kind() != "opaque" {
					t.Errorf("the relay's session was opened as %q, and is %q", opened, w.relay.kind())
				}
				if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Remote != "192.0.2.10:5002" || b.Remote != "198.51.100.20:6002" || a.Direction != "sendrecv" || b.Direction != "sendrecv" {
					t.Errorf("the fax goes between %s %s and %s %s", a.Remote, a.Direction, b.Remote, b.Direction)
				}
				x, y := k.parties(true)
				if !byCaller {
					x, y = y, x
				}
				told, got := x.change(y, x.audio, y.audio)
				isAudio(t, told)
				isAudio(t, got)
				if w.relay.kind() != "rtp" || w.relay.leg(t, "a").Remote != "192.0.2.10:5000" || w.relay.leg(t, "b").Remote != "198.51.100.20:6000" {
					t.Errorf("the relay carries %s between %+v and %+v", w.relay.kind(), w.relay.leg(t, "a"), w.relay.leg(t, "b"))
				}
				told, _ = y.change(x, y.fax, x.fax)
				if line(told.body, "m=image ") != x.leased+" udptl t38" || w.relay.kind() != "opaque" {
					t.Errorf("the second fax, %s:\n%s", w.relay.kind(), told.body)
				}
				k.hangUp()
				if r := w.record(); r.Fax.IsZero() || r.Fax.Before(r.Answer) || r.End.Before(r.Fax) {
					t.Errorf("record: %+v", r)
				}
			})
		}
	}
}

func TestACallThatBeginsWithAFaxGetsAudioWithKeysWhereTheTrunkHasThem(t *testing.T) {
	policy := func(name, srtp, fax string) func(*config.Config, *Timers) {
		return func(c *config.Config, _ *Timers) {
			edit(c, name, func(tr *config.Trunk) { tr.SRTP, tr.Pin, tr.Fax, tr.RTCPMux = srtp, config.PinAuth, fax, true })
		}
	}
	for _, tt := range []struct {
		name, trunk, srtp, fax string
		back                   string // the profile that the trunk's side is offered
		plain                  bool   // and its answer has no key
	}{
		{"the caller's, srtp required", "alice", config.SRTPRequired, config.FaxClear, "RTP/SAVP", false},
		{"the callee's, srtp required", "gw1", config.SRTPRequired, config.FaxClear, "RTP/SAVP", false},
		{"the caller's, srtp optional, taken", "alice", config.SRTPOptional, config.FaxPassthrough, "RTP/AVP", false},
		{"the callee's, srtp optional, left", "gw1", config.SRTPOptional, config.FaxPassthrough, "RTP/AVP", true},
		{"the callee's, srtp optional, clear", "gw1", config.SRTPOptional, config.FaxClear, "RTP/AVP", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, passing, policy(tt.trunk, tt.srtp, tt.fax))
			k := w.faxCall()
			x, y := k.parties(true)
			if tt.trunk != "alice" {
				x, y = y, x
			}
			if leg := w.relay.leg(t, x.relay); leg.RX.Suite != "none" || leg.TX.Suite != "none" || leg.Pin != "exact" || w.relay.kind() != "opaque" || strings.Contains(k.invite.body+k.ok.body, "a=crypto") {
				t.Errorf("the relay's leg: %s %s %s, %s", leg.RX.Suite, leg.TX.Suite, leg.Pin, w.relay.kind())
			}
			x.d.invite(x.fax) // a refresh says nothing new
			x.p.next("200 INVITE")
			x.d.ack()
			answer := strings.Replace(savp(x.audio, 1, testKey1), "RTP/SAVP", tt.back, 1)
			if tt.plain {
				answer = x.audio
			}
			told, _ := y.change(x, y.audio, answer)
			if !strings.Contains(line(told.body, "m=audio "), tt.back+" ") || line(told.body, "a=crypto:") == "" || !strings.Contains(told.body, "a=rtcp-mux\r\n") {
				t.Fatalf("audio is offered without keys, or without rtcp-mux:\n%s", told.body)
			}
			first := w.relay.leg(t, x.relay)
			if tt.plain {
				if first.RX.Suite != "none" || first.TX.Suite != "none" || first.Pin != "exact" || w.relay.kind() != "rtp" {
					t.Errorf("the relay's leg: %s %s %s, %s", first.RX.Suite, first.TX.Suite, first.Pin, w.relay.kind())
				}
				k.hangUp()
				return
			}
			if first.RX.Key != testKey1 || first.TX.Key == "" || first.Pin != "auth" || w.relay.kind() != "rtp" {
				t.Errorf("the relay's leg: %s %s, %s", first.RX.Suite, first.Pin, w.relay.kind())
			}
			if tt.fax == config.FaxPassthrough { // the audio is SRTP now, and stays
				x.d.invite(x.fax)
				x.d.ackFailure(x.p.next("488"))
				k.hangUp()
				return
			}
			x.change(y, x.fax, y.fax)
			x.change(y, savp(x.audio, 7, testKey2), y.audio)
			if last := w.relay.leg(t, x.relay); last.RX.Key != testKey2 || last.TX.Key == "" || last.TX.Key == first.TX.Key {
				t.Error("the audio after the second fax must have new keys as well")
			}
			k.hangUp()
		})
	}
}

func TestACallThatBeginsWithAFaxIsRefusedWhereItMustBe(t *testing.T) {
	offer := faxOf("192.0.2.10", 5002)
	trunks := func(fax, srtp string, names ...string) func(*config.Config, *Timers) {
		return func(c *config.Config, _ *Timers) {
			for _, name := range names {
				edit(c, name, func(tr *config.Trunk) { tr.Fax, tr.SRTP = fax, srtp })
			}
		}
	}
	for _, tt := range []struct {
		name    string
		policy  func(*config.Config, *Timers)
		offer   string
		warning string
		skipped int
	}{
		{"its trunk refuses faxes", trunks(config.FaxRefuse, config.SRTPOff, "alice"), offer, "T.38 is refused on this trunk", 0},
		{"its trunk requires SRTP", trunks(config.FaxPassthrough, config.SRTPRequired, "alice"), beside(offer), "T.38 has no encryption, and SRTP is required", 0},
		{"every other trunk refuses", trunks(config.FaxRefuse, config.SRTPOff, "gw1", "gw2"), offer, "no trunk takes a call that begins with T.38", 2},
		{"every other trunk requires SRTP", trunks(config.FaxPassthrough, config.SRTPRequired, "gw1", "gw2"), offer, "no trunk takes a call", 2},
		{"it has audio too, which nobody can relay", passing, strings.Replace(offer, "m=image", "m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\nm=image", 1), "no active audio over", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, passing, tt.policy)
			d := w.caller.invite(w.west, "+4312345", tt.offer)
			refused := w.caller.next("488")
			if !strings.Contains(refused.get("Warning"), tt.warning) {
				t.Errorf("Warning: %s", refused.get("Warning"))
			}
			d.ackFailure(refused)
			r := w.record()
			if r.Code != 488 || !r.Fax.IsZero() || len(r.Tried) != tt.skipped || !strings.Contains(r.Why, tt.warning) {
				t.Errorf("record %+v", r)
			}
			for _, try := range r.Tried {
				if !try.Skipped || !strings.Contains(try.Why, "begins with a fax: T.38 ") {
					t.Errorf("tried %+v", try)
				}
			}
			if opens, _, _ := w.relay.counts(); opens+w.gw1.had("INVITE")+w.gw2.had("INVITE") != 0 {
				t.Error("something was opened or sent")
			}
			w.gone()
		})
	}
}

func TestATrunkThatRefusesFaxesIsLeftOutOfACallThatBeginsWithOne(t *testing.T) {
	refusing := func(name string) func(*config.Config, *Timers) {
		return func(c *config.Config, _ *Timers) {
			edit(c, name, func(tr *config.Trunk) { tr.Fax = config.FaxRefuse })
		}
	}
	t.Run("the first one", func(t *testing.T) {
		w := newWorld(t, passing, refusing("gw1"))
		a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
		inv := w.gw2.next("INVITE")
		w.gw2.reply(inv, "200 OK", "y", faxOf("203.0.113.30", 7002))
		w.gw2.next("ACK")
		a.answered(w.caller.next("200 INVITE"))
		a.ack()
		a.bye()
		w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
		r := w.record()
		if len(r.Tried) != 2 || r.Tried[0].Trunk != "gw1" || !r.Tried[0].Skipped || !strings.Contains(r.Tried[0].Why, "T.38 is refused") || r.To != "gw2" || r.Fax.IsZero() {
			t.Errorf("record %+v", r)
		}
		if n := w.gw1.had("INVITE"); n != 0 {
			t.Errorf("%d INVITEs to it", n)
		}
		w.gone()
	})
	t.Run("the one after a failure", func(t *testing.T) {
		w := newWorld(t, passing, refusing("gw2"))
		a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
		w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "x", "")
		a.ackFailure(w.caller.next("503"))
		r := w.record()
		if len(r.Tried) != 2 || !r.Tried[0].Skipped || r.Tried[0].Trunk != "gw2" || r.Tried[1].Code != 503 {
			t.Errorf("tried %+v", r.Tried)
		}
		if n := w.gw2.had("INVITE"); n != 0 {
			t.Errorf("%d INVITEs to it", n)
		}
		w.gone()
	})
	t.Run("and audio goes there as ever", func(t *testing.T) {
		w := newWorld(t, passing, refusing("gw1"))
		w.call().hangUp()
	})
}

func TestTheFarSideMayRefuseTheFaxWithWhichACallBegins(t *testing.T) {
	optional := func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.SRTP = config.SRTPOptional })
	}
	t.Run("with a 488, which is final", func(t *testing.T) {
		w := newWorld(t, passing, optional)
		a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
		w.gw1.reply(w.gw1.next("INVITE"), "488 Not Acceptable Here", "x", "")
		a.ackFailure(w.caller.next("488"))
		if r := w.record(); len(r.Tried) != 1 || !r.Fax.IsZero() {
			t.Errorf("record %+v", r)
		}
		w.gone()
	})
	for name, answer := range map[string]string{"with port 0": faxOf("198.51.100.20", 0), "with audio": sdpOf("198.51.100.20", 6000, "")} {
		t.Run("in its 200, "+name, func(t *testing.T) {
			w := newWorld(t, passing)
			a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "x", answer)
			w.gw1.next("ACK")
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			a.ackFailure(w.caller.next("488"))
			if r := w.record(); r.Code != 488 || !r.Fax.IsZero() {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
	t.Run("after it took it early", func(t *testing.T) {
		w := newWorld(t, passing)
		a := w.caller.invite(w.west, "+4312345", faxOf("192.0.2.10", 5002))
		inv := w.gw1.next("INVITE")
		w.gw1.reply(inv, "183 Session Progress", "x", faxOf("198.51.100.20", 6002))
		if early := w.caller.next("183"); line(early.body, "m=image ") != "40000 udptl t38" {
			t.Errorf("183:\n%s", early.body)
		}
		if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6002" || w.relay.kind() != "opaque" {
			t.Errorf("early media to %s, %s", b.Remote, w.relay.kind())
		}
		w.gw1.reply(inv, "486 Busy Here", "x", "")
		a.ackFailure(w.caller.next("486"))
		if r := w.record(); !r.Fax.IsZero() {
			t.Errorf("record %+v", r)
		}
		w.gone()
	})
}

// TestAudioBesideAnActiveFaxIsTakenAloneAtTheBeginning is what RFC 3264 section 6 leaves to who answers: one of two lines.
func TestAudioBesideAnActiveFaxIsTakenAloneAtTheBeginning(t *testing.T) {
	w := newWorld(t, passing)
	k := w.callWith(sdpOf("192.0.2.10", 5000, "")+"m=image 5002 udptl t38\r\na=T38FaxVersion:0\r\n", sdpOf("198.51.100.20", 6000, ""))
	if strings.Contains(k.invite.body, "m=image") || line(k.ok.body, "m=image ") != "0 udptl t38" || !strings.HasPrefix(line(k.ok.body, "m=audio "), "40000 ") || w.relay.kind() != "" {
		t.Errorf("%s: %s\n%s", w.relay.kind(), k.invite.body, k.ok.body)
	}
	k.hangUp()
	if r := w.record(); !r.Fax.IsZero() {
		t.Errorf("record %+v", r)
	}
}

func TestAudioThatIsRefusedAfterAllGivesTheFaxBack(t *testing.T) {
	for name, answers := range map[string][]string{
		"once":                             {strings.Replace(sdpOf("198.51.100.20", 6000, ""), "m=audio 6000", "m=audio 0", 1), faxOf("198.51.100.20", 6002)},
		"and then the fax: nobody insists": {strings.Replace(sdpOf("198.51.100.20", 6000, ""), "m=audio 6000", "m=audio 0", 1), faxOf("198.51.100.20", 0)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passing)
			k := w.faxCall()
			k.a.invite(sdpOf("192.0.2.10", 5000, ""))
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", answers[0])
			w.gw1.next("ACK")
			k.a.ackFailure(w.caller.next("488"))
			again := w.gw1.next("INVITE")
			if line(again.body, "m=image ") != "40002 udptl t38" {
				t.Errorf("put back:\n%s", again.body)
			}
			w.gw1.reply(again, "200 OK", "", answers[1])
			w.gw1.next("ACK")
			if w.relay.kind() != "opaque" {
				t.Errorf("the relay carries %s", w.relay.kind())
			}
			k.a.invite(faxOf("192.0.2.10", 5002)) // a refresh, which is answered behind all that
			w.caller.next("200 INVITE")
			k.a.ack()
			k.hangUp()
			if n := w.gw1.had("INVITE"); n != 3 {
				t.Errorf("%d INVITEs", n)
			}
		})
	}
}

func TestWhoTakesTheLegOfAnotherCallMayBeginWithAFax(t *testing.T) {
	for name, fax := range map[string]string{"passed": config.FaxPassthrough, "refused by the trunk of who is there": config.FaxRefuse} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passing, func(c *config.Config, _ *Timers) {
				edit(c, "alice", func(tr *config.Trunk) { tr.Fax = fax })
			})
			k := w.call()
			x := w.gw1.invite(w.east, "any", faxOf("203.0.113.30", 7002), replacing(k.invite.get("Call-ID"), tagOf(k.invite.get("From")), "gwtag"))
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			if fax == config.FaxRefuse {
				x.ackFailure(w.gw1.next("488"))
				w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
				w.gone()
				return
			}
			told := w.caller.next("INVITE")
			if !strings.HasSuffix(line(told.body, "m=image "), " udptl t38") {
				t.Errorf("re-INVITE:\n%s", told.body)
			}
			w.caller.reply(told, "200 OK", "", faxOf("192.0.2.10", 5002))
			w.caller.next("ACK")
			x.answered(w.gw1.next("200 INVITE"))
			x.ack()
			if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); w.relay.kind() != "opaque" || a.Remote != "203.0.113.30:7002" || b.Remote != "192.0.2.10:5002" {
				t.Errorf("%s between %s and %s", w.relay.kind(), a.Remote, b.Remote)
			}
			w.record()
			x.bye()
			w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
			if r := w.record(); r.Fax.IsZero() {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}
