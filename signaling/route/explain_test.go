package route

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tandem/signaling/trunk"
)

// printed is what people see.
func printed(e *Explanation) string {
	var b strings.Builder
	e.Print(&b, "world.yaml")
	return b.String()
}

func TestAnExplanationTellsEveryStepWithItsLine(t *testing.T) {
	e, err := table(t, world).Explain(Question{From: "+43155201", To: "0155", Trunk: "pbx", Down: []string{"gw2"}, Full: []string{"gw3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `
A call enters by pbx, from "+43155201" to "0155".
Trunks are assumed up and empty, but gw2 down, gw3 full.

Number
  world.yaml:33  dial plan vienna, rule extension  no   "0155" does not match [2-8]\d{2}
  world.yaml:34  dial plan vienna, rule abroad     no   "0155" does not match 00(\d+)
  world.yaml:35  dial plan vienna, rule national   yes  "0155" becomes "+43155"

Routes
  world.yaml:38  route emergency (emergency)  no   "+43155" does not match ^(112|133)$
  world.yaml:41  route city (usage local)     yes  "+43155" matches ^\+431; to both; after these the next route that fits
  world.yaml:27  group both                        gw1, gw2: shuffled for each call
  world.yaml:42  route blocked (usage local)  no   "+43155" does not match ^\+43900
  world.yaml:40  route spare (usage local)    yes  "+43155" matches ^\+431; to gw3

Routes not looked at
  world.yaml:39  route alarm     -    it is for calls that entered by teams, both
  world.yaml:43  route boss      -    comes after spare, which decides
  world.yaml:44  route national  -    comes after spare, which decides
  world.yaml:45  route world     -    comes after spare, which decides
  world.yaml:46  route in        -    it is for calls that entered by gw1, gw2
  world.yaml:47  route shared    -    it is for calls that entered by both
  world.yaml:48  route hairpin   -    it is for calls that entered by gw2
  world.yaml:49  route out       -    it is for calls that entered by teams
  world.yaml:50  route pooled    -    it is for calls that entered by pool
  world.yaml:51  route nobody    -    it serves nobody: it has neither from nor usages

Trunks, in the order of trying
   1. gw1  to "55", from "055201"
        world.yaml:20  called number, rule city (trunk gw1)   yes  "+43155" becomes "55"
        world.yaml:16  caller's number, rule 1 (site vienna)  yes  "+43155201" becomes "055201"
   -  gw3  left out: it is full
   -  gw2  left out: it is down

If gw1 fails, the caller gets its answer, or 504 if there was none.
`
	if got := "\n" + printed(&e); got != want {
		t.Errorf("printed:%s", got)
	}
}

func TestARefusalIsExplained(t *testing.T) {
	w := table(t, world)
	for _, tc := range []struct {
		name string
		q    Question
		want []string
	}{
		{"no route", Question{Trunk: "teams", To: "5"}, []string{
			"trunk teams has no dial plan: the number stays as it was dialled",
			`world.yaml:49  route out (from)             no   "5" does not match ^\+4`,
			`Refused with 404: no route of trunk teams fits "5".`}},
		{"no way at all", Question{Trunk: "loop", To: "5"}, []string{"Refused with 403: trunk loop has no usages and no route names it: its calls go nowhere (no toll loop)."}},
		{"a rejecting route", Question{Trunk: "pbx", To: "0900"}, []string{`"+43900" matches ^\+43900; rejects with 486`, "Refused with 486: route blocked rejects"}},
		{"a number that rules fit in part only", Question{Trunk: "pbx", To: "2001"}, []string{
			`"2001" matches [2-8]\d{2} only in part, and rules rewrite whole numbers`, "no rule fits: the number stays as it was dialled"}},
		{"another caller", Question{Trunk: "pbx", From: "x", To: "0222"}, []string{`caller "x" does not match ^\+43155200$`}},
		{"too long a number", Question{Trunk: "pbx", To: strings.Repeat("1", 300)}, []string{"the call was refused before any route", "Refused with 414: the called number has 300 bytes"}},
		{"all full", Question{Trunk: "pbx", To: "0222", Full: []string{"gw1", "gw2", "gw3"}}, []string{"gw1  left out: it is full", "Refused with 503: no trunk of route national can be used."}},
		{"no place on the trunk by which it enters", Question{Trunk: "pbx", To: "0222", Full: []string{"pbx"}}, []string{"Refused with 503: trunk pbx, by which the call enters: it is full."}},
		{"a shuffled route", Question{Trunk: "teams", To: "+4"}, []string{"to gw1, both, heavy in any order", "gw1 (weight 1), gw2 (weight 7), gw3 (weight 2): drawn by weight for each call",
			"(drawn for each call: route out)", "If all of them fail"}},
		{"rest", Question{Trunk: "gw2", To: "8", Resting: []string{"gw2"}, Demoted: []string{"gw1"}}, []string{"but gw1 demoted, gw2 resting.", "gw2  left out: it asked for rest, 1m0s more"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := w.Explain(tc.q, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(printed(&e), want) {
					t.Errorf("no %s in\n%s", want, printed(&e))
				}
			}
		})
	}
}

func TestAnExplanationSurvivesTheWire(t *testing.T) {
	w := table(t, world)
	for _, q := range []Question{{Trunk: "pbx", From: "+43155200", To: "0155", Down: []string{"gw1"}}, {Trunk: "loop", To: "1"}} {
		e, err := w.Explain(q, board("gw2 rest"))
		if err != nil {
			t.Fatal(err)
		}
		wire, err := json.Marshal(e)
		if err != nil || strings.Contains(string(wire), "null") {
			t.Fatalf("%v: %s", err, wire)
		}
		var read Explanation
		if err := json.Unmarshal(wire, &read); err != nil || printed(&read) != printed(&e) || !read.Live {
			t.Errorf("%v: printed\n%s\nwant\n%s", err, printed(&read), printed(&e))
		}
	}
}

func TestALiveExplanationSeesTheBoardUnderTheAssumptions(t *testing.T) {
	e, err := table(t, world).Explain(Question{Trunk: "pbx", To: "0222", Down: []string{"gw3"}}, board("gw2 full"))
	if err != nil || len(e.Hops) != 1 || e.Hops[0].Trunk != "gw1" || !e.Live {
		t.Errorf("%v, %+v", err, e.Hops)
	}
	if !strings.Contains(printed(&e), "Health and places are those of the running node, but gw3 down.") {
		t.Errorf("printed\n%s", printed(&e))
	}
}

func TestATrunkThatIsTriedAllTheSameSaysWhatIsKnownAgainstIt(t *testing.T) {
	for _, tc := range []struct {
		name string
		q    Question
		want string
	}{
		{"nothing", Question{Trunk: "pbx", To: "0222"}, ""},
		{"all are down", Question{Trunk: "pbx", To: "0222", Down: []string{"gw1", "gw2", "gw3"}}, "down, and nobody else is left"},
		{"all are demoted", Question{Trunk: "pbx", To: "0222", Demoted: []string{"gw1", "gw2", "gw3"}}, "demoted"},
	} {
		e, err := table(t, world).Explain(tc.q, nil)
		if err != nil || len(e.Hops) == 0 {
			t.Fatalf("%s: %v, %+v", tc.name, err, e)
		}
		for _, h := range e.Hops {
			if h.Health != tc.want || tc.want != "" && strings.Count(printed(&e), "  ("+tc.want+")\n") != len(e.Hops) {
				t.Errorf("%s: %s has %q, printed\n%s", tc.name, h.Trunk, h.Health, printed(&e))
			}
		}
	}
	for want, v := range map[string]trunk.View{
		"":                                    {},
		"down, and this is an emergency call": {State: trunk.Down},
		"asked for rest, and this is an emergency call": {Rest: time.Second, State: trunk.Demoted},
	} {
		if got := health(v, true); got != want {
			t.Errorf("%+v: %q, want %q", v, got, want)
		}
	}
}

func TestAQuestionAboutNoTrunkIsAnsweredWithThoseThereAre(t *testing.T) {
	w := table(t, world)
	const all = "a, b, gw1, gw2, gw3, loop, pbx, teams"
	for want, q := range map[string]Question{
		"by which trunk does the call enter? name one of " + all: {To: "1"},
		`there is no trunk "gw9"; name one of ` + all:            {Trunk: "pbx", Down: []string{"gw9"}},
		`there is no trunk "x\ny"; name one of ` + all:           {Trunk: "x\ny"},
	} {
		if _, err := w.Explain(q, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := new(Table).Explain(Question{}, nil); err == nil || !strings.Contains(err.Error(), "the config has no trunks") {
		t.Errorf("an empty table: %v", err)
	}
}

func TestTheOnlyTrunkNeedsNoName(t *testing.T) {
	text := world[:strings.Index(world, "trunks:")] + "trunks:\n  only: {listener: udp, peer: 192.0.2.9, site: vienna}\n"
	e, err := table(t, text).Explain(Question{To: "1"}, nil)
	if err != nil || e.Trunk != "only" || e.Code != 403 {
		t.Errorf("%v, %+v", err, e)
	}
}
