package config

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example is the commented example that operators start from.
const example = "../../deploy/tandem.yaml"

func TestExampleFileIsValid(t *testing.T) {
	if _, err := Load(example); err != nil {
		t.Fatal(err)
	}
}

func TestEveryKeyStandsInTheExampleFile(t *testing.T) {
	file, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string][]string)
	collect("", reflect.TypeFor[Config](), sections)
	if len(sections) < 60 {
		t.Fatalf("found only %d keys in the structs", len(sections))
	}
	for key, where := range sections {
		count := len(regexp.MustCompile(`(?m)[\s{#-]`+key+`:( |$)`).FindAll(file, -1))
		if count == 0 {
			t.Errorf("%s: %q of %s is missing", example, key, strings.Join(where, ", "))
		}
	}
}

func TestCommentedDefaultsOfTheExampleAreTheDefaults(t *testing.T) {
	file, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: .*)$`)
	var live []string
	for line := range strings.Lines(string(file)) {
		foreign := strings.Contains(line, "no default") || strings.Contains(line, "; default: ") || strings.Contains(line, "# default: ")
		if !foreign {
			line = commented.ReplaceAllString(line, "$1$2")
		}
		live = append(live, line)
	}
	a, err := Parse("as written", file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse("with its defaults", []byte(strings.Join(live, "")))
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(strings.Join(live, ""), string(file)) {
		t.Fatal("no commented default was found")
	}
	if x, y := described(a), described(b); x != y {
		t.Errorf("the commented values are not the defaults:\n%s\n---\n%s", x, y)
	}
}

func TestEmbeddedConfigRoutesTheCallerToTheCallee(t *testing.T) {
	c := Embedded()
	if len(c.Routes) != 1 || c.Routes[0].From[0] != "caller" || c.Routes[0].To[0] != "callee" {
		t.Errorf("routes: %+v", c.Routes)
	}
	if got := c.SIP.Listeners["local-udp"].Address.String(); got != "127.0.0.1:5060" {
		t.Errorf("local-udp listens on %s", got)
	}
	for name, l := range c.SIP.Listeners {
		if !l.Address.Addr().IsLoopback() {
			t.Errorf("listener %s is open to others: %s", name, l.Address)
		}
	}
}

// minimal is the shortest useful file; the tests of defaults begin from it.
const minimal = `
media:
  networks:
    lan: {addresses: [192.0.2.1], ports: 40000-40099}
sip:
  listeners:
    secure:
      transport: tls
      address: 192.0.2.1:5061
      tls: {certificate: c.pem, key: k.pem}
    open: {transport: udp, address: 192.0.2.1:5060}
trunks:
  uc: {listener: secure, peer: UC.example.com}
  gw: {listener: open, peer: 198.51.100.1}
`

func TestDefaultsOfATrunkFollowTheTransportOfItsListener(t *testing.T) {
	c := mustParse(t, minimal)
	uc, gw := c.Trunks["uc"], c.Trunks["gw"]
	if uc.SRTP != SRTPRequired || uc.Pin != PinAuth || uc.Suites[0] != "AES_CM_128_HMAC_SHA1_80" || uc.TLSNames[0] != "uc.example.com" {
		t.Errorf("on tls: %+v", uc)
	}
	if gw.SRTP != SRTPOff || gw.Pin != PinExact || gw.Suites != nil || gw.TLSNames != nil {
		t.Errorf("on udp: %+v", gw)
	}
	if uc.Network != "lan" || gw.Network != "lan" {
		t.Errorf("the only network is not the default: %q, %q", uc.Network, gw.Network)
	}
	if l := c.SIP.Listeners["secure"].TLS; l.Client != ClientRequire || l.MinVersion != "1.2" {
		t.Errorf("tls: %+v", l)
	}
	if *c.Media.Networks["lan"].DSCP != 46 {
		t.Errorf("dscp %d", *c.Media.Networks["lan"].DSCP)
	}
}

func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	c := mustParse(t, minimal)
	if c.Media.Workers < 1 || c.Node == "" {
		t.Errorf("workers %d, node %q", c.Media.Workers, c.Node)
	}
	c.Media.Workers, c.Node = 0, "" // of the machine
	c.SIP.Listeners, c.Trunks, c.Media.Networks, c.source = nil, nil, nil, nil
	want := &Config{
		Log:     Log{"info", "text"},
		Control: Control{Socket: "/run/tandem/relay.sock", Mode: "0660"},
		Metrics: Metrics{"127.0.0.1:9640", "127.0.0.1:9641"},
		Media: Media{
			Engine: "auto", Sessions: 10000,
			Timeouts: MediaTimeouts{30 * time.Second, time.Minute, 10 * time.Minute},
			Ports:    PortRest{time.Minute, 5 * time.Second},
		},
		SIP: SIP{UserAgent: "Tandem", Socket: "/run/tandem/sip.sock", Limits: SIPLimits{
			Calls: 5000, Message: 65535, Connections: 4096, PerSource: 256, Handshake: 5 * time.Second,
			Idle: 15 * time.Minute, StrangerRate: 10, TrunkRate: 5000, RingTimeout: 3 * time.Minute,
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestValuesMayBeWrittenAsPeopleDo(t *testing.T) {
	c := mustParse(t, minimal+`
