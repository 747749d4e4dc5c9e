package b2bua

import (
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

func FuzzReferTo(f *testing.F) {
	f.Add("<sip:+43555@x;user=phone>")
	f.Add(`"A" <sip:1@x?Replaces=a%40b%3Bto-tag%3Dc%3Bfrom-tag%3Dd%3Bearly-only>`)
	f.Add("tel:+43-1-23;phone-context=x")
	f.Add("<sips:1@[::1]:5061;method=INVITE>;x=y")
	f.Fuzz(func(t *testing.T, v string) {
		req := sip.NewRequest(sip.REFER, sip.Uri{})
		req.AppendHeader(sip.NewHeader("Refer-To", v))
		to, err := referTo(req)
		if err != nil {
			return
		}
		if to.number == "" || len(to.number) > maxUser {
			t.Errorf("%q leads to %q", v, to.number)
		}
		if r := to.replaces; r != nil {
			again, err := parseReplaces(r.header())
			if err != nil || again != *r || strings.ContainsAny(r.header(), "\r\n") {
				t.Errorf("%+v became %+v: %v", *r, again, err)
			}
		}
	})
}

func FuzzInterval(f *testing.F) {
	f.Add("1800;refresher=uac", "90")
	f.Add(" 99999999999 ; Refresher = UAS", "4294967296;x")
	f.Fuzz(func(t *testing.T, expires, least string) {
		req := sip.NewRequest(sip.UPDATE, sip.Uri{})
		req.AppendHeader(sip.NewHeader("Session-Expires", expires))
		req.AppendHeader(sip.NewHeader("Min-SE", least))
		if d, _, ok := interval(req); ok && (d < time.Second || d > longest) {
			t.Errorf("%q is %s", expires, d)
		}
		if d := leastOf(req); d < 0 || d > longest {
			t.Errorf("%q is %s", least, d)
		}
	})
}

func TestReplacesOfACallThatIsNotOursGoesWithTheNewCall(t *testing.T) {
	w := transferring(t)
	k := w.call()
	k.a.other("REFER", "", "Refer-To: <sip:+43888@x?Replaces=other%40y%3Bto-tag%3Da%3Bfrom-tag%3Db>")
	inv := w.gw1.next("INVITE")
	if got := inv.get("Replaces"); got != "other@y;to-tag=a;from-tag=b" {
		t.Errorf("Replaces %q", got)
	}
	w.gw1.reply(inv, "481 Call Does Not Exist", "n", "")
	w.caller.progress("481")
	k.hangUp()
}

func TestTrunksOfOneGroupMayReplaceEachOthersDialogs(t *testing.T) {
	w := transferring(t, func(c *config.Config, _ *Timers) {
		c.Groups = map[string]config.Group{"pool": {Trunks: []string{"alice", "gw1", "gw2"}}}
	})
	k := w.call()
	x := w.gw2.invite(w.east, "any", sdpOf("192.0.2.99", 5500, ""),
		"Replaces: "+k.a.callID+";to-tag="+tagOf(k.a.remote)+";from-tag="+tagOf(k.a.local))
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, ""))
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	x.answered(w.gw2.next("200 INVITE"))
	x.ack()
	x.bye()
	w.gw2.next("200 BYE")
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestLateAnswerInAPrackIsToldToTheCalleeWhenItAnswers(t *testing.T) {
	w := newWorld(t)
	a := w.caller.invite(w.west, "1", "", rel)
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "183 Session Progress", "x", sdpOf("198.51.100.20", 6000, ""))
	a.prack(w.caller.next("183"), sdpOf("192.0.2.10", 5000, "", "8"))
	w.caller.next("200 PRACK")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	again := w.gw1.next("INVITE")
	if !strings.HasSuffix(line(again.body, "m=audio "), "RTP/AVP 8") {
		t.Errorf("offer to the callee:\n%s", again.body)
	}
	w.gw1.reply(again, "200 OK", "", sdpOf("198.51.100.20", 6000, "", "8"))
	w.gw1.next("ACK")
	(&talk{w: w, a: a}).hangUp()
}
