package trunk

import (
	"context"
	"net/netip"
	"testing"
)

func TestRequestEntersByTheTrunkOfItsSourceAndCertificate(t *testing.T) {
	tab := table(t, &dns{}, newClock())
	for _, tc := range []struct {
		name, listener, src string
		names               []string
		want                string
	}{
		{"source and name", "uc", "203.0.113.9", []string{"a.uc.example.com"}, "tenant-a"},
		{"another tenant from the same address", "uc", "203.0.113.9", []string{"b.uc.example.com"}, "tenant-b"},
		{"case and final dot do not matter", "uc", "203.0.113.9", []string{"A.UC.Example.COM."}, "tenant-a"},
		{"any of the certificate's names", "uc", "203.0.113.9", []string{"x.example.com", "a.uc.example.com"}, "tenant-a"},
		{"our wildcard", "uc", "203.0.113.9", []string{"sbc.b.example.com"}, "tenant-b"},
		{"the certificate's wildcard", "uc", "203.0.113.9", []string{"*.uc.example.com"}, "tenant-a"},
		{"the narrowest source wins", "uc", "203.0.113.7", []string{"a.uc.example.com"}, "narrow"},
		{"but not under another name", "uc", "203.0.113.7", []string{"b.uc.example.com"}, "tenant-b"},
		{"IPv4 in IPv6 clothes", "uc", "::ffff:203.0.113.9", []string{"a.uc.example.com"}, "tenant-a"},
		{"no certificate where one is only requested", "lax", "203.0.113.9", nil, "lax1"},
		{"the right one where one is requested", "lax", "203.0.113.9", []string{"lax.example.com"}, "lax1"},
		{"sources default to the peer's address", "gw", "198.51.100.1", nil, "gw1"},
		{"the peer's address beats a wider prefix", "gw", "198.51.100.3", nil, "gw3"},
		{"prefix on UDP", "gw", "198.51.100.200", nil, "gw3"},
		{"IPv6", "gw6", "2001:db8::9", nil, "gw6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := netip.MustParseAddr(tc.src)
			tr, why := tab.Identify(tc.listener, src, tc.names)
			if tr == nil || tr.Name != tc.want || why != "" {
				t.Errorf("got %v, %q, want %s", tr, why, tc.want)
			}
			if !tab.Known(tc.listener, src) {
				t.Error("Known does not know the source")
			}
		})
	}
}

// refused checks that a request enters by no trunk, and why.
func refused(t *testing.T, listener, src string, names []string, want string) {
	t.Helper()
	tr, why := table(t, &dns{}, newClock()).Identify(listener, netip.MustParseAddr(src), names)
	if tr != nil || why != want {
		t.Errorf("got %v, %q, want %q", tr, why, want)
	}
}

func TestCertificateOfAnotherTenantDoesNotEnter(t *testing.T) {
	refused(t, "uc", "203.0.113.9", []string{"c.uc.example.com"},
		`203.0.113.9 is a source of trunk tenant-b but its certificate is for ["c.uc.example.com"], not for *.b.example.com or b.uc.example.com`)
}

func TestRightNameFromWrongAddressDoesNotEnter(t *testing.T) {
	refused(t, "uc", "198.51.100.1", []string{"a.uc.example.com"}, "198.51.100.1 is in the sources of no trunk of listener uc")
}

func TestMissingCertificateDoesNotEnterWhereOneIsRequired(t *testing.T) {
	refused(t, "uc", "203.0.113.9", nil, "203.0.113.9 is a source of trunk tenant-b but showed no certificate")
}

func TestWrongCertificateDoesNotEnterEvenWhereNoneIsRequired(t *testing.T) {
	refused(t, "lax", "203.0.113.9", []string{"a.uc.example.com"},
		`203.0.113.9 is a source of trunk lax1 but its certificate is for ["a.uc.example.com"], not for lax.example.com`)
}

func TestSourceOfAnotherListenerDoesNotEnter(t *testing.T) {
	refused(t, "gw6", "198.51.100.1", nil, "198.51.100.1 is in the sources of no trunk of listener gw6; not resolved yet: gw2.example.net")
	refused(t, "idle", "198.51.100.1", nil, "listener idle has no trunks")
	refused(t, "nowhere", "198.51.100.1", nil, "listener nowhere has no trunks")
}

func TestResolvedAddressesOfThePeerAreItsSources(t *testing.T) {
	clk := newClock()
	zone := &dns{}
	zone.set("gw2.example.net", nil, "198.51.100.77", "2001:db8::77")
	tab := table(t, zone, clk)
	src := netip.MustParseAddr("192.0.2.77")
	if tab.Known("gw", src) {
		t.Fatal("a stranger is known")
	}
	if err := tab.Refresh(context.Background()); err == nil {
		t.Fatal("peers without an answer gave no error")
	}
	for listener, addr := range map[string]string{"gw": "198.51.100.77", "gw6": "2001:db8::77"} {
		if tr, why := tab.Identify(listener, netip.MustParseAddr(addr), nil); tr == nil || tr.Host != "gw2.example.net" {
			t.Errorf("%s: %v, %s", listener, tr, why)
		}
	}
}

func TestWildcardCoversExactlyOneLabel(t *testing.T) {
	for _, tc := range []struct {
		want, name string
		same       bool
	}{
		{"a.example.com", "a.example.com", true},
		{"a.example.com", "A.EXAMPLE.com.", true},
		{"a.example.com", "b.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"a.example.com", "*.example.com", true},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "a.b.example.com", false},
		{"*.example.com", "*.b.example.com", false},
		{"*.example.com", "aexample.com", false},
		{"a*.example.com", "ab.example.com", false},
		{"*", "localhost", false},
		{"*.", "a.", false},
		{"", "", false},
		{"192.0.2.1", "192.0.2.1", true},
	} {
		if got := sameName(tc.want, tc.name); got != tc.same {
			t.Errorf("sameName(%q, %q) = %v", tc.want, tc.name, got)
		}
	}
}

// FuzzSameName checks that names match symmetrically, and that only equal names match without a star.
func FuzzSameName(f *testing.F) {
	f.Add("*.example.com", "a.example.com")
	f.Add("a.example.com.", "A.example.com")
	f.Add("*.*.com", "*.com")
	f.Fuzz(func(t *testing.T, a, b string) {
		if sameName(a, b) != sameName(b, a) && fold(a) != "" && fold(b) != "" {
			t.Fatalf("%q and %q match one way only", a, b)
		}
		if sameName(a, b) && fold(a) != fold(b) && a[0] != '*' && b[0] != '*' {
			t.Fatalf("%q matches %q", a, b)
		}
	})
}
