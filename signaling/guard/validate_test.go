package guard

import (
	"fmt"
	"strings"
	"testing"
)

// TestRequestsAreValidated follows RFC 3261 section 8.2 and the invalid messages of RFC 4475 section 3.
func TestRequestsAreValidated(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), UserAgent: "Tandem", Handler: func(in *Inbound) {
		in.Reply(299, "Taken")
		on(in)
	}})
	p := dialPeer(t, s.Address("u"))
	for i, c := range []struct {
		name   string
		method string
		extra  []string
		line   string // replaces the request line
		want   string
		header string // name: value of the response
	}{
		{name: "good", method: "OPTIONS", want: "299"},
		{name: "no To (3.3.1)", method: "OPTIONS", extra: []string{"To", ""}, want: "400"},
		{name: "no From", method: "OPTIONS", extra: []string{"From", ""}, want: "400"},
		{name: "no Call-ID", method: "OPTIONS", extra: []string{"Call-ID", ""}, want: "400"},
		{name: "no CSeq", method: "OPTIONS", extra: []string{"CSeq", ""}, want: "400"},
		{name: "no From tag", method: "OPTIONS", extra: []string{"From", "<sip:alice@example.com>"}, want: "400"},
		{name: "two CSeq (3.3.8)", method: "OPTIONS", extra: []string{"cseq", "8 OPTIONS"}, want: "400"},
		{name: "two To, one compact", method: "OPTIONS", extra: []string{"t", "<sip:carol@example.net>"}, want: "400"},
		{name: "two equal Content-Length", method: "OPTIONS", extra: []string{"l", "0"}, want: "400"},
		{name: "CSeq method mismatch (3.1.2.17)", method: "OPTIONS", extra: []string{"CSeq", "1 INVITE"}, want: "400"},
		{name: "CSeq out of range (3.1.2.4)", method: "OPTIONS", extra: []string{"CSeq", "36893488147419103232 OPTIONS"}, want: "400"},
		{name: "a URI in brackets (3.1.2.7)", method: "OPTIONS", line: "OPTIONS <sip:bob@example.net> SIP/2.0", want: "400"},
		{name: "a scheme that no parser reads (3.3.3)", method: "OPTIONS", line: "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", want: "416"},
		{name: "a quote without end (3.1.2.6)", method: "OPTIONS", extra: []string{"To", "\"Mr. J. User <sip:bob@example.net>"}, want: "400"},
		{name: "Content-Length beyond the datagram (3.1.2.2)", method: "OPTIONS", extra: []string{"Content-Length", "9999"}, want: "400"},
		{name: "unknown version (3.1.2.16)", method: "OPTIONS", line: "OPTIONS sip:bob@example.net SIP/7.0", want: "505"},
		{name: "unknown scheme (3.3.2)", method: "OPTIONS", line: "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", want: "416"},
		{name: "a tel URI", method: "INVITE", line: "INVITE tel:+15551234567 SIP/2.0", want: "299"},
		{name: "Max-Forwards zero (3.3.11)", method: "INVITE", extra: []string{"Max-Forwards", "0"}, want: "483"},
		{name: "OPTIONS with Max-Forwards zero", method: "OPTIONS", extra: []string{"Max-Forwards", "0"}, want: "299"},
		{name: "unknown extension (3.3.5)", method: "INVITE", extra: []string{"Require", "nothingSupportsThis, nothingSupportsThisEither"}, want: "420", header: "Unsupported: nothingSupportsThis, nothingSupportsThisEither"},
		{name: "100rel required", method: "INVITE", extra: []string{"Require", "100rel"}, want: "420", header: "Unsupported: 100rel"},
		{name: "unknown method", method: "NEWMETHOD", want: "501", header: "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS"},
		{name: "a method that we do not take", method: "REGISTER", want: "405", header: "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS"},
		{name: "an RFC 2543 request without branch (3.4.1)", method: "OPTIONS", extra: []string{"Via", "SIP/2.0/UDP 192.0.2.1;rport"}, want: "299"},
		{name: "a bare magic cookie (3.2.1)", method: "OPTIONS", extra: []string{"Via", "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK"}, want: "299"},
		{name: "a folded and compact message (3.1.1.1)", method: "OPTIONS", extra: []string{"To", "", "t", "\"Bob \\\"B\\\"\"\r\n\t<sip:bob@example.net>", "k", "timer"}, want: "299"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			msg := message(c.method, fmt.Sprintf("z9hG4bKv%d", i), p.addr(), c.extra...)
			if c.line != "" {
				msg = c.line + msg[strings.Index(msg, "\r\n"):]
			}
			p.send(msg)
			if c.want == "" {
				until(t, "it is dropped", func() bool { return s.Stats().Of(Unparsable) == 1 })
				return
			}
			res := p.recv()
			if status(res) != c.want {
				t.Fatalf("got %q", res)
			}
			if field(res, "Server") != "Tandem" {
				t.Errorf("no Server header: %q", res)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && field(res, name) != value {
				t.Errorf("%s: %q", name, field(res, name))
			}
			if strings.Contains(msg, "\r\nTo:") && param(field(res, "To"), "tag") == "" {
				t.Errorf("no To tag: %q", res)
			}
			if c.want == "299" {
				await(t, got, "the request")
			} else if len(got) != 0 {
				t.Error("a refused request was delivered")
			}
			if c.method == "INVITE" && c.want == "299" {
				return // the machine absorbs the repetition of an accepted INVITE (RFC 6026 section 7.1)
			}
			p.send(msg) // the same again: the same answer
			if again := p.recv(); again != res {
				t.Errorf("the retransmission got %q, the request %q", again, res)
			}
		})
	}
	p.t = t
	if n := len(settledInvalidACK(t, s, p, got)); n != 0 {
		t.Errorf("%d invalid ACKs were delivered", n)
	}
}

// settledInvalidACK sends an ACK that would be refused if it could be, and returns what was delivered.
func settledInvalidACK(t *testing.T, s *Stack, p *peer, got chan *Inbound) []*Inbound {
	t.Helper()
	p.send(message("ACK", "z9hG4bKack", p.addr(), "Max-Forwards", "0"))
	until(t, "the ACK is counted", func() bool { return s.Stats().Of(StrayRequest) == 1 })
	var out []*Inbound
	for len(got) > 0 {
		out = append(out, <-got)
	}
	return out
}
