package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// invite sends an INVITE of ours to p and returns it as p read it.
func (p *peer) invited(s *Stack, callID string, on ClientHandler) (ClientTx, string) {
	p.t.Helper()
	tx, err := s.Request(context.Background(), request("INVITE", callID), Egress{Listener: "u", Dest: p.addr()}, on)
	if err != nil {
		p.t.Fatal(err)
	}
	return tx, p.recv()
}

func TestRequestCarriesWhatEveryRequestNeeds(t *testing.T) {
	s := serve(t, Options{Listeners: []Listener{{Name: "u", Transport: "udp", Advertise: "sbc.example.com:5099"}}, UserAgent: "Tandem"})
	p := dialPeer(t, s.Address("u"))
	req := request("OPTIONS", "needs")
	req.AppendHeader(&sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: "192.0.2.77"})
	before := req.String()
	got, on := events()
	if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, on); err != nil {
		t.Fatal(err)
	}
	msg := p.recv()
	via := field(msg, "Via")
	if !strings.HasPrefix(via, "SIP/2.0/UDP sbc.example.com:5099;rport;branch=z9hG4bK") || strings.Count(msg, "Via:") != 1 {
		t.Errorf("Via: %s", via)
	}
	for name, want := range map[string]string{"Max-Forwards": "70", "User-Agent": "Tandem", "Content-Length": "0"} {
		if got := field(msg, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if after := req.String(); after != before {
		t.Errorf("the caller's request was changed:\n%s", after)
	}
	p.send(answer(msg, "200 OK", "p"))
	if e := await(t, got, "the 200"); e.res == nil || e.res.StatusCode != 200 {
		t.Errorf("got %v %v", e.res, e.err)
	}
	until(t, "the transaction is over", func() bool { return s.Stats().Clients == 0 })
	if c := s.Contact("u"); c != "sbc.example.com:5099" {
		t.Errorf("Contact %s", c)
	}
}

func TestResponsesComeInOrder(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	_, invite := p.invited(s, "order", on)
	want := []string{"100 Trying", "180 Ringing", "183 Session Progress", "180 Ringing", "183 Session Progress", "200 OK"}
	for _, st := range want {
		p.send(answer(invite, st, "p"))
	}
	for _, st := range want {
		if e := await(t, got, st); e.res == nil || fmt.Sprint(e.res.StatusCode) != st[:3] {
			t.Fatalf("got %v %v, want %s", e.res, e.err, st)
		}
	}
}

func TestFailureIsAcknowledgedAndAgainWhenItIsRepeated(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	_, invite := p.invited(s, "failure", on)
	var acks []string
	for range 3 { // at once: the machine alone would wait 4 s before the second
		p.send(answer(invite, "486 Busy Here", "p"))
		acks = append(acks, p.recv())
	}
	for _, ack := range acks {
		if !strings.HasPrefix(ack, "ACK sip:bob@example.net ") || field(ack, "Via") != field(invite, "Via") ||
			param(field(ack, "To"), "tag") != "p" || field(ack, "CSeq") != "1 ACK" || ack != acks[0] {
			t.Fatalf("ACK: %q", ack)
		}
	}
	await(t, got, "the 486")
	if st := settled(t, s); st.Of(Delivered) != 1 || st.Of(Absorbed) != 2 {
		t.Fatalf("outcomes: %s", show(st))
	}
}

func TestRepeatedAndForkedSuccessesReachTheHandler(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	_, invite := p.invited(s, "fork", on)
	for _, tag := range []string{"one", "one", "two"} {
		p.send(answer(invite, "200 OK", tag))
		e := await(t, got, "a 200")
		if e.res == nil || e.res.To().Params.GetOr("tag", "") != tag {
			t.Fatalf("got %v %v", e.res, e.err)
		}
	}
	if st := settled(t, s); st.Of(Delivered) != 3 {
		t.Fatalf("outcomes: %s", show(st))
	}
}

func TestCancelWaitsForAProvisionalResponse(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	req := request("INVITE", "cancel")
	req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Scheme: "sip", Host: "192.0.2.5", UriParams: sip.HeaderParams{{K: "lr"}}}})
	tx, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, on)
	if err != nil {
		t.Fatal(err)
	}
	invite := p.recv()
	if err := tx.Cancel(sip.NewHeader("Reason", "SIP;cause=487")); err != nil {
		t.Fatal(err)
	}
	p.send(answer(invite, "180 Ringing", "p"))
	await(t, got, "the 180")
	cancel := p.recv() // the first thing after the INVITE, and only after the 180 was read
	if !strings.HasPrefix(cancel, "CANCEL sip:bob@example.net SIP/2.0") {
		t.Fatalf("got %q", cancel)
	}
	for _, h := range []string{"Via", "Route", "From", "To", "Call-ID"} {
		if field(cancel, h) != field(invite, h) {
			t.Errorf("%s of the CANCEL is %q, of the INVITE %q", h, field(cancel, h), field(invite, h))
		}
	}
	if field(cancel, "CSeq") != "1 CANCEL" || field(cancel, "Reason") != "SIP;cause=487" || param(field(cancel, "To"), "tag") != "" {
		t.Errorf("CANCEL: %q", cancel)
	}
	if err := tx.Cancel(); err != nil {
		t.Errorf("a second Cancel: %v", err)
	}
	p.send(answer(cancel, "200 OK", "p"))
	p.send(answer(invite, "487 Request Terminated", "p"))
	if e := await(t, got, "the 487"); e.res == nil || e.res.StatusCode != 487 {
		t.Fatalf("got %v %v", e.res, e.err)
	}
	if msg := p.recv(); !strings.HasPrefix(msg, "ACK ") {
		t.Errorf("got %q", msg)
	}
	if err := tx.Cancel(); !errors.Is(err, ErrAnswered) {
		t.Errorf("Cancel after the end: %v", err)
	}
}

