package torture

import (
	"strings"
	"testing"
)

// transferring is a world whose parties may all call each other: +4399... is carol.
func transferring(t *testing.T) *world {
	w := newWorld(t, "udp", "udp")
	w.config["routes"] = []any{
		object{"name": "third", "from": []any{"uc", "gw"}, "match": `^\+4399`, "to": []any{"spare"}},
		object{"name": "in", "from": []any{"uc"}, "to": []any{"gw"}},
		object{"name": "out", "from": []any{"gw", "spare"}, "to": []any{"uc"}},
	}
	return w
}

// progress waits for a NOTIFY that says so, answers it, and returns it.
func (d *dialog) progress(frag string) *message {
	d.p.t.Helper()
	for {
		m := d.want("NOTIFY")
		d.reply(m, "200 OK", "")
		if strings.HasPrefix(m.body, "SIP/2.0 "+frag) {
			return m
		}
	}
}

// taken lets carol take the new call of a transfer, and joins who stays to her: k becomes the call of the two.
func (k *talk) taken(inv *message, stays *dialog, own *ear) {
	k.w.t.Helper()
	w := k.w
	e := listen(w.t, w.carol.at.Addr(), 0xcccc0032)
	c := w.carol.called(inv, "caroltag")
	c.reply(inv, "200 OK", e.sdp())
	c.want("ACK")
	again := stays.want("INVITE")
	stays.reply(again, "200 OK", own.sdp())
	stays.want("ACK")
	k.ra, k.rb = media(w.t, again.body), media(w.t, inv.body)
	k.a, k.ea, k.b, k.eb = stays, own, c, e
}

