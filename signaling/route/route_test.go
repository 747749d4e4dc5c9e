package route

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/internal/config"
)

// two is a table as in the ordinary gateway: a UC side, two gateways.
func two() *Table {
	return New([]config.Route{
		{Name: "emergency", From: []string{"teams", "gw1"}, Match: regexp.MustCompile(`^(112|911)$`), To: []string{"gw1"}},
		{Name: "national", From: []string{"teams"}, Match: regexp.MustCompile(`^\+43`), To: []string{"gw1", "gw2"}},
		{Name: "abroad", From: []string{"teams"}, To: []string{"gw2", "gw1"}},
		{Name: "inbound", From: []string{"gw1", "gw2"}, Match: regexp.MustCompile(`^\+431`), To: []string{"teams"}},
		{Name: "shared", From: []string{"gw1", "gw2"}, Match: regexp.MustCompile(`^7`), To: []string{"gw1", "gw2"}},
		{Name: "hairpin", From: []string{"gw2"}, Match: regexp.MustCompile(`^8`), To: []string{"gw2"}},
		{Name: "nobody", Match: regexp.MustCompile(`.`), To: []string{"gw1"}},
	})
}

func TestFirstMatchingRouteDecides(t *testing.T) {
	for _, tc := range []struct {
		name, from, called string
		route              string
		trunks             []string
	}{
		{"pattern of the first route", "teams", "112", "emergency", []string{"gw1"}},
		{"pattern of a later route", "teams", "+4312345", "national", []string{"gw1", "gw2"}},
		{"route without a pattern takes any number", "teams", "+4912345", "abroad", []string{"gw2", "gw1"}},
		{"route without a pattern takes an empty user", "teams", "", "abroad", []string{"gw2", "gw1"}},
		{"same number from the other side", "gw2", "+4312345", "inbound", []string{"teams"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, ok := two().Decide(tc.from, tc.called)
			if !ok || d.Route != tc.route || !slices.Equal(d.Trunks, tc.trunks) {
				t.Errorf("Decide(%q, %q) = %q %q %v, want %q %q true", tc.from, tc.called, d.Route, d.Trunks, ok, tc.route, tc.trunks)
			}
		})
	}
}

func TestCallWithoutRouteIsRefusedWithEveryReason(t *testing.T) {
	d, ok := two().Decide("gw1", "999")
	want := `emergency: no: number "999" does not match ^(112|911)$ | ` +
		`national: no: the call entered by gw1, the route takes teams | ` +
		`abroad: no: the call entered by gw1, the route takes teams | ` +
		`inbound: no: number "999" does not match ^\+431 | ` +
		`shared: no: number "999" does not match ^7 | ` +
		`hairpin: no: the call entered by gw1, the route takes gw2 | ` +
		`nobody: no: its from is empty, it serves no calls`
	if ok || d.Route != "" || len(d.Trunks) != 0 || d.Reason != want {
		t.Errorf("Decide = %+v, %v\nwant reason %s", d, ok, want)
	}
}

func TestEmptyTableRefusesAndSaysWhy(t *testing.T) {
	for _, table := range []*Table{{}, New(nil)} {
		if d, ok := table.Decide("teams", "1"); ok || d.Reason != "there are no routes" {
			t.Errorf("Decide = %+v, %v", d, ok)
		}
	}
}

func TestRouteWithoutFromServesNobody(t *testing.T) {
	table := New([]config.Route{{Name: "open", To: []string{"gw1"}}})
	for _, from := range []string{"", "gw1", "teams"} {
		if d, ok := table.Decide(from, "1"); ok {
			t.Errorf("a call from %q was routed: %+v", from, d)
		}
	}
}

func TestCallDoesNotReturnByTheTrunkItCameFrom(t *testing.T) {
	d, ok := two().Decide("gw1", "7001")
	if !ok || !slices.Equal(d.Trunks, []string{"gw2"}) {
		t.Fatalf("Decide = %+v, %v, want gw2 alone", d, ok)
	}
	if want := `shared: yes: number "7001" matches ^7; not back into gw1, where the call came from; to gw2`; !strings.HasSuffix(d.Reason, want) {
		t.Errorf("reason %q does not end with %q", d.Reason, want)
	}
}

func TestRouteThatOnlyLeadsBackRefusesAndLaterRoutesAreNotAsked(t *testing.T) {
	d, ok := two().Decide("gw1", "911")
	want := `emergency: refuses: number "911" matches ^(112|911)$; not back into gw1, where the call came from`
	if ok || d.Route != "emergency" || d.Reason != want {
		t.Errorf("Decide = %+v, %v, want reason %q", d, ok, want)
	}
}

func TestRouteForOneTrunkAloneMayLeadBackIntoIt(t *testing.T) {
	d, ok := two().Decide("gw2", "8001")
	if !ok || !slices.Equal(d.Trunks, []string{"gw2"}) {
		t.Errorf("Decide = %+v, %v, want gw2", d, ok)
	}
}

func TestDecisionDoesNotShareMemoryWithTheTable(t *testing.T) {
	table := two()
	d, _ := table.Decide("teams", "+431")
	d.Trunks[0] = "elsewhere"
	if again, _ := table.Decide("teams", "+431"); again.Trunks[0] != "gw1" {
		t.Errorf("a caller's write reached the table: %v", again.Trunks)
	}
}

func TestNumbersFromTheNetworkAreQuotedInReasons(t *testing.T) {
	d, _ := two().Decide("teams", "1\r\nevent=forged")
	if strings.ContainsAny(d.Reason, "\r\n") {
		t.Errorf("reason holds a raw line end: %q", d.Reason)
	}
}

func TestStepsPrintTheRouteTheVerdictAndTheReason(t *testing.T) {
	var lines []string
	for _, s := range two().Explain("teams", "+4312345") {
		lines = append(lines, s.String())
	}
	want := []string{
		`emergency: no: number "+4312345" does not match ^(112|911)$`,
		`national: yes: number "+4312345" matches ^\+43; to gw1, gw2`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("Explain:\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzDecide checks what must hold for every number and every entering trunk: the decision is the last step's, it never
// names a trunk that its route does not, and a refusal has a reason.
func FuzzDecide(f *testing.F) {
	f.Add("teams", "+4312345")
	f.Add("gw1", "7001")
	f.Add("gw2", "8")
	f.Add("", "")
	f.Add("stranger", "112\x00\r\n")
	table := two()
	f.Fuzz(func(t *testing.T, from, called string) {
		d, ok := table.Decide(from, called)
		if ok != (len(d.Trunks) > 0) || d.Reason == "" {
			t.Fatalf("Decide = %+v, %v", d, ok)
		}
		if !strings.ContainsAny(from, "\r\n") && strings.ContainsAny(d.Reason, "\r\n") {
			t.Fatalf("raw line end in %q", d.Reason)
		}
		i := slices.IndexFunc(table.rules, func(r rule) bool { return r.name == d.Route })
		if i < 0 {
			if ok {
				t.Fatalf("routed by an unknown route: %+v", d)
			}
			return
		}
		r := table.rules[i]
		if !slices.Contains(r.from, from) {
			t.Fatalf("route %s took a call of %q", r.name, from)
		}
		for _, name := range d.Trunks {
			if !slices.Contains(r.to, name) || (name == from && !r.hairpin(from)) {
				t.Fatalf("call from %q sent to %q by route %s", from, name, r.name)
			}
		}
	})
}