func TestTerminatedTransactionSaysNothing(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	tx, invite := p.invited(s, "muted", on)
	tx.Terminate()
	await(t, tx.Done(), "the end")
	p.send(answer(invite, "200 OK", "p"))
	until(t, "the 200 is counted", func() bool { return s.Stats().Of(StrayResponse) == 1 })
	select {
	case e := <-got:
		t.Fatalf("got %v %v", e.res, e.err)
	default:
	}
}

func TestResponseThatIsNotOursIsCountedAndDropped(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	_, invite := p.invited(s, "not-ours", on)
	good := answer(invite, "200 OK", "p")
	for _, msg := range []string{
		strings.Replace(good, "branch=z9hG4bK", "branch=z9hG4bK0", 1),
		strings.Replace(good, "Call-ID: not-ours", "Call-ID: guessed", 1),
		strings.Replace(good, "\r\nFrom", "\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKz\r\nFrom", 1),
	} {
		p.send(msg)
	}
	p.send(strings.Replace(good, "SIP/2.0 200", "SIP/3.0 200", 1))
	p.send(strings.Replace(good, "CSeq", "X-CSeq", 1))
	until(t, "all are counted", func() bool { return s.Stats().Sum() == 5 })
	if st := s.Stats(); st.Of(StrayResponse) != 3 || st.Of(BadResponse) != 2 {
		t.Fatalf("outcomes: %s", show(st))
	}
	p.send(good)
	if e := await(t, got, "the good one"); e.res == nil {
		t.Fatal(e.err)
	}
}

func TestFailureToConnectComesToTheHandler(t *testing.T) {
	s := serve(t, Options{Listeners: tcpOnly()})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close() // nobody listens here
	got, on := events()
	_, err = s.Request(context.Background(), request("INVITE", "refused"), Egress{Listener: "t", Dest: at}, on)
	if err == nil { // else the refusal was faster than the request, and the handler is not called
		err = await(t, got, "the failure").err
	}
	if !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), "dial tcp "+at.String()) {
		t.Fatalf("got %v", err)
	}
	until(t, "nothing is left", func() bool { st := s.Stats(); return st.Clients == 0 && st.Streams == 0 })
	if len(got) != 0 {
		t.Fatal("the failure was told twice")
	}
}

