package netio

import "testing"

func TestTouchReadsEveryLineOfWhatItIsGiven(t *testing.T) {
	var x [3*cacheLine + 1]byte
	x[0], x[cacheLine], x[2*cacheLine], x[3*cacheLine] = 1, 2, 4, 8
	if sum := Touch(&x); sum != 15 {
		t.Errorf("the sum of the first bytes of four lines is %d, not 15", sum)
	}
	if n := testing.AllocsPerRun(100, func() { Touch(&x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
