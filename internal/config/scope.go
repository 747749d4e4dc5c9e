package config

import (
	"fmt"
	"reflect"
	"strings"
)

// source is what a Config remembers of its file.
type source struct {
	file     string         // empty: none that a person could open
	lines    map[string]int // by path, of every key and every item of a list
	warnings Errors
}

// scopeDefault is the scope of a value that no place of the file gives.
const scopeDefault = "default"

// Line is the line of a key, or of an item of a list: "trunks.gw1.max_calls", "routes[2]", "dial_plans.at[1].match". 0: the
// file does not have it. Items are counted as in the file, even if a list lost some that belong to other nodes.
func (c *Config) Line(path string) int {
	if c.source == nil {
		return 0
	}
	return c.source.lines[path]
}

// At names a key as a complaint about it begins: "tandem.yaml:7: sip.listeners.lan.address"; the key alone where no file
// says it.
func (c *Config) At(path string) string {
	line := c.Line(path)
	if line == 0 || c.source.file == "" {
		return path
	}
	return fmt.Sprintf("%s:%d: %s", c.source.file, line, path)
}

// Origin says which scope gives a value of a trunk's policy: "trunk gw1", "site vienna", "global", "profile teams" or
// "default", and in which line (of the profile's own file, if it is that; 0 for a default). The key is one of Policy, as "max_calls", "failover.timeout", "called_numbers", or an
// item of such a list, as "called_numbers[0]".
func (c *Config) Origin(trunk, key string) (scope string, line int) {
	list, _, _ := strings.Cut(key, "[")
	t := c.Trunks[trunk]
	for _, s := range scopes(trunk, &t) {
		if c.Line(s.path+list) > 0 {
			return s.name, c.Line(s.path + key)
		}
	}
	return scopeDefault, 0
}

// Warnings are what the file says validly but surely not on purpose, in the order of its lines.
func (c *Config) Warnings() Errors {
	if c.source == nil {
		return nil
	}
	return c.source.warnings
}

// scope is a place of the file, or a file of its own, that has a policy for a trunk.
type scope struct {
	name string // "trunk gw1", "site vienna", "global", "profile teams"
	path string // before its keys, with the dot: "trunks.gw1."
}

// scopes lists where a trunk's policy may stand, the narrowest first.
func scopes(trunk string, t *Trunk) []scope {
	list := []scope{{"trunk " + trunk, "trunks." + trunk + "."}}
	if t.Site != "" {
		list = append(list, scope{"site " + t.Site, "sites." + t.Site + ".policy."})
	}
	list = append(list, scope{"global", "policy."})
	if t.Profile != "" {
		list = append(list, scope{"profile " + t.Profile, profilePath(t.Profile) + "."})
	}
	return list
}

// leaf is one key of a policy that is inherited by itself: all but the sections.
type leaf struct {
	key   string // "failover.timeout"
	index []int  // of the field in Policy
}

// leaves lists the keys of Policy in the order of its fields.
func leaves() []leaf {
	var all []leaf
	var walk func(t reflect.Type, prefix string, index []int)
	walk = func(t reflect.Type, prefix string, index []int) {
		for _, f := range fields(t) {
			key, at := prefix+f.Tag.Get("yaml"), append(index[:len(index):len(index)], f.Index...)
			if f.Type.Kind() == reflect.Struct && !scalarType(f.Type) {
				walk(f.Type, key+".", at)
			} else {
				all = append(all, leaf{key, at})
			}
		}
	}
	walk(reflect.TypeFor[Policy](), "", nil)
	return all
}

// inherit gives a trunk of every key that it does not have the value of the narrowest scope that has it.
func (c *Config) inherit(d *document, name string, t *Trunk, keys []leaf) {
	c.pickProfile(d, name, t)
	all := scopes(name, t)
	policies := []reflect.Value{reflect.ValueOf(&t.Policy).Elem()}
	if t.Site != "" {
		policies = append(policies, reflect.ValueOf(c.Sites[t.Site].Policy))
	}
	policies = append(policies, reflect.ValueOf(c.Policy), reflect.ValueOf(d.profile(t.Profile)))
	for _, k := range keys {
		for i, s := range all {
			if !d.has(s.path + k.key) {
				continue
			}
			if i > 0 {
				policies[0].FieldByIndex(k.index).Set(policies[i].FieldByIndex(k.index))
			}
			break
		}
	}
}
