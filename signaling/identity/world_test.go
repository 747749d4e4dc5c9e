package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/config"
)

const patience = 10 * time.Second // for an event that must come

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

// authority signs certificates for one test and keeps them as files.
type authority struct {
	t      testing.TB
	dir    string
	file   string // its own certificate
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	above  []*x509.Certificate // of an intermediate: what goes into the chain
	serial int64
}

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file = a.write(name+".pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// intermediate is an authority that this one has signed.
func (a *authority) intermediate(name string) *authority {
	b := &authority{t: a.t, dir: a.t.TempDir(), file: a.file}
	b.cert, b.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	b.above = []*x509.Certificate{b.cert}
	return b
}

// sign makes a key and its certificate, for an hour unless the template says otherwise; the first one of an authority signs
// itself.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.serial++
	c.SerialNumber = big.NewInt(a.serial)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = c.NotAfter.Add(-1000 * time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// template is a certificate for names and addresses with the key usages.
func template(names []string, usage ...x509.ExtKeyUsage) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, ExtKeyUsage: usage}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return c
}

// identity writes a certificate and its key as a config names them, with trust in the authority.
func (a *authority) identity(c *x509.Certificate) *config.TLS {
	a.t.Helper()
	dir := a.t.TempDir()
	t := &config.TLS{
		Certificate: filepath.Join(dir, "own.pem"), Key: filepath.Join(dir, "own.key"),
		CA: a.file, Client: config.ClientRequire, MinVersion: "1.2",
	}
	a.renew(t, c)
	return t
}

// renew writes another certificate and key into the files of an identity.
func (a *authority) renew(t *config.TLS, c *x509.Certificate) {
	a.t.Helper()
	cert, key := a.pems(c)
	put(a.t, t.Certificate, cert)
	put(a.t, t.Key, key)
}

// pems are the contents of a certificate file, chain included, and of a key file.
func (a *authority) pems(c *x509.Certificate) (cert, key string) {
	a.t.Helper()
	signed, private := a.sign(c)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert = text("CERTIFICATE", signed.Raw)
	for _, c := range a.above {
		cert += text("CERTIFICATE", c.Raw)
	}
	return cert, text("PRIVATE KEY", der)
}

func text(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	put(a.t, path, text(kind, der))
	return path
}

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sip is a configuration with one TLS listener, "in".
func sip(t *config.TLS) *config.Config {
	return &config.Config{SIP: config.SIP{FQDN: "sbc.example.com", Listeners: map[string]config.Listener{
		"in": {Transport: "tls", Address: netip.MustParseAddrPort("127.0.0.1:5061"), TLS: t},
	}}}
}

// journal keeps what is logged.
type journal struct {
	mu    sync.Mutex
	lines []string
	news  chan string // of each line, as far as somebody reads
}

func newJournal() *journal { return &journal{news: make(chan string, 64)} }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	j.mu.Lock()
	j.lines = append(j.lines, line)
	j.mu.Unlock()
	select {
	case j.news <- line:
	default:
	}
	return nil
}

// take gives the lines that hold all of words, and forgets every line so far.
func (j *journal) take(words ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
line:
	for _, l := range j.lines {
		for _, w := range words {
			if !strings.Contains(l, w) {
				continue line
			}
		}
		found = append(found, l)
	}
	j.lines = nil
	return found
}

// open opens a store that looks only when it is told to.
func open(t testing.TB, cfg *config.Config, o Options) (*Store, *journal) {
	t.Helper()
	j := newJournal()
	if o.Log == nil {
		o.Log = slog.New(j)
	}
	if o.Every == 0 {
		o.Every = -1
	}
	s, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, j
}

// shake lets two ends shake hands over loopback and gives what the client saw and the error of each. TLS 1.3 clients finish
// before the server has judged their certificate, so that the server's error is the one that counts for it.
func shake(t testing.TB, server, client *tls.Config) (seen tls.ConnectionState, atServer, atClient error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			secure := tls.Server(conn, server)
			if err = secure.Handshake(); err == nil {
				_, err = secure.Write([]byte{0}) // with it goes the session ticket
			}
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client = client.Clone()
	if client.ServerName == "" {
		client.ServerName = "sbc.example.com"
	}
	secure := tls.Client(conn, client)
	if atClient = secure.Handshake(); atClient == nil {
		secure.Read(make([]byte, 1)) // an error is the server's to tell
	}
	return secure.ConnectionState(), <-done, atClient
}