func TestLostConnectionFailsWhatWaitsOnIt(t *testing.T) {
	at, conns := listenStream(t, nil)
	s := serve(t, Options{Listeners: tcpOnly()})
	got, on := events()
	for i := range 3 {
		if _, err := s.Request(context.Background(), request("INVITE", fmt.Sprint("lost-", i)), Egress{Listener: "t", Dest: at}, on); err != nil {
			t.Fatal(err)
		}
	}
	peer := newLine(t, await(t, conns, "one connection for all"))
	for range 3 {
		peer.recv()
	}
	peer.Close()
	for range 3 {
		if e := await(t, got, "a failure"); !errors.Is(e.err, ErrTransport) {
			t.Fatalf("got %v %v", e.res, e.err)
		}
	}
	if len(conns) != 0 {
		t.Fatal("more than one connection was opened")
	}
}

func TestInDialogRequestReusesTheConnectionThatItsPeerOpened(t *testing.T) {
	s := serve(t, Options{Listeners: tcpOnly()})
	c := dialTCP(t, s.Address("t"))
	c.send(message("OPTIONS", "z9hG4bKin", s.Address("t")))
	c.recv()
	_, on := events()
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	if _, err := s.Request(context.Background(), request("BYE", "reuse"), Egress{Listener: "t", Dest: at}, on); err != nil {
		t.Fatal(err)
	}
	if msg := c.recv(); !strings.HasPrefix(msg, "BYE ") {
		t.Fatalf("got %q", msg)
	}
}

func TestPeerWithTheWrongNameGetsNothing(t *testing.T) {
	ca := newAuthority(t)
	other := newAuthority(t)
	s := serve(t, Options{Listeners: []Listener{ca.listener("us.example.com")}})
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		egress Egress
		want   string // in the error; empty: it works
	}{
		{"right name", ca.issue("x", "gw.example.net"), Egress{ServerName: "gw.example.net"}, ""},
		{"one of several names", ca.issue("x", "gw2.example.net"), Egress{ServerName: "gw.example.net", TLSNames: []string{"gw1.example.net", "gw2.example.net"}}, ""},
		{"wildcard", ca.issue("x", "*.example.net"), Egress{ServerName: "gw.example.net"}, ""},
		{"another name", ca.issue("x", "evil.example.org"), Egress{ServerName: "gw.example.net"}, "certificate is for evil.example.org, not for gw.example.net"},
		{"another authority", other.issue("x", "gw.example.net"), Egress{ServerName: "gw.example.net"}, "unknown authority"},
		{"no name asked for, none for the address", ca.issue("x", "gw.example.net"), Egress{}, "not for 127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &tls.Config{Certificates: []tls.Certificate{c.cert}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
			at, conns := listenStream(t, cfg)
			got, on := events()
			c.egress.Listener, c.egress.Dest = "s", at
			if _, err := s.Request(context.Background(), request("OPTIONS", "tls-"+c.name), c.egress, on); err != nil {
				t.Fatal(err)
			}
			peer := newLine(t, await(t, conns, "the connection"))
			msg, _ := peer.read()
			if c.want == "" {
				if !strings.HasPrefix(msg, "OPTIONS ") || !strings.HasPrefix(field(msg, "Via"), "SIP/2.0/TLS ") {
					t.Fatalf("the peer got %q", msg)
				}
				return
			}
			if msg != "" {
				t.Fatalf("the peer got %q", msg)
			}
			if e := await(t, got, "the failure"); !errors.Is(e.err, ErrTransport) || !strings.Contains(e.err.Error(), c.want) {
				t.Fatalf("got %v", e.err)
			}
		})
	}
}

func TestConnectionsVerifiedForAnotherNameAreNotShared(t *testing.T) {
	ca := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue("x", "a.example.net", "b.example.net")}}
	at, conns := listenStream(t, cfg)
	s := serve(t, Options{Listeners: []Listener{ca.listener("us.example.com")}})
	_, on := events()
	for _, name := range []string{"a.example.net", "b.example.net", "a.example.net"} {
		if _, err := s.Request(context.Background(), request("OPTIONS", "share-"+name+newBranch()), Egress{Listener: "s", Dest: at, ServerName: name}, on); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan string, 3)
	for range 2 {
		peer := newLine(t, await(t, conns, "a connection for each name"))
		go func() {
			for {
				msg, err := peer.read()
				if err != nil {
					return
				}
				read <- msg
			}
		}()
	}
	for range 3 {
		await(t, read, "a request")
	}
	if s.Stats().Connections[Opened] != 2 {
		t.Fatalf("%d connections were opened", s.Stats().Connections[Opened])
	}
}

