package guard

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

const patience = 10 * time.Second // for an event that must come; no test depends on how soon it does

// serve opens a stack, serves it until the test ends, and fails the test if Serve does not return then.
func serve(t testing.TB, opt Options) *Stack {
	t.Helper()
	if opt.Handler == nil {
		opt.Handler = func(in *Inbound) {
			if in.Tx != nil {
				in.Reply(200, "OK")
			}
		}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opt.trying == 0 {
		opt.trying = time.Hour
	}
	for i := range opt.Listeners {
		if !opt.Listeners[i].Addr.IsValid() {
			opt.Listeners[i].Addr = netip.MustParseAddrPort("127.0.0.1:0")
		}
	}
	s, err := Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		s.Close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Serve did not return after Close")
		}
	})
	return s
}

func udpOnly() []Listener { return []Listener{{Name: "u", Transport: "udp"}} }
func tcpOnly() []Listener { return []Listener{{Name: "t", Transport: "tcp"}} }

// inbox is a Handler that hands over what it gets.
func inbox() (chan *Inbound, func(*Inbound)) {
	c := make(chan *Inbound, 4096)
	return c, func(in *Inbound) { c <- in }
}

func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// until polls for a condition that no event announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// peer is a raw UDP socket.
type peer struct {
	t testing.TB
	*net.UDPConn
	to netip.AddrPort
}

func dialPeer(t testing.TB, to netip.AddrPort) *peer {
	t.Helper()
	host := "127.0.0.1:0"
	if to.Addr().Is6() {
		host = "[::1]:0"
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c, to}
}

func (p *peer) addr() netip.AddrPort { return p.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *peer) send(msg string) {
	p.t.Helper()
	if _, err := p.WriteToUDPAddrPort([]byte(msg), p.to); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) recv() string {
	p.t.Helper()
	buf := make([]byte, 65536)
	p.SetReadDeadline(time.Now().Add(patience))
	n, _, err := p.ReadFromUDPAddrPort(buf)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(buf[:n])
}

// message builds a request by hand: extra replaces headers of the same name or adds them; an empty value removes one.
func message(method, branch string, via netip.AddrPort, extra ...string) string {
	headers := []string{
		"Via: SIP/2.0/UDP " + via.String() + ";rport;branch=" + branch,
		"Max-Forwards: 70",
		"From: <sip:alice@example.com>;tag=a1",
		"To: <sip:bob@example.net>",
		"Call-ID: call-" + branch,
		"CSeq: 1 " + method,
		"Content-Length: 0",
	}
	for i := 0; i+1 < len(extra); i += 2 {
		line, found := extra[i]+": "+extra[i+1], false
		for j, h := range headers {
			if strings.HasPrefix(h, extra[i]+":") {
				headers[j], found = line, true
				if extra[i+1] == "" {
					headers = append(headers[:j], headers[j+1:]...)
				}
				break
			}
		}
		if !found && extra[i+1] != "" {
			headers = append(headers, line)
		}
	}
	return method + " sip:bob@example.net SIP/2.0\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

// answer builds the response of a raw peer to a request of ours: its Via, From, Call-ID and CSeq, a tag on To.
func answer(req, status, tag string, extra ...string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for line := range strings.SplitSeq(req, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "Call-ID", "CSeq":
			b.WriteString(line + "\r\n")
		case "To":
			if tag != "" && !strings.Contains(line, "tag=") {
				line += ";tag=" + tag
			}
			b.WriteString(line + "\r\n")
		}
	}
	for _, h := range extra {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// field is the value of the first header of a name in a raw message.
func field(msg, name string) string {
	for line := range strings.SplitSeq(msg, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func param(value, name string) string {
	for p := range strings.SplitSeq(value, ";") {
		if k, v, _ := strings.Cut(p, "="); k == name {
			return v
		}
	}
	return ""
}

func status(msg string) string {
	if !strings.HasPrefix(msg, "SIP/2.0 ") || len(msg) < 11 {
		return ""
	}
	return msg[8:11]
}

// request builds a request of ours.
func request(method sip.RequestMethod, callID string) *sip.Request {
	req := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: "bob", Host: "example.net"})
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "alice", Host: "example.com"}}
	from.Params.Add("tag", "ours")
	id := sip.CallIDHeader(callID)
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: "bob", Host: "example.net"}})
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	return req
}

// event is what a ClientHandler got.
type event struct {
	res *sip.Response
	err error
}

func events() (chan event, ClientHandler) {
	c := make(chan event, 8192)
	return c, func(res *sip.Response, err error) { c <- event{res, err} }
}

// line is a raw stream peer that reads whole messages.
type line struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func newLine(t testing.TB, c net.Conn) *line {
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return &line{t, c, bufio.NewReader(c)}
}

func (l *line) send(msg string) {
	l.t.Helper()
	if _, err := l.Write([]byte(msg)); err != nil {
		l.t.Fatal(err)
	}
}

// read returns the next message, or the error of the connection.
func (l *line) read() (string, error) {
	var b strings.Builder
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			return b.String(), err
		}
		b.WriteString(s)
		if s == "\r\n" && b.Len() > 2 {
			break
		}
	}
	n, _ := strconv.Atoi(field(b.String(), "Content-Length"))
	body := make([]byte, n)
	_, err := io.ReadFull(l.r, body)
	return b.String() + string(body), err
}

func (l *line) recv() string {
	l.t.Helper()
	msg, err := l.read()
	if err != nil {
		l.t.Fatalf("after %q: %v", msg, err)
	}
	return msg
}

func dialTCP(t testing.TB, to netip.AddrPort) *line {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	return newLine(t, c)
}

// listenStream accepts connections and hands them over.
func listenStream(t testing.TB, cfg *tls.Config) (netip.AddrPort, chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	conns := make(chan net.Conn, 64)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if cfg != nil {
				c = tls.Server(c, cfg)
			}
			conns <- c
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort(), conns
}

// authority signs certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for DNS names; cn is the subject.
func (a *authority) issue(cn string, dns ...string) tls.Certificate {
	a.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listener is a TLS listener of ours under a name, which asks for client certificates.
func (a *authority) listener(name string) Listener {
	cert := a.issue(name, name)
	return Listener{Name: "s", Transport: "tls",
		TLS:       &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert},
		ClientTLS: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.pool}}
}

// dial connects to a TLS listener as a peer with a certificate for names.
func (a *authority) dial(to netip.AddrPort, serverName string, cert tls.Certificate) *line {
	a.t.Helper()
	c, err := tls.Dial("tcp", to.String(), &tls.Config{RootCAs: a.pool, ServerName: serverName, Certificates: []tls.Certificate{cert}})
	if err != nil {
		a.t.Fatal(err)
	}
	return newLine(a.t, c)
}

// settled waits until every message has its outcome, and checks that the counts add up.
func settled(t testing.TB, s *Stack) Stats {
	t.Helper()
	until(t, "all messages have an outcome", func() bool { st := s.Stats(); return st.Received == st.Sum() })
	return s.Stats()
}

func show(st Stats) string {
	var b strings.Builder
	for o, n := range st.Outcomes {
		if n > 0 {
			fmt.Fprintf(&b, "%s=%d ", Outcome(o), n)
		}
	}
	return b.String()
}
