package peers

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

func newTrust(t *testing.T) *trust {
	t.Helper()
	a, err := authority.New(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &trust{t: t, dir: t.TempDir(), Authority: a}
	c.file = filepath.Join(c.dir, "authority.pem")
	c.write(c.file, a.PEM)
	return c
}

// issue makes a certificate for a name and an address, and returns the files of it, of its key, and of both together.
func (c *trust) issue(name string, at netip.Addr) (certificate, key, both string) {
	c.t.Helper()
	id, err := c.Issue(name, at)
	if err != nil {
		c.t.Fatal(err)
	}
	certificate, key, both = filepath.Join(c.dir, name+".crt"), filepath.Join(c.dir, name+".key"), filepath.Join(c.dir, name+".pem")
	c.write(certificate, id.Certificate)
	c.write(key, id.Key)
	c.write(both, slices.Concat(id.Key, id.Certificate))
	return certificate, key, both
}

func (c *trust) write(file string, content []byte) {
	c.t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
}
