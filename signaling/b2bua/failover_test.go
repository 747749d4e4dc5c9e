package b2bua

import (
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
)

// quick makes every trunk wait only this long for an 18x.
func quick(d time.Duration) func(*config.Config, *Timers) {
	return func(c *config.Config, _ *Timers) {
		for name := range c.Trunks {
			edit(c, name, func(tr *config.Trunk) { tr.Failover.Timeout = d })
		}
	}
}

// answerOn2 completes a call on the second gateway and hangs up.
func (w *world) answerOn2(a *dialog) {
	w.t.Helper()
	inv := w.gw2.next("INVITE")
	w.gw2.reply(inv, "200 OK", "y", sdpOf("203.0.113.30", 7000, ""))
	w.gw2.next("ACK")
	ok := w.caller.next("200 INVITE")
	a.answered(ok)
	a.ack()
	if b := w.relay.leg(w.t, "b"); b.Remote != "203.0.113.30:7000" || b.Direction != "sendrecv" {
		w.t.Errorf("relay leg b: %s %s", b.Remote, b.Direction)
	}
	a.bye()
	w.caller.next("200 BYE")
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
}

func TestTrunkThatRefusesLeavesTheCallToTheNext(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "x", "")
	w.gw1.next("ACK")
	w.answerOn2(a)
	r := w.record()
	if len(r.Tried) != 2 || r.Tried[0].Code != 503 || r.Tried[1].Code != 200 || r.To != "gw2" {
		t.Errorf("tried %+v", r.Tried)
	}
	if opens, _, _ := w.relay.counts(); opens != 1 {
		t.Errorf("%d sessions for one call over one network", opens)
	}
	w.gone()
	gw1, _ := w.trunks.ByName("gw1")
	if got := gw1.State(time.Now()).String(); got != "demoted" {
		t.Errorf("a trunk that answered 503 is %s", got)
	}
}

func TestTrunkThatOnlyTriesIsLeftAfterAWhile(t *testing.T) {
	w := newWorld(t, quick(4*testT1))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "100 Trying", "", "")
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.answerOn2(a)
	w.gw1.reply(inv, "200 OK", "late", sdpOf("198.51.100.20", 6000, "")) // it crossed the CANCEL
	w.gw1.next("ACK")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	if r := w.record(); r.Tried[0].Code != 504 || !strings.HasPrefix(r.Tried[0].Why, "no 18x within") {
		t.Errorf("tried %+v", r.Tried)
	}
	w.gone()
}

