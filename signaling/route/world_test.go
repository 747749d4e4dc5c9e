package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk"
)

// world has one thing of each kind. pbx and teams call out, the gateways and the provider call in, loop has no way at all.
const world = `
media: {networks: {lan: {addresses: [192.0.2.1], ports: 40000-49999}}}
sip:
  listeners:
    udp: {transport: udp, address: 192.0.2.1:5060}
    one: {transport: tcp, address: 192.0.2.1:5060, node: one}
    two: {transport: tcp, address: 192.0.2.2:5060, node: two}
policy:
  remove_plus: true
  called_numbers:
    - {name: global, match: '^(\+1\d+)$', to: '$1'}
sites:
  vienna:
    policy:
      calling_numbers:
        - {match: '^\+431(\d+)$', to: '0$1'}
trunks:
  pbx: {listener: udp, peer: 192.0.2.10, dial_plan: vienna, usages: [local, national, world]}
  teams: {listener: udp, peer: 192.0.2.11, remove_plus: false}
  gw1: {listener: udp, peer: 192.0.2.21, site: vienna, called_numbers: [{name: city, match: '^\+431(\d+)$', to: '$1'}]}
  gw2: {listener: udp, peer: 192.0.2.22, site: vienna}
  gw3: {listener: udp, peer: 192.0.2.23, remove_plus: false}
  loop: {listener: udp, peer: 192.0.2.31}
  a: {listener: one, peer: 192.0.2.41}
  b: {listener: two, peer: 192.0.2.41}
groups:
  both: {trunks: [gw1, gw2]}
  fixed: {trunks: [gw2, gw1], balance: order}
  heavy: {trunks: [gw1, gw2, gw3], balance: weight, weights: {gw2: 7, gw3: 2}}
  pool: {trunks: [a, b]}
dial_plans:
  vienna:
    - {name: extension, match: '[2-8]\d{2}', to: '+43155$0'}
    - {name: abroad, match: '00(\d+)', to: '+$1'}
    - {name: national, match: '0([1-9]\d*)', to: '+43$1'}
    - {name: endless, match: '7(\d+)', to: '$1$1$1$1$1$1$1$1$1$1$1$1'}
routes:
  - {name: emergency, emergency: true, from: ['*'], match: '^(112|133)$', to: [gw1, gw2]}
  - {name: alarm, emergency: true, from: [teams, both], match: '^999$', to: [gw3]}
  - {name: spare, usages: [local], priority: 9, match: '^\+431', to: [gw3]}
  - {name: city, usages: [local], match: '^\+431', to: [both], continue: true}
  - {name: blocked, usages: [local, world], match: '^\+43900', reject: 486}
  - {name: boss, usages: [national], caller: '^\+43155200$', match: '^\+43', to: [gw3]}
  - {name: national, usages: [national], match: '^\+43', to: [fixed, gw3]}
  - {name: world, usages: [world], match: '^\+', to: [heavy], balance: shuffle}
  - {name: in, from: [gw1, gw2], match: '^\+43155', to: [teams, pbx]}
  - {name: shared, from: [both], match: '^7', to: [both]}
  - {name: hairpin, from: [gw2], match: '^8', to: [gw2]}
  - {name: out, from: [teams], match: '^\+4', to: [gw1, both, heavy], balance: shuffle}
  - {name: pooled, from: [pool], to: [gw3, pool]}
  - {name: nobody, match: '.', to: [gw1]}
`

// table parses a config and makes its table.
func table(t testing.TB, text string) *Table {
	t.Helper()
	cfg, err := config.ParseFor("world.yaml", []byte(text), config.AllNodes)
	if err != nil {
		t.Fatal(err)
	}
	return New(cfg)
}

// board has the trunks of a list in a state: "gw1 down", "gw2 rest", "gw3 full", "gw1 demoted", "gw2 unknown".
func board(states ...string) Board {
	return func(name string) (trunk.View, bool) {
		v := trunk.View{}
		for _, s := range states {
			who, what, _ := strings.Cut(s, " ")
			switch {
			case who != name:
			case what == "down":
				v.State = trunk.Down
			case what == "demoted":
				v.State = trunk.Demoted
			case what == "rest":
				v.Rest = 42 * time.Second
			case what == "full":
				v.Full = "all 30 places are taken"
			case what == "unknown":
				return v, false
			default:
				panic(s)
			}
		}
		return v, true
	}
}

// hops names the trunks of a plan.
func hops(p Plan) []string {
	var names []string
	for _, h := range p.Hops {
		names = append(names, h.Trunk)
	}
	return names
}

// skips lists who was left out and why.
func skips(p Plan) string {
	var parts []string
	for _, s := range p.Skips {
		parts = append(parts, fmt.Sprintf("%s: %s", s.Trunk, s.Why))
	}
	return strings.Join(parts, "; ")
}

// wants fails unless the plan has this route, these hops and this code.
func (p Plan) wants(t *testing.T, route string, trunks []string, code int) {
	t.Helper()
	if p.Route != route || !slices.Equal(hops(p), trunks) || p.Code != code {
		t.Errorf("route %q to %q, code %d; want %q to %q, code %d\n%s", p.Route, hops(p), p.Code, route, trunks, code, p.Reason())
	}
}

func seeded(n uint64) Random { return rand.New(rand.NewPCG(n, n)).IntN }
