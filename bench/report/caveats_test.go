package report

import (
	"strings"
	"testing"
)

func TestCaveatsSayWhatTheMachineTookOfTheCPU(t *testing.T) {
	c := Comparison{Notes: []string{"a note"}}
	if s := c.Caveats(); strings.Contains(s, "looked at the clock") || !strings.HasSuffix(s, "\n* a note\n") {
		t.Errorf("nobody looked: %q", s)
	}
	c.Stalls = &Stalls{Seconds: 20, Share: 0.019, Longest: 4812, P99: 2100, P999: 7345.4}
	for _, part := range []string{"for 20 s beside", "for 1.9 % of that time, 4.8 ms at a time", "p99 2,100 and p99.9 7,345 us"} {
		if s := c.Caveats(); !strings.Contains(s, part) {
			t.Errorf("%q is not in %q", part, s)
		}
	}
}
