package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Final answers to an INVITE that may move a call on. 600 is where "nobody anywhere" begins, but only 603 is certain: the
// callee declined, and asking again by another way would ring a phone that said no.
const (
	firstFailure = 400
	lastFailure  = 699
	declined     = 603
)

func (s *SIP) checkTrunks(d *document, media *Media) {
	pairs := make(map[string]string) // {listener, peer} -> trunk
	for _, name := range d.inFileOrder("sip.trunks", slices.Collect(maps.Keys(s.Trunks))) {
		t := s.Trunks[name]
		path := "sip.trunks." + name
		l, known := s.Listeners[t.Listener]
		d.missing(path+".listener", "name one of sip.listeners")
		if !known && d.has(path+".listener") {
			d.unknown(path+".listener", t.Listener, "listener", "sip.listeners", slices.Collect(maps.Keys(s.Listeners)))
		}
		if key, ok := t.checkPeer(d, path, &l, known); ok {
			if other, twice := pairs[key]; twice {
				d.fail(path+".peer", fmt.Sprintf("trunk %s leads from listener %s to this peer already (line %d)",
					other, t.Listener, d.line("sip.trunks."+other)), "two trunks never share a pair; merge them or use another listener")
			} else {
				pairs[key] = name
			}
		}
		t.checkNetwork(d, path+".network", media)
		t.checkPolicy(d, path)
		if known {
			t.checkSecrecy(d, path, &l)
		}
		if t.Failover.Timeout >= s.Limits.RingTimeout && d.has(path+".failover.timeout") {
			d.fail(path+".failover.timeout", fmt.Sprintf("is not shorter than sip.limits.ring_timeout, %s", short(s.Limits.RingTimeout)),
				"a call would end before it moves on; shorten it")
		}
	}
}

// checkPeer also returns the pair {listener, peer} in a form that compares.
func (t *Trunk) checkPeer(d *document, path string, l *Listener, known bool) (pair string, ok bool) {
	if !d.has(path + ".peer") {
		d.missing(path+".peer", "write the host or IP to send calls to, with an optional port")
		return "", false
	}
	host, port, err := SplitPeer(t.Peer)
	if err != nil || !isHost(host) || !isPort(port) {
		d.fail(path+".peer", "is neither a host nor host:port", `write it as gw1.example.net, 192.0.2.1:5060 or "[2001:db8::1]:5060"`)
		return "", false
	}
	return t.Listener + " " + peerKey(host, port, l.Transport), known
}

func (t *Trunk) checkNetwork(d *document, path string, media *Media) {
	switch _, ok := media.Networks[t.Network]; {
	case ok:
	case t.Network == "" && !d.has(path):
		if len(media.Networks) > 1 {
			d.missing(path, "there are several media networks: name one of "+
				strings.Join(slices.Sorted(maps.Keys(media.Networks)), ", "))
		}
	default:
		d.unknown(path, t.Network, "network", "media.networks", slices.Collect(maps.Keys(media.Networks)))
	}
}

// checkPolicy checks what concerns the trunk alone.
func (t *Trunk) checkPolicy(d *document, path string) {
	if d.has(path+".domain") && !isHost(t.Domain) {
		d.fail(path+".domain", "is no host", "write a name or an address without port")
	}
	d.oneOf(path+".srtp", t.SRTP, SRTPRequired, SRTPOptional, SRTPOff)
	d.oneOf(path+".roc_tx", t.ROC, ROCReset, ROCCarry)
	d.oneOf(path+".pin", t.Pin, PinExact, PinLearn, PinAuth)
	if t.Pin == PinAuth && t.SRTP == SRTPOff {
		d.fail(path+".pin", "nothing authenticates plain RTP, and this trunk has srtp off", "write exact or learn")
	}
	if t.AnyPort && (t.Pin == PinLearn || t.Pin == PinAuth) {
		d.fail(path+".any_source_port", "only pin exact looks at source ports, and this trunk has pin "+show(t.Pin),
			"remove it, or write pin: exact")
	}
	t.checkSuites(d, path+".suites")
	d.within(path+".failover.timeout", t.Failover.Timeout, time.Second, 3*time.Minute)
	for i, code := range t.Failover.Codes {
		item := fmt.Sprintf("%s.failover.codes[%d]", path, i)
		d.between(item, code, firstFailure, lastFailure)
		if code == declined {
			d.fail(item, "the callee declined, that is never tried again", "remove it")
		}
	}
	if !t.Options.Off {
		d.within(path+".options.every", t.Options.Every, time.Second, time.Hour)
	}
	d.between(path+".max_calls", t.MaxCalls, 0, maxAny)
}

func (t *Trunk) checkSuites(d *document, path string) {
	if d.has(path) && t.SRTP == SRTPOff {
		d.fail(path, "this trunk has srtp off", "remove the suites, or write srtp: required")
	}
	if d.has(path) && len(t.Suites) == 0 {
		d.fail(path, "names no suite", "list at least one, or remove the key for "+suites()[0])
	}
	for i, suite := range t.Suites {
		item := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(t.Suites[:i], suite) {
			d.fail(item, "stands in this list already", "remove one of the two")
			continue
		}
		d.oneOf(item, suite, suites()...)
	}
}

// checkSecrecy checks what depends on the listener: SDES keys and certificates are for TLS only.
func (t *Trunk) checkSecrecy(d *document, path string, l *Listener) {
	if l.Transport != TLSTransport {
		if t.SRTP == SRTPRequired || t.SRTP == SRTPOptional {
			d.fail(path+".srtp", fmt.Sprintf("SRTP is not supported without TLS, its keys would cross the network in clear on listener %s (%s)",
				t.Listener, show(l.Transport)), "use a tls listener, or write off")
		}
		if d.has(path + ".tls_names") {
			d.fail(path+".tls_names", fmt.Sprintf("there are no certificates on listener %s (%s)", t.Listener, show(l.Transport)),
				"remove it, or use a tls listener")
		}
		return
	}
	if d.has(path+".tls_names") && len(t.TLSNames) == 0 {
		d.fail(path+".tls_names", "names nobody", "list the names that the peer's certificate may carry")
		return
	}
	concrete := false
	for i, name := range t.TLSNames {
		parent, wild := strings.CutPrefix(name, "*.")
		concrete = concrete || !wild
		switch {
		case wild && (!isHostName(parent) || !strings.Contains(strings.TrimSuffix(parent, "."), ".")):
			d.fail(fmt.Sprintf("%s.tls_names[%d]", path, i), "is too wide a wildcard", "write it as *.sbc.example.com: the star is one label below a name of two or more")
		case !wild && !isHost(name):
			d.fail(fmt.Sprintf("%s.tls_names[%d]", path, i), "is no host name", "write it as sbc.example.com or *.sbc.example.com")
		}
	}
	if host, _, err := SplitPeer(t.Peer); err == nil && !isHostName(host) && !concrete && len(t.TLSNames) > 0 {
		d.fail(path+".tls_names", "the peer is an address and there are only wildcards: no name to ask for when we connect",
			"add one name without a star")
	}
}
