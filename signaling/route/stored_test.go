package route

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/cases"
)

// try runs one case given as YAML and lists what is wrong with it, a line each.
func try(t *testing.T, text string) string {
	t.Helper()
	list, err := cases.Parse("world.cases.yaml", []byte("- name: case\n  "+strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	responses := strings.Replace(world, "  gw3: {listener", "  gw4: {listener: udp, peer: 192.0.2.24, responses: [{code: 486, cause: 34, to: 503}]}\n  gw3: {listener", 1)
	wrong, e, err := table(t, responses).Try(list[0])
	if err != nil {
		return err.Error()
	}
	if list[0].Answer == nil && e.Trunk != list[0].Trunk {
		t.Errorf("the explanation is of trunk %q", e.Trunk)
	}
	var lines []string
	for _, w := range wrong {
		lines = append(lines, fmt.Sprintf("%s: want %s: got %s", w.What, w.Want, w.Got))
	}
	return strings.Join(lines, "\n")
}

const national = "trunk: pbx\nfrom: '+43155201'\nto: '0222'\n"

func TestACaseThatHoldsIsSilent(t *testing.T) {
	for name, text := range map[string]string{
		"everything told": national + "expect: {route: national, number: '+43222', emergency: false, hops: [gw2, gw1, gw3], code: 0, skipped: [], " +
			"called: {gw3: '+43222', gw1: '43222'}, caller: {gw2: '055201'}}",
		"a set of equals":      "trunk: pbx\nto: '0155'\nexpect: {hops: [{any_of: [gw2, gw1]}, gw3]}",
		"a set by weight":      "trunk: pbx\nto: '0049'\nexpect: {hops: [{any_of: [gw1, gw2, gw3]}]}",
		"one number for all":   "trunk: pbx\nto: '0155'\nfull: [gw3, gw2]\nexpect: {called: '55'}",
		"a refusal":            "trunk: loop\nto: '1'\nexpect: {route: '', hops: [], code: 403, why: no toll loop}",
		"skipped in any order": national + "down: [gw1]\nresting: [gw2]\nexpect: {skipped: [gw1, gw2]}",
		"demoted":              national + "demoted: [gw2]\nexpect: {hops: [gw1, gw3, gw2]}",
		"an answer":            "answer: {trunk: gw4, code: 486, cause: 34, expect: 503}",
		"an answer that stays": "answer: {trunk: gw3, code: 486, cause: 34, expect: 486}",
	} {
		if got := try(t, text); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestACaseThatFailsSaysWhatWasWantedAndWhatCame(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"route", national + "expect: {route: world}", "route: want world: got national"},
		{"no route", national + "expect: {route: ''}", "route: want none: got national"},
		{"number", national + "expect: {number: '+1'}", `number: want "+1": got "+43222" after the dial plan`},
		{"emergency", national + "expect: {emergency: true}", "emergency: want true: got false"},
		{"order", national + "expect: {hops: [gw1, gw2, gw3]}", "hops: want gw1, then gw2, then gw3: got gw2, then gw1, then gw3"},
		{"too few", national + "expect: {hops: [gw2]}", "hops: want gw2: got gw2, then gw1, then gw3"},
		{"too many", national + "expect: {hops: [gw2, gw1, gw3, pbx]}", "hops: want gw2, then gw1, then gw3, then pbx: got gw2, then gw1, then gw3"},
		{"none wanted", national + "expect: {hops: []}", "hops: want none: got gw2, then gw1, then gw3"},
		{"a refusal came", "trunk: loop\nto: '1'\nexpect: {hops: [{any_of: [gw1, gw2]}]}", "hops: want gw1 and gw2 in any order: got refused with 403: " +
			"trunk loop has no usages and no route names it: its calls go nowhere (no toll loop)"},
		{"luck", "trunk: pbx\nto: '0155'\nexpect: {hops: [gw1, gw2, gw3]}", "hops: want gw1, then gw2, then gw3: got gw2, then gw1, then gw3; " +
			"each call draws the order anew: write {any_of: [...]} for trunks that are equal"},
		{"no equals", national + "expect: {hops: [{any_of: [gw1, gw2, gw3]}]}", "hops: want gw1 and gw2 and gw3 in any order: got gw1 before gw3 in every call; " +
			"list them in this order, any_of is for equals"},
		{"called", national + "expect: {called: {gw1: '43222', gw3: '43222'}}", `called: want "43222" to gw3: got "+43222"`},
		{"caller", national + "expect: {caller: 'x'}", `caller: want "x" to gw2: got "055201"`},
		{"a trunk that is not tried", national + "expect: {called: {pbx: '1'}}", `called: want "1" to pbx: got only gw2, then gw1, then gw3`},
		{"nobody is called", "trunk: loop\nto: '1'\nexpect: {called: '1', code: 403}", `called: want "1": got refused with 403: ` +
			"trunk loop has no usages and no route names it: its calls go nowhere (no toll loop)"},
		{"skipped", national + "down: [gw1]\nexpect: {skipped: []}", "skipped: want none: got gw1 (it is down)"},
		{"not skipped", national + "expect: {skipped: [gw1]}", "skipped: want gw1: got none"},
		{"code", national + "expect: {code: 403}", "code: want 403: got route national to gw2, gw1, gw3"},
		{"routed", "trunk: loop\nto: '1'\nexpect: {code: 0}", "code: want 0, a call that is routed: got refused with 403: " +
			"trunk loop has no usages and no route names it: its calls go nowhere (no toll loop)"},
		{"why", "trunk: pbx\nto: '0900'\nexpect: {why: toll}", `why: want a refusal that says "toll": got refused with 486: route blocked rejects "+43900"`},
		{"several", national + "expect: {route: x, code: 404}", "route: want x: got national\ncode: want 404: got route national to gw2, gw1, gw3"},
		{"answer", "answer: {trunk: gw4, code: 486, cause: 34, expect: 486}", "answer: want 486: got 503: rule 1 fits (trunk gw4, line 22)"},
		{"no answer", "answer: {trunk: gw4, code: 486, expect: 503}", "answer: want 503: got 486: none of the 1 rules of trunk gw4 fits"},
		{"no such trunk", "trunk: pbx\nto: '1'\ndown: [gw9]\nexpect: {code: 0}", `there is no trunk "gw9"; name one of a, b, gw1, gw2, gw3, gw4, loop, pbx, teams`},
		{"no such trunk answers", "answer: {trunk: gw9, code: 486, expect: 503}", `there is no trunk "gw9"; name one of a, b, gw1, gw2, gw3, gw4, loop, pbx, teams`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := try(t, tc.text); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}
