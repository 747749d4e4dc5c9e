package torture

import (
	"strings"
	"testing"
)

func TestT05_OffersInPrackAndUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()

	// ringing is a call whose callee answered the offer in a reliable 183, proved by us.
	ringing := func(t *testing.T, extra ...string) *talk {
		t.Helper()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp(), append(extra, "Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE")...)
		k.invite = w.bob.next("INVITE")
		if !strings.Contains(k.invite.get("Supported")+k.invite.get("Require"), "100rel") {
			t.Fatalf("we do not offer 100rel:\n%s", k.invite.raw)
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "183 Session Progress", k.eb.sdp(), "Require: 100rel", "RSeq: 9021", "Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE")
		prack := k.b.want("PRACK")
		if got := prack.get("RAck"); got != "9021 "+prackOf(k.invite) {
			t.Errorf("RAck: %s", got)
		}
		k.b.reply(prack, "200 OK", "")
		k.ok = k.a.want("183")
		k.a.answered(k.ok)
		k.ra, k.rb = media(t, k.ok.body), media(t, k.invite.body)
		return k
	}
	t.Run("an answer in a reliable 183, and then the 200 without SDP", func(t *testing.T) {
		k := ringing(t)
		k.hear()
		k.b.reply(k.invite, "200 OK", "")
		k.b.want("ACK")
		k.a.established()
		k.over()
	})
	t.Run("an offer in UPDATE from the callee, before the answer", func(t *testing.T) {
		k := ringing(t, "Supported: 100rel")
		k.provesRinging()
		moved := listen(t, w.bob.at.Addr(), 0xbbbb0005)
		k.b.send("UPDATE", strings.Replace(moved.sdp(), "42 1 IN", "42 2 IN", 1))
		if m := w.alice.take("UPDATE", nil); m != nil { // what the caller can do it may be asked
			w.alice.reply(m, "200 OK", "", k.ea.sdp())
		}
		res := k.b.want("final UPDATE")
		if res.code() != 200 || !strings.Contains(res.body, "m=audio ") {
			t.Fatalf("%s", res.raw)
		}
		k.eb = moved
		k.rb = media(t, res.body)
		k.hear()
		k.b.reply(k.invite, "200 OK", "")
		k.b.want("ACK")
		k.a.established()
		k.over()
	})
	t.Run("an offer in PRACK and in UPDATE from the caller", func(t *testing.T) {
		k := ringing(t, "Supported: 100rel")
		moved := listen(t, w.alice.at.Addr(), 0xaaaa0005)
		k.a.send("PRACK", strings.Replace(moved.sdp(), "42 1 IN", "42 2 IN", 1), "RAck: "+k.ok.get("RSeq")+" 1 INVITE")
		res := k.a.want("final PRACK")
		if res.code() != 200 || !strings.Contains(res.body, "m=audio ") {
			t.Fatalf("%s", res.raw)
		}
		k.ea, k.ra = moved, media(t, res.body)
		k.hear()
		again := listen(t, w.alice.at.Addr(), 0xaaaa0006)
		k.a.send("UPDATE", strings.Replace(again.sdp(), "42 1 IN", "42 3 IN", 1))
		if res = k.a.want("final UPDATE"); res.code() != 200 {
			t.Fatalf("%s", res.raw)
		}
		k.ea, k.ra = again, media(t, res.body)
		k.hear()
		k.b.reply(k.invite, "200 OK", "")
		k.b.want("ACK")
		k.a.established()
		k.over()
	})
}

// prackOf is the rest of RAck: the CSeq of what was answered.
func prackOf(m *message) string { return m.get("CSeq") }

// provesRinging sends the PRACK of the caller.
func (k *talk) provesRinging() {
	k.w.t.Helper()
	if k.ok.get("RSeq") == "" {
		return
	}
	k.a.send("PRACK", "", "RAck: "+k.ok.get("RSeq")+" 1 INVITE")
	k.a.want("200 PRACK")
}

