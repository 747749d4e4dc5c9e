package torture

import (
	"strings"
	"testing"
)

func TestT01_LateOffer(t *testing.T) {
	t.Parallel()
	// late places a call without an offer; offer makes the one of bob's 200.
	late := func(w *world, k *talk) (told *message) {
		t.Helper()
		k.a = w.alice.invite("+4312345", "")
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "180 Ringing", "")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		told = k.a.want("200 INVITE")
		if !strings.Contains(told.body, "m=audio ") {
			t.Fatalf("the 200 to an INVITE without an offer has none:\n%s", told.raw)
		}
		k.a.answered(told)
		return told
	}
	told := func(k *talk) {
		t.Helper()
		k.ack = k.b.want("ACK")
		k.rb = k.ack.body
		if k.invite.body != "" { // we made the offer
			k.rb = k.invite.body
		}
		k.rb = media(t, k.rb)
	}
	t.Run("the offer goes in the 200, the answer comes in the ACK", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		ok := late(w, k)
		k.a.ack(k.ea.sdp())
		told(k)
		k.ra = media(t, ok.body)
		k.reach()
		k.over()
	})
	t.Run("the key of the 200 is the key used", func(t *testing.T) {
		w := secretWorld(newWorld(t, "tls", "udp")).open()
		k, mine := w.ears(), newKey()
		ok := late(w, k)
		c := cryptos(ok.body)
		if len(c) == 0 || !strings.Contains(ok.body, "RTP/SAVP") {
			t.Fatalf("no key in the 200:\n%s", ok.body)
		}
		k.a.ack(k.ea.savp(c[0].tag + " " + c[0].suite + " inline:" + mine))
		told(k)
		k.ra = media(t, ok.body)
		k.ea.seals(c[0].suite, mine)
		k.ea.opens(c[0].suite, c[0].inline)
		k.reach()
		k.over()
	})
	t.Run("an ACK without an answer ends the call", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		late(w, k)
		k.a.ack()
		k.a.p.reply(k.a.want("BYE"), "200 OK", "", "")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
	})
}

func TestT02_ReinviteWithoutOffer(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp")).open()
	mine := newKey()
	k := w.secretCall(mine)
	for _, who := range []*dialog{k.a, k.b} {
		before := k.ok.body
		if who == k.b {
			before = k.invite.body
		}
		who.invite("")
		again := who.want("final INVITE")
		if again.code() != 200 {
			t.Fatalf("%s", again.start)
		}
		if line(again.body, "o=") != line(before, "o=") || line(again.body, "m=") != line(before, "m=") ||
			line(again.body, "a=crypto:") != line(before, "a=crypto:") || media(t, again.body) != media(t, before) {
			t.Errorf("the offer repeats not what was agreed:\n%s\nbefore:\n%s", again.body, before)
		}
		answer := k.eb.sdp()
		if who == k.a {
			answer = k.ea.savp(key(cryptos(again.body)[0].tag, mine))
		}
		who.ack(answer)
		k.hear()
	}
	if n := w.bob.had("INVITE") + w.alice.had("INVITE"); n != 1 {
		t.Errorf("%d INVITEs reached the far ends: nothing changed", n)
	}
	k.over()
}

func TestT03_AnswerThatDiffersFromEarlyMedia(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{"udp", "tls"} {
		t.Run(wire, func(t *testing.T) {
			w := newWorld(t, "udp", wire)
			if wire == "tls" {
				w.gw["srtp"] = "required"
			}
			w.open()
			k, early := w.ears(), listen(t, w.bob.at.Addr(), 0xbbbb0002)
			answer := func(e *ear, formats, inline string) string {
				if wire == "udp" {
					return body(e, "RTP/AVP", formats)
				}
				return body(e, "RTP/SAVP", formats, "a=crypto:", key("1", inline), "\r\n")
			}
			k1, k2 := newKey(), newKey()
			k.a = w.alice.invite("+4312345", k.ea.sdp())
			k.invite = w.bob.next("INVITE")
			k.b = w.bob.called(k.invite, "bobtag")
			k.b.reply(k.invite, "183 Session Progress", answer(early, "0 101", k1))
			k.ok = k.a.want("183")
			k.ra, k.rb = media(t, k.ok.body), media(t, k.invite.body)
			if wire == "tls" {
				early.seals(suite80, k1)
				early.opens(suite80, cryptos(k.invite.body)[0].inline)
			}
			early.tell(k.rb, k.ea)
			k.ea.tell(k.ra, early)

			k.b.reply(k.invite, "200 OK", answer(k.eb, "8", k2))
			k.joined()
			if wire == "tls" {
				k.eb.seals(suite80, k2)
				k.eb.opens(suite80, cryptos(k.invite.body)[0].inline)
			}
			if f := strings.Fields(line(k.ok.body, "m=audio ")); len(f) < 3 || f[2] != "8" {
				t.Errorf("the answer of the 200 has not its codec:\n%s", k.ok.body)
			}
			k.ea.pt, k.eb.pt = 8, 8
			k.over()
		})
	}
}

