package config

import (
	"strings"
	"testing"
)

// to is the valid file with a list of routes, from line 17 on.
func to(routes string) string { return broken + "routes:\n" + routes }

func TestRoutesThatCannotServeAreRefused(t *testing.T) {
	for _, c := range []errorCase{
		{"an old file", inSIP("  trunks: {gw: {listener: udp1}}\n  routes: [{name: r, to: [gw]}]\n"),
			"5:3: sip.trunks: trunks stand at the top level now; move them out of sip, to the left margin\n" +
				"6:3: sip.routes: routes stand at the top level now; move them out of sip, to the left margin"},
		{"an old file with half of it moved", strings.Replace(broken, "trunks:\n  uc: {listener: tls1, peer: uc.example.com}\n  gw:\n    listener: udp1\n    peer: 198.51.100.1\n",
			"  trunks: {gw: {listener: udp1}}\nroutes: [{name: r, from: [gw], to: [gw]}]\n", 1),
			"11:3: sip.trunks: trunks stand at the top level now; move them out of sip, to the left margin"},
		{"neither", to("  - {name: r, from: [uc]}\n"),
			"17:6: routes[0].to: names no trunk; list the trunks and groups to try, in their order, or write reject with a code"},
		{"both", to("  - {name: r, from: [uc], to: [gw], reject: 403}\n"),
			"17:45: routes[0].reject: 403: the route has trunks to go to as well; keep to or reject"},
		{"reject", to("  - {name: r, from: [uc], reject: 302, balance: shuffle, continue: true}\n"),
			"17:35: routes[0].reject: 302: is out of range; write 400 to 699\n" +
				"17:49: routes[0].balance: shuffle: a route that rejects tries nobody; remove it\n" +
				"17:68: routes[0].continue: true: a route that rejects tries nobody; remove it"},
		{"anybody", to("  - {name: r, from: ['*'], to: [gw]}\n  - {name: s, from: ['*', gw], to: [gw], emergency: true}\n"),
			"17:22: routes[0].from[0]: *: only an emergency route serves any trunk; list the trunks or groups that may use it, or write emergency: true\n" +
				"18:22: routes[1].from[0]: *: stands for every trunk already; remove the others, or this"},
		{"words", to("  - {name: r, from: [uc], usages: [a b, x, x], to: [gw], balance: weight, priority: -1}\n"),
			"17:36: routes[0].usages[0]: a b: is not a name; use 1 to 64 letters, digits, dashes and underscores, beginning with a letter or digit\n" +
				"17:44: routes[0].usages[2]: x: stands in this list already; remove one of the two\n" +
				"17:67: routes[0].balance: weight: is none of the words known here; write order or shuffle\n" +
				"17:85: routes[0].priority: -1: is out of range; write 0 to 1000000"},
		{"a name of neither kind", to("  - {name: r, from: [pair], to: [par]}\n") + "groups: {pair: {trunks: [uc, gw]}}\n",
			"17:34: routes[0].to[0]: par: there is no trunk or group of this name; did you mean \"pair\"?"},
	} {
		c.run(t)
	}
}

