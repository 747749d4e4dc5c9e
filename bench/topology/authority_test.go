package topology

import (
	"testing"
	"time"

	"tandem/internal/authority"
)

// Names of the files in a host's /run/tandem.
const (
	authorityFile = "authority.pem"
	certFile      = "cert.pem"
	keyFile       = "key.pem"
)

// validity of a certificate: more than the thirty days of which tandem warns.
const validity = 60 * 24 * time.Hour

// trust is the authority of one test.
type trust struct {
	t *testing.T
	*authority.Authority
}

func newTrust(t *testing.T) *trust {
	t.Helper()
	a, err := authority.New(validity)
	if err != nil {
		t.Fatal(err)
	}
	return &trust{t, a}
}

// equip gives a host a new certificate for its address, with its key, and whom to trust. It returns the serial number.
func (c *trust) equip(h *host) (serial string) {
	c.t.Helper()
	id, err := c.Issue(h.name+".example", h.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	h.write(authorityFile, string(c.PEM))
	h.write(keyFile, string(id.Key))
	h.write(certFile, string(id.Certificate))
	return id.Serial
}
