package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"tandem/internal/cases"
)

// draws is how often a case is planned, each time with other dice: two equals come 32 times in one order with a chance of 2^-31.
// The dice are seeded, so that a case holds always or never.
const draws = 32

// Wrong is one thing that a stored case expects and that does not come.
type Wrong struct {
	What, Want, Got string // "hops", "gw1, then gw2", "gw2"
}

// Try holds a stored case against the table. The explanation is that of its call, empty for a case about an answer. An error
// means that the case speaks of something that the config does not have.
func (t *Table) Try(c cases.Case) ([]Wrong, Explanation, error) {
	if c.Answer != nil {
		wrong, err := t.tryAnswer(c.Answer)
		return wrong, Explanation{}, err
	}
	q := Question{From: c.From, To: c.To, Trunk: c.Trunk, Down: c.Down, Demoted: c.Demoted, Resting: c.Resting, Full: c.Full}
	e, err := t.Explain(q, nil)
	if err != nil {
		return nil, e, err
	}
	p := t.plan(q, nil)
	wrong := compare(&c.Expect, &p)
	orders := make([][]Hop, 0, draws)
	for i := 0; i < draws && len(wrong) == 0; i++ {
		p = t.plan(q, dice(i))
		if wrong = compare(&c.Expect, &p); len(wrong) > 0 {
			wrong[0].Got += "; each call draws the order anew: write {any_of: [...]} for trunks that are equal"
		}
		orders = append(orders, p.Hops)
	}
	if len(wrong) == 0 {
		wrong = unequal(c.Expect.Hops, orders)
	}
	return wrong, e, nil
}

// unequal finds trunks of an any_of that always come in the same order.
func unequal(want []cases.Hop, orders [][]Hop) []Wrong {
	before := make(map[[2]string]bool)
	for _, hops := range orders {
		for i, h := range hops {
			for _, later := range hops[i+1:] {
				before[[2]string{h.Trunk, later.Trunk}] = true
			}
		}
	}
	for _, set := range want {
		for _, a := range set {
			for _, b := range set {
				if before[[2]string{a, b}] && !before[[2]string{b, a}] {
					return []Wrong{{"hops", wantedHops(want), fmt.Sprintf("%s before %s in every call; list them in this order, any_of is for equals", a, b)}}
				}
			}
		}
	}
	return nil
}

// plan decides the call of a question without a running node.
func (t *Table) plan(q Question, random Random) Plan {
	return t.answer(&q, q.assume(nil), random)
}

// dice returns the i-th dice of a case: first the two extremes, of which every two equals give different orders.
func dice(i int) Random {
	switch i {
	case 0:
		return func(int) int { return 0 }
	case 1:
		return func(n int) int { return n - 1 }
	}
	return rand.New(rand.NewPCG(uint64(i), 0)).IntN
}

// tryAnswer translates a failure by the rules of its trunk.
func (t *Table) tryAnswer(a *cases.Answer) ([]Wrong, error) {
	s, ok := t.sides[a.Trunk]
	if !ok {
		return nil, fmt.Errorf("there is no trunk %q; name one of %s", a.Trunk, t.trunks())
	}
	to, i, ok := Translate(s.responses, a.Code, a.Cause)
	if to == a.Expect {
		return nil, nil
	}
	got := fmt.Sprintf("%d: none of the %d rules of trunk %s fits", to, len(s.responses), a.Trunk)
	if ok {
		got = fmt.Sprintf("%d: rule %d fits (%s)", to, i+1, s.origins[i])
	}
	return []Wrong{{"answer", fmt.Sprint(a.Expect), got}}, nil
}

