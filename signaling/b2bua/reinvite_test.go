package b2bua

import (
	"strings"
	"testing"

	"tandem/internal/config"
)

func TestHoldAndResumeArePassedOn(t *testing.T) {
	for _, tt := range []struct{ name, hold, toCallee, answer, toCaller, relayA, relayB string }{
		{"sendonly", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"), "a=sendonly", "a=recvonly\r\n", "a=recvonly", "recvonly", "sendonly"},
		{"inactive", sdpOf("192.0.2.10", 5000, "a=inactive\r\n"), "a=inactive", "a=inactive\r\n", "a=inactive", "inactive", "inactive"},
		{"address 0.0.0.0", sdpOf("0.0.0.0", 5000, ""), "a=sendonly", "a=recvonly\r\n", "a=recvonly", "recvonly", "sendonly"},
		{"answered sendrecv", sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"), "a=sendonly", "", "a=recvonly", "recvonly", "sendonly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			k := w.call()
			k.a.invite(tt.hold)
			inv := w.gw1.next("INVITE")
			if !strings.Contains(inv.body, tt.toCallee) || strings.Contains(inv.body, "0.0.0.0") {
				t.Errorf("offer to the callee:\n%s", inv.body)
			}
			if v := strings.Fields(line(inv.body, "o=")); v[1] != strings.Fields(line(k.invite.body, "o="))[1] || v[2] != "2" {
				t.Errorf("o= of a changed body: %v", v)
			}
			w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, tt.answer))
			w.gw1.next("ACK")
			ok := w.caller.next("200 INVITE")
			if !strings.Contains(ok.body, tt.toCaller) {
				t.Errorf("answer to the caller:\n%s", ok.body)
			}
			k.a.ack()
			a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
			if a.Direction != tt.relayA || b.Direction != tt.relayB || a.Remote != "192.0.2.10:5000" {
				t.Errorf("relay: a %s %s, b %s; want %s, %s", a.Direction, a.Remote, b.Direction, tt.relayA, tt.relayB)
			}
			k.a.invite(sdpOf("192.0.2.10", 5000, ""))
			inv = w.gw1.next("INVITE")
			w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
			w.gw1.next("ACK")
			w.caller.next("200 INVITE")
			k.a.ack()
			if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Direction != "sendrecv" || b.Direction != "sendrecv" {
				t.Errorf("after resume: a %s, b %s", a.Direction, b.Direction)
			}
			k.hangUp()
		})
	}
}

func TestHoldOfTheCalleeIsPassedToTheCaller(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.b.invite(sdpOf("198.51.100.20", 6000, "a=inactive\r\n"))
	inv := w.caller.next("INVITE")
	if !strings.Contains(inv.body, "a=inactive") || tagOf(inv.get("From")) != tagOf(k.ok.get("To")) {
		t.Errorf("offer to the caller:\n%s", inv.raw)
	}
	w.caller.reply(inv, "200 OK", "", sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	w.caller.next("ACK")
	ok := w.gw1.next("200 INVITE")
	if !strings.Contains(ok.body, "a=inactive") {
		t.Errorf("answer to the callee:\n%s", ok.body)
	}
	k.b.ack()
	k.hangUp()
}

func TestIdenticalReinviteChangesNothing(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	_, before, _ := w.relay.counts()
	for range 2 {
		k.a.invite(sdpOf("192.0.2.10", 5000, ""))
		ok := w.caller.next("200 INVITE")
		if ok.body != k.ok.body {
			t.Errorf("another answer to the same offer:\n%s\n%s", k.ok.body, ok.body)
		}
		k.a.ack()
	}
	k.a.invite(strings.Replace(sdpOf("192.0.2.10", 5000, ""), "42 1 IN", "42 7 IN", 1)) // the version alone was raised
	if ok := w.caller.next("200 INVITE"); ok.body != k.ok.body {
		t.Errorf("another answer to the same offer under a new version:\n%s", ok.body)
	}
	k.a.ack()
	if _, after, _ := w.relay.counts(); after != before {
		t.Errorf("%d updates of the relay", after-before)
	}
	if n := w.gw1.had("INVITE"); n != 1 {
		t.Errorf("the callee got %d INVITEs", n)
	}
	k.hangUp()
}

func TestNewAddressOfOneSideConcernsTheRelayAlone(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.77", 5100, ""))
	ok := w.caller.next("200 INVITE")
	k.a.ack()
	if ok.body != k.ok.body {
		t.Errorf("our side did not change, its SDP did:\n%s", ok.body)
	}
	if a := w.relay.leg(t, "a"); a.Remote != "192.0.2.77:5100" {
		t.Errorf("the relay sends to %s", a.Remote)
	}
	k.b.invite(sdpOf("198.51.100.99", 6600, ""))
	w.gw1.next("200 INVITE")
	k.b.ack()
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.99:6600" {
		t.Errorf("the relay sends to %s", b.Remote)
	}
	if w.gw1.had("INVITE") != 1 || w.caller.had("INVITE") != 0 {
		t.Error("an address of one side was told to the other")
	}
	k.hangUp()
}

