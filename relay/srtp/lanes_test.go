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
	four := kernel.Side{Lanes: 4, From: 3}
	wide, both := []kernel.Side{{Lanes: 16, From: 9}}, []kernel.Side{{Lanes: 16, From: 9}, four}
	for _, c := range []struct {
		name   string
		blocks []int
		sides  []kernel.Side
		want   []int
	}{
		{"none", nil, wide, nil},
		{"one", of(1, 3), wide, []int{1}},
		{"one short of what pays", of(8, 3), wide, []int{2, 2, 2, 2}},
		{"just what pays", of(9, 3), wide, []int{9}},
		{"all lanes", of(16, 3), wide, []int{16}},
		{"all lanes and a few", of(19, 3), wide, []int{16, 2, 1}},
		{"all lanes and enough", of(25, 3), wide, []int{16, 9}},
		{"a whole batch", of(64, 3), wide, []int{16, 16, 16, 16}},
		{"a whole batch without such lanes", of(64, 3), nil, slices.Repeat([]int{2}, 32)},
		{"one that is long first goes with another", append(of(1, 20), of(15, 3)...), wide, []int{2, 14}},
		{"mixed lengths fill the lanes", append(of(8, 4), of(8, 3)...), wide, []int{16}},
		{"lengths too mixed for it", append(of(4, 20), of(12, 1)...), wide, []int{2, 2, 12}},
		{"what is too few for sixteen lanes takes four", of(8, 3), both, []int{4, 4}},
		{"and what they leave", of(23, 3), both, []int{16, 4, 3}},
		{"too few for four", of(6, 3), both, []int{4, 2}},
		{"too mixed for sixteen, and then for four", append(of(5, 20), of(3, 1)...), both, []int{4, 2, 2}},
	} {
		s := NewScratch(kernel.Generic)
		s.sides = c.sides
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

func TestNoTierHasMoreLanesThanAGroup(t *testing.T) {
	for _, tier := range tiers() {
		before := kernel.Wide + 1
		for _, side := range NewScratch(tier).sides {
			if side.Lanes >= before || side.From < 1 || side.From > side.Lanes {
				t.Errorf("%s: %d lanes from %d messages on, after %d", tier, side.Lanes, side.From, before)
			}
			before = side.Lanes
		}
	}
}
