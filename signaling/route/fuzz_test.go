package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/signaling/trunk"
)

// fuzzBoard gives each trunk a state by two bits of a word: up, demoted, down, and one of full, resting and unknown.
func fuzzBoard(w *Table, states uint32) Board {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range w.sides {
			if !yield(name) {
				return
			}
		}
	})
	return func(name string) (trunk.View, bool) {
		i := slices.Index(names, name)
		switch v := states >> (2 * i) & 3; v {
		case 3:
			return [3]trunk.View{{Full: "all places are taken"}, {Rest: time.Second, State: trunk.Down}, {}}[i%3], i%3 != 2
		default:
			return trunk.View{State: trunk.State(v)}, true
		}
	}
}

// FuzzPlan checks what must hold for every call, every state of the trunks and all dice.
func FuzzPlan(f *testing.F) {
	f.Add("pbx", "0222", "+43155200", uint32(0), uint64(1))
	f.Add("pbx", "0155", "200", uint32(0xffffffff), uint64(2))
	f.Add("gw1", "7001", "", uint32(0xaaaaaaaa), uint64(3))
	f.Add("gw2", "8", "anonymous", uint32(0x5555), uint64(4))
	f.Add("teams", "+43\x00\r\n", "\xff", uint32(0x1b), uint64(5))
	f.Add("a", "112", "x", uint32(0xc0de), uint64(6))
	f.Add("stranger", "", "", uint32(0), uint64(7))
	w := table(f, world)
	f.Fuzz(func(t *testing.T, from, called, caller string, states uint32, seed uint64) {
		b := fuzzBoard(w, states)
		call := Call{from, called, caller}
		p := w.Plan(call, b, seeded(seed))
		if (len(p.Hops) == 0) != (p.Code != 0) || (p.Code != 0) != (p.Why != "") {
			t.Fatalf("%d hops, code %d, why %q", len(p.Hops), p.Code, p.Why)
		}
		if p.Code != 0 && (p.Code < 400 || p.Code > 699) || len(p.Hops) > maxHops {
			t.Fatalf("code %d, %d hops", p.Code, len(p.Hops))
		}
		if strings.ContainsAny(p.Reason(), "\r\n\x00") {
			t.Fatalf("raw text of the caller in %q", p.Reason())
		}
		holdsForHops(t, w, call, &p, b)
		holdsForSteps(t, w, from, &p)
	})
}

// holdsForHops checks each trunk of a plan.
func holdsForHops(t *testing.T, w *Table, c Call, p *Plan, b Board) {
	named := make(map[string]bool)
	for i, h := range p.Hops {
		v, known := b(h.Trunk)
		r := w.rules[slices.IndexFunc(w.rules, func(r *rule) bool { return r.Name == h.Route })]
		back := h.Trunk == c.Trunk && r.only != c.Trunk
		unfit := !known || !p.Emergency && (v.Full != "" || v.Rest > 0)
		if named[h.Trunk] || back || unfit {
			t.Fatalf("hop %d to %s of %+v: twice %v, back %v, unfit %v", i, h.Trunk, p, named[h.Trunk], back, unfit)
		}
		named[h.Trunk] = true
		if v.State == trunk.Down && !p.Emergency {
			if first, _ := b(p.Hops[0].Trunk); first.State != trunk.Down {
				t.Fatalf("%s is down and %s is left", h.Trunk, p.Hops[0].Trunk)
			}
		}
		if strings.HasPrefix(h.Called, "+") && w.sides[h.Trunk].plus.remove && !strings.HasPrefix(p.Called, "++") {
			t.Fatalf("%s is sent %q", h.Trunk, h.Called)
		}
	}
	for _, s := range p.Skips {
		if s.Why == "" || named[s.Trunk] {
			t.Fatalf("skip %+v beside hops %v", s, p.Hops)
		}
		named[s.Trunk] = true
	}
}

// holdsForSteps checks that the steps tell the decision: the first route that fits is the plan's, only routes of the trunk were
// looked at, and every text is one line.
func holdsForSteps(t *testing.T, w *Table, from string, p *Plan) {
	route := ""
	for _, s := range p.Steps {
		if strings.ContainsAny(s.String(), "\r\n\x00") {
			t.Fatalf("raw text of the caller in %q", s)
		}
		if s.Kind != KindRoute {
			continue
		}
		if !slices.ContainsFunc(w.sides[from].asks, func(a ask) bool { return a.rule.Name == s.Name }) {
			t.Fatalf("a call by %q was held against %s", from, s.Name)
		}
		if s.Verdict == Fits && route == "" {
			route = s.Name
		}
	}
	if route != p.Route {
		t.Fatalf("the steps decide for %q, the plan for %q", route, p.Route)
	}
}
