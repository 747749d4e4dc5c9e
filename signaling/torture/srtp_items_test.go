package torture

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestT14_ProfilesAndKeys(t *testing.T) {
	t.Parallel()
	t.Run("a SAVP answer without a key is a clear failure", func(t *testing.T) {
		w := newWorld(t, "udp", "tls")
		w.gw["srtp"] = "required"
		w.open()
		a := w.alice.invite("+4312345", w.ears().ea.sdp())
		inv := w.bob.next("INVITE")
		b := w.bob.called(inv, "bobtag")
		b.reply(inv, "200 OK", listen(t, w.bob.at.Addr(), 1).savp())
		b.want("ACK")
		b.reply(b.want("BYE"), "200 OK", "")
		a.failed(488)
		w.main.Says("without a usable key")
	})
	t.Run("RTP/AVP with a key (OSRTP)", func(t *testing.T) {
		w := newWorld(t, "tls", "udp")
		w.uc["srtp"] = "optional"
		w.open()
		mine := newKey()
		k := w.callWith(func(s string) string { return s + "a=crypto:" + key("1", mine) + "\r\n" }, nil)
		if len(cryptos(k.ok.body)) != 1 {
			t.Fatalf("the offered key was left (RFC 8643 section 3.1):\n%s", k.ok.body)
		}
		k.keyed(mine, k.ok)
		k.over()
	})
	t.Run("SAVP and AVP, a media line each", func(t *testing.T) {
		for _, mode := range []string{"required", "off"} {
			w := newWorld(t, "tls", "udp")
			w.uc["srtp"] = mode
			w.open()
			mine, plain := newKey(), listen(t, w.alice.at.Addr(), 0xaaaa0014)
			k := w.callWith(func(s string) string {
				return body(plain, "RTP/AVP", "0 8 101") + "m=audio " + portOf(s) + " RTP/SAVP 0 8 101\r\na=crypto:" + key("1", mine) + "\r\n"
			}, nil)
			got := lines(k.ok.body, "m=audio ")
			if len(got) != 2 {
				t.Fatalf("%s: the answer has %d media lines", mode, len(got))
			}
			if mode == "off" {
				if !strings.HasPrefix(got[1], "0 ") {
					t.Errorf("off: %q", got)
				}
				k.ea = plain
			} else {
				if !strings.HasPrefix(got[0], "0 ") {
					t.Errorf("required: %q", got)
				}
				k.ra = media(t, strings.Replace(k.ok.body, "m=audio 0 ", "m=none 0 ", 1))
				k.keyed(mine, k.ok)
			}
			k.over()
		}
	})
}

// portOf is the port of a body's audio.
func portOf(body string) string { port, _, _ := strings.Cut(line(body, "m=audio "), " "); return port }

