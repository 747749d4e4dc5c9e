package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tandem/internal/config"
)

// When and how often an expiry is told.
const (
	warnAhead = 30 * 24 * time.Hour // authorities and approvals take weeks
	warnEvery = 24 * time.Hour
)

// longestName is the longest name that Teams takes, in characters (Direct Routing, certificate requirements: it has to fit
// into a common name).
const longestName = 63

// Expiry is when the first certificate of a file ends.
type Expiry struct {
	File    string
	Subject string // of the certificate that ends first
	At      time.Time
}

// Expiries lists when the files in use end, each once, in the order of their names. For a gauge in seconds take At.Unix().
func (s *Store) Expiries() []Expiry {
	first := make(map[string]Expiry)
	for _, f := range s.uses.Load().all {
		e := f.expiry()
		if known, ok := first[e.File]; !ok || e.At.Before(known.At) {
			first[e.File] = e
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b Expiry) int { return strings.Compare(a.File, b.File) })
}

func earliest(file string, certs []*x509.Certificate) Expiry {
	e := Expiry{File: file}
	for _, c := range certs {
		if e.At.IsZero() || c.NotAfter.Before(e.At) {
			e.At, e.Subject = c.NotAfter, c.Subject.String()
		}
	}
	return e
}

// notice is what was said of a file's expiry last.
type notice struct {
	at      time.Time
	expired bool
}

// expiring warns of what ends soon, once a day, and of what has ended at once. Caller holds mu.
func (s *Store) expiring() {
	now := s.now()
	for _, e := range s.Expiries() {
		last := s.told[e.File]
		expired := !now.Before(e.At)
		if e.At.Sub(now) > warnAhead || now.Sub(last.at) < warnEvery && expired == last.expired {
			continue
		}
		level, event := slog.LevelWarn, "tls: a certificate expires soon"
		if expired {
			level, event = slog.LevelError, "tls: a certificate has expired; peers that check it refuse"
		}
		s.log.Log(context.Background(), level, event, "file", e.File, "subject", e.Subject, "expires", e.At, "days", int(e.At.Sub(now).Hours()/24))
		s.told[e.File] = notice{now, expired}
	}
}

// naming is a name that a pair should carry, because a listener writes it into Contact.
type naming struct {
	pair     *pair
	listener string
	host     string // empty: an address is written there
}

// advertised is the name that peers see a listener under.
func advertised(cfg *config.Config, l config.Listener) string {
	host := l.Advertise
	if host == "" {
		host = cfg.SIP.FQDN
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

// Check loads what a configuration names, as Open does, and lists what is doubtful about it, one sentence each; the error is
// what Open would refuse.
func Check(cfg *config.Config, now func() time.Time) (doubts []string, err error) {
	s, err := Open(cfg, Options{Every: -1, Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, e := range s.Expiries() {
		if left := e.At.Sub(s.now()); left <= warnAhead {
			doubts = append(doubts, fmt.Sprintf("certificate %s: it ends on %s (%s)", e.File, e.At.Format(time.DateOnly), e.Subject))
		}
	}
	for _, d := range s.doubts() {
		doubts = append(doubts, fmt.Sprintf("certificate %s: %s", d.certificate, d.why))
	}
	return doubts, nil
}

// doubt is what peers may hold against us. None of it stops anybody: a lab or an odd peer may want it so.
type doubt struct{ certificate, why string }

// inspect says what is doubtful about our own certificates.
func (s *Store) inspect() {
	for _, d := range s.doubts() {
		s.log.Warn("tls: peers may refuse us", "certificate", d.certificate, "why", d.why)
	}
}

func (s *Store) doubts() []doubt {
	u := s.uses.Load()
	var list []doubt
	for _, n := range u.names {
		for _, why := range n.doubts() {
			list = append(list, doubt{n.pair.certificate, why})
		}
	}
	var known []*x509.Certificate
	for _, w := range u.all {
		if b, ok := w.(*bundle); ok {
			known = append(known, b.current.Load().list...)
		}
	}
	for _, w := range u.all {
		if p, ok := w.(*pair); ok {
			if err := complete(p.current.Load().chain, known); err != nil {
				list = append(list, doubt{p.certificate, err.Error()})
			}
		}
	}
	return list
}

// doubts are what peers may hold against a listener's certificate and name.
func (n naming) doubts() []string {
	if n.host == "" {
		return nil
	}
	var list []string
	if err := n.pair.current.Load().chain[0].VerifyHostname(n.host); err != nil {
		list = append(list, fmt.Sprintf("it is not for %s, the name in the Contact of listener %s: %v", n.host, n.listener, err))
	}
	if _, err := netip.ParseAddr(n.host); err != nil && len(n.host) > longestName {
		list = append(list, fmt.Sprintf("%s, the name of listener %s, has %d characters; Teams takes %d", n.host, n.listener, len(n.host), longestName))
	}
	return list
}

// complete tells whether a peer that knows public authorities, or those that we know, can follow our chain. The chain file
// should hold everything between our certificate and the authority.
func complete(chain, known []*x509.Certificate) error {
	for i, c := range chain[:len(chain)-1] {
		if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
			return fmt.Errorf("the chain is out of order: certificate %d is not signed by the next one: %w", i+1, err)
		}
	}
	last := chain[len(chain)-1]
	if last.CheckSignatureFrom(last) == nil {
		return nil
	}
	for _, authority := range known {
		if last.CheckSignatureFrom(authority) == nil {
			return nil
		}
	}
	_, err := last.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: last.NotBefore.Add(time.Minute)})
	if err == nil {
		return nil
	}
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		return nil
	}
	return fmt.Errorf("its chain ends at one signed by %q, which is not in the file and no authority known here; add the certificates between", last.Issuer)
}