func TestT04_ManyEarlyDialogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	k := w.ears()
	k.a = w.alice.invite("+4312345", k.ea.sdp())
	k.invite = w.bob.next("INVITE")
	k.rb = media(t, k.invite.body)
	for _, tag := range []string{"first", "second"} {
		branch, e := w.bob.called(k.invite, tag), listen(t, w.bob.at.Addr(), 0xbbbb0003)
		branch.reply(k.invite, "183 Session Progress", e.sdp())
		if k.ra == "" { // what later branches say is the same to the caller
			k.ra = media(t, k.a.want("183").body)
		}
		k.ea.reach(k.ra, e)
		e.reach(k.rb, k.ea)
	}
	k.b = w.bob.called(k.invite, "third")
	k.b.reply(k.invite, "200 OK", k.eb.sdp())
	k.joined()
	k.hear()
	late := w.bob.called(k.invite, "fourth")
	late.reply(k.invite, "200 OK", k.eb.sdp())
	ended := w.bob.match("BYE", func(m *message) bool { return tagOf(m.get("To")) == "fourth" })
	late.reply(ended, "200 OK", "")
	k.over()
	for _, tag := range []string{"first", "second", "third", "fourth", "bob"} {
		if raw := strings.Join(w.alice.all(), ""); strings.Contains(raw, "tag="+tag) {
			t.Errorf("the caller saw the tag %q of the far side", tag)
		}
	}
}

func TestT06_ManyMediaLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	more := "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=application 5006 UDP/BFCP *\r\nm=image 5008 udptl t38\r\n"
	for _, c := range []struct {
		name  string
		offer func(string) string
		want  []string // kinds in the answer, in order
	}{
		{"audio first", func(s string) string { return s + more }, []string{"audio", "video", "application", "image"}},
		{"audio last", func(s string) string {
			i := strings.Index(s, "m=audio")
			return s[:i] + more + s[i:]
		}, []string{"video", "application", "image", "audio"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := w.callWith(c.offer, nil)
			if n := len(lines(k.invite.body, "m=")); n != 1 {
				t.Errorf("%d media lines were offered to the callee:\n%s", n, k.invite.body)
			}
			got := lines(k.ok.body, "m=")
			for i, kind := range c.want {
				if i >= len(got) {
					t.Fatalf("the answer has %d media lines:\n%s", len(got), k.ok.body)
				}
				f := strings.Fields(got[i])
				if f[0] != kind || (f[1] == "0") != (kind != "audio") {
					t.Errorf("media line %d of the answer is %q", i, got[i])
				}
			}
			k.over()
		})
	}
}

func TestT07_AudioSwitchedOffAndOnAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	k := w.call()
	off := func(e *ear) string { return strings.Replace(e.sdp(), "m=audio "+itoa(e.port()), "m=audio 0", 1) }
	for _, side := range []struct {
		from     *dialog
		own, far *ear
	}{{k.a, k.ea, k.eb}, {k.b, k.eb, k.ea}} {
		to := k.b
		if side.from == k.b {
			to = k.a
		}
		side.from.invite(off(side.own))
		if at := to.p.within(patience, "INVITE", nil); at != nil {
			if direction(at.body) == "sendrecv" && !strings.Contains(at.body, "m=audio 0 ") {
				t.Errorf("the far side was offered full audio:\n%s", at.body)
			}
			answer := side.far.sdp()
			if strings.Contains(at.body, "m=audio 0 ") {
				answer = off(side.far)
			} else {
				answer += "a=" + map[string]string{"inactive": "inactive", "sendonly": "recvonly", "recvonly": "sendonly"}[direction(at.body)] + "\r\n"
			}
			to.reply(at, "200 OK", answer)
			to.want("ACK")
		}
		res := side.from.established()
		if !strings.HasPrefix(line(res.body, "m=audio "), "0 ") {
			t.Errorf("the answer to m=audio 0 is\n%s", res.body)
		}
		offered, got := k.modify(side.from, side.own.sdp(), side.far.sdp())
		if direction(offered.body) != "sendrecv" || direction(got.body) != "sendrecv" {
			t.Errorf("switched on again: offered\n%s\ngot\n%s", offered.body, got.body)
		}
		k.hear()
	}
	k.over()
}