func TestGroupsAreOfTrunksAlone(t *testing.T) {
	group := func(text string) string { return broken + "groups:\n  both: {trunks: [uc, gw]}\n  g: " + text + "\n" }
	for _, c := range []errorCase{
		{"empty", group("{balance: order}"), "18:3: groups.g.trunks: names no trunk; list the trunks that are equal"},
		{"members", group("{trunks: [gx, gw, gw, both]}"),
			"18:16: groups.g.trunks[0]: gx: there is no trunk of this name; did you mean \"gw\"?\n" +
				"18:24: groups.g.trunks[2]: gw: stands in this list already; remove one of the two\n" +
				"18:28: groups.g.trunks[3]: both: is a group; list trunks; a route may name several groups"},
		{"weights of nobody", group("{trunks: [gw], balance: weight, weights: {uc: 2, gw: 1001}}"),
			"18:52: groups.g.weights.uc: 2: is no trunk of this group; remove it, or list it in trunks\n" +
				"18:59: groups.g.weights.gw: 1001: is out of range; write 1 to 1000"},
		{"weights without balance", group("{trunks: [gw], weights: {gw: 2}}"),
			"18:21: groups.g.weights: nobody looks at weights with balance shuffle; remove them, or write balance: weight"},
		{"balance", group("{trunks: [gw], balance: weights}"),
			`18:30: groups.g.balance: weights: is none of the words known here; did you mean "weight"?`},
		{"a trunk's name", broken + "groups: {gw: {trunks: [uc]}}\n",
			"16:10: groups.gw: a trunk has this name (line 13), and routes name both; give the group another"},
	} {
		c.run(t)
	}
	g := mustParse(t, group("{trunks: [uc, gw], balance: weight, weights: {uc: 9}}")).Groups
	if g["both"].Balance != BalanceShuffle || g["both"].Weights != nil || g["g"].Weights["uc"] != 9 || g["g"].Weights["gw"] != 1 {
		t.Errorf("defaults: %+v", g)
	}
}

func TestNumberRulesMakeNumbers(t *testing.T) {
	for to, want := range map[string]string{
		"+43$1": "", "$0": "", "${1}0": "", "00$1-$2": "", "$area": "", "*31#$1": "", "gw.7$1": "", "7": "",
		"":                      "is empty, and so would be the number; write what takes its place; '$0' is the number itself",
		"$3":                    "$3 is no group of match, which has 2; put parentheses around what should be kept, $1 is the first of them and $0 the whole number",
		"${7}":                  "${7} is no group of match, which has 2; put parentheses around what should be kept, $1 is the first of them and $0 the whole number",
		"$town":                 "$town is no group of match, which has 2; put parentheses around what should be kept, $1 is the first of them and $0 the whole number",
		"$10":                   "$10 is no group of match, which has 2; if $1 and then 0 is meant, write ${1}0",
		"$1x":                   "$1x is no group of match, which has 2; if $1 and then x is meant, write ${1}x",
		"$01":                   "$01 is no group of match, which has 2; if $0 and then 1 is meant, write ${0}1",
		"$":                     "has a $ that names no group; write $1 for the first group of match",
		"$$1":                   "has a $ that names no group; write $1 for the first group of match",
		"${1":                   "has a $ that names no group; write $1 for the first group of match",
		"0+$1":                  "has a + that is not its first character; begin the number with it",
		"$1 $2":                 "is more than a number; use digits, letters, * # . _ -, a + at the beginning, and $1 for groups",
		"$1@gw":                 "is more than a number; use digits, letters, * # . _ -, a + at the beginning, and $1 for groups",
		"sip:$1":                "is more than a number; use digits, letters, * # . _ -, a + at the beginning, and $1 for groups",
		strings.Repeat("1", 65): "is longer than 64 characters; no number is; shorten it",
	} {
		for section, start := range map[string]string{
			"dial_plans.p[0]":                  broken + "dial_plans: {p: [",
			"policy.calling_numbers[0]":        broken + "policy: {calling_numbers: [",
			"sites.s.policy.called_numbers[0]": broken + "sites: {s: {policy: {called_numbers: [",
			"trunks.g2.called_numbers[0]":      broken + "  g2: {listener: udp1, peer: a.example.com, called_numbers: [",
		} {
			end := "]" + strings.Repeat("}", strings.Count(start[len(broken):], "{"))
			_, err := Parse("t.yaml", []byte(start+"{match: '^(?P<area>1)(.*)$', to: '"+to+"'}"+end+"\n"))
			switch {
			case want == "" && err != nil:
				t.Errorf("%s, to %q: %v", section, to, err)
			case want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+want) || !strings.Contains(err.Error(), ": "+section+".to: ")):
				t.Errorf("%s, to %q: got %v, want %s", section, to, err, want)
			}
		}
	}
	for _, c := range []errorCase{
		{"incomplete", broken + "dial_plans: {p: [{name: a}, {name: a, match: '1', to: '2'}, {name: 'a b', match: '1', to: '2'}], q: []}\n",
			"16:19: dial_plans.p[0].match: is missing; write a regular expression for the whole number, as '^0(\\d+)$'\n" +
				"16:19: dial_plans.p[0].to: is missing; write what takes the number's place, as '+43$1'\n" +
				"16:36: dial_plans.p[1].name: a: the rule of line 16 has this name; give each its own, or none\n" +
				"16:68: dial_plans.p[2].name: a b: is not a name; use 1 to 64 letters, digits, dashes and underscores, beginning with a letter or digit\n" +
				"16:98: dial_plans.q: has no rules; write at least one, with match and to"},
		{"dial plan", broken + "    dial_plan: att\ndial_plans: {at: [{match: '1', to: '2'}]}\n",
			`16:16: trunks.gw.dial_plan: att: there is no dial plan of this name; did you mean "at"?`},
	} {
		c.run(t)
	}
}

