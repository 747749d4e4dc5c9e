package trunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk/names"
)

// How long an answer of DNS is believed, and how long anybody waits for one.
const (
	lifeLeast    = 5 * time.Second  // of an answer: a lifetime of 0 must not cost a question for each call
	lifeMost     = time.Hour        // a peer that moves is found again within this, whatever its old record says
	leadLeast    = time.Second      // before the end of its life an answer is asked for again: at least this long,
	leadMost     = 30 * time.Second // at most this long, and between them for a tenth of its life
	resolveAgain = 10 * time.Second // after a failure or a denial: not once per call, yet soon back
	resolveBound = 2 * time.Second  // longest wait of a call for its first answer: the caller hears nothing meanwhile
	resolveMost  = 6 * time.Second  // of one lookup, which no call need wait for: a dead server, the next one, and that for each record
	resolveStale = 24 * time.Hour   // an answer that old is not used while DNS fails: addresses get new owners
)

// Most that one peer may cost. Records beyond are left out, those of the lowest priority first.
const (
	servicesMost  = 16 // SRV records; the largest pools known have 12 nodes
	addressesMost = 64 // of all of them together
)

// DNS is where names lead. names.Client is the real one.
type DNS interface {
	// Services are the SRV records of a name and how long they hold. An error that is names.ErrNone is DNS's own word that
	// there are none; the lifetime is that of the word then.
	Services(ctx context.Context, name string) ([]names.Service, time.Duration, error)
	// Addresses are the A and AAAA records of a host and how long they hold. Addresses with an error mean that one family
	// could not be asked.
	Addresses(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)
	// Local are the addresses that this machine itself gives a host (hosts file); none: it does not know it.
	Local(host string) []netip.Addr
}

// Resolver turns a host name into addresses, in the order of preference.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
}

// System is the system's resolver, for names that no trunk has: A and AAAA records, the hosts file, search domains.
type System struct{}

// LookupHost asks the system.
func (System) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// world is what a table does not have of its own. It is set before the table is used.
type world struct {
	dns    DNS
	now    func() time.Time
	random func(n int) int // uniform in [0,n); safe for concurrent use
}

// question is what DNS is asked for a peer. Trunks with the same one share its answer.
type question struct {
	host    string
	service string // "_sip._udp" and the like: SRV first; empty: the port is known, or host is an address
}

// service is the label under which the peers of a transport have their SRV records (RFC 3263 section 4.2).
func service(transport string) string {
	switch transport {
	case config.TLSTransport:
		return "_sips._tcp"
	case config.TCPTransport:
		return "_sip._tcp"
	}
	return "_sip._udp"
}

// target is one address of a peer.
type target struct {
	addr     netip.Addr
	port     uint16 // 0: the trunk's
	priority uint16 // of its SRV record; the lower is tried first
	weight   uint16 // among those of the same priority
	host     string // whose address it is
	got      time.Time
}

// answer is what DNS last said of a peer. It is replaced, never written into.
type answer struct {
	targets []target
	got     time.Time // when targets came; zero: never
	end     time.Time // of their lifetime
	next    time.Time // when to ask again
	err     error     // of the last attempt
}

// usable are the targets unless they are too old to be trusted.
func (a *answer) usable(now time.Time) []target {
	if now.Sub(a.got) > resolveStale {
		return nil
	}
	return a.targets
}

// of are the targets of one SRV record that are not too old to be trusted.
func (a *answer) of(s names.Service, now time.Time) (list []target) {
	for _, t := range a.targets {
		if t.host == s.Host && t.port == s.Port && now.Sub(t.got) <= resolveStale {
			list = append(list, t)
		}
	}
	return list
}

// peer is one question and what DNS last answered. A host that is an IP address is its own answer for ever.
type peer struct {
	key    question
	fixed  []target // of a host that is an address
	world  *world
	answer atomic.Pointer[answer]

	mu      sync.Mutex
	pending chan struct{} // closed when the running lookup ends; nil: none runs
}

func newPeer(key question, w *world) *peer {
	p := &peer{key: key, world: w}
	p.answer.Store(&answer{})
	if a, err := netip.ParseAddr(key.host); err == nil {
		p.fixed = []target{{addr: a.Unmap(), host: key.host}}
	}
	return p
}

// known is the last good answer. It waits for nothing; if the answer aged, a lookup starts in the background.
func (p *peer) known(now time.Time) []target {
	if p.fixed != nil {
		return p.fixed
	}
	a := p.answer.Load()
	if !now.Before(a.next) {
		p.refresh(now)
	}
	return a.usable(now)
}

// lookup is the last good answer or, if there is none yet, the one of a lookup that everybody who asks meanwhile shares. It
// waits no longer than resolveBound.
func (p *peer) lookup(ctx context.Context) ([]target, error) {
	if found := p.known(p.world.now()); len(found) > 0 {
		return found, nil
	}
	p.mu.Lock()
	pending := p.pending
	p.mu.Unlock()
	if pending != nil {
		ctx, cancel := context.WithTimeout(ctx, resolveBound) // a resolver may be deaf to its own deadline
		defer cancel()
		select {
		case <-pending:
		case <-ctx.Done():
			return nil, fmt.Errorf("resolve %s: %w", p.key.host, ctx.Err())
		}
	}
	a := p.answer.Load()
	if found := a.usable(p.world.now()); len(found) > 0 {
		return found, nil
	}
	return nil, a.err
}

