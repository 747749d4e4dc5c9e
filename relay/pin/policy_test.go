package pin

import (
	"net/netip"
	"strings"
	"testing"

	"tandem/relay/verdict"
)

func TestModesAreReadAsTheyAreWritten(t *testing.T) {
	for _, m := range []Mode{Exact, Learn, Auth} {
		if got, ok := ParseMode(m.String()); !ok || got != m {
			t.Errorf("%s is read as %s (%t)", m, got, ok)
		}
	}
	for _, name := range []string{"", "Exact", "strict", "unknown"} {
		if m, ok := ParseMode(name); ok {
			t.Errorf("%q is read as %s", name, m)
		}
	}
	if Mode(9).String() != "unknown" {
		t.Error("a mode that does not exist has a name")
	}
}

func TestPrefixesHoldWhatTheStandardLibrarySaysTheyHold(t *testing.T) {
	addresses := []string{"10.0.0.0", "10.0.0.1", "10.0.1.0", "10.128.0.1", "11.0.0.1", "192.0.2.10", "255.255.255.255",
		"::1", "2001:db8::", "2001:db8::1", "2001:db8:0:1::", "2001:db9::", "fe80::1", "ff02::1"}
	for _, prefix := range []string{"10.0.0.0/8", "10.0.0.0/9", "10.0.0.1/32", "10.0.0.77/24", "0.0.0.0/0", "192.0.2.8/29",
		"::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "fe80::/10", "2001:db8::/31"} {
		var p Policy
		want := netip.MustParsePrefix(prefix)
		if err := p.AddPrefix(want); err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			ip := netip.MustParseAddr(a)
			b := ip.As16()
			if got := p.inPrefixes(&b); got != want.Contains(ip) {
				t.Errorf("%s in %s: %t, want %t", a, prefix, got, want.Contains(ip))
			}
		}
	}
}

func TestPolicyRefusesWhatItCannotHold(t *testing.T) {
	var p Policy
	if err := p.AddPrefix(netip.Prefix{}); err == nil {
		t.Error("an invalid prefix was taken")
	}
	for range MaxPrefixes {
		if err := p.AddPrefix(netip.MustParsePrefix("10.0.0.0/8")); err != nil {
			t.Fatal(err)
		}
	}
	err := p.AddPrefix(netip.MustParsePrefix("172.16.0.0/12"))
	if err == nil || !strings.Contains(err.Error(), "172.16.0.0/12") || !strings.Contains(err.Error(), "8") {
		t.Errorf("one too many: %v", err)
	}
}

func TestSignalledRTCPIsTheNextPortUnlessSDPNamesOne(t *testing.T) {
	for name, c := range map[string]struct{ rtp, rtcp, want Addr }{
		"not named":       {signalled, Addr{}, signalledRTCP},
		"named":           {signalled, proxy, proxy},
		"no media at all": {Addr{}, Addr{}, Addr{}},
		"no next port":    {addr("192.0.2.10:65535"), Addr{}, addr("192.0.2.10:0")},
	} {
		p := Policy{Signalled: c.rtp, SignalledRTCP: c.rtcp}
		if got := p.rtcp(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestModeThatDoesNotExistHearsNobody(t *testing.T) {
	l := newLegWith(t, Policy{Signalled: signalled, Mode: 9})
	for _, src := range []Addr{signalled, natted, elsewhere} {
		if v, _ := l.judge(src, Evidence{SSRC: 1, KnownPT: true, Authenticated: true, Fresh: true}); v != verdict.Stranger {
			t.Errorf("%v: %s, want stranger", src, v)
		}
	}
}
