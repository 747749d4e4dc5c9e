// Package trunk knows the peers: who may enter by which trunk, where a trunk leads, how many calls it carries and whether
// it is alive.
//
// A trunk is {one of our listeners : one peer} with its policy (Lync's notion; New-CsTrunk). The failure this package
// prevents is a call that enters as somebody it is not: a source address alone is not enough where certificates are checked,
// and a name alone is not enough anywhere (TestCertificateOfAnotherTenantDoesNotEnter, TestRightNameFromWrongAddressDoesNotEnter).
//
// No SIP is spoken here: signaling/b2bua sends the OPTIONS and the INVITEs and reports what came of them, and
// signaling/route says which trunks a call may use at all. Time comes in as an argument, DNS as a Resolver.
package trunk

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/config"
)

// Default ports of a peer that names none (RFC 3261 section 19.1.2).
const (
	portSIP  = 5060 // udp, tcp
	portSIPS = 5061 // tls
)

// Trunk is one peer by one of our listeners. The exported fields never change; calls and health do, and are safe for
// concurrent use.
type Trunk struct {
	Name     string
	Policy   config.Trunk    // as the file says, defaults filled in
	Listener config.Listener // the one that Policy.Listener names
	Host     string          // of the peer: a lower-case name or an IP without brackets
	Port     uint16          // of the peer

	peer *peer        // what Host resolves to; shared by the trunks of one host
	live atomic.Int64 // calls that hold a place

	mu     sync.Mutex
	health Health // under mu
}

// Table is all trunks of the config. It is safe for concurrent use.
type Table struct {
	byName     map[string]*Trunk
	all        []*Trunk            // by name
	byListener map[string][]*Trunk // by name
	peers      []*peer             // one for each host that is a name
}

// New resolves the policy of every trunk: its listener, its peer's host and port, its health at the start. It asks no DNS:
// call Refresh once the process may wait, or let the first Targets do so. The config must be validated. A nil resolver is
// the system's, a nil clock the wall clock.
func New(cfg *config.SIP, resolver Resolver, now func() time.Time) (*Table, error) {
	if resolver == nil {
		resolver = System{}
	}
	if now == nil {
		now = time.Now
	}
	t := &Table{byName: make(map[string]*Trunk), byListener: make(map[string][]*Trunk)}
	peers := make(map[string]*peer)
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		tr, err := open(name, cfg)
		if err != nil {
			return nil, err
		}
		if peers[tr.Host] == nil {
			peers[tr.Host] = newPeer(tr.Host, resolver, now)
			t.peers = append(t.peers, peers[tr.Host])
		}
		tr.peer = peers[tr.Host]
		t.byName[name] = tr
		t.all = append(t.all, tr)
		t.byListener[tr.Policy.Listener] = append(t.byListener[tr.Policy.Listener], tr)
	}
	return t, nil
}

// open makes one trunk from its policy.
func open(name string, cfg *config.SIP) (*Trunk, error) {
	policy := cfg.Trunks[name]
	listener, ok := cfg.Listeners[policy.Listener]
	if !ok {
		return nil, fmt.Errorf("trunk %s: there is no listener %q", name, policy.Listener)
	}
	host, port, err := splitPeer(policy.Peer, listener.Transport)
	if err != nil {
		return nil, fmt.Errorf("trunk %s: peer %q: %w", name, policy.Peer, err)
	}
	every := policy.Options.Every
	if policy.Options.Off {
		every = 0
	}
	return &Trunk{
		Name: name, Policy: policy, Listener: listener, Host: host, Port: port,
		health: Health{Every: every},
	}, nil
}

// splitPeer reads a peer into its host, in lower case, and its port or the transport's.
func splitPeer(peer, transport string) (host string, port uint16, err error) {
	host, text, err := config.SplitPeer(peer)
	if err != nil {
		return "", 0, err
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" {
		return "", 0, errors.New("it has no host")
	}
	switch {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("port %q is not 1..65535", text)
		}
		return host, uint16(n), nil
	case transport == config.TLSTransport:
		return host, portSIPS, nil
	}
	return host, portSIP, nil
}

// ByName finds a trunk.
func (t *Table) ByName(name string) (*Trunk, bool) {
	tr, ok := t.byName[name]
	return tr, ok
}

// All lists the trunks in the order of their names.
func (t *Table) All() []*Trunk {
	return slices.Clone(t.all)
}

// FailsOver reports whether a final answer to an INVITE moves the call on to the next trunk. 503 always does: it says that
// this peer cannot, not that the callee will not (RFC 3261 section 21.5.4).
func (tr *Trunk) FailsOver(code int) bool {
	return code == statusUnavailable || slices.Contains(tr.Policy.Failover.Codes, code)
}

// Acquire takes a place for one call. False means that max_calls are running already; nothing is to be released then.
func (tr *Trunk) Acquire() bool {
	for {
		n := tr.live.Load()
		if tr.Policy.MaxCalls > 0 && n >= int64(tr.Policy.MaxCalls) {
			return false
		}
		if tr.live.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a place back. One release too many is ignored: it must not lend a place that does not exist.
func (tr *Trunk) Release() {
	for {
		n := tr.live.Load()
		if n == 0 || tr.live.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// Active is the number of places taken.
func (tr *Trunk) Active() int {
	return int(tr.live.Load())
}

// full reports whether the next Acquire would fail.
func (tr *Trunk) full() bool {
	return tr.Policy.MaxCalls > 0 && tr.Active() >= tr.Policy.MaxCalls
}

// Skip is a trunk that Order left out, and why.
type Skip struct {
	Trunk string
	Why   string // "all 30 places are taken"
}

// Order sorts the trunks of a route for one call: those in health as listed, then the demoted, and those that are down only
// when nothing else is left. A full trunk, one that asked for rest (503 with Retry-After) and an unknown one are left out.
// The reasons of everything left out come second.
func (t *Table) Order(names []string, now time.Time) ([]*Trunk, []Skip) {
	var order, down []*Trunk
	var skips []Skip
	rank := make(map[*Trunk]State, len(names))
	for _, name := range names {
		tr, ok := t.byName[name]
		if !ok {
			skips = append(skips, Skip{name, "there is no such trunk"})
			continue
		}
		if _, twice := rank[tr]; twice {
			continue
		}
		health := tr.Health()
		rank[tr] = health.State(now)
		switch rest := health.Resting(now); {
		case tr.full():
			skips = append(skips, Skip{name, fmt.Sprintf("all %d places are taken", tr.Policy.MaxCalls)})
		case rest > 0:
			skips = append(skips, Skip{name, fmt.Sprintf("it asked for rest, %s more", rest.Round(time.Second))})
		case rank[tr] == Down:
			down = append(down, tr)
		default:
			order = append(order, tr)
		}
	}
	if len(order) == 0 {
		return down, skips
	}
	slices.SortStableFunc(order, func(a, b *Trunk) int { return cmp.Compare(rank[a], rank[b]) })
	for _, tr := range down {
		skips = append(skips, Skip{tr.Name, "it is down"})
	}
	return order, skips
}