func TestT32_Transfer(t *testing.T) {
	t.Parallel()
	t.Run("REFER of the callee, done by us", func(t *testing.T) {
		w := transferring(t).open()
		k := w.call()
		k.hear()
		first := k.b
		k.b.send("REFER", "", "Refer-To: <sip:+43991@pbx.secret.example>", "Referred-By: <sip:+4312345@pbx.secret.example>")
		first.want("202 REFER")
		first.progress("100")
		inv := w.carol.next("INVITE")
		if strings.Contains(inv.raw, "secret") {
			t.Errorf("%s", inv.raw)
		}
		k.taken(inv, k.a, k.ea)
		if last := first.progress("200"); !strings.HasPrefix(last.get("Subscription-State"), "terminated") {
			t.Errorf("%s", last.raw)
		}
		first.reply(first.want("BYE"), "200 OK", "")
		k.reach()
		k.over()
	})
	t.Run("norefersub, and an implicit BYE", func(t *testing.T) {
		w := transferring(t).open()
		k := w.call()
		k.hear()
		first := k.a
		k.a.send("REFER", "", "Refer-To: <sip:+43992@x>", "Refer-Sub: false", "Supported: norefersub")
		first.want("202 REFER")
		inv := w.carol.next("INVITE")
		w.carol.reply(inv, "180 Ringing", "caroltag", "")
		first.send("BYE", "") // it does not wait
		first.want("200 BYE")
		k.taken(inv, k.b, k.eb)
		if n := w.alice.had("NOTIFY"); n != 0 {
			t.Errorf("%d NOTIFYs", n)
		}
		k.reach()
		k.over()
	})
	t.Run("the target does not answer: the first call is as it was", func(t *testing.T) {
		w := transferring(t).open()
		k := w.call()
		k.hear()
		k.b.send("REFER", "", "Refer-To: <sip:+43993@x>")
		k.b.want("202 REFER")
		inv := w.carol.next("INVITE")
		w.carol.reply(inv, "480 Temporarily Unavailable", "x", "")
		w.carol.next("ACK")
		if last := k.b.progress("480"); !strings.HasPrefix(last.get("Subscription-State"), "terminated") {
			t.Errorf("%s", last.raw)
		}
		k.reach()
		k.over()
	})
	t.Run("Replaces joins two calls", func(t *testing.T) {
		w := transferring(t).open()
		k := w.call()
		k.hear()
		second := w.alice.invite("+43994", k.ea.sdp())
		inv := w.carol.next("INVITE")
		e := listen(t, w.carol.at.Addr(), 0xcccc0033)
		c := w.carol.called(inv, "caroltag")
		c.reply(inv, "200 OK", e.sdp())
		c.want("ACK")
		ok := second.established()
		replaces := second.callID + "%3Bto-tag%3D" + tagOf(ok.get("To")) + "%3Bfrom-tag%3D" + tagOf(second.local)
		k.a.send("REFER", "", "Refer-To: <sip:+43994@x?Replaces="+replaces+">")
		k.a.want("202 REFER")
		// Both far ends are told of each other's media, whichever way it goes.
		offers := map[*dialog]*ear{k.b: k.eb, c: e}
		to := map[*dialog]string{k.b: media(t, k.invite.body), c: media(t, inv.body)}
		await(t, "the caller is out of both calls", func() bool {
			for d, own := range offers {
				if m := d.p.take("INVITE", func(m *message) bool { return m.get("Call-ID") == d.callID }); m != nil {
					d.reply(m, "200 OK", own.sdp())
					to[d] = media(t, m.body)
				}
				if m := d.p.take("ACK", func(m *message) bool { return m.get("Call-ID") == d.callID && m.body != "" }); m != nil {
					to[d] = media(t, m.body)
				}
			}
			for m := w.alice.take("NOTIFY", nil); m != nil; m = w.alice.take("NOTIFY", nil) {
				w.alice.reply(m, "200 OK", "", "")
			}
			for m := w.alice.take("BYE", nil); m != nil; m = w.alice.take("BYE", nil) {
				w.alice.reply(m, "200 OK", "", "")
			}
			return w.alice.had("BYE") == 2
		})
		await(t, "media flows between the two", func() bool {
			p := k.eb.say(to[k.b])
			q := e.say(to[c])
			for d := range offers {
				if m := d.p.take("INVITE", func(m *message) bool { return m.get("Call-ID") == d.callID }); m != nil {
					d.reply(m, "200 OK", offers[d].sdp())
					to[d] = media(t, m.body)
				}
			}
			return e.has(p) && k.eb.has(q)
		})
		k.b.send("BYE", "")
		k.b.want("200 BYE")
		c.reply(c.want("BYE"), "200 OK", "")
	})
	t.Run("Replaces picks up a call that rings", func(t *testing.T) {
		w := transferring(t)
		w.config["groups"] = object{"pstn": object{"trunks": []any{"gw", "spare"}}}
		w.open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		rings := w.bob.next("INVITE")
		w.bob.reply(rings, "180 Ringing", "bobtag", "")
		w.alice.next("180")
		e := listen(t, w.carol.at.Addr(), 0xcccc0034)
		c := w.carol.invite("*8", e.sdp(), "Replaces: "+rings.get("Call-ID")+";to-tag="+tagOf(rings.get("From"))+";from-tag=bobtag;early-only")
		cancel := w.bob.next("CANCEL")
		if !strings.Contains(cancel.get("Reason"), "cause=200") {
			t.Errorf("the phone that rang shows a missed call: %s", cancel.raw)
		}
		w.bob.reply(cancel, "200 OK", "", "")
		w.bob.reply(rings, "487 Request Terminated", "bobtag", "")
		w.bob.next("ACK")
		k.a.established()
		again := k.a.want("INVITE")
		k.a.reply(again, "200 OK", k.ea.sdp())
		k.a.want("ACK")
		ok := c.established()
		k.ra, k.rb, k.b, k.eb = media(t, again.body), media(t, ok.body), c, e
		k.reach()
		k.over()
	})
	t.Run("REFER outside any dialog is refused", func(t *testing.T) {
		w := transferring(t).open()
		d := w.alice.outside("+4312345")
		d.send("REFER", "", "Refer-To: <sip:+43995@x>")
		if res := d.want("final REFER"); res.code()/100 != 4 && res.code() != 603 {
			t.Errorf("%s", res.start)
		}
		w.call().over()
	})
	t.Run("forwarded by policy", func(t *testing.T) {
		w := transferring(t)
		w.uc["refer"], w.gw["refer"] = "forward", "forward"
		w.open()
		k := w.call()
		k.hear()
		k.b.send("REFER", "", "Refer-To: <sip:+43996@pbx.secret.example>")
		refer := k.a.want("REFER")
		if !strings.Contains(refer.get("Refer-To"), "+43996") || strings.Contains(refer.raw, "secret.example>") && !strings.Contains(refer.get("To"), "secret") {
			t.Errorf("%s", refer.raw)
		}
		w.alice.reply(refer, "202 Accepted", "", "")
		k.b.want("202 REFER")
		k.over()
	})
}