func TestNewCodecIsPassedOnAndARefusalLeavesTheCallAsItWas(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "", "8"))
	inv := w.gw1.next("INVITE")
	if !strings.HasPrefix(line(inv.body, "m=audio "), "40002 RTP/AVP 8") {
		t.Errorf("offer:\n%s", inv.body)
	}
	w.gw1.reply(inv, "488 No codec at gw1.secret.example", "", "")
	w.gw1.next("ACK")
	res := w.caller.next("488")
	if res.start != "SIP/2.0 488 Not Acceptable Here" {
		t.Errorf("%q", res.start)
	}
	k.a.ackFailure(res)
	k.a.invite(sdpOf("192.0.2.10", 5000, ""))
	if ok := w.caller.next("200 INVITE"); ok.body != k.ok.body {
		t.Errorf("the old state was lost:\n%s", ok.body)
	}
	k.a.ack()
	k.hangUp()
}

func TestSecondInviteWhileOneIsOpenGets500(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	first := *k.a
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	res := w.caller.next("500")
	if res.get("Retry-After") == "" {
		t.Error("500 without Retry-After")
	}
	k.a.ackFailure(res)
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.caller.next("200 INVITE")
	first.ack()
	k.hangUp()
}

func TestGlareIsAnswered491(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	k.b.invite(sdpOf("198.51.100.20", 6000, "a=sendonly\r\n"))
	k.b.ackFailure(w.gw1.next("491"))
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.gw1.next("ACK")
	w.caller.next("200 INVITE")
	k.a.ack()
	k.hangUp()
}

func TestGlareIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "491 Request Pending", "", "")
	w.gw1.next("ACK")
	again := w.gw1.next("INVITE")
	if again.seq() == inv.seq() || again.body != inv.body {
		t.Errorf("second try:\n%s", again.raw)
	}
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.gw1.next("ACK")
	w.caller.next("200 INVITE")
	k.a.ack()
	k.hangUp()
}

func TestGlareThatNeverEndsReachesWhoAsked(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	for range glareTries {
		w.gw1.reply(w.gw1.next("INVITE"), "491 Request Pending", "", "")
		w.gw1.next("ACK")
	}
	k.a.ackFailure(w.caller.next("491"))
	k.hangUp()
}

func TestReinviteToALostDialogEndsTheCall(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	w.gw1.reply(w.gw1.next("INVITE"), "481 Call Does Not Exist", "", "")
	k.a.ackFailure(w.caller.next("481"))
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gw1.reply(w.gw1.next("BYE"), "481 Call Does Not Exist", "", "")
	w.gone()
}

func TestReinviteWithABodyThatIsNoOfferIsRefusedAndTheCallGoesOn(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite("not SDP at all")
	k.a.ackFailure(w.caller.next("400"))
	k.a.invite("x", "Content-Type: text/plain")
	if res := w.caller.next("415"); res.get("Accept") != contentSDP {
		t.Errorf("415 with Accept %q", res.get("Accept"))
	}
	k.hangUp()
}

func TestByeDuringAReinviteEndsBoth(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "100 Trying", "", "")
	k.b.bye()
	w.gw1.next("200 BYE")
	k.a.ackFailure(w.caller.next("487"))
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	w.gw1.reply(inv, "487 Request Terminated", "", "")
	w.gone()
}

func TestContactOfAReinviteIsTheTargetFromThenOn(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	moved := newPeer(t, "moved")
	k.a.p = moved
	k.a.invite(sdpOf("192.0.2.10", 5000, ""))
	moved.next("200 INVITE")
	k.a.ack()
	k.b.bye()
	w.gw1.next("200 BYE")
	bye := moved.next("BYE")
	if !strings.HasPrefix(bye.start, "BYE sip:moved@"+moved.addr.String()) {
		t.Errorf("%q", bye.start)
	}
	moved.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestContactOfAnAnswerToAReinviteIsTheTargetFromThenOn(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=inactive\r\n"))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=inactive\r\n"), "Contact: <sip:elsewhere@"+w.gw2.addr.String()+">")
	if ack := w.gw2.next("ACK"); !strings.HasPrefix(ack.start, "ACK sip:elsewhere@") {
		t.Errorf("%q", ack.start)
	}
	w.caller.next("200 INVITE")
	k.a.ack()
	k.a.bye()
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestNewKeyOfThePeerReachesTheRelayAndOursStays(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.SRTP = config.SRTPRequired })
	})
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1), sdpOf("198.51.100.20", 6000, ""))
	before := w.relay.leg(t, "a")
	k.a.invite(savp(sdpOf("192.0.2.10", 5000, ""), 3, testKey2))
	ok := w.caller.next("200 INVITE")
	k.a.ack()
	after := w.relay.leg(t, "a")
	if after.RX.Key != testKey2 || before.RX.Key != testKey1 || after.TX.Key != before.TX.Key {
		t.Error("the peer's new key must replace its old one, ours must stay")
	}
	if got, was := line(ok.body, "a=crypto:"), line(k.ok.body, "a=crypto:"); !strings.HasPrefix(got, "3 ") || got[2:] != was[2:] {
		t.Error("the answer must carry the new tag and our old key")
	}
	k.hangUp()
}

