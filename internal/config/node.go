package config

import (
	"maps"
	"slices"
)

// elsewhere is the answer of a route all of whose trunks are on other nodes: this node is no way, another may be (RFC 3261
// section 21.5.4).
const elsewhere = 503

// keep leaves out what belongs to other nodes of the pool: their listeners, the trunks on them and the media networks that
// only those trunks use. Groups and routes lose the names of what is left out.
func (c *Config) keep(d *document) {
	foreign := func(l Listener) bool { return l.Node != "" && l.Node != c.Node }
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.SIP.Listeners)), foreign) {
		return
	}
	var nodes []string
	for _, l := range c.SIP.Listeners {
		nodes = append(nodes, l.Node)
	}
	maps.DeleteFunc(c.SIP.Listeners, func(_ string, l Listener) bool { return foreign(l) })
	if len(c.SIP.Listeners) == 0 {
		d.warn("sip.listeners", "none is of this node, "+c.Node, "set node, or run it with --node, as one of: "+
			listed(slices.Compact(slices.Sorted(slices.Values(nodes)))))
	}
	networks := make(map[string]bool) // that trunks use: whether one of this node does
	maps.DeleteFunc(c.Trunks, func(_ string, t Trunk) bool {
		_, here := c.SIP.Listeners[t.Listener]
		networks[t.Network] = networks[t.Network] || here
		return !here
	})
	maps.DeleteFunc(c.Media.Networks, func(name string, _ Network) bool {
		here, used := networks[name]
		return used && !here
	})
	c.keepNames()
}

// keepNames takes names that lead nowhere any more out of groups and routes.
func (c *Config) keepNames() {
	for name, g := range c.Groups {
		g.Trunks = slices.DeleteFunc(g.Trunks, func(trunk string) bool { return !c.defines(trunk) })
		maps.DeleteFunc(g.Weights, func(trunk string, _ int) bool { return !c.defines(trunk) })
		c.Groups[name] = g
	}
	maps.DeleteFunc(c.Groups, func(_ string, g Group) bool { return len(g.Trunks) == 0 })
	for i := range c.Routes {
		r := &c.Routes[i]
		r.From = slices.DeleteFunc(r.From, func(name string) bool { return name != FromAny && !c.defines(name) })
		if r.Reject != 0 {
			continue
		}
		if r.To = slices.DeleteFunc(r.To, func(name string) bool { return !c.defines(name) }); len(r.To) > 0 {
			continue
		}
		if r.Continue { // it would have gone on with the next: nobody stops here
			r.From, r.Usages = nil, nil
		}
		r.To, r.Reject, r.Balance, r.Continue = nil, elsewhere, "", false
	}
}

// defines reports whether there is a trunk or group of the name.
func (c *Config) defines(name string) bool {
	_, trunk := c.Trunks[name]
	_, group := c.Groups[name]
	return trunk || group
}
