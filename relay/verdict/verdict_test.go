package verdict

import "testing"

func TestEveryVerdictHasANameOfItsOwn(t *testing.T) {
	seen := map[string]Verdict{}
	for v := range Verdict(Count) {
		name := v.String()
		if name == "" || name == "unknown" {
			t.Errorf("verdict %d has no name", v)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("verdicts %d and %d are both called %s", other, v, name)
		}
		seen[name] = v
	}
	if Verdict(Count).String() != "unknown" {
		t.Error("what is no verdict has a name")
	}
}

func TestDropsLeaveOutWhatWasForwardedAndWhatNeverHappened(t *testing.T) {
	var a, b Counters
	a[Forward], a[BadTag] = 10, 2
	b[BadTag], b[Stranger] = 1, 4
	a.Add(&b)
	drops := a.Drops()
	if len(drops) != 2 || drops["bad_tag"] != 3 || drops["stranger"] != 4 {
		t.Errorf("%v", drops)
	}
}
