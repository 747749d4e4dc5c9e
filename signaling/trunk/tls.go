package trunk

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"tandem/internal/config"
)

// ServerTLS is the identity of a listener: its certificate, and which peers' certificates it asks for. A peer's
// certificate must chain to the configured authorities; which name it must carry is the trunk's business (Identify). The
// clientAuth key usage is not demanded: public authorities stop issuing it, and UC platforms' certificates lack it.
func ServerTLS(c *config.TLS) (*tls.Config, error) {
	identity, roots, err := load(c)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{Certificates: []tls.Certificate{identity}, MinVersion: minVersion(c)}
	switch c.Client {
	case config.ClientNone:
		return t, nil
	case config.ClientRequest:
		t.ClientAuth = tls.RequestClientCert
	default:
		t.ClientAuth = tls.RequireAnyClientCert
	}
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil // ClientAuth decides whether that is allowed
		}
		return verify(s.PeerCertificates, roots)
	}
	return t, nil
}

// ClientTLS is the identity of connections that we open: the same certificate, shown when the peer asks. The peer's chain
// is checked here; its name is checked by whoever knows which one is expected.
func ClientTLS(c *config.TLS) (*tls.Config, error) {
	identity, roots, err := load(c)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{identity}, RootCAs: roots, MinVersion: minVersion(c)}, nil
}

// verify checks a peer's chain for any key usage.
func verify(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// load reads a certificate, its key and the authorities; without a file of authorities they are the system's.
func load(c *config.TLS) (tls.Certificate, *x509.CertPool, error) {
	identity, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return identity, nil, fmt.Errorf("certificate %s, key %s: %w", c.Certificate, c.Key, err)
	}
	if c.CA == "" {
		roots, err := x509.SystemCertPool()
		return identity, roots, err
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return identity, nil, fmt.Errorf("ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return identity, nil, fmt.Errorf("ca: %s: %w", c.CA, errors.New("no certificate in PEM form"))
	}
	return identity, roots, nil
}

func minVersion(c *config.TLS) uint16 {
	if c.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
