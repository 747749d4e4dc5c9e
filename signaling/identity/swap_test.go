package identity

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// line is a connection of a peer, in either direction.
type line struct {
	*tls.Conn
	r *bufio.Reader
}

func newLine(t *testing.T, c *tls.Conn) line {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return line{c, bufio.NewReader(c)}
}

// recv reads one message without a body.
func (l line) recv() (string, error) {
	var b strings.Builder
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			return b.String(), err
		}
		b.WriteString(s)
		if s == "\r\n" {
			return b.String(), nil
		}
	}
}

// far is a peer with a certificate that takes connections of ours and answers what comes on them.
type far struct {
	at    netip.AddrPort
	conns chan *big.Int // the number of the certificate that each connection showed
	ended chan error
}

func newFar(t *testing.T, ca *authority) *far {
	t.Helper()
	theirs, _ := open(t, sip(ca.identity(template([]string{"gw.example.net"}))), Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &far{l.Addr().(*net.TCPAddr).AddrPort(), make(chan *big.Int, 100), make(chan error, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(tls.Server(c, theirs.Server("in")))
		}
	}()
	return f
}

func (f *far) serve(c *tls.Conn) {
	defer c.Close()
	l, shaken := line{c, bufio.NewReader(c)}, false
	for {
		req, err := l.recv()
		if err != nil {
			f.ended <- err
			return
		}
		if !shaken {
			f.conns <- c.ConnectionState().PeerCertificates[0].SerialNumber
			shaken = true
		}
		res := "SIP/2.0 200 OK\r\n"
		for h := range strings.SplitSeq(req, "\r\n") {
			for _, name := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:"} {
				if strings.HasPrefix(h, name) {
					res += h + "\r\n"
				}
			}
		}
		io.WriteString(c, res+"Content-Length: 0\r\n\r\n")
	}
}

// crossing is connections in both directions between our stack and peers.
type crossing struct {
	t     *testing.T
	ca    *authority
	st    *guard.Stack
	peers *Store // identity of the peers that connect
	in    []line
	out   []*far
}

// dial is one more peer that connects.
func (x *crossing) dial() line {
	x.t.Helper()
	cfg := x.peers.Client("in").Clone()
	cfg.ServerName = "sbc.example.com"
	c, err := tls.Dial("tcp", x.st.Address("in").String(), cfg)
	if err != nil {
		x.t.Fatal(err)
	}
	return newLine(x.t, c)
}

// ping sends a request of ours to a peer and waits for the answer.
func (x *crossing) ping(f *far, id string) {
	x.t.Helper()
	got := make(chan error, 1)
	_, err := x.st.Request(context.Background(), ask(id), guard.Egress{Listener: "in", Dest: f.at, ServerName: "gw.example.net"},
		func(_ *gosip.Response, err error) { got <- err })
	if err == nil {
		err = await(x.t, got, "the answer")
	}
	if err != nil {
		x.t.Fatalf("%s: %v", id, err)
	}
}

// talk uses every connection once.
func (x *crossing) talk(round int) {
	x.t.Helper()
	for i, l := range x.in {
		io.WriteString(l, options(fmt.Sprintf("in-%d-%d", round, i)))
		if res, err := l.recv(); err != nil || !strings.HasPrefix(res, "SIP/2.0 200 ") {
			x.t.Fatalf("round %d, connection %d of theirs: %q, %v", round, i, res, err)
		}
	}
	for i, f := range x.out {
		x.ping(f, fmt.Sprintf("out-%d-%d", round, i))
	}
}

func TestCertificateIsSwappedUnderLiveConnectionsWithoutDroppingOne(t *testing.T) {
	const lines, swaps = 50, 3 // lines in each direction
	ca := newAuthority(t, "ca")
	files := ca.identity(template([]string{"sbc.example.com"}))
	store, _ := open(t, sip(files), Options{})
	peers, _ := open(t, sip(ca.identity(template([]string{"uc.example.com"}))), Options{})
	x := &crossing{t: t, ca: ca, peers: peers}
	x.st = stack(t, store, func(in *guard.Inbound) { in.Reply(200, "OK") }, newJournal())
	for range lines {
		x.in, x.out = append(x.in, x.dial()), append(x.out, newFar(t, ca))
	}
	x.talk(0)
	number := func(l line) *big.Int { return l.ConnectionState().PeerCertificates[0].SerialNumber }
	now := number(x.in[0])
	for round := 1; round <= swaps; round++ {
		ca.renew(files, template([]string{"sbc.example.com"}))
		if err := store.Reload(); err != nil {
			t.Fatal(err)
		}
		x.talk(round)
		fresh, f := number(x.dial()), newFar(t, ca)
		if fresh.Cmp(now) == 0 {
			t.Errorf("round %d: a new connection of theirs sees the old certificate", round)
		}
		now = fresh
		x.ping(f, fmt.Sprint("new-", round))
		if shown := await(t, f.conns, "the connection"); shown.Cmp(now) != 0 {
			t.Errorf("round %d: a new connection of ours shows certificate %s, not %s", round, shown, now)
		}
	}
	for i, f := range x.out {
		if len(f.conns) != 1 || len(f.ended) != 0 {
			t.Errorf("connection %d of ours: %d opened, %d ended", i, len(f.conns), len(f.ended))
		}
	}
	n, open := x.st.Stats().Connections, x.st.Stats().Streams
	if n[guard.Opened] != lines+swaps || n[guard.Accepted] != lines+swaps || n[guard.HandshakeFailed] != 0 || open != 2*(lines+swaps) {
		t.Errorf("connections: %v, %d open", n, open)
	}
}

