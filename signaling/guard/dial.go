package guard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/internal/config"
)

const connectWithin = 5 * time.Second // for TCP to answer; a trunk fails over after 10 s in all

// streamKey names an outbound connection. The name that was verified is part of it, and the identity that was shown: two
// trunks behind one address never share a connection that was proven for the other.
type streamKey struct {
	listener string
	dest     netip.AddrPort
	names    string
	identity *tls.Config
}

// streamTable holds the connections that are open.
type streamTable struct {
	mu       sync.Mutex
	all      map[*stream]struct{}
	outbound map[streamKey]*stream
	inbound  map[streamKey]*stream // by remote address; names and identity empty
}

func (t *streamTable) open() {
	t.all, t.outbound, t.inbound = map[*stream]struct{}{}, map[streamKey]*stream{}, map[streamKey]*stream{}
}

func (t *streamTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// add files a connection that a peer opened.
func (t *streamTable) add(c *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.key = streamKey{listener: c.l.Name, dest: c.remote}
	t.all[c] = struct{}{}
	t.inbound[c.key] = c
}

func (t *streamTable) drop(c *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, c)
	for _, m := range []map[streamKey]*stream{t.outbound, t.inbound} {
		if m[c.key] == c {
			delete(m, c.key)
		}
	}
}

func (t *streamTable) closeAll(why error) {
	t.mu.Lock()
	all := make([]*stream, 0, len(t.all))
	for c := range t.all {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.close(why)
	}
}

// stream returns the connection for an egress: one that came from exactly this address and, on TLS, proved to the same
// identity to be this name; else one that we opened to this address for this name; else a new one. It is never chosen by
// our own address, under which every stranger's connection would be found too.
func (l *listener) stream(e Egress) (*stream, error) {
	names := e.TLSNames
	if len(names) == 0 && e.ServerName != "" {
		names = []string{e.ServerName}
	}
	own := l.ClientTLS
	if l.Transport == "tls" {
		if e.TLS != nil {
			own = e.TLS
		}
		if err := fit(own); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		if len(names) == 0 {
			names = []string{e.Dest.Addr().String()}
		}
	}
	key := streamKey{listener: l.Name, dest: e.Dest}
	t := &l.stack.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.inbound[key]; c != nil && (l.Transport == "tcp" || own == l.ClientTLS && c.proved(names)) {
		return c, nil
	}
	if l.Transport == "tls" {
		key.names, key.identity = e.ServerName+" "+strings.Join(names, " "), own
	}
	if c := t.outbound[key]; c != nil {
		return c, nil
	}
	c := newStream(l, e.Dest)
	c.key = key
	if !l.stack.goes(func() { c.open(e.ServerName, names) }) {
		return nil, ErrClosed
	}
	t.all[c], t.outbound[key] = struct{}{}, c
	return c, nil
}

// fit refuses an identity that would verify nobody.
func fit(identity *tls.Config) error {
	switch {
	case identity == nil:
		return errors.New("there is no TLS identity for connections that it opens")
	case identity.InsecureSkipVerify && identity.VerifyConnection == nil:
		return errors.New("its TLS identity verifies no chain")
	}
	return nil
}

// proved reports an authenticated peer that carries one of names.
func (c *stream) proved(names []string) bool {
	c.mu.Lock()
	secure, ok := c.conn.(*tls.Conn)
	c.mu.Unlock()
	if !ok || !c.verified {
		return false
	}
	peer := secure.ConnectionState().PeerCertificates
	return carries(peer, names) == nil
}

// open dials, shakes hands, sends what waits and reads.
func (c *stream) open(serverName string, names []string) {
	conn, err := c.dial(serverName, names)
	if err != nil {
		c.l.stack.log.Info("sip: opening a connection", "listener", c.l.Name, "peer", c.remote, "error", err)
		c.close(err)
		return
	}
	if !c.use(conn) {
		return
	}
	c.l.countConn(Opened)
	c.l.stack.goes(c.write)
	c.read()
}

func (c *stream) dial(serverName string, names []string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectWithin}
	if a := c.l.local.Addr(); !a.IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()} // peers admit us by this address
	}
	conn, err := d.DialContext(c.ctx, "tcp", c.remote.String())
	if err != nil {
		c.l.countConn(OpenFailed)
		return nil, fmt.Errorf("dial tcp %s: %w", c.remote, err)
	}
	if c.l.Transport != "tls" {
		return conn, nil
	}
	within, stop := context.WithTimeout(c.ctx, c.l.stack.opt.Limits.Handshake)
	defer stop()
	secure := tls.Client(conn, clientConfig(c.key.identity, serverName, names))
	if err := secure.HandshakeContext(within); err != nil {
		conn.Close()
		c.l.countConn(HandshakeFailed)
		return nil, fmt.Errorf("dial tls %s (%s): %w", c.remote, strings.Join(names, ", "), err)
	}
	c.names, c.verified = certNames(secure.ConnectionState().PeerCertificates), true
	return secure, nil
}

