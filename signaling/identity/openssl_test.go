package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// need leaves a test out where a program is not installed.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("STRICT") == "1" {
		t.Fatalf("%s is not installed (Debian package %s)", program, pkg)
	}
	t.Skipf("%s is not installed (Debian package %s)", program, pkg)
}

// stack is a SIP stack with one TLS listener of the store.
func stack(t *testing.T, s *Store, handler func(*guard.Inbound), log slog.Handler) *guard.Stack {
	t.Helper()
	st, err := guard.Open(context.Background(), guard.Options{
		Listeners: []guard.Listener{{Name: "in", Transport: "tls", Addr: netip.MustParseAddrPort("127.0.0.1:0"), TLS: s.Server("in"), ClientTLS: s.Client("in")}},
		Handler:   handler, Log: slog.New(log),
	})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		st.Serve(context.Background())
	}()
	t.Cleanup(func() {
		st.Close()
		await(t, over, "the end of the stack")
	})
	return st
}

// options is an OPTIONS request of a peer, as it stands on the wire.
func options(id string) string {
	return "OPTIONS sip:sbc.example.com SIP/2.0\r\nVia: SIP/2.0/TLS gw.example.net;branch=z9hG4bK" + id + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:gw.example.net>;tag=" + id + "\r\nTo: <sip:sbc.example.com>\r\nCall-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
}

// ask is an OPTIONS request of ours.
func ask(id string) *gosip.Request {
	req := gosip.NewRequest(gosip.OPTIONS, gosip.Uri{Scheme: "sip", Host: "gw.example.net"})
	from := &gosip.FromHeader{Address: gosip.Uri{Scheme: "sip", Host: "sbc.example.com"}}
	from.Params.Add("tag", id)
	call := gosip.CallIDHeader(id)
	req.AppendHeader(from)
	req.AppendHeader(&gosip.ToHeader{Address: gosip.Uri{Scheme: "sip", Host: "gw.example.net"}})
	req.AppendHeader(&call)
	req.AppendHeader(&gosip.CSeqHeader{SeqNo: 1, MethodName: gosip.OPTIONS})
	return req
}

// flow is what a process prints, for whoever waits for a word of it.
type flow struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newFlow() *flow { return &flow{more: make(chan struct{}, 1)} }

func (f *flow) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
	return f.text.Write(b)
}

func (f *flow) has(word string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.text.String(), word)
}

func (f *flow) await(t *testing.T, word string) {
	t.Helper()
	for !f.has(word) {
		await(t, f.more, fmt.Sprintf("%q of openssl", word))
	}
}

// openssl runs a command of openssl until the test ends; what is written to the first result is its input.
func openssl(t *testing.T, args ...string) (io.WriteCloser, *flow) {
	t.Helper()
	out := newFlow()
	c := exec.Command("openssl", args...)
	c.Stdout, c.Stderr = out, out
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Process.Kill()
		c.Wait()
	})
	return in, out
}

// expired ends a certificate a minute ago.
func expired(c *x509.Certificate) *x509.Certificate {
	c.NotAfter = time.Now().Add(-time.Minute)
	return c
}

