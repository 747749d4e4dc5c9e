package torture

import (
	"strings"
	"testing"
)

// consults is a call whose caller has begun a second one, to a phone that rings, and asks for the transfer of the first to it.
func consults(t *testing.T) (w *world, k *talk, second *dialog, rings *message) {
	w = transferring(t).open()
	k = w.call()
	k.hear()
	second = w.alice.invite("+43994", k.ea.sdp())
	rings = w.carol.next("INVITE")
	w.carol.reply(rings, "180 Ringing", "caroltag", "")
	heard := second.want("180")
	k.a.send("REFER", "", "Refer-To: <sip:+43994@x?Replaces="+second.callID+"%3Bto-tag%3D"+tagOf(heard.get("To"))+
		"%3Bfrom-tag%3D"+tagOf(second.local)+">")
	k.a.want("202 REFER")
	k.a.progress("180")
	return w, k, second, rings
}

// TestT32_TransferBeforeTheAnswer is the semi-attended transfer of RFC 5589 section 7.6: the one who consults asks for the transfer
// while the other phone still rings.
func TestT32_TransferBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, leaves := range map[string]bool{"who asked waits": false, "who asked hangs up both of its calls": true} {
		t.Run(name, func(t *testing.T) {
			w, k, second, inv := consults(t)
			if leaves {
				second.cancel()
				second.ackFailure(second.want("487 INVITE"))
				k.a.send("BYE", "")
				k.a.want("200 BYE")
			}
			e := listen(t, w.carol.at.Addr(), 0xcccc0035)
			c := w.carol.called(inv, "caroltag")
			c.reply(inv, "200 OK", e.sdp())
			c.want("ACK")
			stays := k.b.want("INVITE")
			k.b.reply(stays, "200 OK", k.eb.sdp())
			k.b.want("ACK")
			again := c.want("INVITE")
			c.reply(again, "200 OK", e.sdp())
			c.want("ACK")
			if !leaves {
				if res := second.ackFailure(second.want("487 INVITE")); !strings.Contains(res.get("Reason"), "cause=200") {
					t.Errorf("the phone that asked shows a call that failed: %s", res.raw)
				}
				k.a.progress("200")
				k.a.reply(k.a.want("BYE"), "200 OK", "")
			}
			if w.carol.had("CANCEL") != 0 {
				t.Error("the phone that rang was given up in between")
			}
			k.a, k.ea, k.ra, k.rb = c, e, media(t, again.body), media(t, stays.body)
			k.reach()
			k.over()
		})
	}
	t.Run("the phone that rings is busy after all: the first call is as it was", func(t *testing.T) {
		w, k, second, inv := consults(t)
		w.carol.reply(inv, "486 Busy Here", "caroltag", "")
		w.carol.next("ACK")
		second.failed(486)
		k.a.progress("486")
		k.reach()
		k.over()
	})
}
