package trunk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tandem/internal/config"
)

// group is the trunks of one listener, and where their requests come from.
type group struct {
	trunks []*Trunk                // by name
	hosts  map[netip.Addr]struct{} // sources that are one address
	wide   []netip.Prefix          // sources that are more
	named  []*peer                 // of those whose sources are what DNS says of the peer, each once
}

// add puts a trunk into the group.
func (g *group) add(tr *Trunk) {
	g.trunks = append(g.trunks, tr)
	for _, p := range tr.Policy.Sources {
		if p.IsSingleIP() {
			g.hosts[p.Addr()] = struct{}{}
		} else {
			g.wide = append(g.wide, p)
		}
	}
	switch {
	case len(tr.Policy.Sources) > 0:
	case tr.peer.fixed != nil:
		g.hosts[tr.peer.fixed[0].addr] = struct{}{}
	case !slices.Contains(g.named, tr.peer):
		g.named = append(g.named, tr.peer)
	}
}

// Known reports whether any trunk of the listener expects requests from this address. It is the fast question before a
// message is parsed; Identify is the thorough one after. It asks no DNS and waits for nothing.
func (t *Table) Known(listener string, src netip.Addr) bool {
	src = src.Unmap()
	g := t.byListener[listener]
	if g == nil {
		return false
	}
	if _, ok := g.hosts[src]; ok {
		return true
	}
	for _, p := range g.wide {
		if p.Contains(src) {
			return true
		}
	}
	if len(g.named) == 0 {
		return false // a clock costs more than all of the above
	}
	now := t.world.now()
	for _, p := range g.named {
		if p.has(src, now) {
			return true
		}
	}
	return false
}

// Identify finds the trunk by which a request enters: of the trunks of the listener whose sources contain src the one with
// the narrowest prefix, and of equals the first by name. On TLS with client certificates one of the verified names
// (subject alternative names of the DNS kind, or the common name) must be among the trunk's tls_names as well; tlsNames is
// empty where the peer showed no certificate, which a listener with client: request allows. Without a trunk the second
// result says why, for a log line.
func (t *Table) Identify(listener string, src netip.Addr, tlsNames []string) (*Trunk, string) {
	src = src.Unmap()
	g := t.byListener[listener]
	if g == nil {
		return nil, fmt.Sprintf("listener %s has no trunks", listener)
	}
	trunks := g.trunks
	var best, wrongName *Trunk
	bits, now := -1, t.world.now()
	for _, tr := range trunks {
		n := tr.reach(src, now)
		if n <= bits {
			continue
		}
		if !tr.admits(tlsNames) {
			wrongName = tr
			continue
		}
		best, bits = tr, n
	}
	switch {
	case best != nil:
		return best, ""
	case wrongName == nil:
		return nil, fmt.Sprintf("%s is in the sources of no trunk of listener %s%s", src, listener, unresolved(trunks, now))
	case len(tlsNames) == 0:
		return nil, fmt.Sprintf("%s is a source of trunk %s but showed no certificate", src, wrongName.Name)
	default:
		return nil, fmt.Sprintf("%s is a source of trunk %s but its certificate is for %q, not for %s",
			src, wrongName.Name, tlsNames, strings.Join(wrongName.Policy.TLSNames, " or "))
	}
}

// reach is the length of the narrowest source prefix that contains src, in bits; -1 if none does. Without sources in the
// policy they are the addresses of the peer, as far as DNS has told them yet.
func (tr *Trunk) reach(src netip.Addr, now time.Time) int {
	bits := -1
	for _, p := range tr.Policy.Sources {
		if p.Bits() > bits && p.Contains(src) {
			bits = p.Bits()
		}
	}
	if len(tr.Policy.Sources) > 0 {
		return bits
	}
	if tr.peer.has(src, now) {
		return src.BitLen()
	}
	return -1
}

// has reports whether src is one of the peer's addresses: of any host that an SRV record leads to, whatever its port.
func (p *peer) has(src netip.Addr, now time.Time) bool {
	targets := p.known(now)
	for i := range targets {
		if targets[i].addr == src {
			return true
		}
	}
	return false
}

// admits reports whether the peer's certificate is one of this trunk's.
func (tr *Trunk) admits(names []string) bool {
	if tr.Listener.TLS == nil || tr.Listener.TLS.Client == config.ClientNone {
		return true
	}
	if len(names) == 0 {
		return tr.Listener.TLS.Client == config.ClientRequest
	}
	for _, want := range tr.Policy.TLSNames {
		for _, name := range names {
			if sameName(want, name) {
				return true
			}
		}
	}
	return false
}

// unresolved names the peers whose addresses are sources but not known yet: the likeliest reason of a refusal soon after
// the start.
func unresolved(trunks []*Trunk, now time.Time) string {
	var hosts []string
	for _, tr := range trunks {
		if len(tr.Policy.Sources) == 0 && len(tr.peer.known(now)) == 0 {
			hosts = append(hosts, tr.Host)
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	return fmt.Sprintf("; not resolved yet: %s", strings.Join(hosts, ", "))
}

// sameName compares a name of the config with one of a certificate. Case does not matter; either may be a wildcard, whose
// star stands for exactly one label (RFC 6125 section 6.4.3).
func sameName(want, name string) bool {
	want, name = fold(want), fold(name)
	return want != "" && (want == name || covers(want, name) || covers(name, want))
}

// fold is a DNS name for comparison: lower case, without the final dot.
func fold(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// covers reports whether the wildcard pattern "*.example.com" covers the name.
func covers(pattern, name string) bool {
	parent, ok := strings.CutPrefix(pattern, "*.")
	if !ok {
		return false
	}
	label, rest, ok := strings.Cut(name, ".")
	return ok && label != "" && label != "*" && rest != "" && rest == parent
}
