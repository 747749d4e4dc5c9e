package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// defaultDSCP is Expedited Forwarding, what networks are told to give to voice (RFC 4594 section 4.1).
const defaultDSCP = 46

// fill gives every key that the file leaves out its default.
func (c *Config) fill(d *document) {
	put(d, "node", &c.Node, hostNode())
	put(d, "log.level", &c.Log.Level, "info")
	put(d, "log.format", &c.Log.Format, "text")
	put(d, "control.socket", &c.Control.Socket, "/run/tandem/relay.sock")
	put(d, "control.mode", &c.Control.Mode, "0660")
	put(d, "metrics.relay", &c.Metrics.Relay, "127.0.0.1:9640")
	put(d, "metrics.sip", &c.Metrics.SIP, "127.0.0.1:9641")

	put(d, "media.engine", &c.Media.Engine, EngineAuto)
	put(d, "media.workers", &c.Media.Workers, max(1, runtime.NumCPU()-1))
	put(d, "media.sessions", &c.Media.Sessions, 10_000)
	for name, n := range c.Media.Networks {
		dscp := defaultDSCP
		put(d, "media.networks."+name+".dscp", &n.DSCP, &dscp)
		put(d, "media.networks."+name+".send", &n.Send, SendAuto)
		c.Media.Networks[name] = n
	}
	put(d, "media.timeouts.initial", &c.Media.Timeouts.Initial, 30*time.Second)
	put(d, "media.timeouts.running", &c.Media.Timeouts.Running, 60*time.Second)
	put(d, "media.timeouts.orphan", &c.Media.Timeouts.Orphan, 10*time.Minute)
	put(d, "media.ports.prefer", &c.Media.Ports.Prefer, 60*time.Second)
	put(d, "media.ports.never", &c.Media.Ports.Never, 5*time.Second)

	put(d, "sip.user_agent", &c.SIP.UserAgent, "Tandem")
	put(d, "sip.socket", &c.SIP.Socket, "/run/tandem/sip.sock")
	for name, l := range c.SIP.Listeners {
		if l.TLS != nil {
			put(d, "sip.listeners."+name+".tls.client", &l.TLS.Client, ClientRequire)
			put(d, "sip.listeners."+name+".tls.min_version", &l.TLS.MinVersion, "1.2")
		}
	}
	c.SIP.Limits.fill(d)
	if c.Records.File != "" {
		put(d, "records.size", &c.Records.Size, 100_000_000)
		put(d, "records.keep", &c.Records.Keep, 10)
	}

	c.Policy.fill(d, "policy")
	for name, s := range c.Sites {
		s.Policy.fill(d, "sites."+name+".policy")
	}
	keys := leaves()
	for name, t := range c.Trunks {
		path := "trunks." + name
		t.Policy.fill(d, path)
		c.inherit(d, name, &t, keys)
		c.fillTrunk(d, name, &t)
		c.Trunks[name] = t
	}
	for name, g := range c.Groups {
		g.fill(d, "groups."+name)
		c.Groups[name] = g
	}
	for i := range c.Routes {
		if r := &c.Routes[i]; r.Reject == 0 {
			put(d, fmt.Sprintf("routes[%d].balance", i), &r.Balance, BalanceOrder)
		}
	}
}

// fill gives what has a default in every scope: a cause that is left out is any cause, and 0 is none of Q.850.
func (p *Policy) fill(d *document, path string) {
	for i := range p.Responses {
		put(d, fmt.Sprintf("%s.responses[%d].cause", path, i), &p.Responses[i].Cause, AnyCause)
	}
}

// fillTrunk gives a trunk, after what it inherits, the policy that suits the transport of its listener: SRTP where the keys
// travel in secret.
func (c *Config) fillTrunk(d *document, name string, t *Trunk) {
	path := "trunks." + name + "."
	l := c.SIP.Listeners[t.Listener]
	host, _, err := SplitPeer(t.Peer)
	if err != nil {
		host = "" // the peer has its own error
	}
	put(d, path+"network", &t.Network, onlyNetwork(c.Media.Networks))
	if l.Transport == TLSTransport && host != "" {
		put(d, path+"tls_names", &t.TLSNames, []string{strings.ToLower(host)})
	}
	if t.TLS != nil && l.TLS != nil {
		t.TLS.fill(d, path+"tls", l.TLS)
	}
	if t.Challenge != nil {
		put(d, path+"challenge.realm", &t.Challenge.Realm, c.SIP.FQDN)
	}
	if t.Register != nil {
		if t.Auth != nil {
			put(d, path+"register.user", &t.Register.User, t.Auth.User)
		}
		put(d, path+"register.domain", &t.Register.Domain, strings.ToLower(strings.TrimSuffix(host, ".")))
		put(d, path+"register.expires", &t.Register.Expires, time.Hour)
	}
	c.fillPolicy(d, name, t, &l)
}

