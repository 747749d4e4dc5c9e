package route

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tandem/signaling/trunk"
)

// Question asks what would happen to a call: the parameters of route.explain.
type Question struct {
	From  string `json:"from"`  // who calls: the user part
	To    string `json:"to"`    // what was dialled: the user part
	Trunk string `json:"trunk"` // by which the call enters; may be empty if there is only one

	// Trunks that are assumed to be in this state, whatever the Board says.
	Down    []string `json:"down,omitempty"`
	Demoted []string `json:"demoted,omitempty"`
	Resting []string `json:"resting,omitempty"`
	Full    []string `json:"full,omitempty"`
}

// Explanation is a decision with everything that led to it: the result of route.explain, and what `tandem explain` prints.
// Equals are in the order of the file; a call shuffles them anew. Lists are never null in JSON.
type Explanation struct {
	Question
	Live bool `json:"live"` // health and places are those of a running node; else every trunk is assumed up and empty

	Called    string     `json:"called"` // after the dial plan
	Caller    string     `json:"caller"`
	Route     string     `json:"route"` // the first that matched; empty: none
	Emergency bool       `json:"emergency"`
	Steps     []Step     `json:"steps"`     // every rule that was looked at, in order
	NotAsked  []NotAsked `json:"not_asked"` // the routes that were not
	Hops      []Sent     `json:"hops"`      // in the order of trying
	Skips     []Skip     `json:"skips"`     // trunks left out
	Code      int        `json:"code"`      // what the caller gets if there are no hops; 0: there are
	Why       string     `json:"why"`
}

// Sent is a hop and how its numbers came about.
type Sent struct {
	Hop
	Health string `json:"health,omitempty"` // why it is tried later than its place in the file says; empty: nothing is known against it
	Steps  []Step `json:"steps"`
}

// NotAsked is a route that was not held against the call.
type NotAsked struct {
	Route string `json:"route"`
	Line  int    `json:"line,omitempty"`
	Why   string `json:"why"`
}

// assumedRest is the rest of a trunk that is assumed to rest: any above zero will do.
const assumedRest = time.Minute

// assumedFull is the cap of a trunk that is assumed to be full.
const assumedFull = "it is full"

// Explain plans the call of a question and tells every step. live is the running node's Board, nil for none: then every trunk
// is up and empty, as far as the question does not say otherwise. It refuses a question about trunks that do not exist.
func (t *Table) Explain(q Question, live Board) (Explanation, error) {
	if err := t.complete(&q); err != nil {
		return Explanation{}, err
	}
	board := q.assume(live)
	p := t.answer(&q, board, nil)
	e := Explanation{
		Question: q, Live: live != nil, Called: p.Called, Caller: p.Caller, Route: p.Route, Emergency: p.Emergency,
		Steps: filled(p.Steps), NotAsked: filled(t.notAsked(q.Trunk, &p)), Hops: []Sent{}, Skips: filled(p.Skips), Code: p.Code, Why: p.Why,
	}
	for _, h := range p.Hops {
		v, _ := board(h.Trunk)
		sent := Sent{Hop: h, Health: health(v, p.Emergency), Steps: []Step{}}
		t.sides[h.Trunk].leave(p.Called, p.Caller, &sent.Steps)
		e.Hops = append(e.Hops, sent)
	}
	return e, nil
}

// health says what is known against a trunk that is tried all the same.
func health(v trunk.View, emergency bool) string {
	switch {
	case v.State == trunk.Down && emergency:
		return "down, and this is an emergency call"
	case v.State == trunk.Down:
		return "down, and nobody else is left"
	case v.Rest > 0:
		return "asked for rest, and this is an emergency call"
	case v.State == trunk.Demoted:
		return "demoted"
	}
	return ""
}

// answer plans the call of a question. A call takes a place on the trunk by which it enters, too: without one it is refused,
// as it would be by the node.
func (t *Table) answer(q *Question, board Board, random Random) Plan {
	p := t.Plan(Call{Trunk: q.Trunk, Called: q.To, Caller: q.From}, board, random)
	if v, ok := board(q.Trunk); ok && v.Full != "" && !p.Emergency && len(p.Hops) > 0 {
		p.Hops, p.Code, p.Why = nil, 503, fmt.Sprintf("trunk %s, by which the call enters: %s", q.Trunk, v.Full)
	}
	return p
}

// filled makes an empty list of none.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// complete finds the only trunk for a question that names none, and refuses names of trunks that do not exist.
func (t *Table) complete(q *Question) error {
	if q.Trunk == "" {
		if len(t.sides) != 1 {
			return fmt.Errorf("by which trunk does the call enter? name one of %s", t.trunks())
		}
		for q.Trunk = range t.sides {
		}
	}
	for _, name := range slices.Concat([]string{q.Trunk}, q.Down, q.Demoted, q.Resting, q.Full) {
		if _, ok := t.sides[name]; !ok {
			return fmt.Errorf("there is no trunk %q; name one of %s", name, t.trunks())
		}
	}
	return nil
}

// trunks lists all trunks for a message.
func (t *Table) trunks() string {
	if len(t.sides) == 0 {
		return "none: the config has no trunks"
	}
	names := make([]string, 0, len(t.sides))
	for name := range t.sides {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// assume lays the assumptions of a question over a board.
func (q *Question) assume(live Board) Board {
	return func(name string) (trunk.View, bool) {
		v, ok := trunk.View{State: trunk.Up}, true
		if live != nil {
			v, ok = live(name)
		}
		switch {
		case slices.Contains(q.Down, name):
			v.State = trunk.Down
		case slices.Contains(q.Demoted, name):
			v.State = trunk.Demoted
		}
		if slices.Contains(q.Resting, name) {
			v.Rest = assumedRest
		}
		if slices.Contains(q.Full, name) {
			v.Full = assumedFull
		}
		return v, ok
	}
}

// notAsked lists the routes that a plan has no step of, and why they were not looked at.
func (t *Table) notAsked(from string, p *Plan) []NotAsked {
	asked := make(map[int]bool) // by place in asks
	n, end := 0, ""
	for _, s := range p.Steps {
		if s.Kind == KindRoute {
			asked[n], end = true, s.Name
			n++
		}
	}
	var list []NotAsked
	side := t.sides[from]
	for _, r := range t.rules {
		i := slices.IndexFunc(side.asks, func(a ask) bool { return a.rule == r })
		switch {
		case i >= 0 && asked[i]:
		case i >= 0 && end == "":
			list = append(list, NotAsked{r.Name, r.line, "the call was refused before any route"})
		case i >= 0:
			list = append(list, NotAsked{r.Name, r.line, fmt.Sprintf("comes after %s, which decides", end)})
		default:
			list = append(list, NotAsked{r.Name, r.line, r.serves()})
		}
	}
	return list
}

// serves says whose calls a route takes.
func (r *rule) serves() string {
	var parts []string
	if len(r.From) > 0 {
		parts = append(parts, "calls that entered by "+strings.Join(r.From, ", "))
	}
	if len(r.Usages) > 0 {
		parts = append(parts, "trunks with usage "+strings.Join(r.Usages, ", "))
	}
	if len(parts) == 0 {
		return "it serves nobody: it has neither from nor usages"
	}
	return "it is for " + strings.Join(parts, " and for ")
}