// The left column is what openssl s_client shows to our listener; what comes of it is what the stack and the trunk table
// say.
func TestHandshakesOfPeersThatConnect(t *testing.T) {
	need(t, "openssl", "openssl")
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	between := ca.intermediate("between")
	names := []string{"gw.example.net"}
	for _, c := range []struct {
		name    string
		shows   *config.TLS // nil: no certificate
		args    []string
		peer    string // of the trunk
		failed  string // the handshake, with this in the log
		refused string // by Identify, with this reason; neither: it enters
	}{
		{"right chain and name", ca.identity(template(names, forClients)), nil, "gw.example.net", "", ""},
		{"clientAuth absent: right chain and name are enough", ca.identity(template(names, forServers)), nil, "gw.example.net", "", ""},
		{"an intermediate in the chain", between.identity(template(names)), nil, "gw.example.net", "", ""},
		{"a wildcard", ca.identity(template([]string{"*.example.net"})), nil, "gw.example.net", "", ""},
		{"the peer's address, in the certificate", ca.identity(template([]string{"127.0.0.1"})), nil, "127.0.0.1", "", ""},
		{"the peer's address, not in the certificate", ca.identity(template(names)), nil, "127.0.0.1", "", "its certificate is for"},
		{"wrong name", ca.identity(template([]string{"evil.example.org"})), nil, "gw.example.net", "", `its certificate is for ["evil.example.org"], not for gw.example.net`},
		{"expired", ca.identity(expired(template(names))), nil, "gw.example.net", "has expired or is not yet valid", ""},
		{"untrusted", other.identity(template(names)), nil, "gw.example.net", "unknown authority", ""},
		{"the intermediate is missing", without(t, between.identity(template(names)), 1), nil, "gw.example.net", "unknown authority", ""},
		{"no certificate", nil, nil, "gw.example.net", "client didn't provide a certificate", ""},
		{"TLS 1.1", ca.identity(template(names)), []string{"-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"}, "gw.example.net", "client offered only unsupported versions", ""},
		{"TLS 1.2", ca.identity(template(names)), []string{"-tls1_2"}, "gw.example.net", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := sip(ca.identity(template([]string{"sbc.example.com"}, forServers)))
			cfg.Trunks = map[string]config.Trunk{"gw": {Listener: "in", Peer: c.peer, TLSNames: []string{c.peer},
				Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
			store, _ := open(t, cfg, Options{})
			table, err := trunk.New(cfg, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, log := make(chan *guard.Inbound, 1), newJournal()
			st := stack(t, store, func(in *guard.Inbound) { got <- in }, log)
			args := append([]string{"s_client", "-quiet", "-no_ign_eof", "-connect", st.Address("in").String(), "-servername", "sbc.example.com"}, c.args...)
			if c.shows != nil {
				args = append(args, "-cert", c.shows.Certificate, "-cert_chain", c.shows.Certificate, "-key", c.shows.Key)
			}
			in, _ := openssl(t, args...)
			io.WriteString(in, options("s-client"))
			if c.failed != "" {
				line := await(t, log.news, "the failed handshake")
				if !strings.Contains(line, c.failed) || st.Stats().Connections[guard.HandshakeFailed] != 1 || len(got) != 0 {
					t.Errorf("logged %q, want %q", line, c.failed)
				}
				return
			}
			req := await(t, got, "the request")
			tr, why := table.Identify("in", req.Source.Addr(), req.TLSNames)
			if !req.Verified || (tr != nil) != (c.refused == "") || !strings.Contains(why, c.refused) {
				t.Errorf("names %q, verified %t: %q, want %q", req.TLSNames, req.Verified, why, c.refused)
			}
		})
	}
}

// The left column is what openssl s_server shows when we connect.
func TestHandshakesOfPeersThatWeConnectTo(t *testing.T) {
	need(t, "openssl", "openssl")
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	between := ca.intermediate("between")
	names := []string{"gw.example.net"}
	ours := ca.identity(template([]string{"sbc.example.com"}, forServers, forClients))
	store, _ := open(t, sip(ours), Options{})
	strict := *ours
	strict.MinVersion = "1.3"
	cfg := sip(ours)
	cfg.Trunks = map[string]config.Trunk{"strict": {Listener: "in", TLS: &strict}}
	stricter, _ := open(t, cfg, Options{})
	named := guard.Egress{ServerName: "gw.example.net"}
	for _, c := range []struct {
		name  string
		shows *config.TLS
		args  []string
		way   guard.Egress
		want  string // in the error; empty: the peer gets our request, and our certificate with it
	}{
		{"right chain and name", ca.identity(template(names, forServers)), nil, named, ""},
		{"an intermediate in the chain", between.identity(template(names)), nil, named, ""},
		{"a wildcard covers one label", ca.identity(template([]string{"*.example.net"})), nil, named, ""},
		{"one of the trunk's names", ca.identity(template([]string{"gw2.example.net"})), nil,
			guard.Egress{ServerName: "gw.example.net", TLSNames: []string{"gw.example.net", "gw2.example.net"}}, ""},
		{"a wildcard of the trunk", ca.identity(template(names)), nil, guard.Egress{ServerName: "gw.example.net", TLSNames: []string{"*.example.net"}}, ""},
		{"a wildcard of the trunk, two labels below", ca.identity(template([]string{"a.gw.example.net"})), nil,
			guard.Egress{ServerName: "gw.example.net", TLSNames: []string{"*.example.net"}}, "certificate is for a.gw.example.net, not for *.example.net"},
		{"a peer without a name, its address in the certificate", ca.identity(template([]string{"127.0.0.1"})), nil, guard.Egress{}, ""},
		{"a peer without a name, its address not in the certificate", ca.identity(template(names)), nil, guard.Egress{}, "not for 127.0.0.1"},
		{"wrong name", ca.identity(template([]string{"evil.example.org"})), nil, named, "certificate is for evil.example.org, not for gw.example.net"},
		{"expired", ca.identity(expired(template(names))), nil, named, "has expired or is not yet valid"},
		{"untrusted", other.identity(template(names)), nil, named, "unknown authority"},
		{"the intermediate is missing", without(t, between.identity(template(names)), 1), nil, named, "unknown authority"},
		{"serverAuth absent", ca.identity(template(names, forClients)), nil, named, "incompatible key usage"},
		{"TLS 1.1", ca.identity(template(names)), []string{"-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"}, named, "protocol version"},
		{"TLS 1.2 where the trunk wants 1.3", ca.identity(template(names)), []string{"-tls1_2"},
			guard.Egress{ServerName: "gw.example.net", TLS: stricter.Trunk("strict")}, "protocol version"},
		{"TLS 1.3 where the trunk wants it", ca.identity(template(names)), nil,
			guard.Egress{ServerName: "gw.example.net", TLS: stricter.Trunk("strict")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-cert", c.shows.Certificate, "-cert_chain", c.shows.Certificate, "-key", c.shows.Key, "-CAfile", ca.file}, c.args...)
			called(t, store, args, c.way, c.want)
		})
	}
}

// called sends a request to openssl s_server with args. Without an error wanted the peer must get it, and our certificate
// before it; with one it must get nothing.
func called(t *testing.T, store *Store, args []string, way guard.Egress, want string) {
	t.Helper()
	st := stack(t, store, func(*guard.Inbound) {}, newJournal())
	port := freePort(t)
	_, out := openssl(t, append([]string{"s_server", "-accept", fmt.Sprint("127.0.0.1:", port), "-Verify", "2", "-naccept", "1"}, args...)...)
	out.await(t, "ACCEPT")
	failed := make(chan error, 1)
	way.Listener, way.Dest = "in", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	if _, err := st.Request(context.Background(), ask("s-server"), way, func(_ *gosip.Response, err error) { failed <- err }); err != nil {
		failed <- err // as fast as that
	}
	if want == "" {
		if len(failed) > 0 {
			t.Fatal(<-failed)
		}
		out.await(t, "OPTIONS sip:gw.example.net")
		out.await(t, "CN = sbc.example.com") // of the client certificate
		return
	}
	if err := await(t, failed, "the failure"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if out.has("OPTIONS") {
		t.Error("the peer got the request")
	}
}

// freePort is a TCP port of loopback that nobody has.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}
