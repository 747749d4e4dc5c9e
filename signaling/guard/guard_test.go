package guard

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestOpenNamesTheListenerThatFails(t *testing.T) {
	any := netip.MustParseAddrPort("127.0.0.1:0")
	taken := serve(t, Options{Listeners: udpOnly()}).Address("u")
	for _, c := range []struct {
		name string
		l    []Listener
		want string
	}{
		{"address taken", []Listener{{Name: "pstn", Transport: "udp", Addr: taken}}, "sip listener pstn: udp " + taken.String() + ": "},
		{"unknown transport", []Listener{{Name: "pstn", Transport: "sctp", Addr: any}}, "sip listener pstn: sctp 127.0.0.1:0: unknown transport; use udp, tcp or tls"},
		{"TLS without a certificate", []Listener{{Name: "teams", Transport: "tls", Addr: any}}, "transport tls needs a certificate"},
		{"a name twice", []Listener{{Name: "a", Transport: "udp", Addr: any}, {Name: "a", Transport: "tcp", Addr: any}}, "two listeners have this name"},
		{"no concrete address", []Listener{{Name: "a", Transport: "udp", Addr: netip.MustParseAddrPort("0.0.0.0:0")}}, "set advertise"},
		{"advertise with a bad port", []Listener{{Name: "a", Transport: "udp", Addr: any, Advertise: "sbc:99999"}}, `advertise "sbc:99999": the port is not 1-65535`},
		{"advertise that is no host", []Listener{{Name: "a", Transport: "udp", Addr: any, Advertise: "sbc;evil"}}, `not a host name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(context.Background(), Options{Listeners: c.l, Handler: func(*Inbound) {}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
	if _, err := Open(context.Background(), Options{}); err == nil {
		t.Fatal("opened without a handler")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	s, err := Open(context.Background(), Options{Listeners: []Listener{{Name: "u", Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}}, Handler: func(*Inbound) {}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	cancel()
	if err := await(t, done, "the end of Serve"); err != nil {
		t.Fatal(err)
	}
}

func TestCleanPassesOnOnlyWhatIsOneLine(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"Q.850;cause=16;text=\"Normal\"", "Q.850;cause=16;text=\"Normal\"", true},
		{"  folded\r\n \tover\tlines  ", "folded over lines", true},
		{"Grüße", "Grüße", true},
		{"a\nVia: evil", "", false},
		{"a\rb", "", false},
		{"a\r\nVia: evil", "", false},
		{"a\r\n", "", false},
		{"a\x00b", "", false},
		{"a\x7fb", "", false},
		{"\xff\xfe", "", false},
		{"", "", false},
		{" \t ", "", false},
		{strings.Repeat("a", maxClean+1), "", false},
	} {
		if got, ok := Clean(c.in); got != c.want || ok != c.ok {
			t.Errorf("Clean(%q) = %q, %t", c.in, got, ok)
		}
	}
}

func TestDisplayNamesStayBetweenTheirQuotes(t *testing.T) {
	for in, want := range map[string]string{
		`Alice`:                 `Alice`,
		`Doe, \"Jane\"`:         `Doe, \"Jane\"`,
		`ends in a backslash\`:  `ends in a backslash\\`,
		`" <sip:evil@a>, "x`:    `\" <sip:evil@a>, \"x`,
		`back\\slash`:           `back\\slash`,
		`needless \e\s\c\a\p\e`: `needless escape`,
		"two\nlines":            ``,
	} {
		if got := CleanDisplay(in); got != want {
			t.Errorf("CleanDisplay(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUserPartsThatLeaveTheirBracketsAreRefused(t *testing.T) {
	for user, want := range map[string]bool{
		"+15551234567": true, "*70#": true, "alice;phone-context=+1": true, "%23": true, "a>;tag=1": false, "a@b": false, "a b": false, "a\r\nb": false, "a\"b": false, "": false,
	} {
		if got := CleanUser(user); got != want {
			t.Errorf("CleanUser(%q) = %t", user, got)
		}
	}
}

// FuzzEncode: whatever a caller puts into a header, what leaves has exactly the headers that it had, or nothing leaves.
func FuzzEncode(f *testing.F) {
	f.Add("Subject", "hello")
	f.Add("Subject", "a\r\nVia: SIP/2.0/UDP 192.0.2.1")
	f.Add("X\r\nY", "a")
	f.Add("", ":\r\n\r\nbody")
	l := idle(f).listeners["u"]
	f.Fuzz(func(t *testing.T, name, value string) {
		req := request("INVITE", "fuzz")
		req.AppendHeader(sip.NewHeader(name, value))
		req.SetBody(nil)
		raw, err := l.encodeRequest(req, "z9hG4bKfuzz")
		if err != nil {
			return
		}
		msg, err := sip.ParseMessage(raw)
		if err != nil {
			return // a structured header of that name
		}
		got, own := msg.(*sip.Request), strings.EqualFold(name, "v") || strings.EqualFold(name, "via")
		if hops(got) != 1 && !own || len(got.Body()) != 0 {
			t.Fatalf("%q", raw)
		}
	})
}

func TestRatesLetABurstThroughAndThenTheRate(t *testing.T) {
	r := newRates(maphash.MakeSeed(), 10, rateSets)
	src, now := netip.MustParseAddr("192.0.2.1"), int64(time.Hour)
	passed := 0
	for range 100 {
		if r.take(now, src) == 0 {
			passed++
		}
	}
	if passed != 20 {
		t.Fatalf("%d of a burst passed, want two seconds' worth", passed)
	}
	wait := r.take(now, src)
	if wait <= 0 || wait > 100*time.Millisecond {
		t.Fatalf("wait %s", wait)
	}
	if r.take(now+int64(wait), src) != 0 {
		t.Fatal("the wait was not enough")
	}
	if r.take(now, netip.MustParseAddr("192.0.2.2")) != 0 {
		t.Fatal("another source pays for the first")
	}
	if r.take(now, netip.MustParseAddr("::ffff:192.0.2.1")) == 0 {
		t.Fatal("the mapped form of an address is a second source")
	}
}

func TestRatesCountAnIPv6NetworkAsOneSource(t *testing.T) {
	r := newRates(maphash.MakeSeed(), 1, rateSets)
	passed := 0
	for i := range 100 {
		a := netip.MustParseAddr("2001:db8:1:2::").As16()
		binary.BigEndian.PutUint64(a[8:], uint64(i))
		if r.take(int64(time.Hour), netip.AddrFrom16(a)) == 0 {
			passed++
		}
	}
	if passed != 2 {
		t.Fatalf("%d passed", passed)
	}
}

func TestTrap3RateTableNeverGrows(t *testing.T) {
	r := newRates(maphash.MakeSeed(), 10, rateSets)
	now := int64(time.Hour)
	busy := netip.MustParseAddr("198.51.100.1")
	for r.take(now, busy) == 0 {
	}
	n := math.Inf(1)
	for range 3 { // what ends of the tests before may allocate meanwhile
		n = min(n, testing.AllocsPerRun(1, func() {
			for i := range uint32(50000) {
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], 0xc0000000+i)
				r.take(now, netip.AddrFrom4(a))
			}
		}))
	}
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
	if len(r.sets) != rateSets {
		t.Fatalf("%d sets", len(r.sets))
	}
	if r.take(now, busy) == 0 {
		t.Fatal("a flood of other sources refilled the bucket of a busy one")
	}
}

func BenchmarkRates(b *testing.B) {
	r, src := newRates(maphash.MakeSeed(), 1<<30, rateSets), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		r.take(monotonic(), src)
	}
}

// BenchmarkOptions is one request and its response through everything but the socket's other side.
func BenchmarkOptions(b *testing.B) {
	s := serve(b, Options{Listeners: udpOnly()})
	p := dialPeer(b, s.Address("u"))
	b.ReportAllocs()
	for b.Loop() {
		p.send(message("OPTIONS", newBranch(), p.addr()))
		p.recv()
	}
}
