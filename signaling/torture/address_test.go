package torture

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestT11_Addresses(t *testing.T) {
	t.Parallel()
	t.Run("a name in c=", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		local := listen(t, netip.MustParseAddr("127.0.0.1"), 0xaaaa0011)
		k := w.callWith(func(string) string {
			return strings.Replace(local.sdp(), "c=IN IP4 127.0.0.1", "c=IN IP4 localhost", 1)
		}, nil)
		k.ea = local
		k.over()
	})
	t.Run("IPv6", func(t *testing.T) {
		one := netip.IPv6Loopback()
		l, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(one, 0)))
		if err != nil {
			leaveOut(t, "no IPv6 on the loopback interface: "+err.Error())
		}
		l.Close()
		w := newWorldAt(t, "udp", "udp", one, one, one, one, one).open()
		k := w.call()
		if !strings.Contains(k.invite.body, "c=IN IP6 ::1") || !strings.Contains(k.invite.get("Contact"), "[::1]:") {
			t.Errorf("%s", k.invite.raw)
		}
		k.over()
	})
	t.Run("a=rtcp on a port of its own", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		reports := listen(t, w.alice.at.Addr(), 1)
		k := w.callWith(func(s string) string { return s + "a=rtcp:" + itoa(reports.port()) + "\r\n" }, nil)
		far := netip.MustParseAddrPort(k.rb)
		k.eb.tell(k.rb, k.ea)
		report := rtcp(k.eb.ssrc)
		k.eb.above.send(netip.AddrPortFrom(far.Addr(), far.Port()+1).String(), report)
		reports.gets(1, "the report, where a=rtcp says")
		k.over()
	})
	t.Run("rtcp-mux offered and refused, and offered and taken", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["rtcp_mux"] = true
		w.open()
		for _, taken := range []bool{false, true} {
			k := w.callWith(nil, func(s string) string {
				if taken {
					s += "a=rtcp-mux\r\n"
				}
				return s
			})
			if !strings.Contains(k.invite.body, "a=rtcp-mux") || strings.Contains(k.ok.body, "a=rtcp-mux") {
				t.Errorf("offered to the callee\n%s\nanswered to the caller, who did not offer it\n%s", k.invite.body, k.ok.body)
			}
			if taken {
				k.hear()
				k.eb.send(k.rb, rtcp(k.eb.ssrc))
				k.ea.above.gets(1, "a report of the muxed side, beside")
			}
			k.over()
		}
	})
	t.Run("asymmetric RTP ports", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["any_source_port"] = true
		w.open()
		k := w.call()
		mouth := listen(t, w.bob.at.Addr(), 0xbbbb0011)
		mouth.tell(k.rb, k.ea)
		k.ea.tell(k.ra, k.eb)
		mouth.tell(k.rb, k.ea)
		if len(mouth.got()) != 0 {
			t.Error("media went where it came from instead of where SDP says")
		}
		k.hangUp()
	})
}

func TestT12_PrivateAddressInSDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.gw["pin"] = "learn"
	w.open()
	hidden := func(s string) string {
		return strings.Replace(s, "c=IN IP4 "+w.bob.at.Addr().String(), "c=IN IP4 10.99.0.1", 1)
	}
	k := w.callWith(nil, hidden)
	await(t, "media goes where the first packets came from", func() bool {
		k.eb.say(k.rb)
		return k.eb.has(k.ea.say(k.ra))
	})
	k.hear()
	stranger := listen(t, w.carol.at.Addr(), 0xcccc0012)
	lost := stranger.say(k.rb)
	k.hear()
	if k.ea.has(lost) {
		t.Error("a stranger's media was heard")
	}
	k.over()
}

func TestT13_MalformedButCommonSDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	for _, c := range []struct {
		name string
		make func(string) string
	}{
		{"no t=", func(s string) string { return strings.Replace(s, "t=0 0\r\n", "", 1) }},
		{"LF only", func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }},
		{"no final CRLF", func(s string) string { return strings.TrimSuffix(s, "\r\n") }},
		{"trailing blanks", func(s string) string { return strings.ReplaceAll(s, "\r\n", " \r\n") }},
		{"an empty line at the end", func(s string) string { return s + "\r\n" }},
		{"no s=", func(s string) string { return strings.Replace(s, "s=secret session\r\n", "", 1) }},
		{"s= with nothing", func(s string) string { return strings.Replace(s, "s=secret session", "s=", 1) }},
	} {
		t.Run(c.name, func(t *testing.T) { w.callWith(c.make, c.make).over() })
	}
	t.Run("o= stays the same, and nothing changed", func(t *testing.T) {
		k := w.call()
		before := version(k.ok.body)
		k.a.invite(k.ea.sdp())
		if got := k.a.established(); version(got.body) != before || media(t, got.body) != k.ra {
			t.Errorf("the answer changed:\n%s\n%s", k.ok.body, got.body)
		}
		k.over()
	})
	t.Run("o= stays the same, and the body changed", func(t *testing.T) {
		k := w.call()
		moved := listen(t, w.alice.at.Addr(), 0xaaaa0013)
		k.a.invite(moved.sdp())
		if m := w.bob.take("INVITE", nil); m != nil {
			k.b.reply(m, "200 OK", k.eb.sdp())
		}
		k.ra = media(t, k.a.established().body)
		k.ea = moved
		k.over()
	})
}
