package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxFile bounds what is read of a file, in bytes. All authorities of a system take some 250 kB.
const maxFile = 4 << 20

// watched is a pair or a bundle.
type watched interface {
	name() string // of the file that is shown
	expiry() Expiry
	// refresh reads the files and takes them up if they have changed and can be used.
	refresh(now time.Time) (changed bool, err error)
	doubt(err error, certain bool) (tell bool)
}

// all lists the files, in the order of their names.
func (f files) all() []watched {
	var all []watched
	for _, at := range slices.SortedFunc(maps.Keys(f.pairs), func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) }) {
		all = append(all, f.pairs[at])
	}
	for _, file := range slices.Sorted(maps.Keys(f.bundles)) {
		all = append(all, f.bundles[file])
	}
	return all
}

// seen is what a look found, so that the next one knows whether there is anything new. Content counts, not times: files are
// replaced by links, copied with their times, or written over in place.
type seen struct {
	sum   [sha256.Size]byte // of the content in use
	fault string            // of the look before; empty: it was well
	told  bool              // the fault is in the log
}

// doubt notes a fault and tells whether it is to be told now: once, and on a tick not at first sight.
func (s *seen) doubt(err error, certain bool) bool {
	again := s.fault == err.Error()
	if !again {
		s.fault, s.told = err.Error(), false
	}
	tell := (again || certain) && !s.told
	s.told = s.told || tell
	return tell
}

// pair is a certificate with its chain, and its key.
type pair struct {
	certificate, key string // files
	seen                    // store's mu
	current          atomic.Pointer[shown]
}

// shown is what handshakes show.
type shown struct {
	cert  tls.Certificate
	chain []*x509.Certificate // the leaf first
}

func (p *pair) name() string { return p.certificate }

// open reads the files for the first time.
func (p *pair) open() error {
	_, err := p.refresh(time.Time{})
	return err
}

// refresh is watched.refresh. Both files are read before either counts, and the key must be the certificate's.
func (p *pair) refresh(now time.Time) (bool, error) {
	cert, err := read(p.certificate)
	if err != nil {
		return false, fmt.Errorf("certificate %s: %w", p.certificate, err)
	}
	key, err := read(p.key)
	if err != nil {
		return false, fmt.Errorf("key %s: %w", p.key, err)
	}
	sum, old := sha256.Sum256(slices.Concat(cert, []byte{0}, key)), p.current.Load()
	if old != nil && sum == p.sum {
		p.fault = ""
		return false, nil
	}
	fresh, err := readPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("certificate %s, key %s: %w", p.certificate, p.key, err)
	}
	if until := fresh.chain[0].NotAfter; old != nil && now.After(until) && !now.After(old.chain[0].NotAfter) {
		return false, fmt.Errorf("certificate %s: it expired on %s, and the old one has not", p.certificate, until.Format(time.DateTime))
	}
	p.current.Store(fresh)
	p.seen = seen{sum: sum}
	return true, nil
}

func readPair(cert, key []byte) (*shown, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	s := &shown{cert: pair}
	for i, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		s.chain = append(s.chain, c)
	}
	return s, nil
}

func (p *pair) expiry() Expiry { return earliest(p.certificate, p.current.Load().chain) }

// bundle is authorities that we trust. Without a file they are the system's.
type bundle struct {
	file    string
	seen    // store's mu
	current atomic.Pointer[authorities]
}

type authorities struct {
	pool *x509.CertPool
	list []*x509.Certificate
}

func (b *bundle) name() string { return b.file }

func (b *bundle) open() error {
	_, err := b.refresh(time.Time{})
	return err
}

// pool is what chains must lead to; nil, for the system's, is what crypto/x509 expects.
func (b *bundle) pool() *x509.CertPool {
	if a := b.current.Load(); a != nil {
		return a.pool
	}
	return nil
}

// refresh is watched.refresh.
func (b *bundle) refresh(time.Time) (bool, error) {
	raw, err := read(b.file)
	if err != nil {
		return false, fmt.Errorf("ca %s: %w", b.file, err)
	}
	sum := sha256.Sum256(raw)
	if b.current.Load() != nil && sum == b.sum {
		b.fault = ""
		return false, nil
	}
	fresh, err := readAuthorities(raw)
	if err != nil {
		return false, fmt.Errorf("ca %s: %w", b.file, err)
	}
	b.current.Store(fresh)
	b.seen = seen{sum: sum}
	return true, nil
}

// readAuthorities takes every certificate of a PEM file or none: whoever trusts a file has to trust all of it, and a file
// that is cut off must not lose somebody in silence.
func readAuthorities(raw []byte) (*authorities, error) {
	a := &authorities{pool: x509.NewCertPool()}
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			break
		}
		raw = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(a.list)+1, err)
		}
		a.pool.AddCert(c)
		a.list = append(a.list, c)
	}
	if bytes.Contains(raw, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("what follows certificate %d is cut off or no PEM", len(a.list))
	}
	if len(a.list) == 0 {
		return nil, errors.New("no certificate in PEM form")
	}
	return a, nil
}

func (b *bundle) expiry() Expiry { return earliest(b.file, b.current.Load().list) }

// read reads a small regular file: opening anything else might never return.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, errors.Unwrap(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%d bytes are too many, %d are allowed", info.Size(), maxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the caller names the file
	}
	return raw, nil
}
