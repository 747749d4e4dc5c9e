package control

import (
	"strings"
	"testing"
)

func TestOrdinaryStopsAtTheFirstByteThatIsNot(t *testing.T) {
	for c := range 256 {
		stops := c == '"' || c == '\\' || c < ' ' || c > 0x7f
		for before := range 20 {
			for _, after := range []string{"", "x", "\x00\xff\"\\\x1f\x80 !", strings.Repeat("\"", 9), strings.Repeat("\xff", 9)} {
				b := []byte(strings.Repeat("x", before) + string([]byte{byte(c)}) + after)
				if got := ordinary(b); got < before || (got == before) != stops {
					t.Fatalf("%d in %q", got, b)
				}
			}
		}
	}
	if ordinary(nil) != 0 || ordinary([]byte(strings.Repeat("~", 37))) != 37 {
		t.Error("what has nothing of the kind is not ordinary to its end")
	}
}

func TestAWordOfTheProtocolIsReadWithoutAllocating(t *testing.T) {
	n := 0
	for length, words := range words {
		for _, w := range words {
			n++
			b := []byte(w)
			if got := familiar(b); got != w || len(w) != length {
				t.Errorf("%q is read as %q", w, got)
			}
			if n := testing.AllocsPerRun(10, func() { familiar(b) }); n != 0 {
				t.Errorf("%q: %v allocations", w, n)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d words", n)
	}
	for _, s := range []string{"", "c", "sendrecw", strings.Repeat("x", longestWord), strings.Repeat("x", longestWord+1)} {
		if got := familiar([]byte(s)); got != s {
			t.Errorf("%q is read as %q", s, got)
		}
	}
}