// fillPolicy gives the keys of the policy that no scope has their defaults.
func (c *Config) fillPolicy(d *document, name string, t *Trunk, l *Listener) {
	all := scopes(name, t)
	absent := func(key string) bool {
		return !slices.ContainsFunc(all, func(s scope) bool { return d.has(s.path + key) })
	}
	own := func(key string) bool { return d.has(all[0].path + key) }
	mutual := l.Transport == TLSTransport && l.TLS != nil && l.TLS.Client == ClientRequire
	srtp, pin := SRTPOff, PinExact
	if l.Transport == TLSTransport {
		srtp = SRTPRequired
	}
	preset(absent("srtp"), &t.SRTP, srtp)
	if t.SRTP != SRTPOff {
		pin = PinAuth
		preset(absent("suites"), &t.Suites, []string{suites()[0]})
	} else if !own("suites") {
		t.Suites = nil // wider scopes speak to those that have SRTP
	}
	preset(absent("pin"), &t.Pin, pin)
	if t.Pin != PinExact && !own("any_source_port") {
		t.AnyPort = false // likewise to those that pin by address and port
	}
	preset(absent("trusted"), &t.Trusted, mutual)
	preset(absent("identity"), &t.Identity, t.Trusted)
	preset(absent("roc_tx"), &t.ROC, ROCReset)
	preset(absent("refer"), &t.Refer, ReferConsume)
	preset(absent("session_timer"), &t.SessionTimer, TimerOff)
	preset(absent("prack"), &t.Prack, PrackSupported)
	preset(absent("max_early_dialogs"), &t.MaxEarly, 20)
	preset(absent("fax"), &t.Fax, FaxRefuse)
	preset(absent("rtcp_active"), &t.RTCPActive, true)
	preset(absent("failover.timeout"), &t.Failover.Timeout, 10*time.Second)
	preset(absent("failover.codes"), &t.Failover.Codes, []int{408, 503, 504})
	preset(absent("options.demote"), &t.Options.Demote, 3*time.Minute)
	preset(absent("options.down"), &t.Options.Down, 5)
	if t.Options.Off {
		t.Options.Every = 0
	} else {
		preset(absent("options.every"), &t.Options.Every, 60*time.Second)
	}
}

// fill takes from the listener's identity what the trunk's leaves out; certificate and key go together.
func (t *TLS) fill(d *document, path string, listener *TLS) {
	if !d.has(path+".certificate") && !d.has(path+".key") {
		t.Certificate, t.Key = listener.Certificate, listener.Key
	}
	put(d, path+".ca", &t.CA, listener.CA)
	put(d, path+".min_version", &t.MinVersion, listener.MinVersion)
}

// fill gives the members of a group their weights.
func (g *Group) fill(d *document, path string) {
	put(d, path+".balance", &g.Balance, BalanceShuffle)
	if g.Balance != BalanceWeight {
		return
	}
	if g.Weights == nil {
		g.Weights = make(map[string]int, len(g.Trunks))
	}
	for _, name := range g.Trunks {
		if _, ok := g.Weights[name]; !ok && !d.wrong[path+".weights."+name] {
			g.Weights[name] = 1
		}
	}
}

// fill bounds strangers.
func (l *SIPLimits) fill(d *document) {
	put(d, "sip.limits.calls", &l.Calls, 5000)
	put(d, "sip.limits.message_bytes", &l.Message, 65535)
	put(d, "sip.limits.connections", &l.Connections, 4096)
	put(d, "sip.limits.connections_per_source", &l.PerSource, min(256, l.Connections))
	put(d, "sip.limits.handshake", &l.Handshake, 5*time.Second)
	put(d, "sip.limits.idle", &l.Idle, 15*time.Minute)
	put(d, "sip.limits.stranger_rate", &l.StrangerRate, 10)
	put(d, "sip.limits.trunk_rate", &l.TrunkRate, 5000)
	put(d, "sip.limits.ring_timeout", &l.RingTimeout, 3*time.Minute)
}

// put sets a field whose key the file does not have.
func put[T any](d *document, path string, field *T, value T) {
	preset(!d.has(path), field, value)
}

// preset sets a field that is absent.
func preset[T any](absent bool, field *T, value T) {
	if absent {
		*field = value
	}
}

// hostNode makes a node name of the host's: its first label, other characters than letters, digits and dashes left out.
func hostNode() string {
	host, _ := os.Hostname() // without one the fallback below serves
	host, _, _ = strings.Cut(host, ".")
	host = strings.Map(func(r rune) rune {
		if isNodeRune(r) {
			return r
		}
		return -1
	}, host)
	if host == "" {
		return "tandem"
	}
	return host[:min(len(host), maxNode)]
}

// onlyNetwork is the name of the media network if there is no choice.
func onlyNetwork(networks map[string]Network) string {
	if len(networks) == 1 {
		for name := range networks {
			return name
		}
	}
	return ""
}

// SplitPeer reads a peer: "host", "host:port", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:5060". The host comes without
// brackets, the port is empty if there is none. Neither is checked further.
func SplitPeer(peer string) (host, port string, err error) {
	if inner, ok := strings.CutPrefix(peer, "["); ok && strings.HasSuffix(inner, "]") {
		peer = strings.TrimSuffix(inner, "]")
		if a, err := netip.ParseAddr(peer); err != nil || !a.Is6() {
			return "", "", fmt.Errorf("%q is no IPv6 address", peer)
		}
	}
	if _, err := netip.ParseAddr(peer); err == nil || !strings.Contains(peer, ":") {
		return peer, "", nil
	}
	return net.SplitHostPort(peer)
}
