package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedianIsTheMiddle(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(c.of); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.of, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	if r := Range(values); *r != [2]float64{1, 3} || values[0] != 3 {
		t.Errorf("range %v, values now %v", *r, values)
	}
	if Range(nil) != nil {
		t.Error("nothing has a range")
	}
}

// side is a side's round with the numbers that decide.
func side(engine string, lossless, ns float64) Measures {
	allocs := 0.0
	return Measures{
		Engine: engine, Mode: "both", Streams: 2000, LosslessPPS: lossless, OfferedPPS: 100_000, NSPerForward: ns,
		Allocs: &allocs, Delay: &Delay{P50: ns / 100},
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	var rounds []Round
	for _, r := range [][4]float64{{300e3, 2000, 100e3, 10_000}, {200e3, 3000, 100e3, 10_000}, {400e3, 2500, 50e3, 10_000}} {
		rival := side("rtpengine", r[2], r[3])
		rival.Allocs, rival.Delay = nil, nil
		rounds = append(rounds, Round{Tandem: side("funnel", r[0], r[1]), Rival: &rival})
	}
	c := Compare(rounds)
	if c.Ratio.Rate != 3 || *c.Ratio.RateRange != [2]float64{2, 8} {
		t.Errorf("rate %v %v", c.Ratio.Rate, *c.Ratio.RateRange)
	}
	if c.Ratio.CPU != 0.25 || *c.Ratio.CPURange != [2]float64{0.2, 0.3} {
		t.Errorf("cpu %v %v", c.Ratio.CPU, *c.Ratio.CPURange)
	}
	if c.LosslessPPS != 300e3 || c.NSPerForward != 2500 || c.Delay.P50 != 25 {
		t.Errorf("medians %+v", c.Measures)
	}
	if c.Rival.Allocs != nil || c.Rival.Delay != nil {
		t.Error("the rival has numbers that nobody measured")
	}
	if c.Rounds[1].Rate != 2 || c.Rounds[1].CPU != 0.3 {
		t.Errorf("round %+v", c.Rounds[1])
	}
}

func TestDamageIsTheWorstRounds(t *testing.T) {
	a, b := side("funnel", 1, 1), side("funnel", 1, 1)
	a.Load.Corrupt, a.CPU.Elsewhere, a.Load.Limit = 7, 9, "ring full"
	if c := Compare([]Round{{Tandem: a}, {Tandem: b}}); c.Load.Corrupt != 7 || c.CPU.Elsewhere != 9 || c.Load.Limit == "" {
		t.Errorf("%+v", c.Measures)
	}
}

func TestWhatWasNotTimedIsInTheTable(t *testing.T) {
	var rounds []Round
	for _, share := range []float64{0.01, 0.03, 0.02} {
		m := side("funnel", 1, 1)
		m.Untimed, m.Delay.Untimed = Untimed{Share: share, P99: 1000, P999: 9000 * share}, Untimed{Share: 2 * share, P99: 50, P999: 60}
		rounds = append(rounds, Round{Tandem: m})
	}
	c := Compare(rounds)
	for _, line := range []string{"| " + untimedRow + " | 2.0; 1,000 / 180 |\n", "| " + untimedRow + " | 4.0; 50 / 60 |\n"} {
		if !strings.Contains(c.Table(), line) {
			t.Errorf("no %q in\n%s", line, c.Table())
		}
	}
}

func TestARunWithoutARivalHasNoRatio(t *testing.T) {
	c := Compare([]Round{{Tandem: side("sockets", 0, 5000)}})
	if c.Ratio != nil || c.Rival != nil || strings.Contains(c.Table(), "lossless rate, packets") {
		t.Errorf("%s", c.Table())
	}
}

func TestJSONHasTheKeysThatScriptsRead(t *testing.T) {
	rival := side("rtpengine", 1, 2)
	c := Compare([]Round{{Tandem: side("funnel", 1, 2), Rival: &rival}})
	var b strings.Builder
	if err := WriteJSON(&b, &c); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	keys := strings.Fields("engine mode streams offered_pps delivered_pps lossless_pps loss ns_per_forward p50_us p99_us p999_us max_us allocs batch_in batch_out rss_mb path")
	for _, k := range keys {
		if _, ok := got[k]; !ok {
			t.Errorf("no %s", k)
		}
		if _, ok := got["rival"].(map[string]any)[k]; !ok {
			t.Errorf("no rival.%s", k)
		}
	}
	ratio := got["ratio"].(map[string]any)
	if ratio["rate"] != 1.0 || ratio["cpu"] != 1.0 || len(got["rounds"].([]any)) != 1 {
		t.Errorf("ratio %v, rounds %v", ratio, got["rounds"])
	}
}

func TestTableShowsBothSidesAndTheRatio(t *testing.T) {
	rival := side("rtpengine", 100_000, 10_000)
	c := Compare([]Round{{Tandem: side("funnel", 300_000, 2_500), Rival: &rival}})
	for _, want := range []string{
		"| both, 2000 streams, medians of 1 | funnel | rtpengine |\n|---|---|---|\n",
		"| lossless rate, packets/s | 300,000 | 100,000 |", "| CPU per forward, ns | 2,500 | 10,000 |",
		"lossless rate **3.00 x** (3.00 to 3.00)", "CPU per forward **0.25 x**",
	} {
		if !strings.Contains(c.Table(), want) {
			t.Errorf("no %q in\n%s", want, c.Table())
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := count(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if share(0) != "0" || share(0.00001) != "1.0e-05" {
		t.Errorf("%s %s", share(0), share(0.00001))
	}
}

func TestOnlyWhatStandsBetweenTheMarkersChanges(t *testing.T) {
	const document = "# Title\n\n<!-- bench:relay -->\nold\n<!-- /bench:relay -->\n\nafter\n<!-- bench:x -->\n<!-- /bench:x -->\n"
	got, err := Replace(document, "relay", "new\n\n")
	if want := strings.Replace(document, "old", "new", 1); err != nil || got != want {
		t.Fatalf("%q %v", got, err)
	}
	again, err := Replace(got, "relay", "new")
	if err != nil || again != got {
		t.Fatalf("a second time: %q %v", again, err)
	}
	for name, broken := range map[string]string{
		"no begin": "text", "no end": "<!-- bench:relay -->\ntext", "twice": document + document,
	} {
		if _, err := Replace(broken, "relay", "new"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestADocumentIsRewrittenWhollyOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "B.md")
	const document = "<!-- bench:a -->\n<!-- /bench:a -->\n"
	if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := HasParts(path, "a"); err != nil {
		t.Error(err)
	}
	if err := HasParts(path, "a", "b"); err == nil {
		t.Error("a part without markers was found")
	}
	if err := Rewrite(path, map[string]string{"a": "1", "b": "2"}); err == nil || !strings.Contains(err.Error(), "bench:b") {
		t.Errorf("a part without markers: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != document {
		t.Errorf("changed to %q", got)
	}
	if err := Rewrite(path, map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "<!-- bench:a -->\n1\n<!-- /bench:a -->\n" {
		t.Errorf("%q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".bench-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheProcessorSaysWhetherItIsVirtual(t *testing.T) {
	model, virtual := processor([]byte("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor sse\n\nprocessor: 1\n"))
	if model != "AMD EPYC" || !virtual {
		t.Errorf("%q %t", model, virtual)
	}
	if _, virtual = processor([]byte("model name: X\nflags: fpu\n")); virtual {
		t.Error("no hypervisor, but virtual")
	}
}
