package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (c *Config) checkTrunks(d *document) {
	pairs := make(map[string]string) // {listener, peer} -> trunk
	for _, name := range d.inFileOrder("trunks", slices.Collect(maps.Keys(c.Trunks))) {
		t := c.Trunks[name]
		path := "trunks." + name
		if d.wrong[path] {
			continue
		}
		l, known := c.SIP.Listeners[t.Listener]
		d.missing(path+".listener", "name one of sip.listeners")
		if !known && d.has(path+".listener") {
			d.unknown(path+".listener", t.Listener, "listener", "sip.listeners", slices.Collect(maps.Keys(c.SIP.Listeners)))
		}
		if key, ok := t.checkPeer(d, path, &l, known); ok {
			if other, twice := pairs[key]; twice {
				d.fail(path+".peer", fmt.Sprintf("trunk %s leads from listener %s to this peer already (line %d)",
					other, t.Listener, d.line("trunks."+other)), "two trunks never share a pair; merge them or use another listener")
			} else {
				pairs[key] = name
			}
		}
		if _, ok := c.Sites[t.Site]; !ok && t.Site != "" {
			d.unknown(path+".site", t.Site, "site", "sites", slices.Collect(maps.Keys(c.Sites)))
		}
		t.checkNetwork(d, path+".network", &c.Media)
		if d.has(path+".domain") && !isHost(t.Domain) {
			d.fail(path+".domain", "is no host", "write a name or an address without port")
		}
		c.checkPolicy(d, path, &t.Policy)
		c.checkAuth(d, path, &t)
		c.checkInherited(d, name, &t, &l)
		if known {
			t.checkSecrecy(d, path, &l)
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

// checkInherited finds what a wider scope says and this trunk cannot do. What would only be of no use is left out in
// silence; what the operator relies on, and would not have, is an error of the trunk.
func (c *Config) checkInherited(d *document, name string, t *Trunk, l *Listener) {
	path := "trunks." + name
	given := func(key string) (where string, ok bool) {
		for i, s := range scopes(name, t) {
			if full := s.path + key; d.has(full) {
				return fmt.Sprintf("%s (line %d)", full, d.line(full)), i > 0
			}
		}
		return "", false
	}
	clear := l.Transport == UDPTransport || l.Transport == TCPTransport
	if where, ok := given("srtp"); ok && clear && (t.SRTP == SRTPRequired || t.SRTP == SRTPOptional) {
		d.fail(path+".srtp", fmt.Sprintf("%s says %s, and SRTP is not supported without TLS, its keys would cross the network in clear on listener %s (%s)",
			where, t.SRTP, t.Listener, l.Transport), "use a tls listener, or write srtp: off here")
	}
	if where, ok := given("pin"); ok && t.Pin == PinAuth && t.SRTP == SRTPOff {
		d.fail(path+".pin", fmt.Sprintf("%s says auth, and nothing authenticates the plain RTP of this trunk", where),
			"write pin: exact or pin: learn here")
	}
}

// checkSecrecy checks what depends on the listener: SDES keys and certificates are for TLS only.
func (t *Trunk) checkSecrecy(d *document, path string, l *Listener) {
	if l.Transport != TLSTransport {
		if d.has(path+".srtp") && (t.SRTP == SRTPRequired || t.SRTP == SRTPOptional) {
			d.fail(path+".srtp", fmt.Sprintf("SRTP is not supported without TLS, its keys would cross the network in clear on listener %s (%s)",
				t.Listener, show(l.Transport)), "use a tls listener, or write off")
		}
		if d.has(path + ".tls_names") {
			d.fail(path+".tls_names", fmt.Sprintf("there are no certificates on listener %s (%s)", t.Listener, show(l.Transport)),
				"remove it, or use a tls listener")
		}
		if t.TLS != nil {
			d.fail(path+".tls", fmt.Sprintf("there are no certificates on listener %s (%s)", t.Listener, show(l.Transport)),
				"remove it, or use a tls listener")
		}
		return
	}
	if t.TLS != nil && l.TLS != nil {
		t.TLS.check(d, path+".tls")
		if d.has(path + ".tls.client") {
			d.fail(path+".tls.client", "is about connections that peers open, and this is about ours", "write it in sip.listeners."+t.Listener+".tls")
		}
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
