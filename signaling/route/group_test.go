package route

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// tried counts the orders of many calls.
func tried(t *testing.T, called string, calls int) map[string]int {
	t.Helper()
	w, dice, orders := table(t, world), seeded(7), make(map[string]int)
	for range calls {
		p := w.Plan(Call{Trunk: "pbx", Called: called}, board(), dice)
		orders[strings.Join(hops(p), " ")]++
	}
	return orders
}

// near reports whether n of calls is p, within five standard deviations.
func near(n, calls int, p float64) bool {
	return math.Abs(float64(n)-p*float64(calls)) <= 5*math.Sqrt(float64(calls)*p*(1-p))
}

func TestEqualsAreShuffledEvenly(t *testing.T) {
	const calls = 20_000
	orders := tried(t, "0155", calls)
	if len(orders) != 2 || !near(orders["gw1 gw2 gw3"], calls, .5) {
		t.Errorf("orders %v: the two of the group should come equally often, the spare always last", orders)
	}
	list, counts, dice := []string{"a", "b", "c", "d"}, make(map[string]int), seeded(3)
	for range calls {
		counts[strings.Join(shuffle(list, dice), "")]++
	}
	for order, n := range counts {
		if !near(n, calls, 1./24) {
			t.Errorf("order %s came %d times of %d", order, n, calls)
		}
	}
	if len(counts) != 24 || !slices.Equal(list, []string{"a", "b", "c", "d"}) {
		t.Errorf("%d orders of 24; the list is %v", len(counts), list)
	}
}

func TestWeightsDrawInProportion(t *testing.T) {
	const calls = 20_000 // gw1 1, gw2 7, gw3 2
	orders := tried(t, "0049", calls)
	for order, p := range map[string]float64{
		"gw2 gw3 gw1": 7. / 10 * 2 / 3, "gw2 gw1 gw3": 7. / 10 / 3, "gw3 gw2 gw1": 2. / 10 * 7 / 8,
		"gw3 gw1 gw2": 2. / 10 / 8, "gw1 gw2 gw3": 1. / 10 * 7 / 9, "gw1 gw3 gw2": 1. / 10 * 2 / 9,
	} {
		if !near(orders[order], calls, p) {
			t.Errorf("order %s came %d times of %d, want %.0f", order, orders[order], calls, p*calls)
		}
	}
}

func TestOrderIsNeverShuffled(t *testing.T) {
	if orders := tried(t, "0222", 200); len(orders) != 1 || orders["gw2 gw1 gw3"] != 200 {
		t.Errorf("orders %v", orders)
	}
}

func TestShuffledRoutesKeepAGroupTogetherAndNameATrunkOnce(t *testing.T) {
	w, dice, orders := table(t, world), seeded(5), make(map[string]bool)
	for range 500 {
		p := w.Plan(Call{Trunk: "teams", Called: "+4"}, nil, dice)
		if len(p.Hops) != 3 {
			t.Fatalf("hops %q", hops(p))
		}
		for _, h := range p.Hops {
			if h.Drawn == "" {
				t.Fatalf("%s is drawn, and the hop does not say so", h.Trunk)
			}
		}
		orders[strings.Join(hops(p), " ")] = true
	}
	if len(orders) != 6 {
		t.Errorf("orders %v", orders)
	}
}

func TestWithoutDiceEqualsStandAsListedAndTheHeaviestFirst(t *testing.T) {
	w := table(t, world)
	w.Plan(Call{Trunk: "pbx", Called: "0155"}, nil, nil).wants(t, "city", []string{"gw1", "gw2", "gw3"}, 0)
	w.Plan(Call{Trunk: "pbx", Called: "0049"}, nil, nil).wants(t, "world", []string{"gw2", "gw3", "gw1"}, 0)
}