routes:
  - {name: r, from: [uc], match: '^\+43', to: [gw]}
control:
  mode: 0640
  users: [1000, media]
metrics: {relay: off, sip: "[::1]:9641"}
log:
`)
	if c.Control.Mode != "0640" || c.Control.Users[0] != "1000" || c.Metrics.Relay != MetricsOff || c.Log.Level != "info" {
		t.Errorf("%+v %+v %+v", c.Control, c.Metrics, c.Log)
	}
	if re := c.Routes[0].Match; !re.MatchString("+431") || re.MatchString("431") {
		t.Errorf("match is %s", re)
	}
	trunk := mustParse(t, strings.Replace(minimal, "peer: 198.51.100.1}",
		"peer: '[2001:db8::1]:5070', sources: [198.51.100.7, '2001:db8::/32'], failover: {codes: []}, options: {off: true, every: 5s}}", 1)).Trunks["gw"]
	if trunk.Sources[0].String() != "198.51.100.7/32" || trunk.Failover.Codes == nil || len(trunk.Failover.Codes) != 0 || trunk.Options.Every != 0 {
		t.Errorf("%+v", trunk)
	}
}

func TestDescriptionIsAFileThatMeansTheSame(t *testing.T) {
	file, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"example": string(file), "minimal": minimal, "embedded": embedded, "scopes": scoped} {
		c := mustParse(t, text)
		again := mustParse(t, withPasswords(described(c)))
		c.source, again.source = nil, nil // lines differ
		if !reflect.DeepEqual(c, again) {
			t.Errorf("%s: reads back differently:\n%s\n---\n%s", name, described(c), described(again))
		}
	}
}

func TestDescriptionSummarisesTrunksAndRoutes(t *testing.T) {
	c := mustParse(t, minimal+"routes: [{name: out, from: [uc], match: '^0', to: [gw]}]\n")
	text := described(c)
	for _, line := range []string{
		"# trunk gw: udp 192.0.2.1:5060 to 198.51.100.1, media on lan in RTP, pin exact, callers: its own addresses\n",
		"# trunk uc: tls 192.0.2.1:5061 to UC.example.com, media on lan in SRTP (required), pin auth, callers: its own addresses, certificate for uc.example.com\n",
		"# route out: from uc, numbers '^0', to gw\n",
		"    running: 1m\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
}

func TestMissingFileIsOneClearLine(t *testing.T) {
	_, err := Load("no-such.yaml")
	want := "config: open no-such.yaml: no such file or directory; give the path of the file with -c"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("t.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func described(c *Config) string {
	var b bytes.Buffer
	c.Describe(&b)
	return b.String()
}

// withPasswords writes into a description the password that the tests have everywhere.
func withPasswords(description string) string {
	return regexp.MustCompile(`'\(hidden\)'  # not shown.*`).ReplaceAllString(description, "change-me")
}

// FuzzConfig reads arbitrary files: it never panics, every error has a place, and whatever is valid means the same after
// being described and read again.
func FuzzConfig(f *testing.F) {
	file, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(file), minimal, embedded, scoped, pool, "", "a: [1", "a: &x [*x]", "<<: {a: b}", "? a\n: b", "- 1", "node: ~\nnode: |\n  x\n",
		"media: {networks: {\"a.b\": {}}}", "routes: [{match: '('}]", "%YAML 1.2\n---\nnode: a", "node: \"\\x00\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f.yaml", b)
		if err != nil {
			errs, ok := err.(Errors)
			if !ok || len(errs) == 0 {
				t.Fatalf("%T without content", err)
			}
			for _, e := range errs {
				if e.Line < 1 || e.Column < 1 || e.Message == "" || strings.ContainsAny(e.Error(), "\n\x00") {
					t.Fatalf("%#v", e)
				}
			}
			return
		}
		again, err := Parse("again.yaml", []byte(withPasswords(described(c))))
		if err != nil {
			t.Fatalf("%v in\n%s", err, described(c))
		}
		if described(c) != described(again) {
			t.Fatalf("reads back differently:\n%s\n---\n%s", described(c), described(again))
		}
		c.DescribePolicies(io.Discard)
		if changes := Diff(c, c); len(changes) > 0 {
			t.Fatalf("a file differs from itself: %v", changes)
		}
		for name, trunk := range c.Trunks {
			if _, ok := c.SIP.Listeners[trunk.Listener]; !ok {
				t.Fatalf("trunk %s has lost its listener", name)
			}
		}
	})
}
