package b2bua

import (
	"strings"
	"testing"

	"tandem/internal/config"
)

// late places a call without an offer, as far as the answer of the gateway.
func (w *world) late(answer string, extra ...string) (a *dialog, inv message) {
	w.t.Helper()
	a = w.caller.invite(w.west, "+4312345", "", extra...)
	inv = w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "gwtag", answer)
	w.gw1.next("ACK")
	return a, inv
}

// ackWith acknowledges with a body.
func (d *dialog) ackWith(body string) {
	d.p.t.Helper()
	d.request("ACK", d.inviteSeq, "z9hG4bKackbody", d.target, body)
}

func TestLateOfferStandsInThe200AndItsAnswerInTheAck(t *testing.T) {
	w := newWorld(t)
	a, inv := w.late(sdpOf("198.51.100.20", 6000, ""))
	if got := line(inv.body, "m=audio "); got != "40002 RTP/AVP 8 0 13 101" {
		t.Errorf("our own offer: m=audio %s", got)
	}
	ok := w.caller.next("200 INVITE")
	if got := line(ok.body, "m=audio "); got != "40000 RTP/AVP 0 8 101" || !strings.Contains(ok.body, "a=sendrecv") {
		t.Errorf("offer to the caller:\n%s", ok.body)
	}
	a.answered(ok)
	a.ackWith(sdpOf("192.0.2.10", 5000, ""))
	eventually(t, "the caller's address to reach the relay", func() bool { return w.relay.leg(t, "a").Remote == "192.0.2.10:5000" })
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.20:6000" || b.Direction != "sendrecv" {
		t.Errorf("leg b: %s %s", b.Remote, b.Direction)
	}
	(&talk{w: w, a: a}).hangUp()
	if n := w.gw1.had("INVITE"); n != 1 {
		t.Errorf("the gateway got %d INVITEs: the answer told it nothing new", n)
	}
}

func TestKeyOfALateOfferIsTheKeyInUse(t *testing.T) {
	for srtp, profile := range map[string]string{config.SRTPRequired: "RTP/SAVP", config.SRTPOptional: "RTP/AVP"} {
		t.Run(srtp, func(t *testing.T) {
			w := newWorld(t, func(c *config.Config, _ *Timers) {
				edit(c, "alice", func(tr *config.Trunk) { tr.SRTP, tr.Pin = srtp, config.PinAuth })
			})
			a, _ := w.late(sdpOf("198.51.100.20", 6000, ""))
			ok := w.caller.next("200 INVITE")
			crypto := strings.Fields(line(ok.body, "a=crypto:"))
			if len(crypto) != 3 || !strings.Contains(line(ok.body, "m=audio "), profile+" ") {
				t.Fatalf("offer to the caller:\n%s", ok.body)
			}
			a.answered(ok)
			answer := savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1)
			if srtp == config.SRTPOptional {
				answer = strings.Replace(answer, "RTP/SAVP", "RTP/AVP", 1)
			}
			a.ackWith(answer)
			eventually(t, "the caller's key to reach the relay", func() bool { return w.relay.leg(t, "a").RX.Key == testKey1 })
			if leg := w.relay.leg(t, "a"); "inline:"+leg.TX.Key != crypto[2] || leg.Pin != "auth" {
				t.Errorf("the relay seals with another key than the 200 named, pin %s", leg.Pin)
			}
			(&talk{w: w, a: a}).hangUp()
		})
	}
}

func TestLateOfferAnsweredWithoutSrtpWhereItIsOptional(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.SRTP = config.SRTPOptional })
	})
	a, _ := w.late(sdpOf("198.51.100.20", 6000, ""))
	a.answered(w.caller.next("200 INVITE"))
	a.ackWith(sdpOf("192.0.2.10", 5000, ""))
	eventually(t, "the caller's address to reach the relay", func() bool { return w.relay.leg(t, "a").Remote == "192.0.2.10:5000" })
	if leg := w.relay.leg(t, "a"); leg.RX.Suite != "none" || leg.TX.Suite != "none" {
		t.Errorf("leg a: %s, %s", leg.RX.Suite, leg.TX.Suite)
	}
	(&talk{w: w, a: a}).hangUp()
}