func TestT15_LifetimeMKIAndSessionParameters(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp")).open()
	for _, suffix := range []string{"|2^31", "|1048576", "|2^20", " FEC_ORDER=FEC_SRTP", " WSH=128"} {
		t.Run("honoured "+suffix, func(t *testing.T) {
			mine := newKey()
			k := w.secretCall(mine, key("1", mine)+suffix)
			k.over()
		})
	}
	for _, suffix := range []string{"|2^31|1:1", "|2^20|1:4"} {
		t.Run("with an MKI "+suffix, func(t *testing.T) {
			mine := newKey()
			k := w.ears()
			k.a = w.alice.invite("+4312345", k.ea.savp(key("1", mine)+suffix))
			k.invite = w.bob.next("INVITE")
			k.b = w.bob.called(k.invite, "bobtag")
			k.b.reply(k.invite, "200 OK", k.eb.sdp())
			k.joined()
			size := int(suffix[len(suffix)-1] - '0')
			mki := make([]byte, size)
			mki[size-1] = 1
			c := cryptos(k.ok.body)[0]
			inner := lock(suite80, mine)
			k.ea.seal = func(p []byte) []byte { // the MKI stands before the tag (RFC 3711 section 3.1)
				out, err := inner.EncryptRTP(nil, p, nil)
				if err != nil {
					t.Fatal(err)
				}
				tag := append([]byte(nil), out[len(out)-10:]...)
				return append(append(out[:len(out)-10:len(out)-10], mki...), tag...)
			}
			if strings.Contains(c.inline, ":") {
				t.Errorf("our own key has an MKI: %d crypto parameters", strings.Count(c.inline, "|"))
			}
			k.ea.opens(c.suite, c.inline)
			k.over()
		})
	}
	for _, suffix := range []string{" UNAUTHENTICATED_SRTP", " UNENCRYPTED_SRTP", " KDR=0", " KDR=24", " SOMETHING=new"} {
		t.Run("refused "+suffix, func(t *testing.T) {
			a := w.alice.invite("+4312345", w.ears().ea.savp(key("1", newKey())+suffix))
			if res := a.failed(488); !strings.Contains(res.get("Warning"), "crypto") {
				t.Errorf("Warning: %s", res.get("Warning"))
			}
		})
	}
	t.Run("UNENCRYPTED_SRTCP", func(t *testing.T) {
		mine := newKey()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.savp(key("1", mine)+" UNENCRYPTED_SRTCP"))
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		if !strings.Contains(line(k.ok.body, "a=crypto:"), "UNENCRYPTED_SRTCP") {
			t.Errorf("\n%s", k.ok.body)
		}
		k.keyed(mine, k.ok)
		k.over()
	})
}

func TestT16_KeysAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "tls"))
	w.gw["srtp"] = "required"
	w.gw["suites"] = []any{"AES_CM_128_HMAC_SHA1_32", suite80}
	w.open()
	for _, c := range []struct {
		name  string
		lines func(string) []string
	}{
		{"with padding", func(k string) []string { return []string{key("1", k)} }},
		{"with too much of it", func(k string) []string { return []string{key("1", k+"==")} }},
		{"unknown suites among known", func(k string) []string {
			return []string{"1 F8_128_HMAC_SHA1_80 inline:" + newKey(), "2 NEW_SUITE inline:QUJD", key("7", k)}
		}},
		{"a short key before a good one", func(k string) []string { return []string{"1 " + suite80 + " inline:c2hvcnQ=", key("2", k)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			mine, theirs := newKey(), newKey()
			k := w.ears()
			k.a = w.alice.invite("+4312345", k.ea.savp(c.lines(mine)...))
			k.invite = w.bob.next("INVITE")
			ours := cryptos(k.invite.body)
			if len(ours) != 2 || ours[0].tag == ours[1].tag {
				t.Fatalf("offered to the callee:\n%s", k.invite.body)
			}
			k.b = w.bob.called(k.invite, "bobtag")
			k.b.reply(k.invite, "200 OK", k.eb.savp(key(ours[1].tag, theirs))) // the answer takes the second
			k.joined()
			k.keyed(mine, k.ok)
			k.eb.seals(suite80, theirs)
			k.eb.opens(suite80, ours[1].inline)
			k.hear()

			fresh := newKey() // the tag number changes
			k.a.invite(k.ea.savp(key("9", fresh)))
			if m := w.bob.take("INVITE", nil); m != nil {
				k.b.reply(m, "200 OK", k.eb.savp(key(cryptos(m.body)[0].tag, theirs)))
			}
			got := k.a.established()
			if c := cryptos(got.body); len(c) != 1 || c[0].tag != "9" {
				t.Errorf("\n%s", got.body)
			}
			k.keyed(fresh, got)
			k.over()
		})
	}
	t.Run("nothing but a short key", func(t *testing.T) {
		w.alice.invite("+4312345", w.ears().ea.savp("1 "+suite80+" inline:c2hvcnQ=")).failed(488)
	})
}