// clientConfig verifies the peer's chain and that it carries one of names. crypto/tls can do so for a single name only,
// and SNI may differ from it, so the verification is done here, for every case in the same way.
func clientConfig(base *tls.Config, serverName string, names []string) *tls.Config {
	cfg := base.Clone()
	cfg.ServerName = serverName
	if serverName == "" {
		cfg.ServerName = names[0]
	}
	cfg.InsecureSkipVerify = true
	further := base.VerifyConnection
	cfg.VerifyConnection = func(st tls.ConnectionState) error {
		if !base.InsecureSkipVerify { // else further does it
			if err := verifyChain(st.PeerCertificates, base.RootCAs, base.Time); err != nil {
				return err
			}
		}
		if further != nil {
			if err := further(st); err != nil {
				return err
			}
		}
		return carries(st.PeerCertificates, names)
	}
	return cfg
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now func() time.Time) error {
	if len(chain) == 0 {
		return errors.New("the peer has no certificate")
	}
	opt := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	if now != nil {
		opt.CurrentTime = now()
	}
	for _, c := range chain[1:] {
		opt.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opt)
	return err
}

// carries tells whether a peer's certificate is for one of names; the error says for whom it is. A name may be a wildcard,
// which stands for any name one label below.
func carries(chain []*x509.Certificate, names []string) error {
	if len(chain) == 0 {
		return errors.New("the peer has no certificate")
	}
	for _, n := range names {
		if parent, ok := strings.CutPrefix(n, "*."); ok && slices.ContainsFunc(chain[0].DNSNames, func(name string) bool {
			label, rest, _ := strings.Cut(name, ".")
			return label != "" && strings.EqualFold(strings.TrimSuffix(rest, "."), strings.TrimSuffix(parent, "."))
		}) {
			return nil
		}
		if chain[0].VerifyHostname(n) == nil {
			return nil
		}
	}
	return fmt.Errorf("certificate is for %s, not for %s", strings.Join(certNames(chain), ", "), strings.Join(names, " or "))
}

// certNames are the DNS names and addresses of the leaf, or its CN where it has neither.
func certNames(chain []*x509.Certificate) []string {
	if len(chain) == 0 {
		return nil
	}
	names := slices.Clone(chain[0].DNSNames)
	for _, ip := range chain[0].IPAddresses {
		names = append(names, ip.String())
	}
	if cn := chain[0].Subject.CommonName; cn != "" && len(names) == 0 {
		return []string{cn}
	}
	return names
}

// identity tells who the client of an accepted connection is, and whether that was verified: by crypto/tls, or by the
// hook of a configuration that asks for any certificate and judges it itself.
func identity(st tls.ConnectionState, cfg *tls.Config) ([]string, bool) {
	if len(st.PeerCertificates) == 0 {
		return nil, false
	}
	asked := cfg.ClientAuth == tls.RequireAnyClientCert || cfg.ClientAuth == tls.RequestClientCert
	hooked := asked && cfg.VerifyConnection != nil
	return certNames(st.PeerCertificates), len(st.VerifiedChains) > 0 || hooked
}

// doors counts the connections that are in.
type doors struct {
	mu        sync.Mutex
	total     int
	strangers int
	bySource  map[[16]byte]int
	limits    config.SIPLimits
}

const strangersShare = 4 // strangers together may hold one in so many of all connections, so that they never lock trunks out

func (d *doors) open(l config.SIPLimits) { d.limits, d.bySource = l, map[[16]byte]int{} }

// enter counts a connection in, or tells why not.
func (d *doors) enter(src netip.Addr, known bool) ConnectionEvent {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := sourceKey(src)
	switch {
	case d.total >= d.limits.Connections:
		return RefusedTotal
	case d.bySource[key] >= d.limits.PerSource, !known && d.strangers >= max(1, d.limits.Connections/strangersShare):
		return RefusedSource
	}
	d.total++
	d.bySource[key]++
	if !known {
		d.strangers++
	}
	return Accepted
}

// leave counts it out; known as at enter.
func (d *doors) leave(src netip.Addr, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := sourceKey(src)
	d.total--
	if d.bySource[key]--; d.bySource[key] == 0 {
		delete(d.bySource, key)
	}
	if !known {
		d.strangers--
	}
}
