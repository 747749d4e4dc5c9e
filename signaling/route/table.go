package route

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"tandem/internal/config"
)

// Table is immutable and safe for concurrent use. The zero value knows no trunk and refuses every call.
type Table struct {
	sides  map[string]*side  // by trunk
	groups map[string]*group // by name
	rules  []*rule           // in the order of the file
}

// side is what routing knows of one trunk.
type side struct {
	name   string
	node   string  // that has its listener; empty: whichever reads the file
	dial   numbers // calls that enter by it: the called number
	asks   []ask   // calls that enter by it: the routes they are held against, in this order
	closed bool    // no usages, and no route but emergency ones names it

	called  numbers // calls that leave by it
	calling numbers
	plus    plus

	responses []config.ResponseRule // failures of its peer
	origins   []string              // of these: "site vienna, line 40"
}

// plus is a trunk's remove_plus, and where it is written.
type plus struct {
	remove bool
	line   int
	scope  string
}

// rule is a route, with the place where it stands.
type rule struct {
	config.Route
	line      int
	only      string // the one trunk whose calls it takes, if the file names no other; else empty
	elsewhere bool   // its Reject is not the file's: all its trunks belong to other nodes
}

// ask is a route for the calls of one trunk, and by what right they may take it.
type ask struct {
	rule *rule
	by   string // "emergency", "from", "usage local"
}

// New makes the table of a validated config; it keeps the config's patterns and lists, which nobody may change any more.
func New(cfg *config.Config) *Table {
	t := &Table{sides: make(map[string]*side, len(cfg.Trunks)), groups: make(map[string]*group, len(cfg.Groups))}
	for name, g := range cfg.Groups {
		t.groups[name] = &group{Group: g, name: name, line: cfg.Line("groups." + name)}
	}
	for i, r := range cfg.Routes {
		t.rules = append(t.rules, newRule(cfg, fmt.Sprintf("routes[%d]", i), r))
	}
	for name, tr := range cfg.Trunks {
		s := &side{name: name, node: cfg.SIP.Listeners[tr.Listener].Node}
		s.dial = newNumbers(cfg, KindDialPlan, name, "", cfg.DialPlans[tr.DialPlan])
		s.called = newNumbers(cfg, KindCalled, name, "called_numbers", tr.Called)
		s.calling = newNumbers(cfg, KindCalling, name, "calling_numbers", tr.Calling)
		s.responses = tr.Responses
		for i := range tr.Responses {
			scope, line := cfg.Origin(name, fmt.Sprintf("responses[%d]", i))
			s.origins = append(s.origins, fmt.Sprintf("%s, line %d", scope, line))
		}
		s.plus.remove = tr.RemovePlus
		s.plus.scope, s.plus.line = cfg.Origin(name, "remove_plus")
		s.asks = t.asksOf(name, tr.Usages)
		s.closed = len(tr.Usages) == 0 && !slices.ContainsFunc(s.asks, func(a ask) bool { return !a.rule.Emergency })
		t.sides[name] = s
	}
	return t
}

// newRule looks at the file as well as at the route: on one node of a pool, From and To have lost the trunks of the others.
func newRule(cfg *config.Config, path string, r config.Route) *rule {
	made := &rule{Route: r, line: cfg.Line(path)}
	made.elsewhere = r.Reject != 0 && made.line > 0 && cfg.Line(path+".reject") == 0
	if len(r.From) == 1 && len(r.Usages) == 0 && cfg.Line(path+".from[1]") == 0 {
		made.only = r.From[0]
	}
	return made
}

// asksOf lists the routes that calls of a trunk are held against: the emergency routes, then those that name it, then usage
// by usage those that have it. Each stands there once, where it comes first.
func (t *Table) asksOf(name string, usages []string) []ask {
	var asks []ask
	listed := make(map[*rule]bool)
	add := func(r *rule, by string) {
		if !listed[r] {
			listed[r] = true
			asks = append(asks, ask{r, by})
		}
	}
	for _, r := range t.rules {
		shares := slices.ContainsFunc(r.Usages, func(u string) bool { return slices.Contains(usages, u) })
		if r.Emergency && (shares || t.names(r.From, name)) {
			add(r, "emergency")
		}
	}
	for _, r := range t.rules {
		if !r.Emergency && t.names(r.From, name) {
			add(r, "from")
		}
	}
	for _, u := range usages {
		var with []*rule
		for _, r := range t.rules {
			if !r.Emergency && slices.Contains(r.Usages, u) {
				with = append(with, r)
			}
		}
		slices.SortStableFunc(with, func(a, b *rule) int { return cmp.Compare(a.Priority, b.Priority) })
		for _, r := range with {
			add(r, "usage "+u)
		}
	}
	return asks
}

// names reports whether a list of trunks and groups holds a trunk.
func (t *Table) names(list []string, name string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		g, isGroup := t.groups[entry]
		return entry == name || entry == config.FromAny || isGroup && slices.Contains(g.Trunks, name)
	})
}

// judge holds the route against one call.
func (a ask) judge(called, caller string) Step {
	r := a.rule
	s := Step{Kind: KindRoute, Name: r.Name, Line: r.line, By: a.by, Verdict: Fits}
	if r.Match != nil {
		s.Pattern, s.Number = r.Match.String(), called
		if !r.Match.MatchString(called) {
			s.Verdict = OtherCalled
			return s
		}
	}
	if r.Caller != nil {
		s.CallerPattern, s.Caller = r.Caller.String(), caller
		if len(caller) > maxNumber || !r.Caller.MatchString(caller) {
			s.Verdict = OtherCaller
			return s
		}
	}
	s.Trunks, s.Balance, s.Continue, s.Reject = r.To, r.Balance, r.Continue, r.Reject
	return s
}

// numbers is an ordered list of number rules: a dial plan, or a trunk's called or calling numbers. The first that fits holds.
type numbers struct {
	rules []numberRule
}

// numberRule is one rule, ready to use.
type numberRule struct {
	step  Step           // what is known of it before any number
	whole *regexp.Regexp // its pattern, on the whole of a number
	to    string
}

// newNumbers prepares the list that a trunk has under key, and finds where each rule is written.
func newNumbers(cfg *config.Config, kind Kind, trunk, key string, list []config.NumberRule) numbers {
	var n numbers
	for i, r := range list {
		s := Step{Kind: kind, Name: r.Name, Pattern: r.Match.String()}
		if s.Name == "" {
			s.Name = fmt.Sprint(i + 1)
		}
		if kind == KindDialPlan {
			s.By = cfg.Trunks[trunk].DialPlan
			s.Line = cfg.Line(fmt.Sprintf("dial_plans.%s[%d]", s.By, i))
		} else {
			s.By, s.Line = cfg.Origin(trunk, fmt.Sprintf("%s[%d]", key, i))
		}
		n.rules = append(n.rules, numberRule{step: s, whole: whole(r.Match), to: r.To})
	}
	return n
}

// whole is a pattern that fits only all of a number: alternatives and lazy parts then stretch as far as they must.
func whole(re *regexp.Regexp) *regexp.Regexp {
	if made, err := regexp.Compile(`\A(?:` + re.String() + `)\z`); err == nil {
		return made
	}
	return re // nested as deep as the library allows already: the comparison of lengths in rewrite still holds
}
