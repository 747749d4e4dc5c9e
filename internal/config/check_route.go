package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/internal/near"
)

// maxWeight bounds the weight of a trunk in its group: finer shares are not to be told apart in a day's calls.
const maxWeight = 1000

func (c *Config) checkGroups(d *document) {
	for _, name := range d.inFileOrder("groups", slices.Collect(maps.Keys(c.Groups))) {
		g := c.Groups[name]
		path := "groups." + name
		if _, taken := c.Trunks[name]; taken {
			d.fail(path, fmt.Sprintf("a trunk has this name (line %d), and routes name both", d.line("trunks."+name)), "give the group another")
		}
		if len(g.Trunks) == 0 && !d.wrong[path+".trunks"] {
			d.fail(path+".trunks", "names no trunk", "list the trunks that are equal")
		}
		for i, member := range g.Trunks {
			if _, nested := c.Groups[member]; nested {
				d.fail(fmt.Sprintf("%s.trunks[%d]", path, i), "is a group", "list trunks; a route may name several groups")
			}
		}
		c.checkTrunkNames(d, path+".trunks", g.Trunks, false)
		d.oneOf(path+".balance", g.Balance, BalanceShuffle, BalanceOrder, BalanceWeight)
		if g.Balance != BalanceWeight && d.has(path+".weights") {
			d.fail(path+".weights", "nobody looks at weights with balance "+show(g.Balance), "remove them, or write balance: weight")
			continue
		}
		for _, member := range slices.Sorted(maps.Keys(g.Weights)) {
			at := path + ".weights." + member
			if !slices.Contains(g.Trunks, member) {
				d.fail(at, "is no trunk of this group", "remove it, or list it in trunks")
				continue
			}
			d.between(at, g.Weights[member], 1, maxWeight)
		}
	}
}

func (c *Config) checkDialPlans(d *document) {
	for _, name := range d.inFileOrder("dial_plans", slices.Collect(maps.Keys(c.DialPlans))) {
		path := "dial_plans." + name
		if len(c.DialPlans[name]) == 0 {
			d.fail(path, "has no rules", "write at least one, with match and to")
		}
		d.numberRules(path, c.DialPlans[name])
	}
}

func (c *Config) checkRoutes(d *document) {
	names := make(map[string]int) // -> index
	for i := range c.Routes {
		r := &c.Routes[i]
		path := fmt.Sprintf("routes[%d]", i)
		before, twice := names[r.Name]
		switch {
		case r.Name == "":
			d.missing(path+".name", "give it a name: logs and explanations use it")
			d.fail(path+".name", "is empty", "give it a name: logs and explanations use it")
		case !isName(r.Name):
			d.name(path+".name", r.Name)
		case twice:
			d.fail(path+".name", fmt.Sprintf("route %d of line %d has this name", before+1, d.line(fmt.Sprintf("routes[%d]", before))),
				"give each its own")
		default:
			names[r.Name] = i
		}
		c.checkFrom(d, path+".from", r)
		d.usages(path+".usages", r.Usages)
		d.between(path+".priority", r.Priority, 0, maxPriority)
		c.checkTrunkNames(d, path+".to", r.To, true)
		r.checkOutcome(d, path)
	}
}

// checkFrom lets only emergency calls come from anywhere: a route for all trunks is a toll loop that waits for its caller.
func (c *Config) checkFrom(d *document, path string, r *Route) {
	if i := slices.Index(r.From, FromAny); i >= 0 {
		item := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !r.Emergency:
			d.fail(item, "only an emergency route serves any trunk", "list the trunks or groups that may use it, or write emergency: true")
		case len(r.From) > 1:
			d.fail(item, "stands for every trunk already", "remove the others, or this")
		}
		return
	}
	c.checkTrunkNames(d, path, r.From, true)
}

// checkOutcome wants somewhere to go, or a refusal.
func (r *Route) checkOutcome(d *document, path string) {
	reject := d.has(path + ".reject")
	switch {
	case reject && len(r.To) > 0:
		d.fail(path+".reject", "the route has trunks to go to as well", "keep to or reject")
		return
	case !reject && len(r.To) == 0:
		d.fail(path+".to", "names no trunk", "list the trunks and groups to try, in their order, or write reject with a code")
		return
	case !reject:
		d.oneOf(path+".balance", r.Balance, BalanceOrder, BalanceShuffle)
		return
	}
	d.between(path+".reject", r.Reject, firstFailure, lastFailure)
	const idle, remove = "a route that rejects tries nobody", "remove it"
	if r.Balance != "" {
		d.fail(path+".balance", idle, remove)
	}
	if r.Continue {
		d.fail(path+".continue", idle, remove)
	}
}

// checkTrunkNames wants a list of distinct trunks, or of trunks and groups.
func (c *Config) checkTrunkNames(d *document, path string, list []string, groups bool) {
	for i, name := range list {
		item := fmt.Sprintf("%s[%d]", path, i)
		_, trunk := c.Trunks[name]
		_, group := c.Groups[name]
		switch {
		case slices.Contains(list[:i], name):
			d.fail(item, "stands in this list already", "remove one of the two")
		case trunk || group: // a group among the members of one has its own error
		case groups && len(c.Groups) > 0:
			d.unknownOf(item, name, "trunk or group", []string{"trunks", "groups"},
				slices.Concat(slices.Collect(maps.Keys(c.Trunks)), slices.Collect(maps.Keys(c.Groups))))
		default:
			d.unknown(item, name, "trunk", "trunks", slices.Collect(maps.Keys(c.Trunks)))
		}
	}
}

// unknown reports a reference to something that the file does not define (or defined wrongly, which has its own error).
func (d *document) unknown(path, name, what, section string, defined []string) {
	d.unknownOf(path, name, what, []string{section}, defined)
}

// unknownOf is unknown for what may stand in one of several sections.
func (d *document) unknownOf(path, name, what string, sections, defined []string) {
	for _, section := range sections {
		if d.has(section+"."+name) || d.wrong["sip."+section] {
			return
		}
	}
	slices.Sort(defined)
	do := "define it in " + strings.Join(sections, " or ")
	if meant, ok := near.Word(name, defined); ok {
		do = fmt.Sprintf("did you mean %q?", meant)
	} else if len(defined) > 0 {
		do += ", or name one of: " + strings.Join(defined, ", ")
	}
	d.fail(path, "there is no "+what+" of this name", do)
}
