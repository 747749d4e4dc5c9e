package srtp

import (
	"slices"
	"testing"

	"tandem/relay/srtp/kernel"
)

// TestLanesGoTogetherAsManyAsPay gives messages by their number of blocks without the outer one, longest first, and wants the
// sizes of the groups.
func TestLanesGoTogetherAsManyAsPay(t *testing.T) {
	of := func(n, blocks int) []int { return slices.Repeat([]int{blocks}, n) }
	for _, c := range []struct {
		name     string
		blocks   []int
		wideFrom int
		want     []int
	}{
		{"none", nil, wideFrom, nil},
		{"one", of(1, 3), wideFrom, []int{1}},
		{"one short of what pays", of(8, 3), wideFrom, []int{2, 2, 2, 2}},
		{"just what pays", of(9, 3), wideFrom, []int{9}},
		{"all lanes", of(16, 3), wideFrom, []int{16}},
		{"all lanes and a few", of(19, 3), wideFrom, []int{16, 2, 1}},
		{"all lanes and enough", of(25, 3), wideFrom, []int{16, 9}},
		{"a whole batch", of(64, 3), wideFrom, []int{16, 16, 16, 16}},
		{"a whole batch without sixteen lanes", of(64, 3), 0, slices.Repeat([]int{2}, 32)},
		{"one that is long first goes with another", append(of(1, 20), of(15, 3)...), wideFrom, []int{2, 14}},
		{"mixed lengths fill the lanes", append(of(8, 4), of(8, 3)...), wideFrom, []int{16}},
		{"lengths too mixed for it", append(of(4, 20), of(12, 1)...), wideFrom, []int{2, 2, 12}},
	} {
		s := NewScratch(kernel.Generic)
		s.wideFrom = c.wideFrom
		var order []uint8
		for i, n := range c.blocks {
			s.lanes[i].Msg = make([]byte, n*shaBlock-13)
			order = append(order, uint8(i))
		}
		var got []int
		for len(order) > 0 {
			n := s.together(order)
			got, order = append(got, n), order[n:]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSixteenLanesAreForTheTierThatHasThem(t *testing.T) {
	for tier, want := range map[kernel.Tier]int{kernel.Generic: 0, kernel.SHANI: 0, kernel.VAES: 0, kernel.AVX512: wideFrom} {
		if got := NewScratch(tier).wideFrom; got != want {
			t.Errorf("%s: from %d lanes on, want %d", tier, got, want)
		}
	}
}
