package torture

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/internal/authority"
)

// trust is the authority of one test and the directory of its files.
type trust struct {
	t    *testing.T
	dir  string
	file string // PEM
	*authority.Authority
}

func newTrust(t *testing.T, dir string) *trust {
	t.Helper()
	a, err := authority.New(time.Hour)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "authority.pem"), a.PEM, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &trust{t, dir, filepath.Join(dir, "authority.pem"), a}
}

// issue makes a certificate for a name and an address, and returns its file and that of its key.
func (c *trust) issue(name string, at netip.Addr) (certificate, key string) {
	c.t.Helper()
	certificate, key = filepath.Join(c.dir, name+".crt"), filepath.Join(c.dir, name+".key")
	id, err := c.Issue(name, at)
	if err == nil {
		err = id.Write(certificate, key)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return certificate, key
}

// identity is the TLS of a peer in both roles: mutual, and it looks at the chain only.
func (c *trust) identity(name string, at netip.Addr) *tls.Config {
	c.t.Helper()
	id, err := c.Issue(name, at)
	if err != nil {
		c.t.Fatal(err)
	}
	roots := c.Roots()
	return &tls.Config{Certificates: []tls.Certificate{id.TLS}, RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
}
