package guard

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// written is a message as it leaves, whatever the judge says to it.
func written(m sip.Message) string {
	switch m := m.(type) {
	case *sip.Request:
		return string(appendHeaders(appendRequestLine(nil, m), m.Headers())) + "\r\n" + string(m.Body())
	case *sip.Response:
		return string(appendHeaders(appendStatusLine(nil, m), m.Headers())) + "\r\n" + string(m.Body())
	}
	return ""
}

func TestAHeaderIsWrittenAsSipgoWritesIt(t *testing.T) {
	uri := func(s string) sip.Uri {
		var u sip.Uri
		if err := sip.ParseUri(s, &u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	params := sip.HeaderParams{{K: "lr"}, {K: "tag", V: "x"}, {K: "q", V: "a b"}, {K: "t", V: "a\tb"}}
	id, kind, hops, length := sip.CallIDHeader("a@b"), sip.ContentTypeHeader("application/sdp"), sip.MaxForwardsHeader(70), sip.ContentLengthHeader(0)
	for _, h := range []sip.Header{
		&sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: "2001:db8::1", Port: 5060, Params: params},
		&sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "TCP", Host: "::ffff:192.0.2.1"},
		&sip.ViaHeader{Host: "h", Port: -1},
		&sip.FromHeader{DisplayName: `A \"B\"`, Address: uri("sip:a:secret@[2001:db8::1]:5070;user=phone;lr?Subject=x&Y=z"), Params: params},
		&sip.FromHeader{Address: uri("tel:+15551230001;phone-context=+1")},
		&sip.ToHeader{Address: sip.Uri{User: "a", Host: "2001:db8::1"}, Params: params[:1]},
		&sip.ToHeader{Address: sip.Uri{Scheme: "sips", HierarhicalSlashes: true, Host: "h"}},
		&sip.ToHeader{Address: sip.Uri{Password: "without a user", Host: "h:x"}},
		&sip.ContactHeader{Address: sip.Uri{Wildcard: true}},
		&sip.ContactHeader{DisplayName: "A", Address: uri("urn:service:sos"), Params: params[1:]},
		&sip.RouteHeader{Address: uri("sip:h;lr")},
		&sip.RecordRouteHeader{Address: uri("sip:h;lr=on")},
		&sip.ReferToHeader{Address: uri("sip:a@h?Replaces=x")},
		&sip.ReferredByHeader{DisplayName: "A", Address: uri("sip:a@h"), Params: params},
		&sip.CSeqHeader{SeqNo: 1<<32 - 1, MethodName: sip.BYE},
		&id, &kind, &hops, &length, sip.NewHeader("Subject", "any text"),
	} {
		if got, want := string(appendHeaders(nil, []sip.Header{h})), h.String()+"\r\n"; got != want {
			t.Errorf("%T: %q, want %q", h, got, want)
		}
	}
}