// refresh starts a lookup unless one runs or none is due any more.
func (p *peer) refresh(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending != nil || now.Before(p.answer.Load().next) {
		return
	}
	p.pending = make(chan struct{})
	go p.ask(p.pending)
}

// ask is one lookup. It ends by itself within resolveMost.
func (p *peer) ask(done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), resolveMost)
	defer cancel()
	old := p.answer.Load()
	found, life, err := p.find(ctx, old)
	now := p.world.now()
	next := &answer{targets: found, got: now, end: now.Add(life), next: now.Add(life - lead(life)), err: err}
	if err != nil {
		next.err = fmt.Errorf("resolve %s: %w", p.key.host, err)
		next.next = now.Add(resolveAgain)
		if len(found) == 0 && !errors.Is(err, names.ErrNone) { // RFC 8767: what failed proves nothing, a denial does
			next.targets, next.got, next.end = old.targets, old.got, old.end
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer.Store(next)
	p.pending = nil
}

// lead is how long before the end of its life an answer is asked for again, so that no call waits or uses an aged one.
func lead(life time.Duration) time.Duration {
	return min(max(life/10, leadLeast), leadMost)
}

// find asks DNS: for the SRV records, if the peer has neither a port nor a line in the hosts file, then for the addresses of
// their hosts; without SRV records for the addresses of the peer itself (RFC 3263 section 4.2). Targets with an error mean
// that not everything could be asked; what is missing was taken from the old answer.
func (p *peer) find(ctx context.Context, old *answer) ([]target, time.Duration, error) {
	if p.key.service == "" || len(p.world.dns.Local(p.key.host)) > 0 {
		return p.reach(ctx, []names.Service{{Host: p.key.host}}, lifeMost, old)
	}
	services, life, err := p.world.dns.Services(ctx, p.key.service+"."+p.key.host)
	switch {
	case errors.Is(err, names.ErrNone):
		return p.reach(ctx, []names.Service{{Host: p.key.host}}, life, old)
	case err != nil:
		return nil, 0, err
	}
	offered := slices.DeleteFunc(services, func(s names.Service) bool { return s.Host == "" })
	if len(offered) == 0 {
		return nil, 0, fmt.Errorf("%s.%s is \".\": the service is not offered (RFC 2782): %w", p.key.service, p.key.host, names.ErrNone)
	}
	slices.SortStableFunc(offered, func(a, b names.Service) int { return int(a.Priority) - int(b.Priority) })
	return p.reach(ctx, offered[:min(len(offered), servicesMost)], life, old)
}

// reach asks for the addresses of all services at once. Life is shortened to that of the record that ends first.
func (p *peer) reach(ctx context.Context, services []names.Service, life time.Duration, old *answer) ([]target, time.Duration, error) {
	found := make([][]netip.Addr, len(services))
	lives := make([]time.Duration, len(services))
	errs := make([]error, len(services))
	var wait sync.WaitGroup
	for i, s := range services {
		wait.Go(func() { found[i], lives[i], errs[i] = p.world.dns.Addresses(ctx, s.Host) })
	}
	wait.Wait()
	now := p.world.now()
	var targets []target
	var failed, denied error
	fresh := 0
	for i, s := range services {
		for _, a := range usable(found[i]) {
			targets = append(targets, target{a, s.Port, s.Priority, s.Weight, s.Host, now})
			fresh++
		}
		switch {
		case errs[i] == nil:
			life = min(life, lives[i])
		case errors.Is(errs[i], names.ErrNone):
			denied = errs[i]
		default:
			failed = errs[i]
			targets = append(targets, missing(targets, old.of(s, now))...)
		}
	}
	switch {
	case failed != nil && fresh == 0:
		return nil, 0, failed
	case failed != nil:
		return targets[:min(len(targets), addressesMost)], lifeLeast, failed
	case len(targets) > 0:
		return targets[:min(len(targets), addressesMost)], min(max(life, lifeLeast), lifeMost), nil
	case denied != nil:
		return nil, 0, denied
	}
	return nil, 0, fmt.Errorf("no usable address: %w", names.ErrNone)
}

// usable are the addresses that can be somebody's, each once.
func usable(found []netip.Addr) (addrs []netip.Addr) {
	for _, a := range found {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// missing are those of the old targets whose addresses the new ones do not have.
func missing(fresh, old []target) []target {
	return slices.DeleteFunc(old, func(o target) bool {
		return slices.ContainsFunc(fresh, func(t target) bool { return t.addr == o.addr && t.port == o.port })
	})
}

// Refresh asks DNS for every peer whose addresses are unknown or aged, all at once, and waits at most as long as one lookup
// takes. The error joins those of the peers that have no address now; they are asked again when somebody needs them.
func (t *Table) Refresh(ctx context.Context) error {
	keys := slices.SortedFunc(maps.Keys(t.peers), func(a, b question) int {
		return cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.service, b.service))
	})
	errs := make([]error, len(keys))
	var wait sync.WaitGroup
	for i, key := range keys {
		p := t.peers[key]
		wait.Go(func() { _, errs[i] = p.lookup(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}
