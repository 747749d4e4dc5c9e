package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// suites are the SRTP suites by their names in a=crypto, the default first (RFC 4568, RFC 6188, RFC 7714).
func suites() []string {
	return []string{
		"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32",
		"AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32",
		"AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32",
		"AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
	}
}

func (s *SIP) check(d *document, media *Media) {
	if d.has("sip.fqdn") && !isHostName(s.FQDN) {
		d.fail("sip.fqdn", "is no host name", "write it as sbc.example.com")
	}
	d.match("sip.user_agent", s.UserAgent, headerText, "use 1 to 128 printable ASCII characters")
	d.socket("sip.socket", s.Socket)
	if d.has("sip.profiles") && !filepath.IsAbs(s.Profiles) {
		d.fail("sip.profiles", "is not an absolute path", "begin it with /")
	}
	s.checkListeners(d, media)
	s.Limits.check(d)
}

func (s *SIP) checkListeners(d *document, media *Media) {
	taken := make(map[string][]string) // {udp or stream, address} -> listeners
	for _, name := range d.inFileOrder("sip.listeners", slices.Collect(maps.Keys(s.Listeners))) {
		l := s.Listeners[name]
		path := "sip.listeners." + name
		l.check(d, path)
		if !l.Address.IsValid() {
			continue
		}
		kind := "stream "
		if l.Transport == UDPTransport {
			kind = "udp "
			l.checkMediaPorts(d, path+".address", media)
		}
		key := kind + l.Address.String()
		for _, other := range taken[key] {
			if node := s.Listeners[other].Node; node == l.Node || node == "" || l.Node == "" {
				d.fail(path+".address", fmt.Sprintf("listener %s has it already (line %d)", other, d.line("sip.listeners."+other)),
					"give each its own port")
				break
			}
		}
		taken[key] = append(taken[key], name)
	}
}

func (l *Listener) check(d *document, path string) {
	if d.has(path + ".transport") {
		d.oneOf(path+".transport", l.Transport, UDPTransport, TCPTransport, TLSTransport)
	}
	if d.has(path + ".node") {
		d.match(path+".node", l.Node, nodeName, fmt.Sprintf("use 1 to %d letters, digits and dashes", maxNode))
	}
	d.missing(path+".transport", "write udp, tcp or tls")
	d.missing(path+".address", "write it as 192.0.2.1:5060")
	if l.Address.IsValid() {
		d.concrete(path+".address", l.Address.Addr())
		if l.Address.Port() == 0 {
			d.fail(path+".address", "has port 0", "name the port that peers should use")
		}
	}
	if d.has(path + ".advertise") {
		if host, port, err := SplitPeer(l.Advertise); err != nil || !isHost(host) || !isPort(port) {
			d.fail(path+".advertise", "is neither a host nor host:port", `write it as sbc.example.com or "203.0.113.1:5061"`)
		}
	}
	switch {
	case l.TLS == nil && l.Transport == TLSTransport:
		d.fail(path+".tls", "is missing", "transport tls needs it, with certificate and key")
	case l.TLS != nil && l.Transport != TLSTransport && l.Transport != "":
		d.fail(path+".tls", "is of no use with transport "+show(l.Transport), "remove it, or write transport: tls")
	case l.TLS != nil:
		l.TLS.check(d, path+".tls")
		d.oneOf(path+".tls.client", l.TLS.Client, ClientRequire, ClientRequest, ClientNone)
	}
}

func (t *TLS) check(d *document, path string) {
	if t.Certificate == "" {
		d.fail(path+".certificate", "is missing", "name the PEM file of our certificate and its chain")
	}
	if t.Key == "" {
		d.fail(path+".key", "is missing", "name the PEM file of the certificate's private key")
	}
	if d.has(path+".ca") && t.CA == "" {
		d.fail(path+".ca", "is empty", "name a PEM file, or remove the key for the system's authorities")
	}
	d.oneOf(path+".min_version", t.MinVersion, "1.2", "1.3")
}

// checkMediaPorts keeps a UDP listener out of the media ports of its address.
func (l *Listener) checkMediaPorts(d *document, path string, media *Media) {
	for _, name := range slices.Sorted(maps.Keys(media.Networks)) {
		n := media.Networks[name]
		port := l.Address.Port()
		if slices.Contains(n.Addresses, l.Address.Addr()) && port >= n.Ports.Low && port <= n.Ports.High {
			d.fail(path, fmt.Sprintf("lies among the media ports %d-%d of network %s", n.Ports.Low, n.Ports.High, name),
				"choose a port outside")
		}
	}
}

func (l *SIPLimits) check(d *document) {
	d.between("sip.limits.calls", l.Calls, 1, maxAny)
	d.between("sip.limits.message_bytes", l.Message, 1500, 65535)
	d.between("sip.limits.connections", l.Connections, 1, maxAny)
	d.between("sip.limits.connections_per_source", l.PerSource, 1, maxAny)
	if l.PerSource > l.Connections {
		d.fail("sip.limits.connections_per_source", fmt.Sprintf("is more than all connections together, %d", l.Connections),
			"lower it, or raise connections")
	}
	d.within("sip.limits.handshake", l.Handshake, time.Second, time.Minute)
	d.within("sip.limits.idle", l.Idle, 10*time.Second, 24*time.Hour)
	d.between("sip.limits.stranger_rate", l.StrangerRate, 1, maxAny)
	d.between("sip.limits.trunk_rate", l.TrunkRate, 1, maxAny)
	d.within("sip.limits.ring_timeout", l.RingTimeout, 10*time.Second, time.Hour)
}

// isHostName reports whether s is a DNS name and no address (RFC 1123 section 2.1; underscores occur in practice).
func isHostName(s string) bool {
	_, err := netip.ParseAddr(s)
	return err != nil && len(s) <= 253 && hostName.MatchString(s) && !allDigits(s)
}

// allDigits reports a name of digits and dots alone, which is a mistyped address.
func allDigits(s string) bool {
	return strings.Trim(s, "0123456789.") == ""
}

// isHost accepts a name or an address without a zone.
func isHost(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() || isHostName(s)
}

// isPort accepts 1 to 65535, and nothing.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// peerKey makes two spellings of one peer equal: case, final dot, the port of the transport.
func peerKey(host, port, transport string) string {
	if port == "" {
		port = "5060"
		if transport == TLSTransport {
			port = "5061"
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}
