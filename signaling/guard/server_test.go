package guard

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

func TestResponseGoesWhereRFC3581Says(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p, other := dialPeer(t, s.Address("u")), dialPeer(t, s.Address("u"))
	p.send(message("OPTIONS", "z9hG4bKr", p.addr(), "Via", "SIP/2.0/UDP 192.0.2.1:9;rport;branch=z9hG4bKr"))
	via := field(p.recv(), "Via")
	if param(via, "rport") != fmt.Sprint(p.addr().Port()) || param(via, "received") != "127.0.0.1" {
		t.Errorf("with rport: %s", via)
	}
	// Without rport the port of sent-by counts, at the address that the request came from (RFC 3261 section 18.2.2).
	p.send(message("OPTIONS", "z9hG4bKs", p.addr(), "Via", fmt.Sprintf("SIP/2.0/UDP client.example.com:%d;branch=z9hG4bKs;received=192.0.2.99", other.addr().Port())))
	if via := field(other.recv(), "Via"); param(via, "received") != "127.0.0.1" || strings.Contains(via, "rport") {
		t.Errorf("without rport: %s", via)
	}
}

func TestIPv6WorksLikeIPv4(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: []Listener{{Name: "u", Transport: "udp", Addr: netip.MustParseAddrPort("[::1]:0")}}, Handler: func(in *Inbound) {
		in.Reply(200, "OK")
		on(in)
	}})
	p := dialPeer(t, s.Address("u"))
	p.send(message("OPTIONS", "z9hG4bK6", p.addr()))
	if msg := p.recv(); status(msg) != "200" {
		t.Fatalf("got %q", msg)
	}
	if in := await(t, got, "the request"); in.Source != p.addr() {
		t.Errorf("source %s", in.Source)
	}
	_, on2 := events()
	_, invite := p.invited(s, "six", on2)
	if via := field(invite, "Via"); !strings.HasPrefix(via, "SIP/2.0/UDP [::1]:") {
		t.Errorf("Via %s", via)
	}
	if c := s.Contact("u"); c != s.Address("u").String() {
		t.Errorf("Contact %s", c)
	}
}

func TestResponseFindsAPeerWhoseConnectionIsGone(t *testing.T) {
	ca := newAuthority(t)
	name := "peer.example.net"
	for _, c := range []struct {
		name     string
		listener Listener
		dial     func(netip.AddrPort) *line
		server   func() (netip.AddrPort, chan net.Conn)
	}{
		{"tcp", Listener{Name: "s", Transport: "tcp"}, func(to netip.AddrPort) *line { return dialTCP(t, to) },
			func() (netip.AddrPort, chan net.Conn) { return listenStream(t, nil) }},
		{"tls", ca.listener("us.example.com"), func(to netip.AddrPort) *line { return ca.dial(to, "us.example.com", ca.issue(name, name)) },
			func() (netip.AddrPort, chan net.Conn) { return listenStream(t, ca.listener(name).TLS) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, on := inbox()
			s := serve(t, Options{Listeners: []Listener{c.listener}, Handler: on})
			at, conns := c.server()
			peer := c.dial(s.Address(c.listener.Name))
			peer.send(message("INVITE", "z9hG4bKgone", at))
			invite := await(t, in, "the INVITE")
			if err := invite.Reply(180, "Ringing"); err != nil {
				t.Fatal(err)
			}
			if msg := peer.recv(); status(msg) != "180" {
				t.Fatalf("on its connection the peer got %q", msg)
			}
			peer.Close()
			until(t, "the connection to be gone", func() bool { return s.Stats().Streams == 0 })
			if err := invite.Reply(200, "OK"); err != nil {
				t.Fatal(err)
			}
			if msg := newLine(t, await(t, conns, "a connection of ours")).recv(); status(msg) != "200" {
				t.Errorf("the peer got %q", msg)
			}
		})
	}
}

