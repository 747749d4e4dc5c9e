package route

import (
	"cmp"
	"slices"

	"tandem/internal/config"
)

// group is trunks that are equal, with the place where it stands.
type group struct {
	config.Group
	name string
	line int
}

// place is a trunk of a route that matched.
type place struct {
	trunk string
	rule  *rule
	drawn string // as in Hop
}

// expand appends the trunks of a route to places, the members of groups in the place of the group.
func (t *Table) expand(places []place, r *rule, random Random, steps *[]Step) []place {
	to, drawn := r.To, ""
	if r.Balance == config.BalanceShuffle && len(to) > 1 {
		to, drawn = shuffle(to, random), "route "+r.Name
	}
	for _, name := range to {
		g, isGroup := t.groups[name]
		if !isGroup {
			places = append(places, place{name, r, drawn})
			continue
		}
		*steps = append(*steps, Step{Kind: KindGroup, Name: name, Line: g.line, By: "route " + r.Name, Verdict: Fits,
			Trunks: g.Trunks, Balance: g.balance(), Weights: g.Weights})
		by := drawn
		if by == "" && g.balance() != config.BalanceOrder && len(g.Trunks) > 1 {
			by = "group " + name
		}
		for _, member := range g.members(random) {
			places = append(places, place{member, r, by})
		}
	}
	return places
}

func (g *group) balance() string {
	return cmp.Or(g.Balance, config.BalanceShuffle)
}

// members lists the trunks of a group in the order of trying for one call.
func (g *group) members(random Random) []string {
	switch g.balance() {
	case config.BalanceOrder:
		return g.Trunks
	case config.BalanceWeight:
		return g.draw(random)
	}
	return shuffle(g.Trunks, random)
}

// shuffle returns a list in an order of which each is as likely (Fisher-Yates); without dice in its own.
func shuffle(list []string, random Random) []string {
	list = slices.Clone(list)
	for i := len(list) - 1; i > 0 && random != nil; i-- {
		j := random(i + 1)
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// draw takes one trunk after the other, each time with a chance in proportion to its weight among those left (RFC 2782, "Weight");
// without dice the heaviest first.
func (g *group) draw(random Random) []string {
	left, order := slices.Clone(g.Trunks), make([]string, 0, len(g.Trunks))
	if random == nil {
		slices.SortStableFunc(left, func(a, b string) int { return cmp.Compare(g.weight(b), g.weight(a)) })
		return left
	}
	sum := 0
	for _, name := range left {
		sum += g.weight(name)
	}
	for len(left) > 0 {
		n, i := random(sum), 0
		for ; n >= g.weight(left[i]); i++ {
			n -= g.weight(left[i])
		}
		order = append(order, left[i])
		sum -= g.weight(left[i])
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// weight of a member; those without one have 1.
func (g *group) weight(name string) int {
	return max(1, g.Weights[name])
}