// Two identities towards one peer must not meet on one connection, in neither order (signaling/guard, trap 1).
func TestIdentitiesDoNotShareConnections(t *testing.T) {
	ca := newAuthority(t, "ca")
	cfg := sip(ca.identity(template([]string{"sbc.example.com"})))
	store, _ := open(t, cfg, Options{})
	a, _ := open(t, sip(ca.identity(template([]string{"a.example.com"}))), Options{})
	b, _ := open(t, sip(ca.identity(template([]string{"b.example.com"}))), Options{})
	st := stack(t, store, func(*guard.Inbound) {}, newJournal())
	f := newFar(t, ca)
	seen := map[string]bool{}
	for i, own := range []*tls.Config{nil, a.Client("in"), b.Client("in"), a.Client("in"), nil} {
		got := make(chan error, 1)
		if _, err := st.Request(context.Background(), ask(fmt.Sprint("share-", i)),
			guard.Egress{Listener: "in", Dest: f.at, ServerName: "gw.example.net", TLS: own}, func(_ *gosip.Response, err error) { got <- err }); err != nil {
			t.Fatal(err)
		}
		if err := await(t, got, "the answer"); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		seen[await(t, f.conns, "a connection of its own for each identity").String()] = true
	}
	if len(seen) != 3 || len(f.conns) != 0 || st.Stats().Connections[guard.Opened] != 3 {
		t.Errorf("%d identities were seen on %d connections", len(seen), st.Stats().Connections[guard.Opened])
	}
}

// A connection that the peer opened was proven to the listener; a trunk with trust of its own does not rely on it.
func TestTrunkWithItsOwnTrustDoesNotUseTheListenersConnections(t *testing.T) {
	ca := newAuthority(t, "ca")
	store, _ := open(t, sip(ca.identity(template([]string{"sbc.example.com"}))), Options{})
	own, _ := open(t, sip(ca.identity(template([]string{"own.example.com"}))), Options{})
	st := stack(t, store, func(in *guard.Inbound) { in.Reply(200, "OK") }, newJournal())
	theirs, _ := open(t, sip(ca.identity(template([]string{"gw.example.net"}))), Options{})
	client := theirs.Client("in").Clone()
	client.ServerName = "sbc.example.com"
	c, err := tls.Dial("tcp", st.Address("in").String(), client)
	if err != nil {
		t.Fatal(err)
	}
	l := newLine(t, c)
	io.WriteString(l, options("hello")) // so that it is known to be theirs
	if _, err := l.recv(); err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	got := make(chan error, 1)
	if _, err := st.Request(context.Background(), ask("own"), guard.Egress{Listener: "in", Dest: at, ServerName: "gw.example.net", TLS: own.Client("in")},
		func(_ *gosip.Response, err error) { got <- err }); err != nil {
		got <- err // as fast as that
	}
	if err := await(t, got, "the failure: nobody listens there"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	if _, err := st.Request(context.Background(), ask("shared"), guard.Egress{Listener: "in", Dest: at, ServerName: "gw.example.net"},
		func(*gosip.Response, error) {}); err != nil {
		t.Fatal(err)
	}
	if req, err := l.recv(); err != nil || !strings.Contains(req, "Call-ID: shared") {
		t.Errorf("without an identity of its own: %q, %v", req, err)
	}
}

// An identity that nobody verifies anything with is a mistake of ours, not a choice.
func TestGuardRefusesAnIdentityThatVerifiesNobody(t *testing.T) {
	ca := newAuthority(t, "ca")
	store, _ := open(t, sip(ca.identity(template([]string{"sbc.example.com"}))), Options{})
	st := stack(t, store, func(*guard.Inbound) {}, newJournal())
	_, err := st.Request(context.Background(), ask("blind"), guard.Egress{Listener: "in", Dest: netip.MustParseAddrPort("127.0.0.1:9"),
		TLS: &tls.Config{InsecureSkipVerify: true}}, func(*gosip.Response, error) { t.Error("called") })
	if err == nil || !strings.Contains(err.Error(), "verifies no chain") {
		t.Errorf("got %v", err)
	}
}
