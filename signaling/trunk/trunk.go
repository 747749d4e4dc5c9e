// Package trunk knows the peers: who may enter by which trunk, where a trunk leads, how many calls it carries and whether
// it is alive.
//
// A trunk is {one of our listeners : one peer} with its policy (Lync's notion; New-CsTrunk). The failure this package
// prevents is a call that enters as somebody it is not: a source address alone is not enough where certificates are checked,
// and a name alone is not enough anywhere (TestCertificateOfAnotherTenantDoesNotEnter, TestRightNameFromWrongAddressDoesNotEnter).
//
// The other one is the call too many: caps are exact to the call, and what a call holds of them comes back although the
// config was reloaded meanwhile (TestCapsAreExactToTheCallUnderManyCallers, TestCallOfBeforeTheReloadFreesItsPlaceInTheNewTable).
//
// No SIP is spoken here: signaling/b2bua sends the OPTIONS and the INVITEs and reports what came of them, signaling/route
// says which trunks a call may use at all, signaling/identity has the certificates, and signaling/trunk/names speaks to DNS
// servers. Time and chance come in from outside.
package trunk

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk/names"
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

	peer  *peer  // what Host resolves to; shared by the trunks that ask the same of DNS
	live  *live  // shared with the trunk of the config before; see Adopt
	world *world // of the table
}

// Table is all trunks of the config. It is safe for concurrent use.
type Table struct {
	byName     map[string]*Trunk
	all        []*Trunk // by name
	byListener map[string]*group
	peers      map[question]*peer
	world      *world
}

// New resolves the policy of every trunk: its listener, its peer's host and port, its health at the start. It asks no DNS:
// call Refresh once the process may wait, or let the first Targets do so. The config must be validated. A nil dns is the
// servers and the hosts file of this machine, a nil clock the wall clock.
func New(cfg *config.Config, dns DNS, now func() time.Time) (*Table, error) {
	if dns == nil {
		dns = new(names.Client)
	}
	if now == nil {
		now = time.Now
	}
	t := &Table{
		byName: make(map[string]*Trunk), byListener: make(map[string]*group), peers: make(map[question]*peer),
		world: &world{dns: dns, now: now, random: rand.IntN},
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		tr, err := t.open(name, cfg)
		if err != nil {
			return nil, err
		}
		t.byName[name] = tr
		t.all = append(t.all, tr)
		g := t.byListener[tr.Policy.Listener]
		if g == nil {
			g = &group{hosts: make(map[netip.Addr]struct{})}
			t.byListener[tr.Policy.Listener] = g
		}
		g.add(tr)
	}
	return t, nil
}

// Draw replaces the chance by which addresses of equal priority are ordered: random is uniform in [0,n) and safe for
// concurrent use. Call it before the table is used; the default is math/rand/v2.
func (t *Table) Draw(random func(n int) int) { t.world.random = random }

// open makes one trunk from its policy.
func (t *Table) open(name string, cfg *config.Config) (*Trunk, error) {
	policy := cfg.Trunks[name]
	listener, ok := cfg.SIP.Listeners[policy.Listener]
	if !ok {
		return nil, fmt.Errorf("trunk %s: there is no listener %q", name, policy.Listener)
	}
	host, port, err := splitPeer(policy.Peer)
	if err != nil {
		return nil, fmt.Errorf("trunk %s: peer %q: %w", name, policy.Peer, err)
	}
	key := question{host: host}
	if _, err := netip.ParseAddr(host); err != nil && port == 0 {
		key.service = service(listener.Transport)
	}
	if t.peers[key] == nil {
		t.peers[key] = newPeer(key, t.world)
	}
	tr := &Trunk{
		Name: name, Policy: policy, Listener: listener, Host: host, Port: cmp.Or(port, defaultPort(listener.Transport)),
		peer: t.peers[key], live: newLive(t.world.now()), world: t.world,
	}
	tr.live.govern(tr)
	return tr, nil
}

// splitPeer reads a peer into its host, in lower case, and its port; 0: it names none.
func splitPeer(peer string) (host string, port uint16, err error) {
	host, text, err := config.SplitPeer(peer)
	if err != nil {
		return "", 0, err
	}
	host = fold(host)
	if host == "" {
		return "", 0, errors.New("it has no host")
	}
	if text == "" {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q is not 1..65535", text)
	}
	return host, uint16(n), nil
}

// defaultPort is that of a transport.
func defaultPort(transport string) uint16 {
	if transport == config.TLSTransport {
		return portSIPS
	}
	return portSIP
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
