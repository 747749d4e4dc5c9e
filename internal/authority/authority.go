// Package authority issues the certificates of a demo, a benchmark or a test: a private authority and the identities that it
// signs, good for both roles of TLS. What it prevents is a handshake that works because a test's own certificate says less, or
// more, than a real one: every party of every test shows the same kind.
//
// What does not live here: anything that a gateway in service uses. Its certificates come from files and are watched by
// signaling/identity.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	serialBits = 120       // of randomness: never the same twice (RFC 5280 section 4.1.2.2 allows 20 octets)
	backdated  = time.Hour // the clocks of two hosts differ
)

// Authority signs certificates. It lives as long as the process: its key is written nowhere.
type Authority struct {
	PEM []byte // its own certificate

	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	valid time.Duration
}

// New makes an authority whose certificates are good for so long.
func New(valid time.Duration) (*Authority, error) {
	a := &Authority{valid: valid}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	der, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	a.PEM = block("CERTIFICATE", der)
	return a, nil
}

// Roots is the pool that trusts this authority and no other.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Identity is a certificate with its key.
type Identity struct {
	Certificate, Key []byte // PEM; the key as PKCS #8
	TLS              tls.Certificate
	Serial           string // decimal
}

// Issue makes an identity for a DNS name and any addresses.
func (a *Authority) Issue(name string, at ...netip.Addr) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority: %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, ip := range at {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	der, err := a.sign(template, key)
	if err != nil {
		return nil, fmt.Errorf("authority: %s: %w", name, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority: %s: %w", name, err)
	}
	return &Identity{
		Certificate: block("CERTIFICATE", der), Key: block("PRIVATE KEY", secret),
		TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, Serial: template.SerialNumber.String(),
	}, nil
}

// Write puts an identity into two files that nobody else may read.
func (i *Identity) Write(certificate, key string) error {
	if err := os.WriteFile(certificate, i.Certificate, 0o600); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	if err := os.WriteFile(key, i.Key, 0o600); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	return nil
}

// sign completes a certificate; the authority's own signs itself.
func (a *Authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	var err error
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits)); err != nil {
		return nil, err
	}
	now := time.Now()
	c.NotBefore, c.NotAfter = now.Add(-backdated), now.Add(a.valid)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	return x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