func TestT17_KeysInReinvites(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp")).open()
	mine := newKey()
	other := "2 AES_CM_128_HMAC_SHA1_32 inline:" + newKey()
	k := w.secretCall(mine, key("1", mine), other)
	k.hear()
	told := cryptos(k.ok.body)[0].inline
	again := func(body string) *message {
		k.a.invite(body)
		if m := w.bob.take("INVITE", nil); m != nil {
			k.b.reply(m, "200 OK", k.eb.sdp())
		}
		return k.a.established()
	}
	t.Run("the same key: state goes on, a replay is still one", func(t *testing.T) {
		p := k.ea.packet()
		sealed := k.ea.seal(append([]byte(nil), p...))
		k.ea.send(k.ra, sealed)
		k.eb.awaits(p)
		got := again(k.ea.savp(key("1", mine), other))
		if c := cryptos(got.body); len(c) != 1 || c[0].inline != told {
			t.Errorf("our key changed:\n%s", got.body)
		}
		before := len(k.eb.got())
		k.ea.send(k.ra, sealed)
		k.hear()
		if n := len(k.eb.got()); n != before+1 {
			t.Errorf("%d packets arrived, the replayed one among them", n-before)
		}
	})
	t.Run("only the active crypto line repeated", func(t *testing.T) {
		again(k.ea.savp(key("1", mine)))
		k.hear()
	})
	t.Run("another direction", func(t *testing.T) {
		k.modify(k.a, k.ea.savp(key("1", mine))+"a=sendonly\r\n", k.eb.sdp()+"a=recvonly\r\n")
		k.ea.tell(k.ra, k.eb)
		k.modify(k.a, k.ea.savp(key("1", mine)), k.eb.sdp())
		k.hear()
	})
	t.Run("a new key", func(t *testing.T) {
		mine = newKey()
		k.keyed(mine, again(k.ea.savp(key("1", mine))))
		k.hear()
	})
	k.over()
}

func TestT18_RolloverCounter(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp")).open()
	mine := newKey()
	k := w.secretCall(mine)
	steps := func(e *ear, seqs ...uint16) {
		for _, s := range seqs {
			e.seq = s
			if e == k.ea {
				e.tell(k.ra, k.eb)
			} else {
				e.tell(k.rb, k.ea)
			}
		}
	}
	t.Run("rollover both ways", func(t *testing.T) {
		steps(k.ea, 65533, 65534, 65535, 0, 1, 2)
		steps(k.eb, 65533, 65534, 65535, 0, 1, 2)
	})
	t.Run("a wrap during hold", func(t *testing.T) {
		steps(k.ea, 20000, 50000, 65000)
		k.modify(k.a, k.ea.savp(key("1", mine))+"a=sendonly\r\n", k.eb.sdp()+"a=recvonly\r\n")
		steps(k.ea, 65535, 0, 5)
		k.modify(k.a, k.ea.savp(key("1", mine)), k.eb.sdp())
		steps(k.ea, 6, 7)
		steps(k.eb, 20000, 20001)
	})
	t.Run("reordering across the wrap", func(t *testing.T) {
		steps(k.ea, 30000, 60000, 65534)
		k.ea.seq = 65535
		late := k.ea.packet()
		held := k.ea.seal(append([]byte(nil), late...))
		steps(k.ea, 0)
		k.ea.send(k.ra, held)
		k.eb.awaits(late)
		steps(k.ea, 1)
	})
	t.Run("another SSRC under the same key", func(t *testing.T) {
		k.ea.ssrc, k.ea.seq = 0xaaaa0018, 100
		k.ea.reach(k.ra, k.eb) // the first packets of another source may be held until there is a second
		steps(k.ea, k.ea.seq, k.ea.seq+1)
	})
	t.Run("a new key begins at zero", func(t *testing.T) {
		fresh := newKey()
		k.a.invite(k.ea.savp(key("1", fresh)))
		if m := w.bob.take("INVITE", nil); m != nil {
			k.b.reply(m, "200 OK", k.eb.sdp())
		}
		k.keyed(fresh, k.a.established())
		k.ea.ssrc, k.ea.seq = 0xaaaa0001, 200 // whose counter was not zero
		k.ea.reach(k.ra, k.eb)
		steps(k.ea, k.ea.seq, k.ea.seq+1)
		steps(k.eb, 300, 301)
	})
	t.Run("the sequence starts again with the same SSRC", func(t *testing.T) {
		steps(k.eb, 50000, 50001)
		k.eb.seq = 3
		k.eb.reach(k.rb, k.ea)
		steps(k.eb, k.eb.seq, k.eb.seq+1)
	})
	k.over()
}