func TestT25_Prack(t *testing.T) {
	t.Parallel()
	t.Run("the caller requires 100rel, the callee has none", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp(), "Require: 100rel")
		k.invite = w.bob.next("INVITE")
		if strings.Contains(k.invite.get("Require"), "100rel") {
			t.Errorf("the requirement of one side became one of the other")
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "180 Ringing", "")
		k.ok = k.a.want("180")
		if !strings.Contains(k.ok.get("Require"), "100rel") || k.ok.get("RSeq") == "" {
			t.Fatalf("not reliable:\n%s", k.ok.raw)
		}
		k.a.answered(k.ok)

		w.alice.times(k.ok, 3) // until it is acknowledged
		k.a.send("PRACK", "", "RAck: 77 1 INVITE")
		if res := k.a.want("final PRACK"); res.code() != 481 {
			t.Errorf("a RAck of nothing: %s", res.start)
		}
		k.provesRinging()
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
	})
	t.Run("we require it, the callee answers 420", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["prack"] = "required"
		w.config["routes"].([]any)[0] = object{"name": "in", "from": []any{"uc"}, "to": []any{"gw", "spare"}}
		w.open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		first := w.bob.next("INVITE")
		if !strings.Contains(first.get("Require"), "100rel") {
			t.Fatalf("not required:\n%s", first.raw)
		}
		w.bob.reply(first, "420 Bad Extension", "x", "", "Unsupported: 100rel")
		w.bob.next("ACK")
		if res := k.a.want("final INVITE"); res.code() != 420 && res.code()/100 != 4 {
			t.Errorf("%s", res.start)
		} else {
			k.a.ackFailure(res)
		}
		w.call420(t)
	})
	t.Run("the trunk has it switched off", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.uc["prack"] = "off"
		w.open()
		a := w.alice.invite("+4312345", w.ears().ea.sdp(), "Require: 100rel")
		if res := a.failed(420); res.get("Unsupported") != "100rel" {
			t.Errorf("Unsupported: %s", res.get("Unsupported"))
		}
	})
}

// call420 asserts that a callee with 100rel is served after one without it was not.
func (w *world) call420(t *testing.T) {
	t.Helper()
	k := w.ears()
	k.a = w.alice.invite("+4312346", k.ea.sdp())
	k.invite = w.bob.next("INVITE")
	k.b = w.bob.called(k.invite, "bobtag")
	k.b.reply(k.invite, "183 Session Progress", k.eb.sdp(), "Require: 100rel", "RSeq: 1")
	k.b.reply(k.b.want("PRACK"), "200 OK", "")
	k.b.reply(k.invite, "200 OK", "")
	k.joined()
	k.over()
}

func TestT26_UpdateAndSessionTimers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	t.Run("UPDATE without SDP is a refresh", func(t *testing.T) {
		k := w.call()
		for _, d := range []*dialog{k.a, k.b} {
			d.send("UPDATE", "")
			if res := d.want("final UPDATE"); res.code() != 200 || res.body != "" {
				t.Errorf("%s", res.raw)
			}
		}
		if n := w.bob.had("UPDATE") + w.alice.had("UPDATE"); n != 0 {
			t.Errorf("%d refreshes crossed", n)
		}
		k.over()
	})
	t.Run("too short a session is refused with 422", func(t *testing.T) {
		a := w.alice.invite("+4312345", w.ears().ea.sdp(), "Supported: timer", "Session-Expires: 30")
		if res := a.failed(422); res.get("Min-SE") != "90" {
			t.Errorf("Min-SE: %s", res.get("Min-SE"))
		}
	})
	t.Run("the peer's 422 is met", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["session_timer"] = "on"
		w.open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		first := w.bob.next("INVITE")
		if se := first.get("Session-Expires"); !strings.HasPrefix(se, "1800") {
			t.Errorf("Session-Expires: %s", se)
		}
		w.bob.reply(first, "422 Session Interval Too Small", "x", "", "Min-SE: 3600")
		w.bob.next("ACK")
		k.invite = w.bob.next("INVITE")
		if k.invite.get("Min-SE") != "3600" || !strings.HasPrefix(k.invite.get("Session-Expires"), "3600") {
			t.Errorf("Session-Expires: %s, Min-SE: %s", k.invite.get("Session-Expires"), k.invite.get("Min-SE"))
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp(), "Require: timer", "Session-Expires: 3600;refresher=uac")
		k.joined()
		k.over()
	})
	t.Run("the caller names the refresher, and gets it", func(t *testing.T) {
		for _, who := range []string{"uac", "uas"} {
			k := w.callWith(nil, nil, "Supported: timer", "Session-Expires: 1800;refresher="+who)
			if got := k.ok.get("Session-Expires"); got != "1800;refresher="+who {
				t.Errorf("asked for %s: Session-Expires: %s", who, got)
			}
			k.over()
		}
	})
}