// FuzzAppend: what sipgo reads is written as sipgo writes it, byte by byte.
func FuzzAppend(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Add([]byte("SIP/2.0 180 Ringing\r\nFrom: \"A\" <sip:a:b@[::1]:5070;x;y=z?h=v&w>;tag=1;q=\" \"\r\nm: *\r\nRecord-Route: <sips://h;lr>,<tel:+1;a>\r\nb: <sip:a>;x\r\nl: 2\r\n\r\nab"))
	parser := sip.NewParser()
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		if _, out := inspect(b[:end+4]); out != Delivered {
			return
		}
		msg, err := parser.ParseSIP(b)
		if err != nil {
			return
		}
		if m, ok := msg.(interface{ Headers() []sip.Header }); !ok || len(m.Headers()) == 0 {
			return // sipgo ends the headers that are not there by a line of their own
		}
		if got, want := written(msg), msg.String(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func TestAMessageIsWrittenIntoOneBuffer(t *testing.T) {
	in := arrived(t, fullInvite())
	res := in.Response(200, "OK")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := encodeResponse(res); err != nil {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("a response: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := in.l.encodeRequest(in.Req, "z9hG4bKone"); err != nil {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("an INVITE: %v allocations", n)
	}
}

// arrived is a request as a Handler gets it.
func arrived(t *testing.T, raw string) *Inbound {
	t.Helper()
	s := idle(t)
	msg, err := s.parser.ParseSIP([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	l := s.listeners["u"]
	in := &Inbound{Req: msg.(*sip.Request), Listener: "u", Transport: "udp", Source: netip.MustParseAddrPort("192.0.2.9:5099"), l: l}
	normalise(in.Req)
	l.locate(in)
	return in
}

// The twin of Response is sipgo's NewResponseFromRequest, which copies every header and invents a tag.
func TestAResponseRepeatsWhatSipgoRepeats(t *testing.T) {
	for _, method := range []string{"INVITE", "BYE", "OPTIONS", "REGISTER", "CANCEL", "SUBSCRIBE", "PRACK"} {
		for _, to := range []string{"<sip:bob@example.net>", "<sip:bob@example.net>;tag=b1"} {
			in := arrived(t, strings.ReplaceAll(message(method, "z9hG4bKr", home, "To", to, "Record-Route", "<sip:192.0.2.2;lr>,<sip:192.0.2.3;lr>",
				"Timestamp", "54", "Subject", "not repeated"), "Max-Forwards: 70", "Via: SIP/2.0/TCP 192.0.2.3;branch=z9hG4bKs"))
			before := in.Req.String()
			for _, code := range []int{100, 180, 183, 199, 200, 202, 302, 404, 487, 603} {
				got, want := in.Response(code, "Why"), sip.NewResponseFromRequest(in.Req, code, "Why", nil)
				for _, res := range []*sip.Response{got, want} {
					if code != 100 {
						res.To().Params.Add("tag", in.Req.To().Params.GetOr("tag", "ours"))
					}
				}
				if got.String() != want.String() {
					t.Errorf("%s, %d: %q\nwant %q", method, code, got, want)
				}
			}
			if now := in.Req.String(); now != before {
				t.Errorf("the request was %q\nand is %q", before, now)
			}
		}
	}
}

func TestARequestOfOursHasEachHeaderOnce(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly(), UserAgent: "Tandem"})
	hops, length := sip.MaxForwardsHeader(9), sip.ContentLengthHeader(3)
	for name, c := range map[string]struct {
		extra []sip.Header
		body  string
		want  string
	}{
		"nothing is there": {nil, "", "Max-Forwards: 70|User-Agent: Tandem|Content-Length: 0"},
		"a body":           {nil, "abc", "Content-Length: 3|Max-Forwards: 70|User-Agent: Tandem"},
		"all is there":     {[]sip.Header{sip.NewHeader("user-agent", "another"), &length, &hops}, "abc", "user-agent: another|Content-Length: 3|Max-Forwards: 9"},
		"a Via":            {[]sip.Header{&sip.ViaHeader{Host: "elsewhere"}}, "", "Max-Forwards: 70|User-Agent: Tandem|Content-Length: 0"},
	} {
		req := request(sip.OPTIONS, "once")
		for _, h := range c.extra {
			req.AppendHeader(h)
		}
		if c.body != "" {
			req.SetBody([]byte(c.body))
		}
		raw, err := s.listeners["u"].encodeRequest(req, newBranch())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		if got := strings.Join(lines[6:], "|"); got != c.want || body != c.body { // after Via, From, To, Call-ID, CSeq
			t.Errorf("%s: %q and %q, want %q", name, got, body, c.want)
		}
		if want := "Via: SIP/2.0/UDP " + s.Contact("u") + ";rport;branch=z9hG4bK"; !strings.HasPrefix(lines[1], want) {
			t.Errorf("%s: %q, want %q and more", name, lines[1], want)
		}
	}
}
