package guard

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

func TestTrap1StrangerWhoConnectedDoesNotGetOurInvite(t *testing.T) {
	ca := newAuthority(t)
	tls := ca.listener("us.example.com")
	s := serve(t, Options{Listeners: []Listener{{Name: "t", Transport: "tcp"}, tls}})
	for _, c := range []struct {
		name     string
		listener string
		stranger *line
		server   func() (netip.AddrPort, chan net.Conn)
	}{
		{"tcp", "t", dialTCP(t, s.Address("t")), func() (netip.AddrPort, chan net.Conn) { return listenStream(t, nil) }},
		{"tls", "s", ca.dial(s.Address("s"), "us.example.com", ca.issue("evil.example.org", "evil.example.org")), func() (netip.AddrPort, chan net.Conn) {
			cfg := ca.listener("peer.example.net").TLS
			return listenStream(t, cfg)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.stranger.send(message("OPTIONS", "z9hG4bKin", s.Address(c.listener)))
			c.stranger.recv() // it is in, and read
			at, conns := c.server()
			got, on := events()
			if _, err := s.Request(context.Background(), request("INVITE", "trap1"), Egress{Listener: c.listener, Dest: at, ServerName: "peer.example.net"}, on); err != nil {
				t.Fatal(err)
			}
			peer := newLine(t, await(t, conns, "our connection to the peer"))
			invite := peer.recv()
			if !strings.HasPrefix(invite, "INVITE ") {
				t.Fatalf("the peer got %q", invite)
			}
			peer.send(answer(invite, "486 Busy Here", "p"))
			if e := await(t, got, "the 486"); e.res == nil || e.res.StatusCode != 486 {
				t.Fatalf("got %v %v", e.res, e.err)
			}
			// Whatever the stack had sent to the stranger would come before the answer to its next request.
			c.stranger.send(message("OPTIONS", "z9hG4bKnext", s.Address(c.listener)))
			if msg := c.stranger.recv(); status(msg) != "200" {
				t.Fatalf("the stranger got %q", msg)
			}
		})
	}
}

func TestTrap2ManyParametersNeverReachTheParser(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	var many strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&many, ";p%d", i)
	}
	for _, h := range []string{"To", "Contact", "Route"} {
		p.send(message("OPTIONS", "z9hG4bKmany"+h, p.addr(), h, "<sip:bob@example.net>"+many.String()))
	}
	p.send(message("OPTIONS", "z9hG4bKfew", p.addr()))
	if msg := p.recv(); status(msg) != "200" || param(field(msg, "Via"), "branch") != "z9hG4bKfew" {
		t.Fatalf("got %q", msg)
	}
	if st := settled(t, s); st.Of(TooManyParams) != 3 || st.Of(Delivered) != 1 {
		t.Fatalf("outcomes: %s", show(st))
	}
}

func TestTrap3JunkLeavesNothingBehind(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly(), Limits: config.SIPLimits{TrunkRate: 1 << 20}})
	const sockets, each = 50, 20
	for i := range sockets {
		p := dialPeer(t, s.Address("u"))
		for range each {
			p.send("garbage that is long enough to be looked at\r\n\r\n")
		}
		p.Close()
		until(t, "the junk was read", func() bool { return s.Stats().Received == uint64((i+1)*each) })
	}
	p := dialPeer(t, s.Address("u"))
	p.send(message("OPTIONS", "z9hG4bKx", p.addr()))
	p.recv()
	st := settled(t, s)
	if st.Received != sockets*each+1 || st.Of(BadFirstLine) != sockets*each {
		t.Fatalf("received %d: %s", st.Received, show(st))
	}
	if st.Servers != 1 || st.Streams != 0 || st.Clients != 0 {
		t.Fatalf("left behind: %+v", st)
	}
}