func TestNoConnectionIsOpenedToAStrangerWhoLeft(t *testing.T) {
	in, on := inbox()
	s := serve(t, Options{Listeners: tcpOnly(), Handler: on, Known: func(string, netip.Addr) bool { return false }})
	at, _ := listenStream(t, nil)
	stranger := dialTCP(t, s.Address("t"))
	stranger.send(message("INVITE", "z9hG4bKstranger", at))
	invite := await(t, in, "the INVITE")
	stranger.Close()
	until(t, "the connection to be gone", func() bool { return s.Stats().Streams == 0 })
	if err := invite.Reply(403, "Forbidden"); !errors.Is(err, ErrTransport) {
		t.Errorf("error %v, want a transport error", err)
	}
	if n := s.Stats().Streams; n != 0 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestRetransmittedInviteIsAbsorbedAndGetsTheResponseOrA100(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	invite := message("INVITE", "z9hG4bKretrans", p.addr())
	p.send(invite)
	p.send(invite) // before any response
	in := await(t, got, "the INVITE")
	if said := p.recv(); status(said) != "100" {
		t.Fatalf("got %q", said)
	}
	until(t, "the second is absorbed", func() bool { return s.Stats().Of(Absorbed) == 1 })
	in.Reply(180, "Ringing")
	first := p.recv()
	p.send(invite)
	if again := p.recv(); again != first || status(first) != "180" {
		t.Fatalf("got %q, then %q", first, again)
	}
	if len(got) != 0 {
		t.Fatal("a retransmission was delivered")
	}
}

func TestFinalResponseIsGivenOnce(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKonce", p.addr()))
	in := await(t, got, "the INVITE")
	if err := in.Reply(486, "Busy Here"); err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{100, 180, 200, 487} {
		if err := in.Reply(code, "Late"); !errors.Is(err, ErrAnswered) {
			t.Errorf("a %d after the final response: %v", code, err)
		}
	}
	failure := p.recv()
	p.send(message("INVITE", "z9hG4bKonce", p.addr()))
	if again := p.recv(); again != failure {
		t.Errorf("the retransmission got %q", again)
	}
	p.send(message("ACK", "z9hG4bKonce", p.addr(), "To", field(failure, "To")))
	until(t, "the ACK is absorbed", func() bool { return s.Stats().Of(Absorbed) == 2 })
}

func TestSuccessMayBeRepeatedUntilItsAck(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKok", p.addr()))
	in := await(t, got, "the INVITE")
	res := sip.NewResponseFromRequest(in.Req, 200, "OK", []byte("v=0\r\n"))
	for range 3 {
		if err := in.Respond(res); err != nil {
			t.Fatal(err)
		}
		if msg := p.recv(); status(msg) != "200" || !strings.HasSuffix(msg, "v=0\r\n") {
			t.Fatalf("got %q", msg)
		}
	}
	if err := in.Reply(500, "Too Late"); !errors.Is(err, ErrAnswered) {
		t.Errorf("a failure after the success: %v", err)
	}
	for _, branch := range []string{"z9hG4bKown", "z9hG4bKok"} { // some peers reuse the branch of their INVITE
		p.send(message("ACK", branch, p.addr(), "Call-ID", "call-z9hG4bKok"))
		if ack := await(t, got, "the ACK"); !ack.Req.IsAck() || ack.Tx != nil {
			t.Fatalf("got %s", ack.Req.Method)
		}
	}
}

func TestCancelOfAnAnsweredCallChangesNothing(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKc", p.addr()))
	in := await(t, got, "the INVITE")
	in.Reply(200, "OK")
	p.recv()
	p.send(message("CANCEL", "z9hG4bKc", p.addr()))
	if msg := p.recv(); status(msg) != "200" || field(msg, "CSeq") != "1 CANCEL" {
		t.Fatalf("got %q", msg)
	}
	if st := settled(t, s); st.Of(Absorbed) != 1 || len(got) != 0 {
		t.Fatalf("outcomes: %s", show(st))
	}
}

func TestCancelFromAnotherAddressDoesNotFindTheCall(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: []Listener{{Name: "t", Transport: "tcp", Addr: netip.MustParseAddrPort("0.0.0.0:0"), Advertise: "127.0.0.1"}}, Handler: on})
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Address("t").Port())
	c := dialTCP(t, at)
	c.send(message("INVITE", "z9hG4bKvictim", at))
	await(t, got, "the INVITE")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("tcp", at.String())
	if err != nil {
		t.Skip("this machine has no 127.0.0.2")
	}
	newLine(t, conn).send(message("CANCEL", "z9hG4bKvictim", at))
	if in := await(t, got, "the CANCEL"); in.Invite != nil || in.Tx == nil {
		t.Fatal("a stranger's CANCEL met the INVITE")
	}
}

