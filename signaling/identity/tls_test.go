package identity

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"tandem/internal/config"
)

var (
	forServers = x509.ExtKeyUsageServerAuth
	forClients = x509.ExtKeyUsageClientAuth
)

// ends are the two sides of a handshake, as two configurations have them.
func ends(t *testing.T, server, client *config.TLS) (*tls.Config, *tls.Config) {
	t.Helper()
	s, _ := open(t, sip(server), Options{})
	c, _ := open(t, sip(client), Options{})
	return s.Server("in"), c.Client("in")
}

func TestPeersOfOneAuthorityShakeHands(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, c := ends(t, ca.identity(template([]string{"sbc.example.com"}, forServers)), ca.identity(template([]string{"gw.example.com"}, forClients)))
	if _, atServer, atClient := shake(t, s, c); atServer != nil || atClient != nil {
		t.Errorf("server %v, client %v", atServer, atClient)
	}
}

func TestClientCertificateForServersOnlyIsAccepted(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, c := ends(t, ca.identity(template([]string{"sbc.example.com"}, forServers)), ca.identity(template([]string{"uc.example.com"}, forServers)))
	if _, atServer, atClient := shake(t, s, c); atServer != nil || atClient != nil {
		t.Errorf("server %v, client %v", atServer, atClient)
	}
}

func TestServerCertificateForClientsOnlyIsRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	s, c := ends(t, ca.identity(template([]string{"sbc.example.com"}, forClients)), ca.identity(template([]string{"uc.example.com"})))
	if _, _, atClient := shake(t, s, c); atClient == nil {
		t.Error("accepted")
	}
}

func TestClientOfAnotherAuthorityIsRefused(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	for _, mode := range []string{config.ClientRequire, config.ClientRequest} {
		ours, theirs := ca.identity(template([]string{"sbc.example.com"})), other.identity(template([]string{"gw.example.com"}))
		ours.Client, theirs.CA = mode, ca.file
		s, c := ends(t, ours, theirs)
		if _, atServer, _ := shake(t, s, c); atServer == nil {
			t.Errorf("client: %s: accepted", mode)
		}
	}
}

func TestClientWithoutCertificateIsRefusedOnlyWhereOneIsRequired(t *testing.T) {
	ca := newAuthority(t, "ca")
	for mode, accepted := range map[string]bool{config.ClientRequire: false, config.ClientRequest: true, config.ClientNone: true} {
		ours := ca.identity(template([]string{"sbc.example.com"}))
		ours.Client = mode
		s, c := ends(t, ours, ca.identity(template([]string{"gw.example.com"})))
		c = c.Clone()
		c.GetClientCertificate = nil
		if _, atServer, _ := shake(t, s, c); (atServer == nil) != accepted {
			t.Errorf("client: %s: %v", mode, atServer)
		}
	}
}

func TestServerOfAnotherAuthorityIsRefused(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	s, c := ends(t, other.identity(template([]string{"sbc.example.com"})), ca.identity(template([]string{"gw.example.com"})))
	if _, _, atClient := shake(t, s, c); atClient == nil {
		t.Error("accepted")
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	for least, most := range map[string]uint16{"1.2": tls.VersionTLS11, "1.3": tls.VersionTLS12} {
		ours := ca.identity(template([]string{"sbc.example.com"}))
		ours.MinVersion = least
		s, c := ends(t, ours, ours)
		old := c.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, most
		if _, atServer, _ := shake(t, s, old); atServer == nil {
			t.Errorf("min_version %s: an older client was accepted", least)
		}
		old = s.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, most
		if _, _, atClient := shake(t, old, c); atClient == nil {
			t.Errorf("min_version %s: an older server was accepted", least)
		}
	}
}

func TestChainIsShownWhole(t *testing.T) {
	root := newAuthority(t, "root")
	s, c := ends(t, root.intermediate("between").identity(template([]string{"sbc.example.com"})), root.identity(template([]string{"gw.example.com"})))
	if seen, atServer, atClient := shake(t, s, c); atServer != nil || atClient != nil || len(seen.PeerCertificates) != 2 {
		t.Errorf("server %v, client %v, %d certificates", atServer, atClient, len(seen.PeerCertificates))
	}
}

func TestTrunkMayHaveAnIdentityOfItsOwn(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	cfg := sip(ca.identity(template([]string{"sbc.example.com"})))
	theirs := other.identity(template([]string{"customer.example.com"}))
	theirs.Client, theirs.MinVersion = "", ""
	cfg.Trunks = map[string]config.Trunk{
		"plain": {Listener: "in"}, "own": {Listener: "in", TLS: theirs}, "too": {Listener: "in", TLS: theirs},
		"trust": {Listener: "in", TLS: &config.TLS{CA: other.file}}, "same": {Listener: "in", TLS: &config.TLS{}},
	}
	s, _ := open(t, cfg, Options{})
	if s.Trunk("plain") != nil || s.Trunk("nobody") != nil {
		t.Error("a trunk without tls has an identity")
	}
	if s.Trunk("own") != s.Trunk("too") {
		t.Error("two trunks with the same files do not share their identity")
	}
	if s.Trunk("same") != s.Client("in") {
		t.Error("a trunk that says nothing new does not share its listener's identity")
	}
	server, _ := open(t, sip(other.identity(template([]string{"sbc.example.com"}))), Options{})
	for name, accepted := range map[string]bool{"own": true, "trust": false, "same": false} {
		_, atServer, atClient := shake(t, server.Server("in"), s.Trunk(name))
		if got := atServer == nil && atClient == nil; got != accepted {
			t.Errorf("%s: server %v, client %v", name, atServer, atClient)
		}
		if name == "trust" && atClient != nil {
			t.Errorf("trust: the trunk's authority is not believed: %v", atClient)
		}
	}
}

func TestUnreadableIdentityNamesTheKeyAndTheFile(t *testing.T) {
	ca := newAuthority(t, "ca")
	for want, spoil := range map[string]func(*config.TLS){
		"certificate gone.pem: no such file or directory": func(c *config.TLS) { c.Certificate = "gone.pem" },
		"key gone.pem: no such file or directory":         func(c *config.TLS) { c.Key = "gone.pem" },
		"ca gone.pem: no such file or directory":          func(c *config.TLS) { c.CA = "gone.pem" },
		"no certificate in PEM form":                      func(c *config.TLS) { c.CA = c.Key },
		"certificate " + ca.dir + ": not a regular file":  func(c *config.TLS) { c.Certificate = ca.dir },
		"private key does not match public key":           func(c *config.TLS) { c.Key = ca.identity(template([]string{"x"})).Key },
	} {
		c := ca.identity(template([]string{"sbc.example.com"}))
		spoil(c)
		if _, err := Open(sip(c), Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "sip.listeners.in.tls: ") {
			t.Errorf("got %v, want %q", err, want)
		}
		cfg := sip(ca.identity(template([]string{"sbc.example.com"})))
		cfg.Trunks = map[string]config.Trunk{"gw": {Listener: "in", TLS: c}}
		if _, err := Open(cfg, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "trunks.gw.tls: ") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
