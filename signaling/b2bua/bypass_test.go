package b2bua

import (
	"testing"

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
