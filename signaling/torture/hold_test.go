package torture

import (
	"strings"
	"testing"
)

func TestT09_Hold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.config["media"].(object)["timeouts"] = object{"initial": "1s", "running": "1s"}
	w.open()
	zero := func(s string) string { // c= of the session, and of the media
		i := strings.Index(s, "c=IN IP4 ")
		j := i + strings.Index(s[i:], "\r\n")
		return s[:i] + "c=IN IP4 0.0.0.0" + s[j:]
	}
	for _, c := range []struct {
		name         string
		hold         func(string) string
		answer, want string // direction of the answer, and of the offer that the held side gets
	}{
		{"sendonly", func(s string) string { return s + "a=sendonly\r\n" }, "recvonly", "sendonly"},
		{"inactive", func(s string) string { return s + "a=inactive\r\n" }, "inactive", "inactive"},
		{"c=0.0.0.0 of the session", zero, "", ""},
		{"c=0.0.0.0 of the media", func(s string) string {
			return strings.Replace(s, "a=rtpmap:0 ", "c=IN IP4 0.0.0.0\r\na=rtpmap:0 ", 1)
		}, "", ""},
		{"a sendrecv answer to a hold", func(s string) string { return s + "a=sendonly\r\n" }, "sendrecv", "sendonly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := w.call()
			for _, side := range []struct {
				d, o *dialog
				e, f *ear
			}{{k.a, k.b, k.ea, k.eb}, {k.b, k.a, k.eb, k.ea}} {
				k.hear()
				side.d.invite(c.hold(side.e.sdp()))
				offered := side.o.want("INVITE")
				if c.want != "" && direction(offered.body) != c.want || direction(offered.body) == "sendrecv" && !strings.Contains(offered.body, "0.0.0.0") {
					t.Errorf("the held side was offered\n%s", offered.body)
				}
				answer := side.f.sdp()
				if c.answer != "" {
					answer += "a=" + c.answer + "\r\n"
				} else {
					answer += "a=" + map[string]string{"sendonly": "recvonly", "inactive": "inactive", "sendrecv": "recvonly"}[direction(offered.body)] + "\r\n"
				}
				side.o.reply(offered, "200 OK", answer)
				side.o.want("ACK")
				got := side.d.established()
				if direction(got.body) == "sendrecv" {
					t.Errorf("a hold was answered with sendrecv:\n%s", got.body)
				}
				k.modify(side.d, side.e.sdp(), side.f.sdp())
			}
			k.over()
		})
	}
	t.Run("longer than the media timeout, with music", func(t *testing.T) {
		held, music, silent := w.call(), w.call(), w.call()
		for _, k := range []*talk{held, music} {
			k.hear()
			k.modify(k.a, k.ea.sdp()+"a=sendonly\r\n", k.eb.sdp()+"a=recvonly\r\n")
		}
		ended := w.bob.of(silent.b.callID, "BYE") // nobody holds this one: it is proof that the time is over
		for range 10 {
			music.ea.tell(music.ra, music.eb)
		}
		silent.b.reply(ended, "200 OK", "")
		w.alice.reply(silent.a.want("BYE"), "200 OK", "", "")
		for _, k := range []*talk{held, music} {
			k.modify(k.a, k.ea.sdp(), k.eb.sdp())
			k.over()
		}
	})
}

// What a peer said that it sends is what is demanded of it: of one that is silent by right nothing, of one that reports while it is
// held a report.
func TestT09_SilenceOfPeersThatSayWhatTheySend(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.config["media"].(object)["timeouts"] = object{"initial": "1s", "running": "1s"}
	w.uc["rtcp_active"], w.gw["rtcp_active"], w.gw["rtcp_held"] = false, false, true
	w.open()
	quiet, held, forgotten := w.call(), w.call(), w.call()
	for _, k := range []*talk{held, forgotten} {
		k.modify(k.a, k.ea.sdp()+"a=sendonly\r\n", k.eb.sdp()+"a=recvonly\r\n")
	}
	var ended *message
	await(t, "the call on hold ends that nobody reports of", func() bool {
		held.eb.above.send(rtcpPort(held.rb), rtcp(held.eb.ssrc))
		ended = w.bob.take("BYE", func(m *message) bool { return m.get("Call-ID") == forgotten.b.callID })
		return ended != nil
	})
	forgotten.b.reply(ended, "200 OK", "")
	w.alice.reply(forgotten.a.want("BYE"), "200 OK", "", "")
	held.modify(held.a, held.ea.sdp(), held.eb.sdp())
	quiet.over()
	held.over()
}

func TestT10_CodecsAndPayloadTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	t.Run("another codec in mid-call", func(t *testing.T) {
		k := w.call()
		k.hear()
		offered, got := k.modify(k.b, body(k.eb, "RTP/AVP", "8 101"), body(k.ea, "RTP/AVP", "8 101"))
		for _, m := range []*message{offered, got} {
			if f := strings.Fields(line(m.body, "m=audio ")); len(f) < 3 || f[2] != "8" {
				t.Errorf("\n%s", m.body)
			}
		}
		k.ea.pt, k.eb.pt = 8, 8
		k.over()
	})
	t.Run("the answer numbers a payload type anew", func(t *testing.T) {
		offer := func(s string) string {
			return strings.ReplaceAll(strings.Replace(s, "0 8 101", "97 101", 1), "a=rtpmap:0 PCMU/8000", "a=rtpmap:97 iLBC/8000")
		}
		answer := func(s string) string {
			return strings.ReplaceAll(strings.Replace(s, "0 8 101", "98 101", 1), "a=rtpmap:0 PCMU/8000", "a=rtpmap:98 iLBC/8000")
		}
		k := w.callWith(offer, answer)
		k.ea.pt, k.eb.pt = 98, 97 // each sends what the other named (RFC 3264 section 5.1)
		k.over()
	})
	t.Run("telephone-event is not 101", func(t *testing.T) {
		event := func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, ":101 ", ":96 "), " 101", " 96")
		}
		k := w.callWith(event, event)
		if !strings.Contains(k.invite.body, "a=rtpmap:96 telephone-event/8000") || !strings.Contains(k.ok.body, "a=rtpmap:96 telephone-event/8000") {
			t.Errorf("\n%s\n%s", k.invite.body, k.ok.body)
		}
		k.hear()
		k.ea.pt, k.eb.pt = 96, 96
		k.over()
	})
	for _, ptime := range []string{"10", "20", "30", "40"} {
		t.Run("ptime "+ptime, func(t *testing.T) {
			with := func(s string) string { return s + "a=ptime:" + ptime + "\r\n" }
			k := w.callWith(with, with)
			if line(k.invite.body, "a=ptime:") != ptime || line(k.ok.body, "a=ptime:") != ptime {
				t.Errorf("ptime became %q and %q", line(k.invite.body, "a=ptime:"), line(k.ok.body, "a=ptime:"))
			}
			p := append(k.ea.packet(), make([]byte, 160)...) // of 40 ms
			k.ea.tellAs(k.ra, k.eb, p)
			k.over()
		})
	}
}