func TestTrap5BackToBackMessagesArriveInOrder(t *testing.T) {
	const calls, batch = 200, 20
	got, on := inbox()
	s := serve(t, Options{Listeners: append(udpOnly(), tcpOnly()...), Handler: func(in *Inbound) {
		if in.Req.IsInvite() {
			in.Reply(180, "Ringing")
		}
		on(in)
	}, Limits: config.SIPLimits{TrunkRate: 1 << 20}})
	p, c := dialPeer(t, s.Address("u")), dialTCP(t, s.Address("t"))
	for _, send := range []func(string){p.send, c.send} {
		seen := map[string]string{}
		for i := range calls {
			b := fmt.Sprintf("z9hG4bK%d", i)
			for _, m := range []string{"INVITE", "CANCEL"} {
				send(message(m, b, p.addr()))
			}
			send(message("ACK", b+"-ack", p.addr(), "Call-ID", "call-"+b))
			send(message("BYE", b+"-bye", p.addr(), "Call-ID", "call-"+b))
			if i%batch != batch-1 {
				continue
			}
			for range 4 * batch { // a kernel buffer of the default size holds no more
				in := await(t, got, "a request")
				seen[in.Req.CallID().Value()] += string(in.Req.Method) + " "
				if in.Req.IsCancel() && in.Invite == nil {
					t.Fatal("a CANCEL did not find its INVITE")
				}
				if in.Tx != nil && !in.Req.IsInvite() {
					in.Reply(200, "OK")
				}
			}
		}
		for id, order := range seen {
			if order != "INVITE CANCEL ACK BYE " {
				t.Fatalf("%s: %s", id, order)
			}
		}
	}
}

func TestTrap5PanicCostsOneMessage(t *testing.T) {
	var logged syncBuffer
	s := serve(t, Options{Listeners: udpOnly(), Log: slog.New(slog.NewTextHandler(&logged, nil)), Handler: func(in *Inbound) {
		if in.Req.Recipient.User == "bob" && in.Req.CallID().Value() == "call-z9hG4bKbad" {
			panic("a fault above")
		}
		in.Reply(200, "OK")
	}})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKbad", p.addr()))
	p.send(message("OPTIONS", "z9hG4bKgood", p.addr()))
	want := map[string]string{"z9hG4bKbad": "500", "z9hG4bKgood": "200"}
	for range 2 { // in any order: they are of two calls
		if msg := p.recv(); status(msg) != want[param(field(msg, "Via"), "branch")] {
			t.Fatalf("got %q", msg)
		}
	}
	if st := settled(t, s); st.Of(Panicked) != 1 || st.Of(Delivered) != 1 {
		t.Fatalf("outcomes: %s", show(st))
	}
	if !strings.Contains(logged.String(), "a fault above") || strings.Contains(logged.String(), "alice") {
		t.Fatalf("logged: %s", logged.String())
	}
}

