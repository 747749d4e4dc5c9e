package route

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/internal/config"
)

func TestTheFirstRouteThatMatchesDecides(t *testing.T) {
	w := table(t, world)
	for _, tc := range []struct {
		name                  string
		trunk, caller, called string
		route                 string
		trunks                []string
		code                  int
	}{
		{"an emergency route before all others", "pbx", "", "112", "emergency", []string{"gw1", "gw2"}, 0},
		{"an emergency route for trunks by name", "teams", "", "999", "alarm", []string{"gw3"}, 0},
		{"an emergency route for a group", "gw2", "", "999", "alarm", []string{"gw3"}, 0},
		{"an emergency route serves nobody else", "pbx", "", "999", "", nil, 404},
		{"the usages of the trunk in their order", "pbx", "", "02225", "national", []string{"gw2", "gw1", "gw3"}, 0},
		{"of a usage the lower priority, though later in the file", "pbx", "", "0155", "city", []string{"gw1", "gw2", "gw3"}, 0},
		{"a refusal", "pbx", "", "0900123", "blocked", nil, 486},
		{"by the caller's number", "pbx", "+43155200", "0222", "boss", []string{"gw3"}, 0},
		{"another caller goes on", "pbx", "+43155201", "0222", "national", []string{"gw2", "gw1", "gw3"}, 0},
		{"the last usage", "pbx", "", "0049", "world", []string{"gw2", "gw3", "gw1"}, 0},
		{"routes that name the trunk", "gw1", "", "+43155200", "in", []string{"teams", "pbx"}, 0},
		{"routes that name a group of the trunk", "gw1", "", "7", "shared", []string{"gw2"}, 0},
		{"no number", "gw1", "", "", "", nil, 404},
		{"no route", "teams", "", "+1", "", nil, 404},
		{"a trunk that is none", "stranger", "", "112", "", nil, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := w.Plan(Call{tc.trunk, tc.called, tc.caller}, board(), nil)
			p.wants(t, tc.route, tc.trunks, tc.code)
		})
	}
}

func TestTheDialPlanRewritesWhatWasDialledByItsFirstRule(t *testing.T) {
	w := table(t, world)
	for _, tc := range []struct{ trunk, dialled, called, rule string }{
		{"pbx", "200", "+43155200", "extension"},
		{"pbx", "004912", "+4912", "abroad"},
		{"pbx", "0151", "+43151", "national"},
		{"pbx", "2001", "2001", ""},     // a pattern is held against all of a number
		{"pbx", "+43151", "+43151", ""}, // and no rule means no change
		{"teams", "200", "200", ""},     // no dial plan
	} {
		p := w.Plan(Call{Trunk: tc.trunk, Called: tc.dialled, Caller: "200"}, nil, nil)
		rule := ""
		for _, s := range p.Steps {
			if s.Kind == KindDialPlan && s.Verdict == Fits {
				rule = s.Name
			}
		}
		if p.Called != tc.called || rule != tc.rule || p.Caller != "200" {
			t.Errorf("%s dials %q: %q by rule %q, caller %q; want %q by %q", tc.trunk, tc.dialled, p.Called, rule, p.Caller, tc.called, tc.rule)
		}
	}
}

func TestANumberNeverGrowsBeyondItsBound(t *testing.T) {
	w := table(t, world)
	p := w.Plan(Call{Trunk: "pbx", Called: "7" + strings.Repeat("1", 100)}, nil, nil)
	if len(p.Called) != 101 || p.Steps[3].Verdict != TooLong {
		t.Errorf("called %q, step %v", p.Called, p.Steps[3])
	}
	p = w.Plan(Call{Trunk: "pbx", Called: strings.Repeat("1", maxNumber+1)}, nil, nil)
	p.wants(t, "", nil, 414)
}

func TestAnEndlessCallerMatchesNoPatternAndTheCallGoesOn(t *testing.T) {
	w := table(t, strings.Replace(world, `caller: '^\+43155200$'`, `caller: '.'`, 1))
	caller := strings.Repeat("1", maxNumber+1)
	p := w.Plan(Call{Trunk: "pbx", Called: "0222", Caller: caller}, nil, nil)
	p.wants(t, "national", []string{"gw2", "gw1", "gw3"}, 0)
	if p.Hops[0].Caller != caller {
		t.Errorf("the caller became %q", p.Hops[0].Caller)
	}
}

