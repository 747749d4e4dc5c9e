package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// scoped has a policy of each scope. Lines are counted from the first key: media is line 2.
const scoped = `
media: {networks: {lan: {addresses: [192.0.2.1], ports: 40000-40099}}}
sip:
  listeners:
    secure: {transport: tls, address: "192.0.2.1:5061", tls: {certificate: c.pem, key: k.pem}}
    open: {transport: udp, address: "192.0.2.1:5060"}
policy:
  max_calls: 100
  failover: {timeout: 8s}
  suites: [AEAD_AES_256_GCM]
  usages: [national, abroad]
  dial_plan: at
  any_source_port: true
  responses: [{cause: 34, to: 503}]
sites:
  vienna:
    policy:
      max_calls: 50
      failover: {codes: [480]}
      called_numbers:
        - {match: '^\+431(\d+)$', to: '$1'}
        - {match: '^\+(\d+)$', to: '00$1'}
  graz: {}
trunks:
  uc: {listener: secure, peer: uc.example.com}
  gw:
    listener: open
    peer: 198.51.100.1
    site: vienna
  gw2:
    listener: open
    peer: 198.51.100.2
    site: vienna
    max_calls: 0
    failover: {timeout: 5s}
    usages: []
    dial_plan: ''
    called_numbers: [{match: '^1(.*)$', to: '$1'}]
  gw3: {listener: open, peer: 198.51.100.3, site: graz}
dial_plans:
  at: [{match: '^0(\d+)$', to: '+43$1'}]
routes:
  - {name: home, usages: [national], to: [gw, gw2, gw3]}
  - {name: away, usages: [abroad], to: [uc]}
`

func TestTheNarrowestScopeThatHasAKeyGivesIt(t *testing.T) {
	c := mustParse(t, scoped)
	uc, gw, gw2, gw3 := c.Trunks["uc"], c.Trunks["gw"], c.Trunks["gw2"], c.Trunks["gw3"]
	for _, got := range []struct {
		what       string
		have, want any
	}{
		{"uc.max_calls, of all", uc.MaxCalls, 100},
		{"gw.max_calls, of its site", gw.MaxCalls, 50},
		{"gw2.max_calls, no cap of its own", gw2.MaxCalls, 0},
		{"gw3.max_calls, of all, its site says nothing", gw3.MaxCalls, 100},
		{"gw.failover.timeout, of all beside its site's codes", gw.Failover.Timeout, 8 * time.Second},
		{"gw2.failover.timeout, its own", gw2.Failover.Timeout, 5 * time.Second},
		{"gw.dial_plan", gw.DialPlan, "at"},
		{"gw2.dial_plan, none of its own", gw2.DialPlan, ""},
		{"gw.options.every, default", gw.Options.Every, time.Minute},
		{"gw.options.demote, default", gw.Options.Demote, 3 * time.Minute},
		{"gw.options.down, default", gw.Options.Down, 5},
		{"gw.any_source_port, of all", gw.AnyPort, true},
		{"uc.any_source_port, of no use with pin auth", uc.AnyPort, false},
		{"gw.responses, cause", gw.Responses[0].Cause, 34},
		{"uc.srtp, default of its transport", uc.SRTP, SRTPRequired},
		{"gw.srtp, default of its transport", gw.SRTP, SRTPOff},
	} {
		if got.have != got.want {
			t.Errorf("%s: %v, want %v", got.what, got.have, got.want)
		}
	}
	if !slices.Equal(gw.Failover.Codes, []int{480}) || !slices.Equal(gw3.Failover.Codes, []int{408, 503, 504}) {
		t.Errorf("codes of gw %v, of gw3 %v", gw.Failover.Codes, gw3.Failover.Codes)
	}
	if len(gw.Called) != 2 || len(gw2.Called) != 1 || len(uc.Called) != 0 {
		t.Errorf("a list does not replace the wider one: %v, %v, %v", gw.Called, gw2.Called, uc.Called)
	}
	if gw2.Usages == nil || len(gw2.Usages) != 0 || len(gw.Usages) != 2 {
		t.Errorf("usages of gw2 %v, of gw %v", gw2.Usages, gw.Usages)
	}
	if !slices.Equal(uc.Suites, []string{"AEAD_AES_256_GCM"}) || gw.Suites != nil {
		t.Errorf("suites of uc %v, of gw, which has no SRTP, %v", uc.Suites, gw.Suites)
	}
}

