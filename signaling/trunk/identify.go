package trunk

import (
	"fmt"
	"net/netip"
	"strings"

	"tandem/internal/config"
)

// Known reports whether any trunk of the listener expects requests from this address. It is the fast question before a
// message is parsed; Identify is the thorough one after. It asks no DNS and waits for nothing.
func (t *Table) Known(listener string, src netip.Addr) bool {
	src = src.Unmap()
	for _, tr := range t.byListener[listener] {
		if tr.reach(src) >= 0 {
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
	trunks := t.byListener[listener]
	if len(trunks) == 0 {
		return nil, fmt.Sprintf("listener %s has no trunks", listener)
	}
	var best, wrongName *Trunk
	bits := -1
	for _, tr := range trunks {
		n := tr.reach(src)
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
		return nil, fmt.Sprintf("%s is in the sources of no trunk of listener %s%s", src, listener, unresolved(trunks))
	case len(tlsNames) == 0:
		return nil, fmt.Sprintf("%s is a source of trunk %s but showed no certificate", src, wrongName.Name)
	default:
		return nil, fmt.Sprintf("%s is a source of trunk %s but its certificate is for %q, not for %s",
			src, wrongName.Name, tlsNames, strings.Join(wrongName.Policy.TLSNames, " or "))
	}
}

// reach is the length of the narrowest source prefix that contains src, in bits; -1 if none does. Without sources in the
// policy they are the addresses of the peer, as far as DNS has told them yet.
func (tr *Trunk) reach(src netip.Addr) int {
	bits := -1
	for _, p := range tr.Policy.Sources {
		if p.Bits() > bits && p.Contains(src) {
			bits = p.Bits()
		}
	}
	if len(tr.Policy.Sources) > 0 {
		return bits
	}
	for _, a := range tr.peer.known() {
		if a == src {
			return src.BitLen()
		}
	}
	return -1
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
func unresolved(trunks []*Trunk) string {
	var hosts []string
	for _, tr := range trunks {
		if len(tr.Policy.Sources) == 0 && len(tr.peer.known()) == 0 {
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