func TestResponseRulesStayWithinFailures(t *testing.T) {
	for _, c := range []errorCase{
		{"ranges", broken + "    responses: [{code: 302, to: 200}, {cause: 0, to: 503}, {cause: 128, to: 503}, {priority: -1, code: 486}]\n",
			"16:24: trunks.gw.responses[0].code: 302: is out of range; write 400 to 699\n" +
				"16:33: trunks.gw.responses[0].to: 200: is out of range; write 400 to 699\n" +
				"16:47: trunks.gw.responses[1].cause: 0: is no cause of Q.850; write 1 to 127, or -1 for any\n" +
				"16:68: trunks.gw.responses[2].cause: 128: is no cause of Q.850; write 1 to 127, or -1 for any\n" +
				"16:84: trunks.gw.responses[3].to: is missing; write the code that takes the place of the peer's answer, 400 to 699\n" +
				"16:94: trunks.gw.responses[3].priority: -1: is out of range; write 0 to 1000000"},
	} {
		c.run(t)
	}
	r := mustParse(t, broken+"    responses: [{code: 486, to: 503}, {cause: 34, to: 503}, {cause: -1, to: 480}]\n").Trunks["gw"].Responses
	if r[0].Cause != AnyCause || r[1].Cause != 34 || r[1].Code != 0 || r[2].Cause != AnyCause {
		t.Errorf("%+v", r)
	}
}

func TestCapsAndRecordsAreBounded(t *testing.T) {
	for _, c := range []errorCase{
		{"caps", broken + "    max_calls: -1\n    max_cps: 1000001\n    max_bandwidth: 100000001\n    options: {demote: 0s, down: 0}\n",
			"16:16: trunks.gw.max_calls: -1: is out of range; write 0 to 1000000\n" +
				"17:14: trunks.gw.max_cps: 1000001: is out of range; write 0 to 1000000\n" +
				"18:20: trunks.gw.max_bandwidth: 100000001: is out of range; write 0 to 100000000\n" +
				"19:23: trunks.gw.options.demote: 0s: is out of range; write 1s to 24h\n" +
				"19:33: trunks.gw.options.down: 0: is out of range; write 1 to 1000"},
		{"records", broken + "records: {file: calls.jsonl, size: 1, keep: 0}\n",
			"16:17: records.file: calls.jsonl: is not an absolute path; begin it with /\n" +
				"16:36: records.size: 1: is out of range; write 65536 to 2000000000\n" +
				"16:45: records.keep: 0: is out of range; write 1 to 1000"},
		{"socket", inSIP("  socket: sip.sock\n"), "5:11: sip.socket: sip.sock: is not an absolute path; begin it with /"},
		{"one socket for two", inSIP("  socket: /run/tandem/relay.sock\n"),
			"5:11: sip.socket: /run/tandem/relay.sock: the two planes would have one socket; give each its own"},
	} {
		c.run(t)
	}
	if r := mustParse(t, broken+"records: {file: /var/log/calls.jsonl}\n").Records; r.Size != 100_000_000 || r.Keep != 10 {
		t.Errorf("defaults: %+v", r)
	}
}
