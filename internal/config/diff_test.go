package config

import (
	"slices"
	"strings"
	"testing"
)

// before is what the changes below are made to.
const before = `
node: a
media: {networks: {lan: {addresses: [192.0.2.1], ports: 40000-40099}, wan: {addresses: [192.0.2.2], ports: 40000-40099}}}
sip:
  listeners:
    secure: {transport: tls, address: "192.0.2.1:5061", tls: {certificate: c.pem, key: k.pem}}
    open: {transport: udp, address: "192.0.2.1:5060"}
policy: {max_cps: 10, suites: [AEAD_AES_256_GCM]}
sites: {vienna: {policy: {max_calls: 50}}, graz: {policy: {max_calls: 50}}}
trunks:
  uc: {listener: secure, peer: uc.example.com, network: wan, auth: {user: me, password: change-me}}
  gw: {listener: open, peer: 198.51.100.1, network: lan, site: vienna, called_numbers: [{match: '0(.*)', to: '$1'}]}
groups: {all: {trunks: [uc, gw]}}
dial_plans: {at: [{match: '0(.*)', to: '+43$1'}]}
routes:
  - {name: out, from: [uc], match: '1', to: [gw]}
  - {name: in, from: [gw], to: [uc]}
`

func TestADifferenceIsListedKeyByKey(t *testing.T) {
	for _, c := range []struct {
		name, old, new string // what is replaced by what
		want           string
	}{
		{"nothing", "", "", ""},
		{"a comment", "routes:", "routes: # in this order", ""},
		{"a default that is written out", "peer: uc.example.com,", "peer: uc.example.com, srtp: required,", ""},
		{"a trunk's key", "site: vienna,", "site: vienna, max_calls: 30,", "changed trunks.gw.max_calls: 50 -> 30"},
		{"a key of all", "max_cps: 10", "max_cps: 20", "changed policy.max_cps: 10 -> 20"},
		{"a key of all that was not there", "max_cps: 10,", "max_cps: 10, rtcp_mux: true,",
			"added policy.rtcp_mux: true\nchanged trunks.gw.rtcp_mux: false -> true\nchanged trunks.uc.rtcp_mux: false -> true"},
		{"a key of a site", "vienna: {policy: {max_calls: 50}}", "vienna: {policy: {max_calls: 40}}", "changed sites.vienna.policy.max_calls: 50 -> 40"},
		{"a site that says less", "vienna: {policy: {max_calls: 50}}", "vienna: {}", "removed sites.vienna.policy.max_calls: was 50\nchanged trunks.gw.max_calls: 50 -> 0"},
		{"another site", "site: vienna", "site: graz", "changed trunks.gw.site: vienna -> graz"},
		{"rules", "to: '$1'", "to: '00$1'", "changed trunks.gw.called_numbers: [{match: '0(.*)', to: '$1'}] -> [{match: '0(.*)', to: '00$1'}]"},
		{"a dial plan's rule", "to: '+43$1'}", "to: '+1$1'}", "changed dial_plans.at: [{match: '0(.*)', to: '+43$1'}] -> [{match: '0(.*)', to: '+1$1'}]"},
		{"a password", "password: change-me", "password: other", "changed trunks.uc.auth.password: (hidden) -> (hidden)"},
		{"a password in a file", "password: change-me", "password_file: f",
			"removed trunks.uc.auth.password: was (hidden)\nadded trunks.uc.auth.password_file: f"},
		{"no auth", ", auth: {user: me, password: change-me}", "", "removed trunks.uc.auth: was {user: me, password: '(hidden)'}"},
		{"a new trunk", "groups:", "  g2: {listener: open, peer: 198.51.100.2, network: lan}\ngroups:",
			"added trunks.g2: udp 192.0.2.1:5060 to 198.51.100.2, media on lan in RTP, pin exact, callers: its own addresses"},
		{"a group", "[uc, gw]}", "[gw], balance: order}", "changed groups.all.trunks: [uc, gw] -> [gw]\nchanged groups.all.balance: shuffle -> order"},
		{"a route's number", "match: '1', ", "", "removed routes.out.match: was 1"},
		{"a route that rejects", "from: [gw], to: [uc]", "from: [gw], reject: 403",
			"removed routes.in.to: was [uc]\nremoved routes.in.balance: was order\nadded routes.in.reject: 403"},
		{"a new route", "  - {name: in,", "  - {name: mid, from: [uc], to: [gw]}\n  - {name: in,", "added routes.mid: from uc, any number, to gw"},
		{"routes in another order", "  - {name: out, from: [uc], match: '1', to: [gw]}\n  - {name: in, from: [gw], to: [uc]}",
			"  - {name: in, from: [gw], to: [uc]}\n  - {name: out, from: [uc], match: '1', to: [gw]}", "changed routes: out, in -> in, out"},
		{"records", "routes:", "records: {file: /f}\nroutes:", "added records.file: /f\nadded records.size: 100000000\nadded records.keep: 10"},
		{"the log", "node: a", "node: a\nlog: {level: debug}", "changed log.level: info -> debug (needs a restart)"},
		{"the node", "node: a", "node: b", "changed node: a -> b (needs a restart)"},
		{"an address", "192.0.2.1:5060", "192.0.2.1:5070", "changed sip.listeners.open.address: 192.0.2.1:5060 -> 192.0.2.1:5070 (needs a restart)"},
		{"limits", "  listeners:", "  limits: {calls: 7}\n  listeners:", "changed sip.limits.calls: 5000 -> 7 (needs a restart)"},
		{"a trunk on a new listener", "    open: {", "    new: {transport: udp, address: \"192.0.2.1:5070\"}\n    open: {",
			"added sip.listeners.new: {transport: udp, address: 192.0.2.1:5070} (needs a restart)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := mustParse(t, before)
			text := strings.Replace(before, c.old, c.new, 1)
			if c.old != "" && text == before {
				t.Fatalf("%q is not in the file", c.old)
			}
			b := mustParse(t, text)
			if got := lines(Diff(a, b)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if n, back := len(Diff(a, b)), Diff(b, a); len(back) != n {
				t.Errorf("%d changes there and %d back:\n%s", n, len(back), lines(back))
			}
		})
	}
}