func TestTrap6ResponsesAreDrainedWhoeverListens(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	e := Egress{Listener: "u", Dest: p.addr()}
	p.send(message("OPTIONS", "z9hG4bKwarm", p.addr()))
	p.recv()
	before := runtime.NumGoroutine() + 2 // the stack's last goroutines may begin after the first answer
	for i := range 100 {
		tx, err := s.Request(context.Background(), request("INVITE", fmt.Sprint("trap6-", i)), e, func(*sip.Response, error) {})
		if err != nil {
			t.Fatal(err)
		}
		invite := p.recv()
		if i%2 == 0 {
			tx.Terminate() // nobody listens any more
		}
		for _, st := range []string{"100 Trying", "180 Ringing", "486 Busy Here"} {
			p.send(answer(invite, st, "p"))
		}
		if i%2 == 1 {
			if ack := p.recv(); !strings.HasPrefix(ack, "ACK ") {
				t.Fatalf("got %q", ack)
			}
		}
	}
	settled(t, s)
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestTrap9AllResponsesOfOneRequestCarryOneTag(t *testing.T) {
	for _, chosen := range []string{"node1-4711", ""} {
		t.Run("tag "+chosen, func(t *testing.T) {
			got, on := inbox()
			s := serve(t, Options{Listeners: udpOnly(), Handler: func(in *Inbound) {
				if chosen != "" {
					in.SetLocalTag(chosen)
				}
				on(in)
			}})
			p := dialPeer(t, s.Address("u"))
			p.send(message("INVITE", "z9hG4bKtag", p.addr()))
			in := await(t, got, "the INVITE")
			in.Reply(100, "Trying")
			in.Reply(180, "Ringing")
			p.recv() // the 100 may have a tag or none (RFC 3261 section 8.2.6.2)
			tags := map[string]string{}
			note := func() {
				msg := p.recv()
				tags[status(msg)+" "+field(msg, "CSeq")] = param(field(msg, "To"), "tag")
			}
			note()
			p.send(message("CANCEL", "z9hG4bKtag", p.addr()))
			note()
			note()
			if c := await(t, got, "the CANCEL"); c.Invite != in {
				t.Fatal("the CANCEL is not tied to its INVITE")
			}
			want := tags["180 1 INVITE"]
			if want == "" || chosen != "" && want != chosen {
				t.Fatalf("tag of the 180: %q", want)
			}
			for _, k := range []string{"200 1 CANCEL", "487 1 INVITE"} {
				if tags[k] != want {
					t.Fatalf("%s has tag %q, the 180 has %q (all: %v)", k, tags[k], want, tags)
				}
			}
		})
	}
}

func TestTrap10MessagesBeyond1300BytesPassOnUDP(t *testing.T) {
	body := strings.Repeat("a=padding of a large body\r\n", 800)
	s := serve(t, Options{Listeners: udpOnly(), Handler: func(in *Inbound) {
		res := sip.NewResponseFromRequest(in.Req, 200, "OK", in.Req.Body())
		in.Respond(res)
	}})
	p := dialPeer(t, s.Address("u"))
	p.send(message("OPTIONS", "z9hG4bKbig", p.addr(), "Content-Length", fmt.Sprint(len(body))) + body)
	if msg := p.recv(); status(msg) != "200" || !strings.HasSuffix(msg, body) {
		t.Fatalf("got %d bytes, status %q", len(msg), status(msg))
	}
	req := request("INVITE", "big")
	req.SetBody([]byte(body))
	got, on := events()
	if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, on); err != nil {
		t.Fatal(err)
	}
	invite := p.recv()
	if !strings.HasSuffix(invite, body) {
		t.Fatalf("the body was not sent whole: %d bytes", len(invite))
	}
	p.send(answer(invite, "486 Busy Here", "p"))
	await(t, got, "the 486")
}

func TestTrap11SmugglingIsRefusedBeforeTheParser(t *testing.T) {
	base := message("OPTIONS", "z9hG4bKx", netip.MustParseAddrPort("192.0.2.1:5060"))
	for _, c := range []struct {
		name string
		msg  string
		want Outcome
	}{
		{"as it should be", base, Delivered},
		{"bare LF in a value", strings.Replace(base, "Max-Forwards: 70", "Max-Forwards: 70\nX-Evil: 1", 1), BadLineBreak},
		{"bare CR in a value", strings.Replace(base, "Max-Forwards: 70", "Max-Forwards: 70\rX-Evil: 1", 1), BadLineBreak},
		{"bare LF in the first line", "OPTIONS sip:a\nb SIP/2.0" + base[strings.Index(base, "\r\n"):], BadLineBreak},
		{"NUL in a value", strings.Replace(base, "alice", "al\x00ice", 1), BadHeader},
		{"two Content-Length", strings.Replace(base, "Content-Length: 0", "Content-Length: 0\r\nl: 5", 1), BadLength},
		{"signed Content-Length", strings.Replace(base, "Content-Length: 0", "Content-Length: +5", 1), BadLength},
		{"negative Content-Length", strings.Replace(base, "Content-Length: 0", "Content-Length: -999", 1), BadLength},
		{"folded Content-Length", strings.Replace(base, "Content-Length: 0", "Content-Length: 1\r\n 2", 1), BadHeader},
		{"a continuation of nothing", strings.Replace(base, "\r\nVia", "\r\n Content-Length: 9\r\nVia", 1), BadHeader},
		{"no colon", strings.Replace(base, "Max-Forwards: 70", "Max-Forwards 70", 1), BadHeader},
		{"a space inside a name", strings.Replace(base, "Max-Forwards", "Max Forwards", 1), BadHeader},
		{"a tag inside quotes", strings.Replace(base, "tag=a1", `x="y;tag=a1"`, 1), Smuggled},
		{"a tag inside quotes, no brackets", strings.Replace(base, "<sip:alice@example.com>;tag=a1", `sip:alice@example.com;x="y;tag=a1"`, 1), Smuggled},
		{"a semicolon in a display name", strings.Replace(base, "From: <", `From: "Doe; \"Jane\"" <`, 1), Delivered},
		{"a number for a method", "200" + base[len("OPTIONS"):], Delivered},
		{"HTTP", strings.Replace(base, "SIP/2.0\r\n", "HTTP/1.1\r\n", 1), BadFirstLine},
		{"a space in the Request-URI", strings.Replace(base, "sip:bob@example.net", "sip:bob @example.net", 1), BadFirstLine},
		{"status code 9999", "SIP/2.0 9999 Far Out" + base[strings.Index(base, "\r\n"):], BadFirstLine},
		{"status code 700", "SIP/2.0 700 Far Out" + base[strings.Index(base, "\r\n"):], BadFirstLine},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := inspect([]byte(c.msg)); got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTrap11SecondContentLengthDoesNotSmuggleAMessage(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: tcpOnly(), Handler: on})
	c := dialTCP(t, s.Address("t"))
	inner := message("BYE", "z9hG4bKinner", s.Address("t"))
	outer := message("OPTIONS", "z9hG4bKouter", s.Address("t"), "Content-Length", fmt.Sprint(len(inner)), "l", "0")
	c.send(outer + inner)
	if _, err := c.read(); err != io.EOF {
		t.Fatalf("the connection lives on: %v", err)
	}
	select {
	case in := <-got:
		t.Fatalf("%s was delivered", in.Req.Method)
	default:
	}
	if st := settled(t, s); st.Of(BadLength) != 1 || st.Connections[BrokenFraming] != 1 {
		t.Fatalf("outcomes: %s", show(st))
	}
}

