package config

import (
	"strings"
	"testing"
)

func TestWhatIsSurelyNotMeantIsWarnedOf(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", scoped + "  - {name: r, from: [uc, gw, gw2, gw3], to: [uc]}\n", ""},
		{"usages on one side", broken + "    usages: [national, world]\nroutes:\n  - {name: r, usages: [nationl, office], to: [gw]}\n  - {name: s, usages: [national], to: [gw]}\n",
			"16:24: trunks.gw.usages[1]: world: no route has this usage; write it there too, or remove it here\n" +
				"18:24: routes[0].usages[0]: nationl: no trunk has this usage; did you mean \"national\"?\n" +
				"18:33: routes[0].usages[1]: office: no trunk has this usage; write it there too, or remove it here"},
		{"usages of wider scopes", broken + "    site: s\npolicy: {usages: [x]}\nsites: {s: {policy: {usages: [y]}}}\n",
			"17:19: policy.usages[0]: x: no route has this usage; write it there too, or remove it here\n" +
				"18:31: sites.s.policy.usages[0]: y: no route has this usage; write it there too, or remove it here"},
		{"a route for nobody", broken + "routes:\n  - {name: r, to: [gw]}\n  - {name: s, from: [gw], priority: 3, to: [uc]}\n",
			"17:6: routes[0]: serves nobody: it has neither from nor usages; name the trunks whose calls it takes, or a usage that they have\n" +
				"18:37: routes[1].priority: 3: orders the routes of a usage, and this route has none; remove it: routes by from are looked at in the order of the file"},
		{"what nobody names", broken + "sites: {s: {}}\ngroups: {g: {trunks: [gw]}}\ndial_plans: {p: [{match: '1', to: '2'}]}\n",
			"16:9: sites.s: no trunk is of this site; name it there, or remove it\n" +
				"17:10: groups.g: no route names this group; name it there, or remove it\n" +
				"18:14: dial_plans.p: no trunk has this dial plan; name it there, or remove it"},
		{"a registration that cannot answer", broken + "    register: {user: '1'}\n",
			"16:5: trunks.gw.register: there is no auth to answer a challenge with; write auth, unless the provider knows us by our address or certificate"},
		{"a section without keys", broken + "    auth: {user: a, password: b}\n    register:\n      # expires: 1h\n",
			"17:5: trunks.gw.register: has no keys, and so is not there; write {} for one of defaults, or remove it"},
		{"two trunks for the same callers", broken + "  gw2: {listener: udp1, peer: '198.51.100.1:5070'}\n  gw3: {listener: udp1, peer: 198.51.100.3, sources: [198.51.100.1]}\n",
			"16:3: trunks.gw2: calls from 198.51.100.1/32 enter by trunk gw, which expects them on listener udp1 too; give each its own sources, or put one on another listener\n" +
				"17:3: trunks.gw3: calls from 198.51.100.1/32 enter by trunk gw, which expects them on listener udp1 too; give each its own sources, or put one on another listener"},
		{"what one trunk says alone", broken + "    bypass: true\n    fax: passthrough\n  gw2: {listener: udp1, peer: 198.51.100.2}\nroutes:\n  - {name: r, from: [gw], to: [gw2]}\n",
			"16:13: trunks.gw.bypass: true: media goes past us where both trunks of a call say so, and no other trunk says it; write it there too, or remove it here\n" +
				"17:10: trunks.gw.fax: passthrough: T.38 crosses where both trunks of a call say so, and no other trunk says it; write it there too, or remove it here"},
		{"what one trunk says of calls between its own", broken + "    bypass: true\n    fax: passthrough\ngroups: {g: {trunks: [gw]}}\nroutes:\n  - {name: r, from: [gw], to: [g]}\n", ""},
		{"a trunk for everybody", broken + "    sources: [198.51.100.1, 0.0.0.0/0]\n  gw2: {listener: tls1, peer: gw2.example.com, sources: ['::/0']}\n" +
			"  gw3: {listener: udp1, peer: 198.51.100.3, sources: ['::/0'], challenge: {realm: r, users: {a: b}}}\n",
			"16:29: trunks.gw.sources[1]: 0.0.0.0/0: lets everybody call by this trunk who reaches listener udp1; list the peer's addresses, or ask for a certificate (a tls listener) or a password (challenge)"},
		{"a fax in place of SRTP", broken + "    fax: passthrough\n  gw2: {listener: tls1, peer: gw2.example.com, fax: passthrough}\n  gw3: {listener: tls1, peer: gw3.example.com, fax: passthrough_clear}\n" +
			"  gw4: {listener: tls1, peer: gw4.example.com, srtp: optional, fax: passthrough}\n",
			"17:53: trunks.gw2.fax: passthrough: never happens: T.38 has no encryption, and srtp is required here; write passthrough_clear to let faxes cross in clear, or refuse"},
		{"records without a file", broken + "records: {keep: 3}\n", "16:1: records: no call is recorded without a file; write file, or remove the section"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.ReplaceAll(mustParse(t, c.text).Warnings().Error(), "t.yaml:", "")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	if w := new(Config).Warnings(); w != nil {
		t.Errorf("a config without a file: %v", w)
	}
}

func TestTheExampleAndTheEmbeddedConfigAreWithoutWarnings(t *testing.T) {
	c, err := Load(example)
	if err != nil || len(c.Warnings())+len(Embedded().Warnings()) > 0 {
		t.Errorf("%v\n%v\n%v", err, c.Warnings(), Embedded().Warnings())
	}
}