func TestATrunkOnWhatIsNotRunningNeedsARestart(t *testing.T) {
	a := mustParse(t, before)
	b := mustParse(t, strings.NewReplacer(
		"    open: {", "    new: {transport: udp, address: \"192.0.2.1:5070\"}\n    open: {",
		"lan: {", "more: {addresses: [192.0.2.3], ports: 40000-40099}, lan: {",
		"groups:", "  g2: {listener: new, peer: 198.51.100.2, network: lan}\n  g3: {listener: open, peer: 198.51.100.3, network: more}\n"+
			"  g4: {listener: open, peer: 198.51.100.4, network: lan}\ngroups:",
		"gw: {listener: open,", "gw: {max_cps: 1, listener: new,",
	).Replace(before))
	var restart, free []string
	for _, c := range Diff(a, b) {
		if c.NeedsRestart {
			restart = append(restart, c.Path)
		} else {
			free = append(free, c.Path)
		}
	}
	if want := []string{"media.networks.more", "sip.listeners.new", "trunks.g2", "trunks.g3", "trunks.gw.listener"}; !slices.Equal(restart, want) {
		t.Errorf("need a restart: %v, want %v", restart, want)
	}
	if want := []string{"trunks.g4", "trunks.gw.max_cps"}; !slices.Equal(free, want) {
		t.Errorf("need none: %v, want %v", free, want)
	}
	for _, c := range Diff(b, a) {
		if c.Kind == Removed && strings.HasPrefix(c.Path, "trunks.") && c.NeedsRestart {
			t.Errorf("taking away %s needs no restart", c.Path)
		}
	}
}

func lines(changes []Change) string {
	text := make([]string, len(changes))
	for i, c := range changes {
		text[i] = c.String()
	}
	return strings.Join(text, "\n")
}