func TestLateAnswerWithFewerCodecsIsToldToTheGateway(t *testing.T) {
	w := newWorld(t)
	a, _ := w.late(sdpOf("198.51.100.20", 6000, ""))
	a.answered(w.caller.next("200 INVITE"))
	a.ackWith(sdpOf("192.0.2.10", 5000, "", "8"))
	again := w.gw1.next("INVITE")
	if got := line(again.body, "m=audio "); !strings.HasSuffix(got, "RTP/AVP 8") {
		t.Errorf("m=audio %s", got)
	}
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	w.gw1.next("ACK")
	(&talk{w: w, a: a}).hangUp()
}

func TestAckWithoutTheAnswerEndsTheCall(t *testing.T) {
	for name, body := range map[string]string{"nothing": "", "refused": sdpOf("192.0.2.10", 0, ""), "no SDP": "hello"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, _ := w.late(sdpOf("198.51.100.20", 6000, ""))
			a.answered(w.caller.next("200 INVITE"))
			a.ackWith(body)
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
			if r := w.record(); r.By != byUs || !strings.HasPrefix(r.Why, "no usable answer") {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestReinviteWithoutSdpGetsOurSdpAsItStands(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.SRTP = config.SRTPRequired })
	})
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1), sdpOf("198.51.100.20", 6000, ""))
	for _, key := range []string{testKey1, testKey2} {
		k.a.invite("")
		ok := w.caller.next("200 INVITE")
		if ok.body != k.ok.body {
			t.Errorf("same key, same version wanted:\n%s\n%s", k.ok.body, ok.body)
		}
		k.a.ackWith(savp(sdpOf("192.0.2.11", 5000, ""), 1, key))
		eventually(t, "the answer to reach the relay", func() bool {
			leg := w.relay.leg(t, "a")
			return leg.RX.Key == key && leg.Remote == "192.0.2.11:5000"
		})
	}
	if n := w.gw1.had("INVITE"); n != 1 {
		t.Errorf("the gateway got %d INVITEs", n)
	}
	k.hangUp()
}

func TestPeerThatHeldMayResumeWithAReinviteWithoutSdp(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, "a=inactive\r\n"))
	w.gw1.next("ACK")
	w.caller.next("200 INVITE")
	k.a.ack()
	k.a.invite("")
	ok := w.caller.next("200 INVITE")
	if !strings.Contains(ok.body, "a=sendrecv") || !strings.HasPrefix(line(ok.body, "m=audio "), "40000 RTP/AVP 0 8 101") {
		t.Errorf("our offer:\n%s", ok.body)
	}
	k.a.ackWith(sdpOf("192.0.2.10", 5000, ""))
	resume := w.gw1.next("INVITE")
	if !strings.Contains(resume.body, "a=sendrecv") {
		t.Errorf("the gateway was not told:\n%s", resume.body)
	}
	w.gw1.reply(resume, "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	eventually(t, "both directions to be open", func() bool {
		return w.relay.leg(t, "a").Direction == "sendrecv" && w.relay.leg(t, "b").Direction == "sendrecv"
	})
	k.hangUp()
}

func TestOpportunisticOfferIsTakenUpWhereSrtpIsOptional(t *testing.T) {
	osrtp := strings.Replace(savp(sdpOf("192.0.2.10", 5000, ""), 4, testKey1), "RTP/SAVP", "RTP/AVP", 1)
	for srtp, suite := range map[string]string{config.SRTPOptional: "AES_CM_128_HMAC_SHA1_80", config.SRTPOff: "none"} {
		t.Run(srtp, func(t *testing.T) {
			w := newWorld(t, func(c *config.Config, _ *Timers) { edit(c, "alice", func(tr *config.Trunk) { tr.SRTP = srtp }) })
			k := w.callWith(osrtp, sdpOf("198.51.100.20", 6000, ""))
			if got := w.relay.leg(t, "a").RX.Suite; got != suite || !strings.Contains(k.ok.body, " RTP/AVP ") ||
				strings.HasPrefix(line(k.ok.body, "a=crypto:"), "4 ") != (srtp == config.SRTPOptional) {
				t.Errorf("%s, answer:\n%s", got, k.ok.body)
			}
			k.hangUp()
		})
	}
}
