package torture

import (
	"strings"
	"testing"
)

// TestT10_AnswerBeyondTheOffer is a callee that answers with a codec which nobody offered (RFC 3264 section 6.1 lets it).
func TestT10_AnswerBeyondTheOffer(t *testing.T) {
	t.Parallel()
	beyond := func(formats string) func(*talk) string {
		return func(k *talk) string {
			return body(k.eb, "RTP/AVP", formats, "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n")
		}
	}
	ring := func(t *testing.T, w *world) *talk {
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		return k
	}
	t.Run("beside one that was: the caller is told that one alone, early and late", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := ring(t, w)
		answer := beyond("18 0 101")(k)
		k.b.reply(k.invite, "183 Session Progress", answer)
		early := k.a.want("183")
		k.b.reply(k.invite, "200 OK", answer)
		k.joined()
		for _, m := range []*message{early, k.ok} {
			if f := strings.Fields(line(m.body, "m=audio ")); len(f) != 4 || f[2] != "0" || f[3] != "101" || strings.Contains(m.body, "G729") || strings.Contains(m.body, ":18 ") {
				t.Errorf("%s", m.raw)
			}
		}
		k.over()
	})
	t.Run("alone: there is no call, and the callee is told so", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := ring(t, w)
		k.b.reply(k.invite, "200 OK", beyond("18")(k))
		k.b.want("ACK")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
		k.a.failed(488)
		w.call().over()
	})
}

// TestT32_TransferInTheMiddleOfAFax hands somebody on who is in a fax: what follows is audio.
func TestT32_TransferInTheMiddleOfAFax(t *testing.T) {
	t.Parallel()
	w := transferring(t)
	w.uc["fax"], w.gw["fax"], w.spare["fax"] = "passthrough", "passthrough", "passthrough"
	w.open()
	k := w.call()
	k.hear()
	offered, _ := k.modify(k.b, t38(k.eb), t38(k.ea))
	p := udptl(1, 40, 7)
	k.ea.send(faxTo(t, offered), p)
	arrives(t, k.eb, p)
	first := k.b
	first.send("REFER", "", "Refer-To: <sip:+43991@pbx.secret.example>")
	first.want("202 REFER")
	inv := w.carol.next("INVITE")
	if strings.Contains(inv.body, "m=image") {
		t.Errorf("a call begins with a fax:\n%s", inv.body)
	}
	k.taken(inv, k.a, k.ea)
	first.progress("200")
	first.reply(first.want("BYE"), "200 OK", "")
	k.reach()
	k.over()
}