func TestRouteForNobodyServesNobody(t *testing.T) {
	w := table(t, world)
	for name := range w.sides {
		for _, s := range w.Plan(Call{Trunk: name, Called: "5"}, nil, nil).Steps {
			if s.Name == "nobody" {
				t.Errorf("a call by %s was held against a route for nobody", name)
			}
		}
	}
}

func TestTrunkWithoutUsagesIsRefused(t *testing.T) {
	p := table(t, world).Plan(Call{Trunk: "loop", Called: "+43155200"}, nil, nil)
	p.wants(t, "", nil, 403)
	if !strings.Contains(p.Why, "trunk loop has no usages and no route names it") || !strings.Contains(p.Why, "toll loop") {
		t.Errorf("why: %s", p.Why)
	}
	p = table(t, world).Plan(Call{Trunk: "loop", Called: "112"}, nil, nil)
	p.wants(t, "emergency", []string{"gw1", "gw2"}, 0)
}

func TestCallDoesNotReturnByTheTrunkItCameFrom(t *testing.T) {
	p := table(t, world).Plan(Call{Trunk: "gw1", Called: "7001"}, nil, seeded(1))
	p.wants(t, "shared", []string{"gw2"}, 0)
	if want := "gw1: the call came from it"; skips(p) != want {
		t.Errorf("skips %q, want %q", skips(p), want)
	}
}

func TestRouteThatOnlyLeadsBackRefusesAndLaterRoutesAreNotAsked(t *testing.T) {
	text := strings.Replace(world, "match: '^(112|133)$', to: [gw1, gw2]", "match: '^(112|133)$', to: [gw1]", 1)
	p := table(t, text).Plan(Call{Trunk: "gw1", Called: "112"}, nil, nil)
	p.wants(t, "emergency", nil, 403)
	if want := "route emergency leads only back into gw1 (no toll loop)"; p.Why != want || len(p.Steps) != 1 {
		t.Errorf("why %q after %d steps, want %q after 1", p.Why, len(p.Steps), want)
	}
}

func TestRouteForOneTrunkAloneMayLeadBackIntoIt(t *testing.T) {
	table(t, world).Plan(Call{Trunk: "gw2", Called: "8001"}, nil, nil).wants(t, "hairpin", []string{"gw2"}, 0)
	shared := strings.Replace(world, "from: [gw2], match: '^8'", "from: [gw2, gw1], match: '^8'", 1)
	table(t, shared).Plan(Call{Trunk: "gw2", Called: "8001"}, nil, nil).wants(t, "hairpin", nil, 403)
}

func TestRouteThatLostItsOtherTrunksToOtherNodesIsNotForOneTrunkAlone(t *testing.T) {
	text := strings.Replace(world, "from: [pool], to: [gw3, pool]", "from: [a, b], to: [a, b]", 1)
	cfg, err := config.ParseFor("world.yaml", []byte(text), "one")
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return r.Name == "pooled" }); len(cfg.Routes[i].From) != 1 {
		t.Fatalf("node one takes calls of %v: this test tests nothing", cfg.Routes[i].From)
	}
	New(cfg).Plan(Call{Trunk: "a", Called: "1"}, nil, nil).wants(t, "pooled", nil, 403)
}

func TestTrunksOfOtherNodesAreLeftOut(t *testing.T) {
	p := table(t, world).Plan(Call{Trunk: "a", Called: "1"}, nil, nil)
	p.wants(t, "pooled", []string{"gw3"}, 0)
	if want := "b: it belongs to node two, the call is on one; a: the call came from it"; skips(p) != want {
		t.Errorf("skips %q, want %q", skips(p), want)
	}
	cfg, err := config.ParseFor("world.yaml", []byte(strings.Replace(world, "to: [gw3, pool]", "to: [b]", 1)), "one")
	if err != nil {
		t.Fatal(err)
	}
	p = New(cfg).Plan(Call{Trunk: "a", Called: "1"}, nil, nil)
	p.wants(t, "pooled", nil, 503)
	if want := "all trunks of route pooled are on other nodes"; p.Why != want {
		t.Errorf("why %q, want %q", p.Why, want)
	}
}

func TestPeersAreSentTheirNumbers(t *testing.T) {
	w := table(t, world)
	for _, tc := range []struct{ name, called, caller, trunk, toPeer, fromUs string }{
		{"rules of the trunk before those of wider scopes", "0155", "+43155200", "gw1", "55", "055200"},
		{"a plus that a rule left is removed", "0155", "+4925", "gw2", "43155", "4925"},
		{"the plus stays where the trunk says so", "0155", "+43155200", "gw3", "+43155", "+43155200"},
		{"a caller without a number", "0155", "", "gw2", "43155", ""},
		{"one plus is removed, not two", "0155", "++1", "gw2", "43155", "+1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := w.Plan(Call{"pbx", tc.called, tc.caller}, nil, nil)
			i := slices.IndexFunc(p.Hops, func(h Hop) bool { return h.Trunk == tc.trunk })
			if i < 0 || p.Hops[i].Called != tc.toPeer || p.Hops[i].Caller != tc.fromUs {
				t.Errorf("hops %+v, want %q from %q to %s", p.Hops, tc.toPeer, tc.fromUs, tc.trunk)
			}
		})
	}
}

