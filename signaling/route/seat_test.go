package route

import (
	"fmt"
	"strings"
	"testing"
)

func TestHealthOrdersTheTrunks(t *testing.T) {
	w := table(t, world)
	const rest, full = "it asked for rest, 42s more", "all 30 places are taken"
	for _, tc := range []struct {
		name   string
		called string
		states []string
		trunks string
		skips  string
		code   int
	}{
		{"in health as listed", "0222", nil, "gw2 gw1 gw3", "", 0},
		{"the demoted after all others", "0222", []string{"gw2 demoted"}, "gw1 gw3 gw2", "", 0},
		{"also across routes", "0155", []string{"gw1 demoted"}, "gw2 gw3 gw1", "", 0},
		{"nobody who is down while another is left", "0222", []string{"gw2 down"}, "gw1 gw3", "gw2: it is down", 0},
		{"a demoted one is another", "0222", []string{"gw2 down", "gw1 demoted", "gw3 full"}, "gw1", "gw3: " + full + "; gw2: it is down", 0},
		{"those that are down when nothing else is left", "0222", []string{"gw1 down", "gw2 down", "gw3 down"}, "gw2 gw1 gw3", "", 0},
		{"also when the others are full", "0222", []string{"gw1 down", "gw2 full", "gw3 rest"}, "gw1", "gw2: " + full + "; gw3: " + rest, 0},
		{"nobody who is full, rests or is unknown", "0222", []string{"gw1 unknown", "gw2 full", "gw3 rest"}, "",
			"gw2: " + full + "; gw1: this node does not have it; gw3: " + rest, 503},
		{"an emergency call ignores caps", "112", []string{"gw1 full"}, "gw1 gw2", "", 0},
		{"and rest, though after the others", "112", []string{"gw1 rest"}, "gw2 gw1", "", 0},
		{"and the demoted come before the resting", "112", []string{"gw1 rest", "gw2 demoted"}, "gw2 gw1", "", 0},
		{"and tries who is down at last", "112", []string{"gw1 down"}, "gw2 gw1", "", 0},
		{"resting or not", "112", []string{"gw1 down", "gw1 rest", "gw2 rest"}, "gw2 gw1", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := w.Plan(Call{Trunk: "pbx", Called: tc.called}, board(tc.states...), nil)
			if got := strings.Join(hops(p), " "); got != tc.trunks || skips(p) != tc.skips || p.Code != tc.code {
				t.Errorf("hops %q, skips %q, code %d\nwant %q, %q, %d", got, skips(p), p.Code, tc.trunks, tc.skips, tc.code)
			}
		})
	}
}

func TestOneCallTriesABoundedNumberOfTrunks(t *testing.T) {
	var trunks, names strings.Builder
	for i := range maxHops + 3 {
		fmt.Fprintf(&trunks, "  t%d: {listener: udp, peer: 198.51.100.%d}\n", i, i+1)
		fmt.Fprintf(&names, "t%d, ", i)
	}
	text := strings.Replace(world, "groups:", trunks.String()+"groups:\n  many: {trunks: ["+strings.TrimSuffix(names.String(), ", ")+"]}", 1)
	p := table(t, strings.Replace(text, "to: [teams, pbx]", "to: [many]", 1)).Plan(Call{Trunk: "gw1", Called: "+43155"}, nil, seeded(1))
	if len(p.Hops) != maxHops || len(p.Skips) != 3 || p.Skips[0].Why != "one call tries 32 trunks at most" {
		t.Errorf("%d hops, skips %q", len(p.Hops), skips(p))
	}
}
