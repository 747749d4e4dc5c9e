package guard

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

func TestTrap4OneSilentClientBlocksNobody(t *testing.T) {
	ca := newAuthority(t)
	s := serve(t, Options{Listeners: []Listener{ca.listener("us.example.com")}, Limits: config.SIPLimits{Handshake: 50 * time.Millisecond}})
	silent, err := net.Dial("tcp", s.Address("s").String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ok := ca.dial(s.Address("s"), "us.example.com", ca.issue("peer", "peer.example.net"))
	ok.send(message("OPTIONS", "z9hG4bKok", s.Address("s")))
	if msg := ok.recv(); status(msg) != "200" {
		t.Fatalf("got %q", msg)
	}
	silent.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Fatalf("the silent client was not closed at the handshake deadline: %v", err)
	}
	if n := s.Stats().Connections[HandshakeFailed]; n != 1 {
		t.Fatalf("handshake_failed = %d", n)
	}
}

func TestTrap4ConnectionsAreLimitedInTotalAndPerSource(t *testing.T) {
	refused := func(c *line) bool {
		_, err := c.read()
		return err != nil
	}
	admitted := func(c *line) bool {
		c.Write([]byte("\r\n\r\n"))
		b := make([]byte, 2)
		_, err := io.ReadFull(c.r, b)
		return err == nil && string(b) == "\r\n"
	}
	for _, c := range []struct {
		name  string
		lim   config.SIPLimits
		known bool
		in    int
		event ConnectionEvent
	}{
		{"in total", config.SIPLimits{Connections: 3}, true, 3, RefusedTotal},
		{"per source", config.SIPLimits{PerSource: 2}, true, 2, RefusedSource},
		{"strangers hold a quarter", config.SIPLimits{Connections: 4}, false, 1, RefusedSource},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, Options{Listeners: tcpOnly(), Limits: c.lim, Known: func(string, netip.Addr) bool { return c.known }})
			var first *line
			for range c.in {
				first = dialTCP(t, s.Address("t"))
				if !admitted(first) {
					t.Fatal("a connection within the limit was refused")
				}
			}
			if !refused(dialTCP(t, s.Address("t"))) {
				t.Fatal("a connection beyond the limit was let in")
			}
			if n := s.Stats().Connections[c.event]; n != 1 {
				t.Fatalf("%s = %d", c.event, n)
			}
			first.Close()
			until(t, "the closed connection is counted out", func() bool { return s.Stats().Streams == c.in-1 })
			until(t, "its place is free", func() bool { return admitted(dialTCP(t, s.Address("t"))) })
		})
	}
}

func TestTrap4AcceptErrorsDoNotEndTheListener(t *testing.T) {
	s, err := Open(context.Background(), Options{Listeners: []Listener{{Name: "t", Transport: "tcp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}},
		Handler: func(in *Inbound) { in.Reply(200, "OK") }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.order[0].tcp = &failingListener{Listener: s.order[0].tcp, failures: 2}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	c := dialTCP(t, s.Address("t"))
	c.send(message("OPTIONS", "z9hG4bKafter", s.Address("t")))
	if msg := c.recv(); status(msg) != "200" {
		t.Fatalf("got %q", msg)
	}
	if n := s.Stats().Connections[AcceptRetried]; n != 2 {
		t.Fatalf("accept_retried = %d", n)
	}
	s.Close()
	await(t, done, "the end of Serve")
}

// failingListener is out of descriptors for its first accepts.
type failingListener struct {
	net.Listener
	failures int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestTrap4IdleConnectionsAreClosed(t *testing.T) {
	s := serve(t, Options{Listeners: tcpOnly(), Limits: config.SIPLimits{Idle: 20 * time.Millisecond}})
	if _, err := dialTCP(t, s.Address("t")).read(); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	if n := s.Stats().Connections[IdleClosed]; n != 1 {
		t.Fatalf("idle_closed = %d", n)
	}
}

func TestTrap4PeerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	at, conns := listenStream(t, nil)
	s := serve(t, Options{Listeners: tcpOnly()})
	big := request("OPTIONS", "stalled")
	big.SetBody(bytes.Repeat([]byte("x"), 60000))
	got, on := events()
	var failed bool
	for range 4 * sendDepth { // each returns at once; none waits for the peer
		if _, err := s.Request(context.Background(), big, Egress{Listener: "t", Dest: at}, on); err != nil {
			failed = true
			break
		}
	}
	if !failed {
		t.Fatal("a peer that never reads took everything")
	}
	await(t, conns, "the connection")
	if e := await(t, got, "the failure of a waiting request"); e.err == nil {
		t.Fatalf("got %v", e.res)
	}
	if n := s.Stats().Connections[Stalled]; n != 1 {
		t.Fatalf("stalled = %d", n)
	}
	until(t, "no transaction is left", func() bool { return s.Stats().Clients == 0 })
}

func TestCrowdsTellWhoIsConnected(t *testing.T) {
	s := serve(t, Options{Listeners: []Listener{{Name: "t", Transport: "tcp"}, {Name: "u", Transport: "tcp"}}})
	at, conns := listenStream(t, nil)
	for range 3 {
		dialTCP(t, s.Address("t"))
	}
	dialTCP(t, s.Address("u"))
	if _, err := s.Request(context.Background(), request("OPTIONS", "crowd"), Egress{Listener: "u", Dest: at}, func(*sip.Response, error) {}); err != nil {
		t.Fatal(err)
	}
	await(t, conns, "our connection")
	home := netip.MustParseAddr("127.0.0.1")
	want := []Crowd{{"t", home, 3, 0}, {"u", home, 1, 1}}
	until(t, "all are counted", func() bool { return slices.Equal(s.Crowds(10), want) })
	if got := s.Crowds(1); !slices.Equal(got, want[:1]) {
		t.Errorf("the largest: %v", got)
	}
	if got := s.Crowds(-1); len(got) != 0 {
		t.Errorf("none asked for: %v", got)
	}
}