func TestRingingStopsTheFailover(t *testing.T) {
	w := newWorld(t, quick(4*testT1))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	w.caller.next("180")
	w.gw1.reply(inv, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	if w.gw2.had("INVITE") != 0 {
		t.Error("the next trunk was tried though the first rang")
	}
	w.gone()
}

func TestFinalAnswersReachTheCallerTranslated(t *testing.T) {
	for _, tt := range []struct{ from, to, reason string }{
		{"486 Busy at pbx.gw1.secret.example", "486 Busy Here", "Q.850;cause=17"},
		{"404 Not Found", "404 Not Found", ""},
		{"603 Decline", "603 Decline", ""},
		{"600 Busy", "600 Busy Everywhere", ""},
		{"302 Moved", "480 Temporarily Unavailable", ""},
		{"401 Unauthorized", "403 Forbidden", ""},
		{"407 Proxy Authentication Required", "403 Forbidden", ""},
		{"499 Whatever", "499 Request Failure", ""},
	} {
		t.Run(tt.from, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			extra := []string{"Contact: <sip:x@redirect.gw1.secret.example>"}
			if tt.reason != "" {
				extra = append(extra, "Reason: "+tt.reason+`;text="pbx.gw1.secret.example"`)
			}
			w.gw1.reply(w.gw1.next("INVITE"), tt.from, "x", "", extra...)
			want := tt.to[:3]
			res := w.caller.next(want)
			if res.start != "SIP/2.0 "+tt.to || strings.Contains(res.raw, "gw1") {
				t.Errorf("the caller got\n%s", res.raw)
			}
			if got := res.get("Reason"); got != tt.reason {
				t.Errorf("Reason %q, want %q", got, tt.reason)
			}
			a.ackFailure(res)
			if r := w.record(); r.By != "callee" || r.Code == 0 {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestWhenNoTrunkIsLeftTheCallerHearsTheLastReason(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "504 Server Time-out", "x", "")
	w.gw2.reply(w.gw2.next("INVITE"), "503 Service Unavailable", "x", "", "Reason: Q.850;cause=34")
	res := w.caller.next("503")
	if res.get("Reason") != "Q.850;cause=34" {
		t.Errorf("Reason %q", res.get("Reason"))
	}
	a.ackFailure(res)
	if r := w.record(); len(r.Tried) != 2 || r.Cause != 34 {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestSilenceOfTheLastTrunkIsNotExplainedByAnother(t *testing.T) {
	w := newWorld(t, quick(4*testT1))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "x", "", "Reason: Q.850;cause=34")
	silent := w.gw2.next("INVITE")
	res := w.caller.next("504")
	if got := res.get("Reason"); got != "Q.850;cause=102" {
		t.Errorf("Reason %q, want our own; 34 is that of the first trunk", got)
	}
	a.ackFailure(res)
	w.gw2.reply(silent, "487 Request Terminated", "x", "")
	w.gone()
}

func TestTrunkThatCannotBeReachedIsFollowedByTheNext(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Listener = "dead" })
		c.SIP.Listeners["dead"] = c.SIP.Listeners["east"] // not opened: the stack refuses to send
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.answerOn2(a)
	if r := w.record(); r.Tried[0].Code != 504 || r.Tried[1].Code != 200 {
		t.Errorf("tried %+v", r.Tried)
	}
	w.gone()
}

func TestTrunkOfAnotherNetworkGetsAnotherSession(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw2", func(tr *config.Trunk) { tr.Network = "other" })
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "x", "")
	w.answerOn2(a)
	if opens, _, _ := w.relay.counts(); opens != 2 {
		t.Errorf("%d sessions opened, want 2", opens)
	}
	if o := w.relay.opened(1); o.Streams[0].Legs[1].Network != "other" || !strings.HasSuffix(o.ID, ".2") {
		t.Errorf("second session %+v", o)
	}
	w.gone()
}

func TestTrunkOfAnotherNetworkIsSkippedOnceTheCallerHasSdp(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw2", func(tr *config.Trunk) { tr.Network = "other" })
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	w.caller.next("183")
	w.gw1.reply(inv, "503 Service Unavailable", "x", "")
	a.ackFailure(w.caller.next("503"))
	if r := w.record(); len(r.Tried) != 2 || !r.Tried[1].Skipped {
		t.Errorf("tried %+v", r.Tried)
	}
	w.gone()
}

func TestEarlyMediaOfATrunkThatFailedIsNotHeardAnyMore(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	early := w.caller.next("183")
	w.gw1.reply(inv, "503 Service Unavailable", "x", "")
	w.gw2.reply(w.gw2.next("INVITE"), "180 Ringing", "y", "")
	w.caller.next("180")
	if b := w.relay.leg(t, "b"); b.Direction != "inactive" {
		t.Errorf("leg b is %s", b.Direction)
	}
	w.gw2.reply(w.gw2.seen[0], "200 OK", "y", sdpOf("203.0.113.30", 7000, ""))
	ok := w.caller.next("200 INVITE")
	if was, is := line(early.body, "m=audio "), line(ok.body, "m=audio "); strings.Fields(was)[0] != strings.Fields(is)[0] {
		t.Errorf("the caller's port changed after its early media: %s, %s", was, is)
	}
	a.answered(ok)
	a.ack()
	a.bye()
	w.gw2.reply(w.gw2.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestNobodyAnswersIsATimeout(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) { c.SIP.Limits.RingTimeout = 6 * testT1 })
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	a.ackFailure(w.caller.next("408"))
	if r := w.record(); r.Why != "ring timeout" {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestFullTrunkIsSkipped(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.MaxCalls = 1 })
	})
	k := w.call()
	w.answerOn2(w.caller.invite(w.west, "2", sdpOf("192.0.2.10", 5000, "")))
	if r := w.record(); len(r.Tried) != 2 || !r.Tried[0].Skipped || r.Tried[0].Trunk != "gw1" {
		t.Errorf("tried %+v", r.Tried)
	}
	k.hangUp()
	gw1, _ := w.trunks.ByName("gw1")
	if gw1.Active() != 0 {
		t.Errorf("%d places of the trunk still taken", gw1.Active())
	}
}

func TestRelayThatIsAwayMeans503AtOnce(t *testing.T) {
	w := newWorld(t)
	w.relay.failing(func(string, string) error { return errTest })
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	a.ackFailure(w.caller.next("503"))
	if r := w.record(); len(r.Tried) != 1 || r.Media != nil {
		t.Errorf("record %+v", r)
	}
	w.relay.failing(nil)
	w.gone()
	eventually(t, "the session that may exist to be closed", func() bool { return w.b.Stats().Unclosed == 0 })
}

func TestRelayWithoutPortsMeans503(t *testing.T) {
	w := newWorld(t)
	w.relay.failing(func(string, string) error { return control.Errorf(control.CodeNoPorts, "none left") })
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	a.ackFailure(w.caller.next("503"))
	if r := w.record(); len(r.Tried) != 2 {
		t.Errorf("another trunk may have another network; tried %+v", r.Tried)
	}
	w.gone()
}

func TestRelayLostAtTheAnswerEndsBothSides(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.relay.failing(func(method, _ string) error {
		if method == "update" {
			return errTest
		}
		return nil
	})
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	a.ackFailure(w.caller.next("500"))
	w.gone()
}

func TestAnswerWithoutAudioEndsBothSides(t *testing.T) {
	for name, answer := range map[string]string{
		"none":     "",
		"broken":   "v=1\r\n",
		"refused":  strings.Replace(sdpOf("198.51.100.20", 6000, ""), "m=audio 6000", "m=audio 0", 1),
		"with key": savp(sdpOf("198.51.100.20", 6000, ""), 1, testKey1),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "x", answer)
			w.gw1.next("ACK")
			bye := w.gw1.next("BYE")
			if bye.get("Reason") == "" {
				t.Error("the callee is not told why")
			}
			w.gw1.reply(bye, "200 OK", "", "")
			eventually(t, "the caller's failure", func() bool { return w.caller.had("488")+w.caller.had("502") > 0 })
			a.ackFailure(w.caller.seen[len(w.caller.seen)-1])
			w.gone()
		})
	}
}
