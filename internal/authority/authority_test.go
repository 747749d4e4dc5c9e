package authority

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func issue(t *testing.T, a *Authority, name string, at ...netip.Addr) *Identity {
	t.Helper()
	i, err := a.Issue(name, at...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func open(t *testing.T) *Authority {
	t.Helper()
	a, err := New(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shake is a mutual handshake of two identities, each of which trusts the roots.
func shake(server, client *Identity, roots *x509.CertPool, name string) (byServer, byClient error) {
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(far, &tls.Config{
			Certificates: []tls.Certificate{server.TLS}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
			SessionTicketsDisabled: true,
		}).Handshake()
		far.Close()
	}()
	c := tls.Client(near, &tls.Config{Certificates: []tls.Certificate{client.TLS}, RootCAs: roots, ServerName: name})
	if byClient = c.Handshake(); byClient == nil {
		c.Read(make([]byte, 1)) // a server's refusal comes after the client's part is done; a pipe holds nothing
	}
	near.Close()
	return <-done, byClient
}

func TestIdentitiesOfOneAuthorityTrustEachOther(t *testing.T) {
	a := open(t)
	server := issue(t, a, "gw.example", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	client := issue(t, a, "phone.example")
	for name, good := range map[string]bool{"gw.example": true, "192.0.2.1": true, "2001:db8::1": true, "other.example": false, "192.0.2.2": false} {
		byServer, byClient := shake(server, client, a.Roots(), name)
		if (byClient == nil) != good || good && byServer != nil {
			t.Errorf("as %s: the server says %v, the client %v", name, byServer, byClient)
		}
	}
	if server.Serial == client.Serial || server.Serial == "" {
		t.Errorf("serial numbers %s and %s", server.Serial, client.Serial)
	}
}

func TestIdentityOfAnotherAuthorityIsAStranger(t *testing.T) {
	ours, theirs := open(t), open(t)
	if _, err := shake(issue(t, theirs, "gw.example"), issue(t, ours, "phone.example"), ours.Roots(), "gw.example"); err == nil {
		t.Error("a server of another authority was believed")
	}
	if err, _ := shake(issue(t, ours, "gw.example"), issue(t, theirs, "phone.example"), ours.Roots(), "gw.example"); err == nil {
		t.Error("a client of another authority was believed")
	}
}

func TestWrittenFilesAreReadByTLSAndByTheOwnerAlone(t *testing.T) {
	a, dir := open(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := issue(t, a, "gw.example").Write(cert, key); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Error(err)
	}
	if s, err := os.Stat(key); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", s.Mode(), err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(a.PEM) {
		t.Error("the authority's own certificate cannot be read")
	}
	if err := issue(t, a, "x").Write(filepath.Join(dir, "none", "cert.pem"), key); err == nil {
		t.Error("a directory that is not there was written to")
	}
}
