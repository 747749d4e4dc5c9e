package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
)

// until is an identity whose certificate ends at a time.
func (a *authority) until(at time.Time) *config.TLS {
	c := template([]string{"sbc.example.com"})
	c.NotAfter = at
	return a.identity(c)
}

// lasting is an authority whose certificate ends long after everything in a test.
func lasting(t *testing.T) *authority {
	a := newAuthority(t, "ca")
	a.cert, a.key = (&authority{t: t}).sign(&x509.Certificate{Subject: pkix.Name{CommonName: "lasting"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour)})
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func TestExpiriesAreThoseThatComeFirst(t *testing.T) {
	root := lasting(t)
	between := root.intermediate("between") // an hour
	end := time.Now().Add(48 * time.Hour).Truncate(time.Second).UTC()
	files := between.until(end)
	s, _ := open(t, sip(files), Options{})
	list := s.Expiries()
	if len(list) != 2 {
		t.Fatalf("got %v", list)
	}
	if e := list[0]; e.File != files.Certificate && e.File != files.CA {
		t.Errorf("got %v", e)
	}
	for _, e := range list {
		switch e.File {
		case files.Certificate:
			if !e.At.Equal(between.cert.NotAfter) || e.Subject != "CN=between" {
				t.Errorf("the chain ends with its first: %v", e)
			}
		case files.CA:
			if !e.At.Equal(root.cert.NotAfter) || e.Subject != "CN=lasting" {
				t.Errorf("got %v", e)
			}
		}
	}
}

func TestFileThatServesTwiceIsListedOnce(t *testing.T) {
	ca := lasting(t)
	files := ca.until(time.Now().Add(time.Hour))
	files.CA = files.Certificate
	s, _ := open(t, sip(files), Options{})
	if list := s.Expiries(); len(list) != 1 || list[0].File != files.CA {
		t.Errorf("got %v", list)
	}
}

func TestExpiryIsToldThirtyDaysAheadOnceADay(t *testing.T) {
	const day = 24 * time.Hour
	ca := lasting(t)
	end := time.Now().Add(60 * day)
	files := ca.until(end)
	var now time.Time
	now = end.Add(-31 * day)
	s, log := open(t, sip(files), Options{Now: func() time.Time { return now }})
	for _, step := range []struct {
		left time.Duration
		want string // level, or nothing
	}{
		{31 * day, ""}, {30*day + time.Minute, ""}, {30 * day, "WARN"}, {30*day - time.Minute, ""}, {29*day + time.Minute, ""},
		{29 * day, "WARN"}, {1 * day, "WARN"}, {time.Minute, ""}, {0, "ERROR"}, {-time.Minute, ""}, {-day, "ERROR"},
	} {
		now = end.Add(-step.left).Truncate(time.Second)
		s.Reload()
		lines := log.take("tls: a certificate", files.Certificate)
		if (len(lines) == 0) != (step.want == "") || len(lines) > 1 || len(lines) == 1 && !strings.HasPrefix(lines[0], step.want) {
			t.Errorf("%s before the end: %q, want %q", step.left, lines, step.want)
		}
	}
	long := template([]string{"sbc.example.com"})
	long.NotAfter = end.Add(90 * day)
	ca.renew(files, long)
	if err := s.Reload(); err != nil || len(log.take("tls: a certificate")) != 0 {
		t.Errorf("after the renewal: %v", err)
	}
	now = long.NotAfter.Add(-day)
	s.Reload()
	if len(log.take("WARN tls: a certificate")) != 1 {
		t.Error("the end of the new one is not told")
	}
}

func TestExpiredCertificateIsUsedAllTheSameAtTheStart(t *testing.T) {
	_, log := open(t, sip(lasting(t).until(time.Now().Add(-time.Hour))), Options{})
	if len(log.take("ERROR", "has expired")) != 1 {
		t.Error("nobody is told")
	}
}

func TestWhatPeersMayHoldAgainstUsIsTold(t *testing.T) {
	const long = "a-name-of-a-session-border-controller-that-is-too-long.example.com"
	root := lasting(t)
	between := root.intermediate("between")
	week := func(names ...string) *x509.Certificate {
		c := template(names)
		c.NotAfter = time.Now().Add(300 * 24 * time.Hour)
		return c
	}
	for _, c := range []struct {
		name   string
		files  *config.TLS
		change func(*config.Config)
		want   []string // in the sentences
	}{
		{"nothing", root.identity(week("sbc.example.com")), nil, nil},
		{"a wildcard covers one label", root.identity(week("*.example.com")), nil, nil},
		{"another name", root.identity(week("pbx.example.com")), nil, []string{"it is not for sbc.example.com, the name in the Contact of listener in"}},
		{"a wildcard one label off", root.identity(week("*.com")), nil, []string{"it is not for sbc.example.com"}},
		{"advertise goes before fqdn", root.identity(week("sip.example.net")), func(c *config.Config) {
			l := c.SIP.Listeners["in"]
			l.Advertise = "sip.example.net:5063"
			c.SIP.Listeners["in"] = l
		}, nil},
		{"an address", root.identity(week("192.0.2.1")), func(c *config.Config) { c.SIP.FQDN = "192.0.2.1" }, nil},
		{"no name anywhere", root.identity(week("pbx.example.com")), func(c *config.Config) { c.SIP.FQDN = "" }, nil},
		{"too long a name", root.identity(week("x", long)), func(c *config.Config) { c.SIP.FQDN = long }, []string{"has 66 characters; Teams takes 63"}},
		{"it ends soon", root.until(time.Now().Add(24 * time.Hour)), nil, []string{"it ends on"}},
		{"a part of the chain is missing", without(t, between.identity(week("sbc.example.com")), 1), nil,
			[]string{`its chain ends at one signed by "CN=between"`}},
		{"the chain is out of order", swapped(t, between.identity(week("sbc.example.com")), root), nil, []string{"it ends on", "the chain is out of order: certificate 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := sip(c.files)
			if c.change != nil {
				c.change(cfg)
			}
			doubts, err := Check(cfg, nil)
			if err != nil || len(doubts) != len(c.want) {
				t.Fatalf("got %q, %v, want %q", doubts, err, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(doubts[i], want) || !strings.Contains(doubts[i], c.files.Certificate) {
					t.Errorf("got %q, want %q", doubts[i], want)
				}
			}
			_, log := open(t, cfg, Options{})
			if told := len(log.take("WARN")); told != len(c.want) {
				t.Errorf("%d warnings are logged at the start", told)
			}
		})
	}
}

// blocks are the certificates of a file.
func blocks(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSpace(string(raw))+"\n", "-----END CERTIFICATE-----\n")
}

// without takes one certificate out of a chain.
func without(t *testing.T, files *config.TLS, i int) *config.TLS {
	t.Helper()
	all := blocks(t, files.Certificate)
	put(t, files.Certificate, strings.Join(append(all[:i:i], all[i+1:]...), ""))
	return files
}

// swapped puts the root before the intermediate.
func swapped(t *testing.T, files *config.TLS, root *authority) *config.TLS {
	t.Helper()
	all := blocks(t, files.Certificate)
	put(t, files.Certificate, all[0]+text("CERTIFICATE", root.cert.Raw)+all[1])
	return files
}

func TestCheckRefusesWhatOpenRefuses(t *testing.T) {
	files := lasting(t).until(time.Now())
	files.Key = "gone.key"
	if doubts, err := Check(sip(files), nil); err == nil || doubts != nil {
		t.Errorf("got %q, %v", doubts, err)
	}
}
