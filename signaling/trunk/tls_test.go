package trunk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
)

// authority signs certificates for one test and keeps them as files.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.file = a.write(name+".pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// sign makes a key and its certificate; the first one of an authority signs itself.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
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

// identity is a certificate for a name with the key usages, and trust in the authority, as a config has it.
func (a *authority) identity(name string, usage ...x509.ExtKeyUsage) *config.TLS {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: usage})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &config.TLS{
		Certificate: a.write(name+".pem", "CERTIFICATE", cert.Raw),
		Key:         a.write(name+".key", "PRIVATE KEY", der),
		CA:          a.file, Client: config.ClientRequire, MinVersion: "1.2",
	}
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// shake lets two ends shake hands over loopback and gives the error of each. TLS 1.3 clients finish before the server has
// judged their certificate, so that the server's error is the one that counts for it.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient error) {
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
			err = tls.Server(conn, server).Handshake()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client = client.Clone()
	client.ServerName = "sbc.example.com"
	atClient = tls.Client(conn, client).Handshake()
	return <-done, atClient
}

func configs(t *testing.T, server, client *config.TLS) (s, c *tls.Config) {
	t.Helper()
	s, err := ServerTLS(server)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = ClientTLS(client); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestPeersOfOneAuthorityShakeHands(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, c := configs(t, ca.identity("sbc.example.com", x509.ExtKeyUsageServerAuth), ca.identity("gw.example.com", x509.ExtKeyUsageClientAuth))
	if atServer, atClient := shake(t, s, c); atServer != nil || atClient != nil {
		t.Errorf("server %v, client %v", atServer, atClient)
	}
}

func TestClientCertificateForServersOnlyIsAccepted(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, c := configs(t, ca.identity("sbc.example.com", x509.ExtKeyUsageServerAuth), ca.identity("uc.example.com", x509.ExtKeyUsageServerAuth))
	if atServer, atClient := shake(t, s, c); atServer != nil || atClient != nil {
		t.Errorf("server %v, client %v", atServer, atClient)
	}
}

func TestClientOfAnotherAuthorityIsRefused(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	for _, mode := range []string{config.ClientRequire, config.ClientRequest} {
		ours, theirs := ca.identity("sbc.example.com"), other.identity("sbc.example.com")
		ours.Client, theirs.CA = mode, ca.file
		s, c := configs(t, ours, theirs)
		if atServer, _ := shake(t, s, c); atServer == nil {
			t.Errorf("client: %s: accepted", mode)
		}
	}
}

func TestClientWithoutCertificateIsRefusedOnlyWhereOneIsRequired(t *testing.T) {
	ca := newAuthority(t, "ca")
	for mode, accepted := range map[string]bool{config.ClientRequire: false, config.ClientRequest: true, config.ClientNone: true} {
		ours := ca.identity("sbc.example.com")
		ours.Client = mode
		s, c := configs(t, ours, ca.identity("gw.example.com"))
		c.Certificates = nil
		if atServer, _ := shake(t, s, c); (atServer == nil) != accepted {
			t.Errorf("client: %s: %v", mode, atServer)
		}
	}
}

func TestServerOfAnotherAuthorityIsRefused(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	s, c := configs(t, other.identity("sbc.example.com"), ca.identity("gw.example.com"))
	if _, atClient := shake(t, s, c); atClient == nil {
		t.Error("accepted")
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	for min, most := range map[string]uint16{"1.2": tls.VersionTLS11, "1.3": tls.VersionTLS12} {
		ours := ca.identity("sbc.example.com")
		ours.MinVersion = min
		s, c := configs(t, ours, ca.identity("gw.example.com"))
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, most
		if atServer, _ := shake(t, s, c); atServer == nil {
			t.Errorf("min_version %s: an older one was accepted", min)
		}
	}
}

func TestUnreadableIdentityNamesTheFile(t *testing.T) {
	ca := newAuthority(t, "ca")
	for want, spoil := range map[string]func(*config.TLS){
		"certificate gone.pem, key ": func(c *config.TLS) { c.Certificate = "gone.pem" },
		"ca: open gone.pem":          func(c *config.TLS) { c.CA = "gone.pem" },
		"no certificate in PEM form": func(c *config.TLS) { c.CA = c.Key },
	} {
		c := ca.identity("sbc.example.com")
		spoil(c)
		_, atServer := ServerTLS(c)
		_, atClient := ClientTLS(c)
		if atServer == nil || atClient == nil || !strings.Contains(atServer.Error(), want) || !strings.Contains(atClient.Error(), want) {
			t.Errorf("got %v and %v, want %q", atServer, atClient, want)
		}
	}
}