func TestOnCancelIsCalledAndTellsWhenItIsTooLate(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKhook", p.addr()))
	in := await(t, got, "the INVITE")
	called := make(chan *sip.Request, 1)
	if !in.Tx.OnCancel(func(r *sip.Request) { called <- r }) {
		t.Fatal("too late already")
	}
	p.send(message("CANCEL", "z9hG4bKhook", p.addr()))
	await(t, called, "the hook")
	if in.Tx.OnCancel(func(*sip.Request) {}) {
		t.Fatal("not too late")
	}
	if err := in.Reply(200, "OK"); !errors.Is(err, ErrAnswered) {
		t.Fatalf("a 200 after the 487: %v", err)
	}
}

func TestMergedRequestIsRefusedUntilTheFirstIsAnswered(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	send := func(branch string) { p.send(message("INVITE", branch, p.addr(), "Call-ID", "merged")) }
	send("z9hG4bKone")
	in := await(t, got, "the INVITE")
	send("z9hG4bKtwo")
	if msg := p.recv(); status(msg) != "482" {
		t.Fatalf("got %q", msg)
	}
	in.Reply(503, "Service Unavailable")
	p.recv()
	send("z9hG4bKthree") // the peer fails over to our next address with the same request (RFC 3263 section 4.3)
	await(t, got, "the repeated INVITE")
}

func TestUnansweredRequestIsNotKeptForEver(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on, Limits: config.SIPLimits{RingTimeout: time.Minute}})
	p := dialPeer(t, s.Address("u"))
	p.send(message("BYE", "z9hG4bKbye", p.addr()))
	await(t, got, "the BYE")
	p.send(message("INVITE", "z9hG4bKinv", p.addr()))
	await(t, got, "the INVITE")
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{answerWithin - time.Second, 2}, {answerWithin + time.Second, 1}, {time.Minute + ringingMargin - time.Second, 1}, {time.Minute + ringingMargin + time.Second, 1}} {
		s.abandon(time.Now().Add(c.after))
		if n := s.Stats().Servers; n != c.left {
			t.Fatalf("after %s: %d transactions, want %d", c.after, n, c.left)
		}
	}
	if n := s.Stats().Abandoned; n != 2 {
		t.Fatalf("abandoned = %d", n)
	}
	said := p.recv() // the INVITE's, until its ACK; nobody waits for the BYE's any more
	if status(said) != "500" || field(said, "CSeq") != "1 INVITE" {
		t.Fatalf("got %q", said)
	}
	p.send(message("ACK", "z9hG4bKinv", p.addr(), "To", field(said, "To")))
	until(t, "the ACK is absorbed", func() bool { return s.Stats().Of(Absorbed) == 1 })
}

func TestResponseThatCarriesAnInjectionIsNotSent(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKinj", p.addr()))
	in := await(t, got, "the INVITE")
	if err := in.Reply(486, "Busy\r\nContact: <sip:evil@192.0.2.1>"); !errors.Is(err, errInjected) {
		t.Fatalf("got %v", err)
	}
	if err := in.Reply(500, "Server Internal Error"); err != nil {
		t.Fatalf("the transaction was harmed: %v", err)
	}
	if msg := p.recv(); status(msg) != "500" {
		t.Fatalf("got %q", msg)
	}
}

