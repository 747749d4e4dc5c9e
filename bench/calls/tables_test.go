package calls

import (
	"slices"
	"strings"
	"testing"
)

const statistics = `StartTime;LastResetTime;CurrentTime;TotalCallCreated;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);Retransmissions(P);Retransmissions(C);DeadCallMsgs(P);DeadCallMsgs(C);
2026-11-23	05:00:00.000000	1;2026;2026;10;9;9;0;0;0;0;0;0;
2026-11-23	05:00:00.000000	1;2026;2026;25;14;23;2;2;7;7;0;1;
`

func TestTheLastRowOfSippsStatisticsCounts(t *testing.T) {
	got, err := readTally(statistics)
	if err != nil {
		t.Fatal(err)
	}
	if got.Created != 25 || got.Succeeded != 23 || got.Failed != 2 || got.Retransmitted != 7 || got.Dead != 1 {
		t.Errorf("%+v", got)
	}
}

func TestStatisticsWithoutAnAnswerAreAnError(t *testing.T) {
	header, _, _ := strings.Cut(statistics, "\n")
	for name, c := range map[string]struct{ table, says string }{
		"empty":       {"", "no rows"},
		"header only": {header + "\n", "no rows"},
		"a column":    {strings.ReplaceAll(statistics, "FailedCall(C)", "Failed"), "no column FailedCall(C)"},
		"a word":      {strings.ReplaceAll(statistics, ";25;", ";many;"), "TotalCallCreated"},
		"a short row": {header + "\n1;2;3\n", "no column"},
	} {
		if _, err := readTally(c.table); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResponseTimesComeAscending(t *testing.T) {
	got, err := readSetups("Date_ms;response_time_ms;rtd_no\n52.001;8;setup\n104.001;0;setup\n110.2;104;setup\n")
	if err != nil || !slices.Equal(got, []float64{0, 8, 104}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := readSetups("1;soon;setup\n"); err == nil {
		t.Error("a word is no time")
	}
}

func TestQuantilesAreValuesThatWereMeasured(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	for _, c := range []struct {
		of          []float64
		share, want float64
	}{{nil, 0.5, 0}, {[]float64{7}, 0.99, 7}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 99}} {
		if got := quantile(c.of, c.share); got != c.want {
			t.Errorf("quantile %v of %d: %v, want %v", c.share, len(c.of), got, c.want)
		}
	}
}

func TestSippWritesEveryResponseTime(t *testing.T) {
	for _, count := range []int{1, 7, 25, 200, 1500, 90_000, 90_001} {
		if n := batch(count); n < 1 || n > mostBatch || count%n != 0 {
			t.Errorf("%d calls in batches of %d", count, n)
		}
	}
}

func TestAPageOfMetricsIsReadLineByLine(t *testing.T) {
	s, err := readSeries("# HELP a of b\n# TYPE a counter\na{x=\"1 2\"} 3\na{x=\"4\"} 5e2\nab 7\n\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Sum("a") != 503 || s.Sum("ab") != 7 || s.Sum("c") != 0 || s[`a{x="1 2"}`] != 3 {
		t.Errorf("%v", s)
	}
	for _, page := range []string{"a\n", "a b\n"} {
		if _, err := readSeries(page); err == nil {
			t.Errorf("%q was read", page)
		}
	}
}
