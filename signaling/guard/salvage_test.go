package guard

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func TestStrangerGetsNoAnswerToWhatIsNoSIP(t *testing.T) {
	var known atomic.Bool
	s := serve(t, Options{Listeners: udpOnly(), Known: func(string, netip.Addr) bool { return known.Load() }})
	p := dialPeer(t, s.Address("u"))
	bad := strings.Replace(message("OPTIONS", "z9hG4bKsalvage", p.addr()), "To: <sip:bob@example.net>", "To: \"B <sip:bob@example.net>", 1)
	p.send(bad)
	until(t, "it is dropped", func() bool { return s.Stats().Of(Unparsable) == 1 })
	known.Store(true)
	p.send(bad)
	if res := p.recv(); status(res) != "400" || field(res, "Call-ID") != "call-z9hG4bKsalvage" || field(res, "CSeq") != "1 OPTIONS" ||
		!strings.Contains(field(res, "To"), ";tag=") {
		t.Fatalf("a trunk got %q", res)
	}
	p.send(strings.ReplaceAll(bad, "OPTIONS", "ACK"))
	until(t, "an ACK is dropped, whoever sent it", func() bool { return s.Stats().Of(Unparsable) == 2 })
}

// FuzzSalvage reads what no parser reads: it never panics, and nothing of what it finds ends a line.
func FuzzSalvage(f *testing.F) {
	for _, raw := range []string{
		"OPTIONS <sip:a@b> SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: \"x\r\nCSeq: 1 X\r\n\r\n",
		"INVITE soap.beep://h SIP/2.0\r\nv: SIP/2.0/UDP [::1]:99\r\nt: a\r\n b\r\n\r\n", "A B C\r\n", "", "SIP/2.0 200 OK\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if method, uri, ok := requestLine(raw); ok && (!isToken([]byte(method)) || strings.Contains(uri, "\n")) {
			t.Fatalf("%q %q", method, uri)
		}
		for _, h := range headLines(raw) {
			if strings.ContainsAny(h.name+h.value, "\r\n") {
				t.Fatalf("%q", h)
			}
		}
	})
}
