// Package route says which trunks a call may leave by, in what order, and why.
//
// A table is the routes of the config in the order of the file; the first that matches decides. It is pure: no clock, no
// network, no state of the call, so that the same question always has the same answer and `tandem explain` can ask it
// without a running system. Whether a trunk is healthy or full is not judged here but in signaling/trunk, which orders what
// this package lists.
//
// The failure it prevents is the toll loop: a call from outside that finds its way out again on somebody else's bill. A
// route serves only calls of the trunks in its From (TestRouteWithoutFromServesNobody), and a call leaves by the trunk it
// entered by only if a route written for that trunk alone says so (TestCallDoesNotReturnByTheTrunkItCameFrom).
package route

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tandem/internal/config"
)

// Table is an immutable list of routes, safe for concurrent use. The zero value has no routes and refuses every call.
type Table struct {
	rules []rule
}

// rule is one route of the config.
type rule struct {
	name  string
	from  []string
	match *regexp.Regexp // nil: any number
	to    []string
}

// Decision is the outcome for one call.
type Decision struct {
	Route  string   // the route that decided; empty when none matched
	Trunks []string // where to send the call, in the order of trying; empty when it is refused
	Reason string   // the rules looked at and why each did or did not match, for a log line
}

// Step is one route that was looked at. Steps are in the order of the file; only the last can have Matched set.
type Step struct {
	Route   string   // its name
	Matched bool     // it decided
	Trunks  []string // of the route that decided: the trunks to try, in order
	Why     string   // "the call entered by gw1, the route takes teams"
}

// String is the step as one line for people.
func (s Step) String() string {
	switch {
	case !s.Matched:
		return fmt.Sprintf("%s: no: %s", s.Route, s.Why)
	case len(s.Trunks) == 0:
		return fmt.Sprintf("%s: refuses: %s", s.Route, s.Why)
	default:
		return fmt.Sprintf("%s: yes: %s; to %s", s.Route, s.Why, strings.Join(s.Trunks, ", "))
	}
}

// New copies the routes into a table. The routes are those of a validated config: names are not looked up again.
func New(routes []config.Route) *Table {
	t := &Table{rules: make([]rule, 0, len(routes))}
	for _, r := range routes {
		t.rules = append(t.rules, rule{
			name:  r.Name,
			from:  slices.Clone(r.From),
			match: r.Match,
			to:    slices.Clone(r.To),
		})
	}
	return t
}

// Decide routes a call that entered by the trunk from and dials called, the user part as it stands in the Request-URI
// ("+4312345"). False means that the call is refused; the decision's Reason then says why no route took it.
func (t *Table) Decide(from, called string) (Decision, bool) {
	steps := t.Explain(from, called)
	if len(steps) == 0 {
		return Decision{Reason: "there are no routes"}, false
	}
	lines := make([]string, len(steps))
	for i, s := range steps {
		lines[i] = s.String()
	}
	d := Decision{Reason: strings.Join(lines, " | ")}
	if last := steps[len(steps)-1]; last.Matched {
		d.Route, d.Trunks = last.Route, last.Trunks
	}
	return d, len(d.Trunks) > 0
}

// Explain lists the routes that Decide looks at for the same call, one step each, up to and including the one that decides.
func (t *Table) Explain(from, called string) []Step {
	var steps []Step
	for i := range t.rules {
		s := t.rules[i].judge(from, called)
		steps = append(steps, s)
		if s.Matched {
			break
		}
	}
	return steps
}

// judge holds one route against one call. Strings of the caller are quoted: they come from the network and go to logs.
func (r *rule) judge(from, called string) Step {
	s := Step{Route: r.name}
	switch {
	case len(r.from) == 0:
		s.Why = "its from is empty, it serves no calls"
		return s
	case !slices.Contains(r.from, from):
		s.Why = fmt.Sprintf("the call entered by %s, the route takes %s", from, strings.Join(r.from, ", "))
		return s
	case r.match != nil && !r.match.MatchString(called):
		s.Why = fmt.Sprintf("number %q does not match %s", called, r.match)
		return s
	}
	s.Matched = true
	s.Why = "any number"
	if r.match != nil {
		s.Why = fmt.Sprintf("number %q matches %s", called, r.match)
	}
	s.Trunks = slices.Clone(r.to)
	if !r.hairpin(from) {
		s.Trunks = slices.DeleteFunc(s.Trunks, func(name string) bool { return name == from })
		if len(s.Trunks) < len(r.to) {
			s.Why += fmt.Sprintf("; not back into %s, where the call came from", from)
		}
	}
	return s
}

// hairpin reports whether a call may leave by the trunk it entered by. Only a route for that trunk alone says so on purpose:
// in one that several trunks share, the trunk stands in To for the calls of the others.
func (r *rule) hairpin(from string) bool {
	return len(r.from) == 1 && r.from[0] == from
}
