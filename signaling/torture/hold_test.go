package torture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestT08_Fax(t *testing.T) {
	t.Parallel()
	t.Run("refused, and G.711 goes on", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.call()
		for _, side := range []struct {
			d *dialog
			e *ear
		}{{k.a, k.ea}, {k.b, k.eb}} {
			side.d.invite(t38(side.e))
			side.d.failed(488)
			k.hear()
		}
		k.over()
	})
	t.Run("a page takes longer than the media timeout, and its receiver is silent", func(t *testing.T) {
		w := passing(t)
		w.config["media"].(object)["timeouts"] = object{"initial": "1s", "running": "1s"}
		w.open()
		k, silent := w.call(), w.call()
		offered, _ := k.modify(k.b, t38(k.eb), t38(k.ea))
		await(t, "a call without any media ends", func() bool { // which proves that the time is over
			p := udptl(uint16(len(k.eb.got())), 40, 7)
			k.ea.send(faxTo(t, offered), p)
			arrives(t, k.eb, p)
			m := w.bob.take("BYE", func(m *message) bool { return m.get("Call-ID") == silent.b.callID })
			if m != nil {
				silent.b.reply(m, "200 OK", "")
			}
			return m != nil
		})
		w.alice.reply(silent.a.want("BYE"), "200 OK", "", "")
		k.modify(k.b, k.eb.sdp(), k.ea.sdp())
		k.over()
	})
	t.Run("refused by the far side, and G.711 goes on", func(t *testing.T) {
		w := passing(t).open()
		k := w.call()
		k.hear()
		k.b.invite(t38(k.eb))
		k.a.reply(k.a.want("INVITE"), "488 Not Acceptable Here", "")
		k.b.failed(488)
		k.over()
	})
}

func TestT08_FaxPassesByPolicy(t *testing.T) {
	t.Parallel()
	for _, byCallee := range []bool{true, false} {
		t.Run(fmt.Sprintf("passed through by policy, asked for by the callee: %t", byCallee), func(t *testing.T) {
			w := passing(t).open()
			k := w.call()
			k.hear()
			d, mine, far := k.a, k.ea, k.eb
			if byCallee {
				d, mine, far = k.b, k.eb, k.ea
			}
			offered, got := k.modify(d, t38(mine), t38(far))
			for _, m := range []*message{offered, got} {
				f := strings.Fields(line(m.body, "m=image "))
				if len(f) != 3 || f[1] != "udptl" || f[2] != "t38" || line(m.body, "m=audio ") != "" {
					t.Fatalf("no T.38 in\n%s", m.body)
				}
				if line(m.body, "a=T38FaxVersion:") != "0" || line(m.body, "a=T38MaxBitRate:") != "14400" || line(m.body, "a=T38FaxUdpEC:") != "t38UDPRedundancy" {
					t.Errorf("its attributes are gone:\n%s", m.body)
				}
				if strings.Contains(m.body, "a=rtpmap") || strings.Contains(m.body, "a=ptime") {
					t.Errorf("the audio's attributes are still there:\n%s", m.body)
				}
			}
			back := map[*ear]string{mine: faxTo(t, got), far: faxTo(t, offered)}
			if mine == k.ea && back[mine] != k.ra || far == k.ea && back[far] != k.ra {
				t.Errorf("the fax has another port than the audio: %s, %s", back[k.ea], k.ra)
			}
			for seq, n := range []int{1, 1, 36, 200, 72} {
				for _, e := range []struct {
					from, to *ear
					of       byte
				}{{mine, far, 1}, {far, mine, 129}} {
					p := udptl(uint16(seq*0x3333), n, e.of)
					e.from.send(back[e.from], p)
					arrives(t, e.to, p)
				}
			}
			k.modify(d, mine.sdp(), far.sdp())
			k.over()
		})
	}
}

func TestT08_FaxWhereTheAudioIsSRTP(t *testing.T) {
	t.Parallel()
	for _, fax := range []string{"passthrough", "passthrough_clear"} {
		t.Run(fax+", and the audio is SRTP", func(t *testing.T) {
			w := secretWorld(newWorld(t, "tls", "udp"))
			w.uc["fax"], w.gw["fax"] = fax, "passthrough"
			w.open()
			mine := newKey()
			k := w.secretCall(mine)
			k.hear()
			if fax == "passthrough" {
				k.b.invite(t38(k.eb))
				k.b.failed(488)
				k.over()
				return
			}
			offered, got := k.modify(k.b, t38(k.eb), t38(k.ea))
			if strings.Contains(offered.body, "a=crypto") {
				t.Errorf("a key where nothing can be sealed:\n%s", offered.body)
			}
			k.ea.inClear()
			for seq := range uint16(3) {
				p := udptl(seq, 40, 1)
				k.ea.send(faxTo(t, offered), p)
				arrives(t, k.eb, p)
				p = udptl(seq, 40, 129)
				k.eb.send(faxTo(t, got), p)
				arrives(t, k.ea, p)
			}
			mine = newKey()
			told := k.told
			offered, _ = k.modify(k.b, k.eb.sdp(), k.ea.savp(key("1", mine)))
			k.keyed(mine, offered)
			if k.told == told {
				t.Error("the audio after the fax is sealed with the key of before")
			}
			k.over()
		})
	}
}

// t38 is the body of a gateway that goes on with a fax as data, on the port of its audio.
func t38(e *ear) string {
	s := e.sdp()
	i := strings.Index(s, "m=audio")
	return strings.Replace(s[:i], "42 1 IN", "42 2 IN", 1) + "m=image " + itoa(e.port()) + " udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
}

// passing is a world whose trunks let faxes pass.
func passing(t *testing.T) *world {
	w := newWorld(t, "udp", "udp")
	w.uc["fax"], w.gw["fax"] = "passthrough", "passthrough"
	return w
}

// udptl is a datagram of T.38: a sequence number, one IFP packet of n octets that no other datagram has, no redundancy.
func udptl(seq uint16, n int, of byte) []byte {
	p := append(binary.BigEndian.AppendUint16(nil, seq), byte(n))
	for i := range n {
		p = append(p, of+byte(i)*3+byte(seq))
	}
	return append(p, 0, 0)
}

// inClear takes an ear's keys away.
func (e *ear) inClear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seal, e.open = nil, nil
}

// arrives waits for a datagram of a fax.
func arrives(t *testing.T, e *ear, p []byte) {
	t.Helper()
	await(t, "a datagram of the fax arrives byte for byte", func() bool {
		return slices.ContainsFunc(e.got(), func(q []byte) bool { return bytes.Equal(p, q) })
	})
}

// faxTo is where a body wants its fax.
func faxTo(t *testing.T, m *message) string {
	return media(t, strings.Replace(m.body, "m=image", "m=audio", 1))
}

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
