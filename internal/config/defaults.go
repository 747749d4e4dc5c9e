package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
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
	for name, l := range c.SIP.Listeners {
		if l.TLS != nil {
			put(d, "sip.listeners."+name+".tls.client", &l.TLS.Client, ClientRequire)
			put(d, "sip.listeners."+name+".tls.min_version", &l.TLS.MinVersion, "1.2")
		}
	}
	for name, t := range c.SIP.Trunks {
		t.fill(d, "sip.trunks."+name+".", c)
		c.SIP.Trunks[name] = t
	}
	c.SIP.Limits.fill(d)
}

// fill gives a trunk the policy that suits the transport of its listener: SRTP where the keys travel in secret.
func (t *Trunk) fill(d *document, path string, c *Config) {
	put(d, path+"network", &t.Network, onlyNetwork(c.Media.Networks))
	srtp, pin := SRTPOff, PinExact
	if c.SIP.Listeners[t.Listener].Transport == TLSTransport {
		srtp = SRTPRequired
		if host, _, err := SplitPeer(t.Peer); err == nil {
			put(d, path+"tls_names", &t.TLSNames, []string{strings.ToLower(host)})
		}
	}
	put(d, path+"srtp", &t.SRTP, srtp)
	if t.SRTP != SRTPOff {
		pin = PinAuth
		put(d, path+"suites", &t.Suites, []string{suites()[0]})
	}
	put(d, path+"pin", &t.Pin, pin)
	put(d, path+"roc_tx", &t.ROC, ROCReset)
	put(d, path+"failover.timeout", &t.Failover.Timeout, 10*time.Second)
	put(d, path+"failover.codes", &t.Failover.Codes, []int{408, 503, 504})
	if t.Options.Off {
		t.Options.Every = 0
	} else {
		put(d, path+"options.every", &t.Options.Every, 60*time.Second)
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
	if !d.has(path) {
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
