package calls

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// statistics are of a sipp that began 25 calls within the first second, and waited for their end.
var statistics = "StartTime;CurrentTime;TotalCallCreated;CurrentCall;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);Retransmissions(P);Retransmissions(C);DeadCallMsgs(P);DeadCallMsgs(C);\n" +
	statisticsRow("1.5", 14, 14, 0) + statisticsRow("1.9", 24, 24, 0) + statisticsRow("2.1", 25, 20, 2) + statisticsRow("9.0", 25, 0, 2)

func statisticsRow(at string, created, now, failed int) string {
	return fmt.Sprintf("2026-11-23\t05:00:00.0\t1.0;2026-11-23\t05:00:01.0\t%s;%d;%d;9;23;0;%d;7;7;0;1;\n", at, created, now, failed)
}

func TestTheLastRowOfSippsStatisticsCounts(t *testing.T) {
	for name, table := range map[string]string{"whole": statistics, "killed in a row": statistics + "2026-11-23\t05:00:00.0\t1.0;2026"} {
		got, err := readTally(table)
		if err != nil {
			t.Fatal(err)
		}
		if got.Created != 25 || got.Succeeded != 23 || got.Failed != 2 || got.Retransmitted != 7 || got.Dead != 1 || got.AtOnce != 24 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestHowFastCallsBeganHasNothingToDoWithTheirEnd(t *testing.T) {
	header, _, _ := strings.Cut(statistics, "\n")
	for name, c := range map[string]struct {
		rows     string
		from, to float64
	}{
		"late ends":       {statisticsRow("1.5", 50, 50, 0) + statisticsRow("2.9", 190, 90, 0) + statisticsRow("3.1", 200, 80, 0) + statisticsRow("9.0", 200, 0, 0), 99, 101},
		"late beginnings": {statisticsRow("1.5", 50, 50, 0) + statisticsRow("4.9", 190, 90, 0) + statisticsRow("5.1", 200, 80, 0), 48, 50},
		"a late start":    {statisticsRow("1.5", 10, 10, 0) + statisticsRow("3.0", 160, 60, 0) + statisticsRow("3.6", 200, 60, 0), 99, 101},
		"one row":         {statisticsRow("3.0", 200, 0, 0), 99, 101},
		"a first of none": {statisticsRow("1.0", 0, 0, 0) + statisticsRow("3.0", 200, 0, 0), 99, 101},
	} {
		got, err := readTally(header + "\n" + c.rows)
		if err != nil || got.Rate < c.from || got.Rate > c.to {
			t.Errorf("%s: %v calls/s, %v", name, got.Rate, err)
		}
	}
}

func TestStatisticsWithoutAnAnswerAreAnError(t *testing.T) {
	header, _, _ := strings.Cut(statistics, "\n")
	for name, c := range map[string]struct{ table, says string }{
		"empty":       {"", "no rows"},
		"header only": {header + "\n", "no rows"},
		"a column":    {strings.ReplaceAll(statistics, "FailedCall(C)", "Failed"), "no column FailedCall(C)"},
		"a word":      {strings.ReplaceAll(statistics, ";25;", ";many;"), "TotalCallCreated"},
		"a moment":    {strings.ReplaceAll(statistics, "\t9.0;", "\tlate;"), "CurrentTime"},
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

func TestSippsComplaintIsWhatItSaysAndNotWhatItQuotes(t *testing.T) {
	const at = "2026-11-23\t15:38:00.363602\t1795448280.363602: "
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {"", ""},
		"about itself":   {"The following events occurred:\n" + at + "Overload warning: the minor watchdog timer 500ms has been tripped (740), 119 trips remaining.", ""},
		"a quotation":    {at + "Discarding message which can't be mapped to a known SIPp call:\nSIP/2.0 200 OK\nVia: x\n", ""},
		"in one line":    {at + "Overload warning: the minor watchdog timer." + at + "Aborting call on unexpected message for Call-Id '1': while expecting '200', received 'SIP/2.0 503 No\r\nVia: x'", "sipp: Aborting call on unexpected message for Call-Id '1': while expecting '200', received 'SIP/2.0 503 No"},
		"before entries": {"Unable to bind main socket\n", "sipp: Unable to bind main socket"},
	} {
		if got := complaintIn(c.text); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
