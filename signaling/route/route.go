// Package route says which trunks a call may leave by, in what order, with which numbers, and why.
//
// A Table is the dial plans, groups and routes of one config. It is pure: no clock, no network, no state of a call; health
// and places come in as a Board, dice as a Random. So a call, `tandem explain`, the running node's route.explain and the
// routing cases stored beside a config go one and the same way through Plan, and the same question has the same answer.
//
// The failure it prevents is the toll loop: a call from outside that finds its way out again on somebody else's bill. A
// route serves only calls of the trunks in its From or of its usages (TestRouteForNobodyServesNobody), a trunk without
// either is refused (TestTrunkWithoutUsagesIsRefused), and a call leaves by the trunk it entered by only if a route written
// for that trunk alone says so (TestCallDoesNotReturnByTheTrunkItCameFrom).
//
// Not here: who is healthy and how many places are taken (signaling/trunk keeps the Board), and what happens after the first
// INVITE (signaling/b2bua tries the hops in turn).
package route

import (
	"fmt"
	"strings"

	"tandem/signaling/trunk"
)

// Bounds of one decision.
const (
	maxNumber = 256 // bytes of a number: E.164 has 15 digits, an alias is a name; a longer one is held against no pattern
	maxHops   = 32  // trunks that one call tries: at 10 s each it has ended by its ring timeout long before
)

// Answers of this package to a call that goes nowhere (RFC 3261 section 21).
const (
	codeForbidden   = 403 // the trunk may not call there: no usages, or the only way leads back
	codeNotFound    = 404 // no route fits
	codeTooLong     = 414 // a called number beyond maxNumber
	codeUnavailable = 503 // a route fits, and none of its trunks can be used now
)

// Call is what a decision is about: the trunk by which it entered, and the user parts as they stand in the request.
type Call struct {
	Trunk, Called, Caller string
}

// Board tells of a trunk at this moment; false: this node has no such trunk. A nil Board knows every trunk as up and empty.
type Board func(trunk string) (trunk.View, bool)

// Random returns a number in [0,n), each as likely. A nil Random throws no dice: equals stay as the file lists them, weighted
// ones by their weight.
type Random func(n int) int

// Plan is the decision. Either Hops is empty or Code is 0. Steps share lists with the table: they are for reading only.
type Plan struct {
	Called, Caller string // after the dial plan
	Route          string // the first that matched; empty: none
	Emergency      bool   // that route is an emergency route
	Hops           []Hop  // in the order of trying, no trunk twice
	Skips          []Skip // trunks of the matching routes that are left out, and why
	Steps          []Step // every rule looked at, in this order
	Code           int    // what to answer the caller when there are no hops: 400..699
	Why            string // and the reason, for a log; strings of the caller are quoted
}

// Hop is one trunk to try.
type Hop struct {
	Trunk  string `json:"trunk"`
	Route  string `json:"route"`           // that led to it
	Called string `json:"called"`          // towards the peer: translated, plus removed
	Caller string `json:"caller"`          // likewise
	Drawn  string `json:"drawn,omitempty"` // whose dice gave it this place: "group city", "route out"; empty: the file did
}

// Skip is a trunk that was left out.
type Skip struct {
	Trunk string `json:"trunk"`
	Why   string `json:"why"`
}

// Reason is the decision in one line, for a log.
func (p *Plan) Reason() string {
	var b strings.Builder
	switch {
	case p.Code != 0:
		fmt.Fprintf(&b, "refused with %d: %s", p.Code, p.Why)
	default:
		fmt.Fprintf(&b, "route %s to ", p.Route)
		for i, h := range p.Hops {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(h.Trunk)
		}
	}
	for _, s := range p.Skips {
		fmt.Fprintf(&b, "; not %s: %s", s.Trunk, s.Why)
	}
	return b.String()
}

// Plan decides one call. It is safe for concurrent use as far as board and random are; they are called before it returns.
func (t *Table) Plan(c Call, board Board, random Random) Plan {
	p := Plan{Called: c.Called, Caller: c.Caller}
	from, known := t.sides[c.Trunk]
	switch {
	case !known:
		p.refuse(codeForbidden, fmt.Sprintf("there is no trunk %q", c.Trunk))
	case len(c.Called) > maxNumber:
		p.refuse(codeTooLong, fmt.Sprintf("the called number has %d bytes, more than %d", len(c.Called), maxNumber))
	default:
		p.Steps = make([]Step, 0, len(from.dial.rules)+len(from.asks)+1)
		p.Called = from.dial.apply(c.Called, &p.Steps)
		places, end := t.match(&p, from, random)
		t.seat(&p, from, places, board)
		p.conclude(from, end)
	}
	return p
}

// match holds the call against the routes of its trunk, in their order. end is the last that matched, nil if none did; the
// places are those of all that matched, in the order of trying as far as the routes say it.
func (t *Table) match(p *Plan, from *side, random Random) (places []place, end *rule) {
	for _, a := range from.asks {
		s := a.judge(p.Called, p.Caller)
		p.Steps = append(p.Steps, s)
		if s.Verdict != Fits {
			continue
		}
		end = a.rule
		if p.Route == "" {
			p.Route, p.Emergency = end.Name, end.Emergency
		}
		if end.Reject == 0 {
			places = t.expand(places, end, random, &p.Steps)
		}
		if end.Reject != 0 || !end.Continue {
			break
		}
	}
	return places, end
}

// conclude finds the answer for a plan without hops.
func (p *Plan) conclude(from *side, end *rule) {
	switch {
	case len(p.Hops) > 0:
	case end == nil && from.closed:
		p.refuse(codeForbidden, fmt.Sprintf("trunk %s has no usages and no route names it: its calls go nowhere (no toll loop)", from.name))
	case end == nil:
		p.refuse(codeNotFound, fmt.Sprintf("no route of trunk %s fits %q", from.name, p.Called))
	case end.elsewhere:
		p.refuse(codeUnavailable, fmt.Sprintf("all trunks of route %s are on other nodes", end.Name))
	case end.Reject != 0:
		p.refuse(end.Reject, fmt.Sprintf("route %s rejects %q", end.Name, p.Called))
	case len(p.Skips) == 1 && p.Skips[0].Trunk == from.name && p.Skips[0].Why == cameFrom:
		p.refuse(codeForbidden, fmt.Sprintf("route %s leads only back into %s (no toll loop)", p.Route, from.name))
	default:
		p.refuse(codeUnavailable, fmt.Sprintf("no trunk of route %s can be used", p.Route))
	}
}

func (p *Plan) refuse(code int, why string) {
	p.Code, p.Why = code, why
}
