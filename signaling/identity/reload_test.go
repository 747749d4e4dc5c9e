package identity

import (
	"crypto/tls"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
)

// shown is the number of the certificate that a listener shows now.
func shownBy(t testing.TB, s *Store) *big.Int {
	t.Helper()
	seen, _, err := shake(t, s.Server("in"), &tls.Config{InsecureSkipVerify: true, GetClientCertificate: s.Client("in").GetClientCertificate})
	if err != nil {
		t.Fatal(err)
	}
	return seen.PeerCertificates[0].SerialNumber
}

func TestChangedCertificateIsShownFromTheNextHandshakeOn(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.identity(template([]string{"sbc.example.com"}))
	s, log := open(t, sip(files), Options{})
	server, client := s.Server("in"), s.Client("in")
	before := shownBy(t, s)
	ca.renew(files, template([]string{"sbc.example.com"}))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if after := shownBy(t, s); after.Cmp(before) == 0 {
		t.Error("the old certificate is shown still")
	}
	if s.Server("in") != server || s.Client("in") != client {
		t.Error("the listener's tls.Config changed: it is in use")
	}
	if cert, err := client.GetClientCertificate(nil); err != nil || cert.Leaf.SerialNumber.Cmp(before) == 0 {
		t.Error("connections that we open show the old certificate")
	}
	if lines := log.take("INFO", "in use", files.Certificate); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
	if err := s.Reload(); err != nil || len(log.take()) != 0 {
		t.Errorf("nothing changed, and yet: %v", err)
	}
}

func TestHalfOfAPairIsNeverUsed(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.identity(template([]string{"sbc.example.com"}))
	s, log := open(t, sip(files), Options{})
	before := shownBy(t, s)
	cert, key := ca.pems(template([]string{"sbc.example.com"}))
	for _, step := range []struct{ path, content string }{{files.Certificate, cert}, {files.Key, key}} {
		put(t, step.path, step.content)
		err := s.Reload()
		if changed := shownBy(t, s).Cmp(before) != 0; changed != (step.path == files.Key) || (err == nil) != changed {
			t.Errorf("after %s: taken up %t, %v", step.path, changed, err)
		}
	}
	if lines := log.take("ERROR", "private key does not match public key"); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
}

func TestBrokenFileLeavesTheOldCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	expired := template([]string{"sbc.example.com"})
	expired.NotAfter = time.Now().Add(-time.Minute)
	for name, c := range map[string]struct {
		spoil func(*config.TLS)
		want  string
	}{
		"garbage":            {func(c *config.TLS) { put(t, c.Certificate, "garbage") }, "failed to find any PEM data"},
		"empty":              {func(c *config.TLS) { put(t, c.Key, "") }, "failed to find any PEM data"},
		"gone":               {func(c *config.TLS) { os.Remove(c.Key) }, "no such file"},
		"a directory":        {func(c *config.TLS) { os.Remove(c.Certificate); os.Mkdir(c.Certificate, 0o700) }, "not a regular file"},
		"huge":               {func(c *config.TLS) { os.Truncate(c.Certificate, maxFile+1) }, "bytes are too many"},
		"expired":            {func(c *config.TLS) { ca.renew(c, expired) }, "it expired on"},
		"authorities gone":   {func(c *config.TLS) { put(t, c.CA, "") }, "no certificate in PEM form"},
		"authorities cut":    {func(c *config.TLS) { cut(t, c.CA) }, "cut off or no PEM"},
		"authorities broken": {func(c *config.TLS) { put(t, c.CA, text("CERTIFICATE", []byte("x"))) }, "certificate 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			files := ca.identity(template([]string{"sbc.example.com"}))
			trusted, err := os.ReadFile(ca.file)
			if err != nil {
				t.Fatal(err)
			}
			files.CA = files.Certificate + ".ca"
			put(t, files.CA, string(trusted))
			s, log := open(t, sip(files), Options{})
			before := shownBy(t, s)
			c.spoil(files)
			if err := s.Reload(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), files.Certificate[:len(files.Certificate)-4]) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if shownBy(t, s).Cmp(before) != 0 {
				t.Error("the old certificate is gone")
			}
			if lines := log.take("ERROR", "the old one stays", c.want); len(lines) != 1 {
				t.Errorf("logged %q", lines)
			}
			if err := s.Reload(); err == nil || len(log.take()) != 0 {
				t.Errorf("the second time: %v, logged again", err)
			}
			os.RemoveAll(files.Certificate)
		})
	}
}