func TestTrap11ParameterNamesCompareWithoutCase(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("BYE", "x", p.addr(), "Via", "SIP/2.0/UDP 192.0.2.9:9;RPORT;Branch=z9hG4bKcase", "From", "<sip:a@example.com>; TAG = a1 ",
		"To", "<sip:b@example.net>;Tag=b1", "Route", "<sip:192.0.2.1;LR>", "Contact", "<sip:a@192.0.2.1;Transport=tcp>"))
	in := await(t, got, "the BYE")
	if v, _ := in.Req.From().Params.Get("tag"); v != "a1" {
		t.Errorf("From tag %q", v)
	}
	if v, _ := in.Req.To().Params.Get("tag"); v != "b1" {
		t.Errorf("To tag %q", v)
	}
	if !in.Req.Route().Address.UriParams.Has("lr") || in.Req.Contact().Address.UriParams.GetOr("transport", "") != "tcp" {
		t.Errorf("URI parameters: %v %v", in.Req.Route(), in.Req.Contact())
	}
	in.Reply(200, "OK")
	if via := field(p.recv(), "Via"); param(via, "rport") != fmt.Sprint(p.addr().Port()) || param(via, "branch") != "z9hG4bKcase" {
		t.Errorf("Via %s", via)
	}
}

func TestTrap13NoKeyIsEverLogged(t *testing.T) {
	const secret = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
	var logged syncBuffer
	s := serve(t, Options{Listeners: append(udpOnly(), tcpOnly()...), Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Handler: func(in *Inbound) { panic("a fault above") }})
	body := "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 " + secret + "\r\n"
	p, c := dialPeer(t, s.Address("u")), dialTCP(t, s.Address("t"))
	bad := message("INVITE", "z9hG4bKa", p.addr(), "CSeq", "99999999999 INVITE", "Content-Length", fmt.Sprint(len(body))) + body
	good := message("INVITE", "z9hG4bKb", p.addr(), "Content-Length", fmt.Sprint(len(body))) + body
	p.send(bad)
	p.send(good)
	c.send(bad + good)
	until(t, "all four are counted", func() bool { return s.Stats().Sum() == 4 })
	if strings.Contains(logged.String(), secret[7:20]) || !strings.Contains(logged.String(), "a fault above") {
		t.Fatalf("logged: %s", logged.String())
	}
}

// syncBuffer is written by the stack and read by the test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
