package route

import (
	"fmt"
	"slices"
	"time"

	"tandem/signaling/trunk"
)

// Order of trying, of a trunk by its View.
const (
	rankUp = iota
	rankDemoted
	rankResting // emergency calls only: others leave a resting peer alone (RFC 3261 section 21.5.4)
	rankDown
	ranks
)

// cameFrom is why a call does not go back into its trunk.
const cameFrom = "the call came from it"

// seat orders the places by health and fills in hops and skips: those in health first, as listed, then the demoted; who is
// down only when nothing else is left. Full and resting trunks are left out. An emergency call leaves out nobody who might
// take it: no cap holds it back, whoever asked for rest comes after the demoted, and whoever is down after all.
func (t *Table) seat(p *Plan, from *side, places []place, board Board) {
	var queue [ranks][]place
	seen, back := make(map[string]bool, len(places)), false
	for _, pl := range places {
		switch rank, why := 0, ""; {
		case seen[pl.trunk]:
		case pl.trunk == from.name && pl.rule.only != from.name:
			back = true // a route that several trunks share lists it for the others; a later one may be for it alone
		default:
			seen[pl.trunk] = true
			if rank, why = t.look(pl.trunk, from, p.Emergency, board); why != "" {
				p.skip(pl.trunk, why)
				continue
			}
			queue[rank] = append(queue[rank], pl)
		}
	}
	if back && !seen[from.name] {
		p.skip(from.name, cameFrom)
	}
	for _, rank := range queue {
		lonely(rank)
	}
	order := slices.Concat(queue[rankUp], queue[rankDemoted], queue[rankResting])
	if len(order) == 0 || p.Emergency {
		order = append(order, queue[rankDown]...)
	} else {
		for _, pl := range queue[rankDown] {
			p.skip(pl.trunk, "it is down")
		}
	}
	for i, pl := range order {
		if i >= maxHops {
			p.skip(pl.trunk, fmt.Sprintf("one call tries %d trunks at most", maxHops))
			continue
		}
		called, caller := t.sides[pl.trunk].leave(p.Called, p.Caller, nil)
		p.Hops = append(p.Hops, Hop{Trunk: pl.trunk, Route: pl.rule.Name, Called: called, Caller: caller, Drawn: pl.drawn})
	}
}

// lonely finds those of equal health whose equals are all left out or in worse health: no dice gave them their place.
func lonely(rank []place) {
	for i := range rank {
		another := func(pl place) bool { return pl.drawn == rank[i].drawn && pl.trunk != rank[i].trunk }
		if rank[i].drawn != "" && !slices.ContainsFunc(rank, another) {
			rank[i].drawn = ""
		}
	}
}

func (p *Plan) skip(name, why string) {
	p.Skips = append(p.Skips, Skip{name, why})
}

// look finds a trunk's place in the order, or why it has none.
func (t *Table) look(name string, from *side, emergency bool, board Board) (rank int, why string) {
	to, ok := t.sides[name]
	switch {
	case !ok:
		return 0, "there is no such trunk"
	case from.node != "" && to.node != "" && to.node != from.node: // in the config of a whole pool only
		return 0, fmt.Sprintf("it belongs to node %s, the call is on %s", to.node, from.node)
	case board == nil:
		return rankUp, ""
	}
	v, ok := board(name)
	switch {
	case !ok:
		return 0, "this node does not have it"
	case v.Full != "" && !emergency:
		return 0, v.Full
	case v.Rest > 0 && !emergency:
		return 0, fmt.Sprintf("it asked for rest, %s more", v.Rest.Round(time.Second))
	case v.State == trunk.Down:
		return rankDown, ""
	case v.Rest > 0:
		return rankResting, ""
	case v.State == trunk.Demoted:
		return rankDemoted, ""
	}
	return rankUp, ""
}