// cut takes the end off a file that has two certificates.
func cut(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, string(raw)+string(raw[:len(raw)/2]))
}

func TestTickDoesNotTellOfAFaultThatIsGoneOnTheNext(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.identity(template([]string{"sbc.example.com"}))
	s, log := open(t, sip(files), Options{})
	tick := func(want int) {
		t.Helper()
		s.mu.Lock()
		s.look(false)
		s.mu.Unlock()
		if lines := log.take("ERROR"); len(lines) != want {
			t.Errorf("told %q, want %d", lines, want)
		}
	}
	cert, key := ca.pems(template([]string{"sbc.example.com"}))
	put(t, files.Certificate, cert)
	tick(0) // between the two halves
	put(t, files.Key, key)
	tick(0)
	put(t, files.Key, "garbage")
	tick(0)
	tick(1)
	tick(0)
	put(t, files.Key, key)
	tick(0)
	put(t, files.Key, "garbage")
	tick(0)
	tick(1)
}

func TestFilesAreLookedAtByThemselves(t *testing.T) {
	ca := newAuthority(t, "ca")
	files := ca.identity(template([]string{"sbc.example.com"}))
	log := newJournal()
	s, _ := open(t, sip(files), Options{Every: time.Millisecond, Log: slog.New(log)})
	before := shownBy(t, s)
	ca.renew(files, template([]string{"sbc.example.com"}))
	for !strings.Contains(await(t, log.news, "the news"), "INFO tls: a changed file is in use") {
	}
	if shownBy(t, s).Cmp(before) == 0 {
		t.Error("the old certificate is shown still")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestChangedAuthoritiesCountFromTheNextHandshakeOn(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	files := ours.identity(template([]string{"sbc.example.com"}))
	both, err := os.ReadFile(ours.file)
	if err != nil {
		t.Fatal(err)
	}
	files.CA = files.Certificate + ".ca"
	put(t, files.CA, string(both))
	s, _ := open(t, sip(files), Options{})
	peer, _ := open(t, sip(theirs.identity(template([]string{"sbc.example.com"}))), Options{})
	believes := peer.Client("in").Clone()
	believes.VerifyConnection = nil // the peer believes us; it is about whom we believe
	believes.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	judge := func(what string, want bool) {
		t.Helper()
		if _, atServer, _ := shake(t, s.Server("in"), believes); (atServer == nil) != want {
			t.Errorf("%s: as a server: %v", what, atServer)
		}
		if _, _, atClient := shake(t, peer.Server("in"), s.Client("in")); (atClient == nil) != want {
			t.Errorf("%s: as a client: %v", what, atClient)
		}
	}
	judge("before", false)
	put(t, files.CA, string(both)+text("CERTIFICATE", theirs.cert.Raw))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	judge("with their authority", true)
	judge("with their authority, resumed", true)
	put(t, files.CA, string(both))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	judge("without it, with a session to resume", false)
}

func TestUpdateKeepsWhatStaysTheSame(t *testing.T) {
	ca := newAuthority(t, "ca")
	files, other := ca.identity(template([]string{"sbc.example.com"})), ca.identity(template([]string{"new.example.com"}))
	cfg := sip(files)
	cfg.Trunks = map[string]config.Trunk{"a": {Listener: "in", TLS: other}, "b": {Listener: "in"}}
	s, _ := open(t, cfg, Options{})
	server, client, a := s.Server("in"), s.Client("in"), s.Trunk("a")
	ca.renew(files, template([]string{"sbc.example.com"}))
	next := sip(files)
	next.Trunks = map[string]config.Trunk{"a": {Listener: "in"}, "b": {Listener: "in", TLS: other}}
	if err := s.Update(next); err != nil {
		t.Fatal(err)
	}
	if s.Server("in") != server || s.Client("in") != client || s.Trunk("a") != nil || s.Trunk("b") != a {
		t.Error("identities that stayed the same were made anew")
	}
	if n := len(s.Expiries()); n != 3 {
		t.Errorf("%d files are watched", n)
	}
	broken := sip(files)
	broken.Trunks = map[string]config.Trunk{"a": {Listener: "in", TLS: &config.TLS{Certificate: "gone.pem", Key: "gone.key"}}}
	if err := s.Update(broken); err == nil || s.Trunk("b") != a {
		t.Errorf("an Update that failed changed something: %v", err)
	}
	if err := s.Update(sip(files)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Expiries()); n != 2 {
		t.Errorf("%d files are watched after the last trunk left", n)
	}
}
