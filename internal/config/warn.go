package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tandem/internal/near"
)

// warn collects what is valid and surely not meant. It runs on a file without errors, before anything is left out.
func (c *Config) warn(d *document) {
	c.warnUsages(d)
	c.warnUnused(d)
	c.warnTwins(d)
	c.warnAlone(d)
	c.warnOpen(d)
	for i, r := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		if len(r.From) == 0 && len(r.Usages) == 0 {
			d.warn(path, "serves nobody: it has neither from nor usages", "name the trunks whose calls it takes, or a usage that they have")
		}
		if d.has(path+".priority") && len(r.Usages) == 0 {
			d.warn(path+".priority", "orders the routes of a usage, and this route has none", "remove it: routes by from are looked at in the order of the file")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		t := c.Trunks[name]
		path := "trunks." + name
		if t.Register != nil && t.Auth == nil {
			d.warn(path+".register", "there is no auth to answer a challenge with", "write auth, unless the provider knows us by our address or certificate")
		}
		if d.has(path+".fax") && t.Fax == FaxPassthrough && t.SRTP == SRTPRequired {
			d.warn(path+".fax", "never happens: T.38 has no encryption, and srtp is required here",
				"write "+FaxClear+" to let faxes cross in clear, or "+FaxRefuse)
		}
	}
	if c.Records.File == "" && d.has("records") {
		d.warn("records", "no call is recorded without a file", "write file, or remove the section")
	}
}

// warnTwins finds trunks of one listener that expect calls from the same addresses: all calls enter by the first of them, with
// its routes. On TLS the name in the certificate may tell them apart.
func (c *Config) warnTwins(d *document) {
	type door struct{ listener, source, names string }
	first := make(map[door]string)
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		t := c.Trunks[name]
		sources := t.Sources
		if host, _, err := SplitPeer(t.Peer); err == nil && len(sources) == 0 {
			if a, err := netip.ParseAddr(host); err == nil {
				sources = []netip.Prefix{netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}
			}
		}
		for _, p := range sources {
			key := door{t.Listener, p.String(), strings.ToLower(strings.Join(slices.Sorted(slices.Values(t.TLSNames)), " "))}
			if before, twice := first[key]; twice {
				d.warn("trunks."+name, fmt.Sprintf("calls from %s enter by trunk %s, which expects them on listener %s too", p, before, t.Listener),
					"give each its own sources, or put one on another listener")
				break
			}
			first[key] = name
		}
	}
}

// warnAlone finds what both trunks of a call have to say and only one trunk says.
func (c *Config) warnAlone(d *document) {
	c.warnOnly(d, "fax", "T.38 crosses", func(p *Policy) bool { return p.Fax == FaxPassthrough || p.Fax == FaxClear })
	c.warnOnly(d, "bypass", "media goes past us", func(p *Policy) bool { return p.Bypass })
}

// warnOnly warns of a key that one trunk says of itself, if no call could have that trunk on both of its sides.
func (c *Config) warnOnly(d *document, key, does string, says func(*Policy) bool) {
	var all []string
	for name, t := range c.Trunks {
		if says(&t.Policy) {
			all = append(all, name)
		}
	}
	if len(all) != 1 || c.turnsBack(all[0]) {
		return
	}
	if path := "trunks." + all[0] + "." + key; d.has(path) {
		d.warn(path, fmt.Sprintf("%s where both trunks of a call say so, and no other trunk says it", does), "write it there too, or remove it here")
	}
}

// turnsBack reports whether a route may send a call out by the trunk that it came in by.
func (c *Config) turnsBack(trunk string) bool {
	of := func(list []string) bool {
		return slices.ContainsFunc(list, func(name string) bool { return name == trunk || slices.Contains(c.Groups[name].Trunks, trunk) })
	}
	return slices.ContainsFunc(c.Routes, func(r Route) bool {
		return of(r.To) && (of(r.From) || slices.Contains(r.From, FromAny) || len(r.Usages) > 0)
	})
}

// warnOpen finds trunks by which anybody may call who reaches the listener: no certificate and no password is asked for, and
// on UDP not even the address is proven.
func (c *Config) warnOpen(d *document) {
	for name, t := range c.Trunks {
		l := c.SIP.Listeners[t.Listener]
		if l.TLS != nil && l.TLS.Client == ClientRequire || t.Challenge != nil {
			continue
		}
		for i, p := range t.Sources {
			if item := fmt.Sprintf("trunks.%s.sources[%d]", name, i); p.Bits() == 0 {
				d.warn(item, "lets everybody call by this trunk who reaches listener "+t.Listener,
					"list the peer's addresses, or ask for a certificate (a tls listener) or a password (challenge)")
			}
		}
	}
}

// warnUsages finds usages that stand on one side only.
func (c *Config) warnUsages(d *document) {
	have, serve := make(map[string]bool), make(map[string]bool)
	for _, t := range c.Trunks {
		for _, usage := range t.Usages {
			have[usage] = true
		}
	}
	for _, r := range c.Routes {
		for _, usage := range r.Usages {
			serve[usage] = true
		}
	}
	lone := func(path string, list []string, others map[string]bool, what string) {
		for i, usage := range list {
			if item := fmt.Sprintf("%s[%d]", path, i); !others[usage] && d.has(item) {
				do := "write it there too, or remove it here"
				if meant, ok := near.Word(usage, slices.Sorted(maps.Keys(others))); ok {
					do = fmt.Sprintf("did you mean %q?", meant)
				}
				d.warn(item, what, do)
			}
		}
	}
	for i, r := range c.Routes {
		lone(fmt.Sprintf("routes[%d].usages", i), r.Usages, have, "no trunk has this usage")
	}
	lone("policy.usages", c.Policy.Usages, serve, "no route has this usage")
	for name, s := range c.Sites {
		lone("sites."+name+".policy.usages", s.Policy.Usages, serve, "no route has this usage")
	}
	for name, t := range c.Trunks {
		if d.has("trunks." + name + ".usages") {
			lone("trunks."+name+".usages", t.Usages, serve, "no route has this usage")
		}
	}
}

// warnUnused finds what is defined and named nowhere.
func (c *Config) warnUnused(d *document) {
	used := make(map[string]bool)
	plans := []string{c.Policy.DialPlan}
	for _, s := range c.Sites {
		plans = append(plans, s.Policy.DialPlan)
	}
	for _, t := range c.Trunks {
		used["sites."+t.Site] = true
		plans = append(plans, t.DialPlan)
	}
	for _, plan := range plans {
		used["dial_plans."+plan] = true
	}
	for _, r := range c.Routes {
		for _, name := range slices.Concat(r.From, r.To) {
			used["groups."+name] = true
		}
	}
	unused := func(section, name, what string) {
		if path := section + "." + name; !used[path] {
			d.warn(path, what, "name it there, or remove it")
		}
	}
	for name := range c.Sites {
		unused("sites", name, "no trunk is of this site")
	}
	for name := range c.Groups {
		unused("groups", name, "no route names this group")
	}
	for name := range c.DialPlans {
		unused("dial_plans", name, "no trunk has this dial plan")
	}
}

// listed joins names that are not empty.
func listed(names []string) string {
	return strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", ")
}