// edit changes one trunk of a config.
func edit(c *config.Config, name string, change func(*config.Trunk)) {
	tr := c.Trunks[name]
	change(&tr)
	c.Trunks[name] = tr
}

func TestFaxOfferIsRefusedAndTheCallGoesOn(t *testing.T) {
	t38 := "v=0\r\no=- 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=image 5002 udptl t38\r\na=T38FaxVersion:0\r\n"
	w := newWorld(t)
	k := w.call()
	k.b.invite(t38)
	k.b.ackFailure(w.gw1.next("488"))
	k.b.invite(strings.Replace(t38, "m=image", "m=audio 0 RTP/AVP 0\r\nm=image", 1))
	k.b.ackFailure(w.gw1.next("488"))
	k.a.invite(sdpOf("192.0.2.10", 5000, "") + "m=image 5002 udptl t38\r\n") // beside the audio it is declined
	if ok := w.caller.next("200 INVITE"); !strings.Contains(ok.body, "m=image 0 udptl t38") {
		t.Errorf("answer:\n%s", ok.body)
	}
	k.a.ack()
	if n := w.caller.had("INVITE"); n != 0 {
		t.Errorf("the caller heard of it in %d INVITEs", n)
	}
	k.hangUp()
}

func TestOtherCodecAndOtherPayloadTypesCross(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	offer := "v=0\r\no=- 42 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 5000 RTP/AVP 9 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:40\r\n"
	k.a.invite(offer)
	inv := w.gw1.next("INVITE")
	if !strings.HasSuffix(line(inv.body, "m=audio "), "RTP/AVP 9 96") || line(inv.body, "a=ptime:") != "40" {
		t.Errorf("offer:\n%s", inv.body)
	}
	w.gw1.reply(inv, "200 OK", "", strings.ReplaceAll(strings.ReplaceAll(offer, "96", "101"), "192.0.2.10", "198.51.100.20"))
	w.gw1.next("ACK")
	if ok := w.caller.next("200 INVITE"); !strings.HasSuffix(line(ok.body, "m=audio "), "RTP/AVP 9 101") {
		t.Errorf("answer:\n%s", ok.body)
	}
	k.a.ack()
	var types []uint8
	for _, p := range *w.relay.leg(t, "a").Payloads {
		types = append(types, p.Type)
	}
	if len(types) != 3 {
		t.Errorf("payload types that the relay takes of the caller: %v", types)
	}
	k.hangUp()
}

func TestAudioSwitchedOffIsSilenceForTheOtherSide(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	off := sdpOf("192.0.2.10", 0, "")
	k.a.invite(off)
	inv := w.gw1.next("INVITE")
	if !strings.Contains(inv.body, "a=inactive") || !strings.HasPrefix(line(inv.body, "m=audio "), "40002 ") {
		t.Errorf("offer to the gateway:\n%s", inv.body)
	}
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 0, "")) // silence may be answered so
	w.gw1.next("ACK")
	if ok := w.caller.next("200 INVITE"); !strings.HasPrefix(line(ok.body, "m=audio "), "0 ") {
		t.Errorf("answer:\n%s", ok.body)
	}
	k.a.ack()
	if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Direction != "inactive" || b.Direction != "inactive" {
		t.Errorf("relay: %s, %s", a.Direction, b.Direction)
	}
	k.a.invite(sdpOf("192.0.2.10", 5000, ""))
	inv = w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	if ok := w.caller.next("200 INVITE"); !strings.HasPrefix(line(ok.body, "m=audio "), "40000 ") {
		t.Errorf("answer:\n%s", ok.body)
	}
	k.a.ack()
	if a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b"); a.Direction != "sendrecv" || b.Direction != "sendrecv" {
		t.Errorf("relay: %s, %s", a.Direction, b.Direction)
	}
	k.hangUp()
}