func TestAckHasABranchOfItsOwnAndNoTransaction(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	for range 2 {
		if err := s.Ack(request("ACK", "ack"), Egress{Listener: "u", Dest: p.addr()}); err != nil {
			t.Fatal(err)
		}
		if msg := p.recv(); !strings.HasPrefix(msg, "ACK ") || param(field(msg, "Via"), "branch") == "" {
			t.Fatalf("got %q", msg)
		}
	}
	if n := s.Stats().Clients; n != 0 {
		t.Fatalf("%d transactions", n)
	}
}

func TestRequestThatCannotBeSentIsAnErrorThatSaysWhy(t *testing.T) {
	s := serve(t, Options{Listeners: append(udpOnly(), newAuthority(t).listener("us"))})
	s.listeners["s"].ClientTLS = nil
	done, cancel := context.WithCancel(context.Background())
	cancel()
	dest := netip.MustParseAddrPort("127.0.0.1:5060")
	injected := request("INVITE", "x")
	injected.AppendHeader(sip.NewHeader("Subject", "a\r\nVia: SIP/2.0/UDP 192.0.2.1"))
	bare := request("INVITE", "x")
	bare.AppendHeader(sip.NewHeader("Subject", "a\nVia: SIP/2.0/UDP 192.0.2.1"))
	none := request("INVITE", "x")
	none.RemoveHeader("To")
	for _, c := range []struct {
		name string
		ctx  context.Context
		req  *sip.Request
		e    Egress
		want string
	}{
		{"no such listener", context.Background(), request("INVITE", "x"), Egress{Listener: "nope", Dest: dest}, `there is no listener "nope"`},
		{"no address", context.Background(), request("INVITE", "x"), Egress{Listener: "u"}, "is no address to send to"},
		{"context done", done, request("INVITE", "x"), Egress{Listener: "u", Dest: dest}, "context canceled"},
		{"an ACK", context.Background(), request("ACK", "x"), Egress{Listener: "u", Dest: dest}, "ACK goes by Ack"},
		{"no To", context.Background(), none, Egress{Listener: "u", Dest: dest}, "To, From, Call-ID and CSeq are needed"},
		{"CRLF injected", context.Background(), injected, Egress{Listener: "u", Dest: dest}, "contains a line break"},
		{"LF injected", context.Background(), bare, Egress{Listener: "u", Dest: dest}, "contains a line break"},
		{"no TLS identity", context.Background(), request("INVITE", "x"), Egress{Listener: "s", Dest: dest}, "listener s: there is no TLS identity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Request(c.ctx, c.req, c.e, func(*sip.Response, error) { t.Error("the handler was called") })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
	if n := s.Stats().Clients; n != 0 {
		t.Fatalf("%d transactions are left", n)
	}
}

func TestCloseFailsWhatIsUnderWay(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	tx, _ := p.invited(s, "closing", on)
	s.Close()
	if e := await(t, got, "the failure"); !errors.Is(e.err, ErrClosed) {
		t.Fatalf("got %v", e.err)
	}
	await(t, tx.Done(), "the end")
	if _, err := s.Request(context.Background(), request("INVITE", "late"), Egress{Listener: "u", Dest: p.addr()}, on); !errors.Is(err, ErrClosed) {
		t.Fatalf("a request after Close: %v", err)
	}
}

func TestAHandlerThatPanicsLeavesNoTransactionBehind(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	tx, err := s.Request(context.Background(), request("OPTIONS", "panics"), Egress{Listener: "u", Dest: p.addr()}, func(*sip.Response, error) { panic("a fault of ours") })
	if err != nil {
		t.Fatal(err)
	}
	p.send(answer(p.recv(), "200 OK", "x"))
	await(t, tx.Done(), "the end of the transaction")
	if n := settled(t, s).Clients; n != 0 {
		t.Errorf("%d requests are still alive", n)
	}
}