// compare lists what a plan does not have as expected.
func compare(want *cases.Expect, p *Plan) []Wrong {
	var wrong []Wrong
	differ := func(what, want, got string) { wrong = append(wrong, Wrong{what, want, got}) }
	if want.Route != nil && *want.Route != p.Route {
		differ("route", orNone(*want.Route), orNone(p.Route))
	}
	if want.Number != nil && *want.Number != p.Called {
		differ("number", fmt.Sprintf("%q", *want.Number), fmt.Sprintf("%q after the dial plan", p.Called))
	}
	if want.Emergency != nil && *want.Emergency != p.Emergency {
		differ("emergency", fmt.Sprint(*want.Emergency), fmt.Sprint(p.Emergency))
	}
	if want.Hops != nil && !follows(want.Hops, p.Hops) {
		differ("hops", wantedHops(want.Hops), p.tried())
	}
	differs := func(what string, want *cases.Numbers, of func(Hop) string) {
		if w, g, ok := sends(want, p, of); !ok {
			differ(what, w, g)
		}
	}
	differs("called", want.Called, func(h Hop) string { return h.Called })
	differs("caller", want.Caller, func(h Hop) string { return h.Caller })
	if want.Skipped != nil && !sameSkips(want.Skipped, p.Skips) {
		differ("skipped", orNone(strings.Join(want.Skipped, ", ")), p.left())
	}
	if want.Code != nil && *want.Code != p.Code {
		differ("code", codeWord(*want.Code), p.Reason())
	}
	if want.Why != nil && (p.Why == "" || !strings.Contains(p.Why, *want.Why)) {
		differ("why", fmt.Sprintf("a refusal that says %q", *want.Why), p.Reason())
	}
	return wrong
}

// follows reports whether the hops are those wanted, in an order that is wanted.
func follows(want []cases.Hop, got []Hop) bool {
	for _, set := range want {
		if len(got) < len(set) {
			return false
		}
		for _, h := range got[:len(set)] {
			if !slices.Contains(set, h.Trunk) {
				return false
			}
		}
		got = got[len(set):]
	}
	return len(got) == 0
}

// sends compares numbers that the peers are sent.
func sends(want *cases.Numbers, p *Plan, of func(Hop) string) (wanted, got string, ok bool) {
	switch {
	case want == nil:
		return "", "", true
	case len(p.Hops) == 0:
		return want.String(), p.Reason(), false
	}
	left := len(want.ByTrunk)
	for _, h := range p.Hops {
		number, told := want.ByTrunk[h.Trunk]
		if want.ByTrunk == nil {
			number, told = want.Each, true
		}
		switch {
		case !told:
		case number != of(h):
			return fmt.Sprintf("%q to %s", number, h.Trunk), fmt.Sprintf("%q", of(h)), false
		default:
			left--
		}
	}
	if left > 0 {
		return want.String(), "only " + p.tried(), false
	}
	return "", "", true
}

func sameSkips(want []string, got []Skip) bool {
	return len(want) == len(got) && !slices.ContainsFunc(got, func(s Skip) bool { return !slices.Contains(want, s.Trunk) })
}

// wantedHops is an expectation in words.
func wantedHops(hops []cases.Hop) string {
	parts := make([]string, len(hops))
	for i, set := range hops {
		parts[i] = strings.Join(set, " and ")
		if len(set) > 1 {
			parts[i] += " in any order"
		}
	}
	return orNone(strings.Join(parts, ", then "))
}

// tried is what a plan tries, in words.
func (p *Plan) tried() string {
	if p.Code != 0 {
		return p.Reason()
	}
	names := make([]string, len(p.Hops))
	for i, h := range p.Hops {
		names[i] = h.Trunk
	}
	return strings.Join(names, ", then ")
}

// left is whom a plan leaves out, in words.
func (p *Plan) left() string {
	parts := make([]string, len(p.Skips))
	for i, s := range p.Skips {
		parts[i] = fmt.Sprintf("%s (%s)", s.Trunk, s.Why)
	}
	return orNone(strings.Join(parts, ", "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func codeWord(code int) string {
	if code == 0 {
		return "0, a call that is routed"
	}
	return fmt.Sprint(code)
}
