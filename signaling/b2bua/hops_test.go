package b2bua

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
)

func TestContactThatIsANameIsResolved(t *testing.T) {
	for name, host := range map[string]string{"known": "known.example", "unknown": "unknown.example"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			inv := w.gw1.next("INVITE")
			_, port, _ := strings.Cut(w.gw1.addr.String(), ":")
			w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""), "Contact: <sip:g@"+host+":"+port+">")
			if ack := w.gw1.next("ACK"); !strings.HasPrefix(ack.start, "ACK sip:g@"+host) {
				t.Errorf("%q", ack.start)
			}
			a.answered(w.caller.next("200 INVITE"))
			a.ack()
			(&talk{w: w, a: a}).hangUp()
		})
	}
}

func TestMediaAddressThatIsANameIsResolved(t *testing.T) {
	w := newWorld(t)
	k := w.callWith(sdpOf("known.example", 5000, ""), sdpOf("198.51.100.20", 6000, ""))
	if a := w.relay.leg(t, "a"); a.Remote != "127.0.0.1:5000" {
		t.Errorf("the relay sends to %s", a.Remote)
	}
	k.a.invite(sdpOf("unknown.example", 5000, ""))
	k.a.ackFailure(w.caller.next("488"))
	k.hangUp()
}

func TestPeerBehindANatIsCalledBackWhereItCameFrom(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.Pin = config.PinLearn })
	})
	k := &talk{w: w}
	k.a = w.caller.invite(w.west, "1", sdpOf("10.0.0.1", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	k.a.answered(w.caller.next("200 INVITE"))
	k.a.ack()
	if a := w.relay.leg(t, "a"); a.Pin != "learn" || a.Signaling != "127.0.0.1" {
		t.Errorf("leg a: pin %s, signalling %s", a.Pin, a.Signaling)
	}
	k.a.target = uriOf(w.caller.seen[len(w.caller.seen)-1].get("Contact"))
	lines := []string{"Via: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKnat", "From: " + k.a.local, "To: " + k.a.remote,
		"Call-ID: " + k.a.callID, "CSeq: 2 INVITE", "Contact: <sip:inside@10.0.0.1:5060>"}
	w.caller.send(w.west, "INVITE "+k.a.target+" SIP/2.0", lines, sdpOf("10.0.0.1", 5000, ""))
	w.caller.next("200 INVITE")
	k.a.seq, k.a.inviteSeq = 2, 2
	k.a.ack()
	w.gw1.uas(inv, "x").bye()
	if bye := w.caller.next("BYE"); !strings.HasPrefix(bye.start, "BYE sip:inside@10.0.0.1:5060") {
		t.Errorf("%q", bye.start)
	} else {
		w.caller.reply(bye, "200 OK", "", "")
	}
	w.gone()
}

func TestRetryAfterOfATrunkReachesTheCaller(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "480 Away", "x", "", "Retry-After: 120 (at gw1.secret.example);duration=5")
	res := w.caller.next("480")
	if res.get("Retry-After") != "120" {
		t.Errorf("Retry-After %q", res.get("Retry-After"))
	}
	a.ackFailure(res)
	w.gone()
}

func TestTrunkThatAskedForRestIsNotTried(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "x", "", "Retry-After: 60")
	w.answerOn2(a)
	w.record() // the first call's, before the second can have one
	w.answerOn2(w.caller.invite(w.west, "2", sdpOf("192.0.2.10", 5000, "")))
	if r := w.record(); !r.Tried[0].Skipped || !strings.Contains(r.Tried[0].Why, "rest") {
		t.Errorf("tried %+v", r.Tried)
	}
	w.gone()
}

func TestTrunkThatNeverAnswersIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) {
			edit(c, "b1", func(tr *config.Trunk) { tr.Options = config.Options{Every: time.Minute} })
		})
		for range 6 {
			time.Sleep(time.Minute)
			synctest.Wait()
			p.stack.end()
		}
		if tr, _ := p.b.seen.Load().trunks.ByName("b1"); tr.State(time.Now()).String() != "down" {
			t.Errorf("after six misses the trunk is %s", tr.State(time.Now()))
		}
		p.over(t)
	})
}

func TestFaultInOneCallEndsThatCallAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		p.calls[0].postOwn(func() { panic("a fault of ours") })
		synctest.Wait()
		if s := p.b.Stats(); s.Drops[DropPanic] != 1 || s.Active != 0 || s.Table != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		if _, _, open := p.relay.counts(); open != 0 {
			t.Error("its session was left open")
		}
		p.b.counters.drops[DropPanic].Store(0)
		p.invite(1)
		synctest.Wait()
		if p.b.Stats().Active != 1 {
			t.Error("the next call was not taken")
		}
		p.over(t)
	})
}

func TestPeersOverIpv6AreCalledInBrackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) {
			c.SIP.Listeners["six"] = config.Listener{Transport: "tcp", Address: netip.MustParseAddrPort("[2001:db8::1]:5060")}
			edit(c, "b1", func(tr *config.Trunk) { tr.Listener, tr.Peer = "six", "[2001:db8::20]:5070" })
		})
		p.invite(0)
		synctest.Wait()
		req := p.stack.at(0).req
		if got := req.Recipient.String(); got != "sip:1@[2001:db8::20]:5070" {
			t.Errorf("Request-URI %s", got)
		}
		if got := req.Contact().Value(); got != "<sip:192.0.2.1:5060;transport=tcp>" {
			t.Errorf("Contact %s", got)
		}
		p.over(t)
	})
}

func TestOfferDuringTheWaitAfterAGlareIsAnsweredIfItConcernsOneSide(t *testing.T) {
	w := newWorld(t, func(_ *config.Config, t *Timers) { t.Glare = 2 * time.Millisecond })
	k := w.call()
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	w.gw1.reply(w.gw1.next("INVITE"), "491 Request Pending", "", "")
	w.gw1.next("ACK")
	k.b.invite(sdpOf("198.51.100.21", 6000, "")) // 420 ms pass before ours is repeated
	w.gw1.next("200 INVITE")
	k.b.ack()
	again := w.gw1.next("INVITE")
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.21", 6000, "a=recvonly\r\n"))
	w.gw1.next("ACK")
	w.caller.next("200 INVITE")
	k.a.ack()
	if b := w.relay.leg(t, "b"); b.Remote != "198.51.100.21:6000" || b.Direction != "sendonly" {
		t.Errorf("leg b: %s %s", b.Remote, b.Direction)
	}
	k.hangUp()
}

func TestMediaTimeoutOfARelayThatStoodStillEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.relay.mu.Lock()
	w.relay.silent = 20 // ms, when it is asked again
	w.relay.mu.Unlock()
	k := w.call()
	w.b.MediaEvent(control.EventTimeout, control.Event{Session: w.relay.opened(0).ID, Leg: "b", SilentMS: 60000})
	done := make(chan struct{})
	w.b.all()[0].postOwn(func() { w.b.all()[0].timers.after(2*secondLook, func() { close(done) }) })
	<-done
	w.record0()
	k.hangUp()
}
