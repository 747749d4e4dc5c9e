package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"tandem/internal/config"
)

// serverConfig is the identity of a listener: what it shows, and which peers' certificates it asks for. A peer's certificate
// must chain to the authorities; which name it must carry is the trunk's business. The clientAuth key usage is not demanded:
// public authorities stop issuing it, and certificates of UC platforms lack it. The hooks read what is in use at that
// moment, so that a new file counts from the next handshake on, for resumed sessions as well.
func serverConfig(c config.TLS, p *pair, trusted *bundle) *tls.Config {
	t := &tls.Config{
		MinVersion:     minVersion(c),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &p.current.Load().cert, nil },
	}
	switch c.Client {
	case config.ClientNone:
		return t
	case config.ClientRequest:
		t.ClientAuth = tls.RequestClientCert
	default:
		t.ClientAuth = tls.RequireAnyClientCert
	}
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil // ClientAuth decides whether that is allowed
		}
		return verify(s.PeerCertificates, trusted, x509.ExtKeyUsageAny)
	}
	return t
}

// clientConfig is the identity of connections that we open: the certificate, shown when the peer asks, and whom we believe.
// crypto/tls has no hook for changing authorities, so its own verification is off and VerifyConnection does it.
func clientConfig(c config.TLS, p *pair, trusted *bundle) *tls.Config {
	return &tls.Config{
		MinVersion:           minVersion(c),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p.current.Load().cert, nil },
		InsecureSkipVerify:   true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verify(s.PeerCertificates, trusted, x509.ExtKeyUsageServerAuth)
		},
	}
}

// verify checks that a peer's chain leads to the authorities and that its certificate may be used so.
func verify(chain []*x509.Certificate, trusted *bundle, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("the peer has no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: trusted.pool(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

func minVersion(c config.TLS) uint16 {
	if c.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
