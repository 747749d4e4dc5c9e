package calls

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a gateway that only has a name and books.
type fake struct {
	name  string
	books []Books // one after the other, the last for ever
}

func (f *fake) Name() string                       { return f.name }
func (f *fake) Version() string                    { return "1" }
func (f *fake) Start(context.Context, Scene) error { return nil }
func (f *fake) Parts() []Part                      { return nil }
func (f *fake) Stop() error                        { return nil }
func (f *fake) Books(context.Context) (Books, error) {
	b := f.books[0]
	if len(f.books) > 1 {
		f.books = f.books[1:]
	}
	return b, nil
}

func outcome(calls int, sip, napi time.Duration) Outcome {
	return Outcome{Rate: 100, Began: 100, Calls: calls, P50: 2, P99: 9, CPU: map[string]time.Duration{"sip": sip}, NAPI: napi, Memory: 50 << 20, Load: 10}
}

func TestTheResultIsOfMediansAndOfRatiosWithinARound(t *testing.T) {
	o := Options{Rounds: 3}
	ours := &contender{gateway: &fake{name: "tandem"}, version: "1"}
	rival := &contender{gateway: &fake{name: "rival"}, version: "2", found: []found{{rate: 100}, {rate: 50}, {rate: 100, limit: "sipp"}}}
	ours.found = []found{{rate: 100}, {rate: 200}, {rate: 50}}
	for i := range 3 {
		slow := time.Duration(i+1) * time.Second // rounds 1, 2, 3 of a machine that gets slower
		ours.rounds = append(ours.rounds, outcome(1000, slow, slow))
		rival.rounds = append(rival.rounds, outcome(1000, 2*slow, 2*slow))
	}
	rival.rounds[1].Failed = 2
	r := o.result([]*contender{ours, rival})
	if r.CPUPer1000 != 4 || r.Rival.CPUPer1000 != 8 || r.Ratio.CPU != 0.5 || r.Ratio.CPURange[0] != 0.5 || r.Ratio.CPURange[1] != 0.5 {
		t.Errorf("CPU %v, %v, ratio %+v", r.CPUPer1000, r.Rival.CPUPer1000, r.Ratio)
	}
	if r.MaxCPS != 100 || r.Rival.MaxCPS != 100 || r.Ratio.CPS != 1 || r.Ratio.CPSRange[1] != 4 {
		t.Errorf("rates %v, %v, ratio %+v", r.MaxCPS, r.Rival.MaxCPS, r.Ratio)
	}
	if r.Failed != 0 || r.Rival.Failed != 2 || r.RSS != 50 || r.Calls != 3000 || r.RSSPerCPS != 0.5 {
		t.Errorf("%+v", r)
	}
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "rival may carry more") || !strings.Contains(r.Notes[1], "rival, round 2: not carried: 2 of 1000") {
		t.Errorf("notes %q", r.Notes)
	}
	for _, part := range []string{"tandem | rival", "100, for a short while | 100, for a short while |", "| yes | no: 2 of 1000 calls failed", "100 (0)", "4.000 | 8.000", "2 of 3000", "**0.50 x** (0.50 to 0.50)", "**1.00 x** (0.50 to 4.00)", "CPU is not comparable"} {
		if !strings.Contains(r.Table(), part) {
			t.Errorf("the table lacks %q:\n%s", part, r.Table())
		}
	}
}

func TestTheJSONHasTheAgreedKeys(t *testing.T) {
	o := Options{Rounds: 1, Rate: 100}
	r := o.result([]*contender{{gateway: &fake{name: "a"}, rounds: []Outcome{outcome(10, 1, 1)}}, {gateway: &fake{name: "b"}, rounds: []Outcome{outcome(10, 2, 2)}}})
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	rival, _ := got["rival"].(map[string]any)
	ratio, _ := got["ratio"].(map[string]any)
	for _, key := range []string{"cps_max", "cpu_s_per_1000", "rss_mb", "setup_p50_ms", "setup_p99_ms", "failed"} {
		if _, ok := got[key].(float64); !ok {
			t.Errorf("no %s in %s", key, raw)
		}
		if _, ok := rival[key].(float64); !ok {
			t.Errorf("no rival.%s in %s", key, raw)
		}
	}
	if ratio["cpu"] != 0.5 || ratio["cps"] != 1.0 || got["cps_max"] != 100.0 {
		t.Errorf("%s", raw)
	}
}

func TestACallWithoutAMediaSessionVoidsTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		o    Outcome
		says string
	}{
		"all have one":      {Outcome{Calls: 10, Opened: 10, Left: Books{Calls: -1}}, ""},
		"one has none":      {Outcome{Calls: 10, Opened: 9}, "9 media sessions were opened for 10 calls"},
		"one stands":        {Outcome{Calls: 10, Opened: 10, Stood: Standing{Sessions: 1}}, "1 media sessions stand"},
		"a call stands":     {Outcome{Calls: 10, Opened: 10, Stood: Standing{Calls: 1}}, "1 calls"},
		"it was overloaded": {Outcome{Calls: 10, Opened: 12, P99: 6248, Stood: Standing{Calls: 1}}, ""},
		"some were failed":  {Outcome{Calls: 10, Failed: 2, Opened: 8}, ""},
	} {
		err := c.o.prove(&fake{name: "tandem"})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatAnOverloadLeavesIsWaitedForAndNamed(t *testing.T) {
	standing := Books{Opened: 9, Calls: 129, Sessions: 128}
	for name, c := range map[string]struct {
		until time.Duration // that calls stand
		mute  bool          // it does not answer
		took  time.Duration // at most
		stood Standing
		left  string
		broke string
	}{
		"nothing stands":         {0, false, 0, Standing{}, "", ""},
		"for a moment":           {time.Second, false, 2 * time.Second, Standing{}, "", ""},
		"until timers give up":   {32 * time.Second, false, 33 * time.Second, Standing{129, 128}, "", ""},
		"for ever":               {time.Hour, false, 37 * time.Second, Standing{129, 128}, "129 calls and 128 media sessions stand 36s after", ""},
		"it never answers":       {time.Hour, true, 37 * time.Second, Standing{}, "", "did not say what stands"},
		"it answers after a bit": {20 * time.Second, true, 21 * time.Second, Standing{}, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &standingFake{until: time.Now().Add(c.until), standing: standing, mute: c.mute}
			o, began := Outcome{P99: 6248}, time.Now()
			if err := o.settle(t.Context(), g, Books{Opened: 2}, drained); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > c.took || o.Stood != c.stood || !strings.Contains(o.leftover(), c.left) || (c.left == "") != (o.leftover() == "") ||
				!strings.Contains(o.Broke, c.broke) || (c.broke == "") != (o.Broke == "") || c.broke == "" && o.Opened != 7 {
				t.Errorf("%s: %+v after %s, left %q", name, o, took, o.leftover())
			}
		})
	}
}

// standingFake has calls up until a moment; a mute one says nothing until then.
type standingFake struct {
	fake
	until    time.Time
	standing Books
	mute     bool
}

func (f *standingFake) Books(context.Context) (Books, error) {
	switch {
	case !time.Now().Before(f.until):
		return Books{Opened: f.standing.Opened, Calls: -1}, nil
	case f.mute:
		return Books{}, errors.New("timeout")
	}
	return f.standing, nil
}

func TestAnUnfinishedComparisonShowsWhatItHas(t *testing.T) {
	o := Options{Rounds: 3}
	ours := &contender{gateway: &fake{name: "tandem"}, found: []found{{rate: 1238, verified: true}, {rate: 1100, cut: "after 5m0s: there was no time left"}}}
	rival := &contender{gateway: &fake{name: "rival"}, found: []found{{rate: 619, verified: true}}, oddities: []string{"offered 900 calls/s: kamailio ended during the run"}}
	if r := o.unfinished([]*contender{ours, {gateway: &fake{name: "rival"}}}, errors.New("x")); r != nil {
		t.Errorf("a side without anything: %+v", r)
	}
	r := o.unfinished([]*contender{ours, rival}, errors.New("rival does not start"))
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unfinished != "rival does not start" || r.MaxCPS != 1169 || r.Rival.MaxCPS != 619 || r.Ratio.CPS != 2 || r.Verified || !r.Rival.Verified || r.Held {
		t.Errorf("%s", raw)
	}
	text := r.Table() + string(raw)
	for _, part := range []string{"**Not finished**: rival does not start", "round 2: the search ended after 5m0s", "1100 calls/s held for a step only", "kamailio ended during the run", `"unfinished":"rival`} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

func TestBothAreComparedAtNineTenthsOfTheLowerRate(t *testing.T) {
	sides := []*contender{{found: []found{{rate: 1000}, {rate: 1300}, {rate: 1200}}}, {found: []found{{rate: 500}, {rate: 900}, {rate: 700}}}}
	if rate := (&Options{}).equalRate(sides); rate != 630 {
		t.Errorf("%v calls/s", rate)
	}
	if rate := (&Options{Rate: 1500}).equalRate(sides); rate != 1500 {
		t.Errorf("%v calls/s, asked for 1500", rate)
	}
}

func TestASearchHasTimeForWhatIsUsual(t *testing.T) {
	for _, o := range []Options{{Rounds: 1, Quick: true}, {Rounds: 3, For: 10 * time.Second}, {Rounds: 5, For: time.Minute}} {
		one := o.within(1) / time.Duration(o.Rounds)
		if p := o.plan(); one < 15*(p.step+around)+failTries*p.verify || one > 12*time.Minute {
			t.Errorf("%+v: %s a search", o, one)
		}
	}
	if o := (Options{Within: time.Hour, Rounds: 3}); o.within(2) != time.Hour {
		t.Errorf("%s", o.within(2))
	}
}

func TestRestIsReachedWhenGoroutinesAndHeapAreBack(t *testing.T) {
	at := func(goroutines int, heap uint64) Books {
		return Books{Goroutines: map[string]int{sipPart: goroutines}, Heap: map[string]uint64{sipPart: heap}}
	}
	start := at(20, 10<<20)
	r, err := rest(t.Context(), &fake{name: "tandem", books: []Books{at(22, 12<<20)}}, start, func(string, ...any) {})
	if err != nil || !r.Returned || r.Left != "" {
		t.Errorf("%+v, %v", r, err)
	}
	for says, now := range map[string]Books{"sip has 400 goroutines, had 20": at(400, 0), "100.0 MB on its heap, had 10.0": at(20, 100<<20), "3 calls": {Calls: 3}} {
		if got := left(start, now); !strings.Contains(got, says) {
			t.Errorf("%q, want %q", got, says)
		}
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for says, o := range map[string]Options{
		"0 rounds":     {For: time.Second},
		"a rate of -1": {Rounds: 1, Rate: -1, For: time.Second},
		"within -1s":   {Rounds: 1, For: time.Second, Within: -time.Second},
		"runs of 1ms":  {Rounds: 1, For: time.Millisecond},
	} {
		if _, err := Compare(t.Context(), o, nil, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, err := Find("asterisk"); err == nil || !strings.Contains(err.Error(), `"asterisk" is not known`) {
		t.Errorf("%v", err)
	}
}
