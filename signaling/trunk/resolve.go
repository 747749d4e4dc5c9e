package trunk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How long an answer of DNS is believed, and how long anybody waits for one.
const (
	resolveTTL   = 60 * time.Second // the system's resolver does not tell the record's own
	resolveAgain = 10 * time.Second // after a failure: not once per call, yet soon back
	resolveBound = 2 * time.Second  // longest wait of a call for its first answer: the caller hears nothing meanwhile
	resolveStale = 24 * time.Hour   // an answer that old is not used while DNS fails: addresses get new owners
)

// Resolver turns a host name into addresses, in the order of preference. An error or an empty answer leaves the last good
// answer in use.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
}

// System is the system's resolver: A and AAAA records, and the hosts file.
type System struct{}

// LookupHost asks the system.
func (System) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// peer is one host and what DNS last said of it. A host that is an IP address is its own answer for ever.
type peer struct {
	host     string
	literal  bool // host is an address: addrs never change
	resolver Resolver
	now      func() time.Time

	mu      sync.Mutex
	addrs   []netip.Addr  // replaced, never written into
	got     time.Time     // when addrs came
	next    time.Time     // when to ask again
	err     error         // of the last attempt
	pending chan struct{} // closed when the running lookup ends; nil: none runs
}

func newPeer(host string, resolver Resolver, now func() time.Time) *peer {
	p := &peer{host: host, resolver: resolver, now: now}
	if a, err := netip.ParseAddr(host); err == nil {
		p.literal, p.addrs = true, []netip.Addr{a.Unmap()}
	}
	return p
}

// known is the last good answer. It waits for nothing; if the answer aged, a lookup starts in the background.
func (p *peer) known() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh()
	return p.usable()
}

// usable is the answer unless it is too old to be trusted. Caller holds mu.
func (p *peer) usable() []netip.Addr {
	if !p.literal && p.now().Sub(p.got) > resolveStale {
		return nil
	}
	return p.addrs
}

// lookup is the last good answer or, if there is none yet, the one of a lookup that everybody who asks meanwhile shares. It
// waits no longer than resolveBound.
func (p *peer) lookup(ctx context.Context) ([]netip.Addr, error) {
	p.mu.Lock()
	p.refresh()
	addrs, pending, err := p.usable(), p.pending, p.err
	p.mu.Unlock()
	if len(addrs) > 0 {
		return addrs, nil
	}
	if pending == nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveBound) // a resolver may be deaf to its own deadline
	defer cancel()
	select {
	case <-pending:
	case <-ctx.Done():
		return nil, fmt.Errorf("resolve %s: %w", p.host, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if addrs := p.usable(); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, p.err
}

// refresh starts a lookup unless one runs or none is due. Caller holds mu.
func (p *peer) refresh() {
	if p.literal || p.pending != nil || p.now().Before(p.next) {
		return
	}
	p.pending = make(chan struct{})
	go p.ask(p.pending)
}

// ask is one lookup. It ends by itself within resolveBound.
func (p *peer) ask(done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), resolveBound)
	defer cancel()
	found, err := p.resolver.LookupHost(ctx, p.host)
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	if err == nil && len(addrs) == 0 {
		err = errors.New("no usable address")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = nil
	if p.err = err; err != nil {
		p.err = fmt.Errorf("resolve %s: %w", p.host, err)
		p.next = p.now().Add(resolveAgain)
		return
	}
	p.addrs, p.got, p.next = addrs, p.now(), p.now().Add(resolveTTL)
}

// Refresh asks DNS for every peer whose addresses are unknown or aged, all at once, and waits at most as long as one lookup
// takes. The error joins those of the peers that have no address now; they are asked again when somebody needs them.
func (t *Table) Refresh(ctx context.Context) error {
	errs := make([]error, len(t.peers))
	var wait sync.WaitGroup
	for i, p := range t.peers {
		wait.Go(func() { _, errs[i] = p.lookup(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Targets lists the addresses of the peer that the trunk's listener can reach (its address family), in the order of trying,
// and the name that the peer's certificate must carry. It waits for DNS only if there is no answer at all yet, and then no
// longer than two seconds or the context. The slice is the caller's.
func (tr *Trunk) Targets(ctx context.Context) (targets []netip.AddrPort, serverName string, err error) {
	addrs, err := tr.peer.lookup(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("trunk %s: %w", tr.Name, err)
	}
	local := tr.Listener.Address.Addr()
	for _, a := range addrs {
		if a.Is4() == local.Is4() {
			targets = append(targets, netip.AddrPortFrom(a, tr.Port))
		}
	}
	if len(targets) == 0 {
		return nil, "", fmt.Errorf("trunk %s: %s has no address of the family of listener %s (%s)",
			tr.Name, tr.Host, tr.Policy.Listener, local)
	}
	return targets, tr.serverName(), nil
}

// serverName is the name to ask for in the TLS handshake and to verify: the peer's host if tls_names covers it, else the
// first of them that is no wildcard.
func (tr *Trunk) serverName() string {
	for _, name := range tr.Policy.TLSNames {
		if sameName(name, tr.Host) {
			return tr.Host
		}
	}
	for _, name := range tr.Policy.TLSNames {
		if name[0] != '*' {
			return fold(name)
		}
	}
	return tr.Host
}