func TestAKeyIsNamedWithItsLineWhereAFileSaysIt(t *testing.T) {
	c := mustParse(t, scoped)
	for path, want := range map[string]string{
		"trunks.gw.peer": fmt.Sprintf("t.yaml:%d: trunks.gw.peer", c.Line("trunks.gw.peer")),
		"metrics.relay":  "metrics.relay",
	} {
		if got := c.At(path); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for name, c := range map[string]*Config{"the embedded config": Embedded(), "a config without a file": new(Config)} {
		if got := c.At("sip.listeners.local-udp.address"); got != "sip.listeners.local-udp.address" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestOriginAndLineTellWhereAValueStands(t *testing.T) {
	c := mustParse(t, scoped)
	for _, o := range []struct {
		trunk, key, scope string
		line              int
	}{
		{"uc", "max_calls", "global", 8},
		{"gw", "max_calls", "site vienna", 18},
		{"gw2", "max_calls", "trunk gw2", 34},
		{"gw", "failover.timeout", "global", 9},
		{"gw", "failover.codes", "site vienna", 19},
		{"gw2", "failover.timeout", "trunk gw2", 35},
		{"gw", "called_numbers", "site vienna", 20},
		{"gw", "called_numbers[1]", "site vienna", 22},
		{"gw2", "called_numbers[0]", "trunk gw2", 38},
		{"gw", "options.every", "default", 0},
		{"gw", "no such key", "default", 0},
		{"no such trunk", "max_calls", "global", 8},
	} {
		if scope, line := c.Origin(o.trunk, o.key); scope != o.scope || line != o.line {
			t.Errorf("%s.%s: %s, line %d; want %s, line %d", o.trunk, o.key, scope, line, o.scope, o.line)
		}
	}
	for path, want := range map[string]int{
		"media": 2, "trunks.gw.peer": 28, "routes[1]": 44, "routes[1].to[0]": 44, "dial_plans.at[0]": 41, "dial_plans.at[0].match": 41,
		"routes[2]": 0, "trunks.gw.max_calls": 0, "": 0,
	} {
		if got := c.Line(path); got != want {
			t.Errorf("%s is in line %d, want %d", path, got, want)
		}
	}
	if scope, line := new(Config).Origin("gw", "srtp"); scope != "default" || line != 0 {
		t.Errorf("a config without a file: %s, %d", scope, line)
	}
}

func TestPoliciesAreDescribedWithTheScopeOfEachValue(t *testing.T) {
	var b bytes.Buffer
	mustParse(t, scoped).DescribePolicies(&b)
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"trunk gw of site vienna: udp 192.0.2.1:5060 to 198.51.100.1, media on lan in RTP",
		"max_calls 50 site vienna, line 18",
		"max_calls 0 trunk gw2, line 34",
		"max_calls 100 global, line 8",
		"failover.timeout 8s global, line 9",
		"failover.codes [408, 503, 504] default",
		`called_numbers[1] {match: '^\+(\d+)$', to: '00$1'} site vienna, line 22`,
		"called_numbers none default",
		"usages none trunk gw2, line 36",
		"dial_plan none trunk gw2, line 37",
		"responses[0] {cause: 34, to: 503} global, line 14",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if n, keys := strings.Count(b.String(), "\n"), len(leaves()); n < 4*keys {
		t.Errorf("%d lines for 4 trunks of %d values", n, keys)
	}
}

func TestWhatAWiderScopeSaysAndATrunkCannotDoIsAnErrorOfTheTrunk(t *testing.T) {
	for _, c := range []errorCase{
		{"srtp without TLS", broken + "policy: {srtp: required}\n",
			"13:3: trunks.gw.srtp: policy.srtp (line 16) says required, and SRTP is not supported without TLS, its keys would cross the network in clear on listener udp1 (udp); use a tls listener, or write srtp: off here"},
		{"pin by authentication of RTP", broken + "    site: s\nsites: {s: {policy: {pin: auth}}}\n",
			"13:3: trunks.gw.pin: sites.s.policy.pin (line 17) says auth, and nothing authenticates the plain RTP of this trunk; write pin: exact or pin: learn here"},
		{"values of a wider scope are checked there", broken + "policy: {srtp: off, suites: [a], pin: auth, max_calls: -1, options: {every: 0s, off: true}}\n",
			"12:3: trunks.uc.pin: policy.pin (line 16) says auth, and nothing authenticates the plain RTP of this trunk; write pin: exact or pin: learn here\n" +
				"13:3: trunks.gw.pin: policy.pin (line 16) says auth, and nothing authenticates the plain RTP of this trunk; write pin: exact or pin: learn here\n" +
				"16:21: policy.suites: srtp is off here; remove the suites, or write srtp: required\n" +
				"16:30: policy.suites[0]: a: is none of the words known here; write AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AES_192_CM_HMAC_SHA1_80, AES_192_CM_HMAC_SHA1_32, AES_256_CM_HMAC_SHA1_80, AES_256_CM_HMAC_SHA1_32, AEAD_AES_128_GCM or AEAD_AES_256_GCM\n" +
				"16:39: policy.pin: auth: nothing authenticates plain RTP, and srtp is off here; write exact or learn\n" +
				"16:56: policy.max_calls: -1: is out of range; write 0 to 1000000\n" +
				"16:77: policy.options.every: 0s: is out of range; write 1s to 1h"},
		{"site", broken + "    site: wien\nsites: {vienna: {}}\n",
			"16:11: trunks.gw.site: wien: there is no site of this name; define it in sites, or name one of: vienna"},
	} {
		c.run(t)
	}
}