func TestPeerCertificateNamesReachTheHandler(t *testing.T) {
	ca := newAuthority(t)
	got, on := inbox()
	hooked := ca.listener("us.example.com")
	hooked.Name, hooked.TLS = "hooked", hooked.TLS.Clone()
	hooked.TLS.ClientAuth = tls.RequireAnyClientCert
	hooked.TLS.VerifyConnection = func(tls.ConnectionState) error { return nil }
	asked := ca.listener("us.example.com")
	asked.Name, asked.TLS = "asked", asked.TLS.Clone()
	asked.TLS.ClientAuth, asked.TLS.VerifyConnection = tls.RequestClientCert, hooked.TLS.VerifyConnection
	any := ca.listener("us.example.com")
	any.Name, any.TLS = "any", any.TLS.Clone()
	any.TLS.ClientAuth = tls.RequireAnyClientCert
	s := serve(t, Options{Listeners: []Listener{ca.listener("us.example.com"), hooked, asked, any}, Handler: func(in *Inbound) {
		in.Reply(200, "OK")
		on(in)
	}})
	for _, c := range []struct {
		listener string
		cert     tls.Certificate
		names    []string
		verified bool
	}{
		{"s", ca.issue("cn.example.net", "a.example.net", "b.example.net"), []string{"a.example.net", "b.example.net"}, true},
		{"s", ca.issue("cn.example.net"), []string{"cn.example.net"}, true},
		{"hooked", ca.issue("x", "a.example.net"), []string{"a.example.net"}, true},
		{"asked", ca.issue("x", "a.example.net"), []string{"a.example.net"}, true},
		{"any", ca.issue("x", "a.example.net"), []string{"a.example.net"}, false},
	} {
		conn := ca.dial(s.Address(c.listener), "us.example.com", c.cert)
		conn.send(message("OPTIONS", newBranch(), s.Address("s"), "Via", "SIP/2.0/TLS 192.0.2.1;branch="+newBranch()))
		if msg := conn.recv(); status(msg) != "200" {
			t.Fatalf("the response did not come back on the connection: %q", msg)
		}
		in := await(t, got, "the request")
		if !slices.Equal(in.TLSNames, c.names) || in.Verified != c.verified || in.Transport != "tls" || in.Listener != c.listener {
			t.Errorf("%s: names %v, verified %t, transport %s", c.listener, in.TLSNames, in.Verified, in.Transport)
		}
	}
}

func TestStrangersAreSlowedDownAndTrunksAreNot(t *testing.T) {
	const burst = 10 * int(rateBurst/time.Second)
	trunk := netip.MustParseAddr("127.0.0.9")
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Limits: config.SIPLimits{StrangerRate: 10}, Known: func(_ string, a netip.Addr) bool { return a == trunk }, Handler: on})
	p := dialPeer(t, s.Address("u"))
	for i := range 5 * burst {
		p.send(message("OPTIONS", fmt.Sprintf("z9hG4bK%d", i), p.addr()))
		until(t, "it is read", func() bool { return s.Stats().Received == uint64(i+1) })
	}
	st := settled(t, s)
	if over := st.Of(OverRate); over < uint64(3*burst) || st.Of(Delivered) < uint64(burst) || len(got) != int(st.Of(Delivered)) {
		t.Fatalf("outcomes: %s", show(st))
	}
	if wait := s.listeners["u"].charge(trunk); wait != 0 {
		t.Fatalf("the trunk waits %s", wait)
	}
}

func TestEveryMessageHasOneOutcome(t *testing.T) {
	s := serve(t, Options{Listeners: append(udpOnly(), tcpOnly()...)})
	p, c := dialPeer(t, s.Address("u")), dialTCP(t, s.Address("t"))
	good := message("OPTIONS", "z9hG4bKsum", p.addr())
	for _, msg := range []string{good, good, "\r\n\r\n", "\x00\x00\x00\x00", "junk", "junk\r\n\r\n", message("FOO", "z9hG4bKf", p.addr()),
		message("ACK", "z9hG4bKa", p.addr()), "SIP/2.0 200 OK\r\n\r\n", strings.Repeat("a", 60000), message("OPTIONS", "z9hG4bKv", p.addr(), "Via", "")} {
		p.send(msg)
	}
	c.send(good + message("FOO", "z9hG4bKf", p.addr()) + message("OPTIONS", "z9hG4bKq", p.addr(), "To", `<sip:b@c>;x="y;tag=1"`) + message("OPTIONS", "z9hG4bKlast", p.addr()))
	for range 3 {
		c.recv()
	}
	until(t, "all were received", func() bool { return s.Stats().Received == 15 })
	st := settled(t, s)
	if st.Sum() != st.Received {
		t.Fatalf("%d received, %s", st.Received, show(st))
	}
	for o, want := range map[Outcome]uint64{Delivered: 4, Absorbed: 1, Answered: 2, Keepalive: 2, Smuggled: 1, BadFirstLine: 1, StrayRequest: 1, BadResponse: 1} {
		if st.Of(o) != want {
			t.Errorf("%s = %d, want %d (%s)", o, st.Of(o), want, show(st))
		}
	}
}