func TestT19_SRTCP(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp"))
	w.uc["suites"] = []any{"AES_CM_128_HMAC_SHA1_32"}
	w.uc["rtcp_mux"] = true
	w.open()
	k, mine := w.ears(), newKey()
	const suite32 = "AES_CM_128_HMAC_SHA1_32"
	k.a = w.alice.invite("+4312345", k.ea.savp("1 "+suite32+" inline:"+mine)+"a=rtcp-mux\r\n")
	k.invite = w.bob.next("INVITE")
	k.b = w.bob.called(k.invite, "bobtag")
	k.b.reply(k.invite, "200 OK", k.eb.sdp()+"a=rtcp-mux\r\n")
	k.joined()
	k.keyed(mine, k.ok)
	reports := k.eb.above
	k.hear()
	c := lock(suite32, mine)
	for n := range 3 {
		sealed, err := c.EncryptRTCP(nil, rtcp(k.ea.ssrc), nil)
		if err != nil {
			t.Fatal(err)
		}
		// An 80-bit tag although the suite is of 32, and before it the E bit and an index that counts (RFC 3711 section 3.4).
		index := binary.BigEndian.Uint32(sealed[len(sealed)-14:])
		if len(sealed) != 28+14 || index>>31 != 1 {
			t.Fatalf("%d bytes, index %x", len(sealed), index)
		}
		k.ea.send(k.ra, sealed)
		reports.gets(n+1, "a report in clear")
	}
	before := k.ea.spoilt()
	far := rtcpPort(k.rb)
	for n := range 3 {
		reports.send(far, rtcp(k.eb.ssrc))
		await(t, "a report arrives sealed and can be opened", func() bool {
			count := 0
			for _, p := range k.ea.got() {
				if p[1] == 200 {
					count++
				}
			}
			return count == n+1
		})
	}
	if k.ea.spoilt() != before {
		t.Error("reports arrived that cannot be opened")
	}
	k.over()
}

// rtcpPort is the address above.
func rtcpPort(at string) string {
	host, port := at[:strings.LastIndexByte(at, ':')], at[strings.LastIndexByte(at, ':')+1:]
	n := 0
	for _, c := range port {
		n = n*10 + int(c-'0')
	}
	return host + ":" + itoa(n+1)
}

func TestT20_StunAndDtlsBeforeSRTP(t *testing.T) {
	t.Parallel()
	w := secretWorld(newWorld(t, "tls", "udp")).open()
	mine := newKey()
	k := w.secretCall(mine)
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) // a binding request (RFC 8489 section 5)
	dtls := append([]byte{22, 0xfe, 0xff}, make([]byte, 60)...)                     // a ClientHello's record header
	for range 3 {
		k.ea.send(k.ra, stun)
		k.ea.send(k.ra, dtls)
		k.eb.send(k.rb, stun)
	}
	k.hear()
	for _, e := range []*ear{k.ea, k.eb} {
		if n := len(e.got()); n != 1 || e.spoilt() != 0 {
			t.Errorf("%d packets and %d that are no RTP arrived", n, e.spoilt())
		}
	}
	await(t, "they are counted", func() bool { return w.relay().sum("tandem_relay_drops_total") >= 9 })
	k.over()
}