func TestContinueGoesOnWithTheNextRouteThatMatches(t *testing.T) {
	p := table(t, world).Plan(Call{Trunk: "pbx", Called: "0155"}, nil, nil)
	p.wants(t, "city", []string{"gw1", "gw2", "gw3"}, 0)
	if p.Hops[1].Route != "city" || p.Hops[2].Route != "spare" {
		t.Errorf("hops %+v", p.Hops)
	}
	rejects := strings.Replace(world, "match: '^\\+43900', reject", "priority: 1, match: '^\\+431', reject", 1)
	w := table(t, rejects)
	w.Plan(Call{Trunk: "pbx", Called: "0155"}, nil, nil).wants(t, "city", []string{"gw1", "gw2"}, 0)
	w.Plan(Call{Trunk: "pbx", Called: "0155"}, board("gw1 full", "gw2 full"), nil).wants(t, "city", nil, 486)
}

func TestARouteOfTwoUsagesIsLookedAtOnce(t *testing.T) {
	n := 0
	for _, s := range table(t, world).Plan(Call{Trunk: "pbx", Called: "+9"}, nil, nil).Steps {
		if s.Name == "blocked" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("looked at %d times", n)
	}
}

func TestTablesWithoutTrunksRefuseEverybody(t *testing.T) {
	for _, w := range []*Table{{}, New(&config.Config{}), New(&config.Config{Routes: []config.Route{{Name: "r", To: []string{"gw1"}}}})} {
		w.Plan(Call{Trunk: "gw1", Called: "1"}, nil, nil).wants(t, "", nil, 403)
	}
}

func TestAConfigThatNoFileMadeIsRouted(t *testing.T) {
	cfg := &config.Config{
		Trunks: map[string]config.Trunk{"a": {}, "b": {Policy: config.Policy{RemovePlus: true}}},
		Routes: []config.Route{{Name: "r", From: []string{"a"}, Match: regexp.MustCompile(`^\+`), To: []string{"b", "none"}}},
	}
	p := New(cfg).Plan(Call{"a", "+1", "+2"}, nil, nil)
	p.wants(t, "r", []string{"b"}, 0)
	if p.Hops[0] != (Hop{Trunk: "b", Route: "r", Called: "1", Caller: "2"}) || skips(p) != "none: there is no such trunk" {
		t.Errorf("%+v", p)
	}
}

func TestPlansShareNoListsThatCallersMayChange(t *testing.T) {
	w := table(t, world)
	p := w.Plan(Call{Trunk: "pbx", Called: "0222"}, nil, nil)
	p.Hops[0].Trunk = "elsewhere"
	w.Plan(Call{Trunk: "pbx", Called: "0222"}, nil, nil).wants(t, "national", []string{"gw2", "gw1", "gw3"}, 0)
}

func TestReasonIsOneLineThatTellsTheDecision(t *testing.T) {
	w := table(t, world)
	for _, tc := range []struct {
		call Call
		b    Board
		want string
	}{
		{Call{Trunk: "pbx", Called: "0222"}, board("gw1 full"), "route national to gw2, gw3; not gw1: all 30 places are taken"},
		{Call{Trunk: "teams", Called: "1\r\nevent=forged"}, nil, `refused with 404: no route of trunk teams fits "1\r\nevent=forged"`},
		{Call{Trunk: "a\nb", Called: "1"}, nil, `refused with 403: there is no trunk "a\nb"`},
		{Call{Trunk: "pbx", Called: "0900"}, nil, `refused with 486: route blocked rejects "+43900"`},
		{Call{Trunk: "pbx", Called: "112"}, board("gw1 unknown", "gw2 unknown"), "refused with 503: no trunk of route emergency can be used; " +
			"not gw1: this node does not have it; not gw2: this node does not have it"},
	} {
		p := w.Plan(tc.call, tc.b, nil)
		if p.Reason() != tc.want {
			t.Errorf("reason\n%s\nwant\n%s", p.Reason(), tc.want)
		}
	}
}
