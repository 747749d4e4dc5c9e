package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Kinds of a Change.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Change is one difference between two configs.
type Change struct {
	Path         string `json:"path"` // "trunks.gw1.max_calls"; a route has its name in it, "routes.city.to", and not its place
	Kind         string `json:"kind"` // Added, Removed or Changed
	Old          string `json:"old,omitempty"`
	New          string `json:"new,omitempty"` // in one line, as in the file; passwords are hidden
	NeedsRestart bool   `json:"needs_restart"` // a running process cannot take it up
}

// String is the change in one line for people.
func (c Change) String() string {
	line := c.Kind + " " + c.Path
	switch c.Kind {
	case Added:
		line += ": " + c.New
	case Removed:
		line += ": was " + c.Old
	default:
		line += fmt.Sprintf(": %s -> %s", c.Old, c.New)
	}
	if c.NeedsRestart {
		line += " (needs a restart)"
	}
	return line
}

// live reports whether a running call plane takes up changes of a section for its next calls.
func live(section string) bool {
	return slices.Contains([]string{"trunks", "groups", "routes", "policy", "dial_plans", "sites", "records"}, section)
}

// Diff lists what is different in new, in the order of the keys of Config. What a trunk inherits is reported once, where it
// stands, unless another scope gives it now. Both must be of the same node.
func Diff(old, new *Config) []Change {
	d := &difference{old: old, new: new}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for _, f := range fields(a.Type()) {
		switch key := f.Tag.Get("yaml"); key {
		case "routes":
			d.routes()
		default:
			d.value(key, a.FieldByIndex(f.Index), b.FieldByIndex(f.Index))
		}
	}
	d.restarts()
	return d.changes
}

// difference is a comparison on its way.
type difference struct {
	old, new *Config
	changes  []Change
}

// value compares what stands at one path.
func (d *difference) value(path string, a, b reflect.Value) {
	t := a.Type()
	switch {
	case scalarType(t), t.Kind() == reflect.Slice:
		d.leaf(path, a, b)
	case t.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		d.value(path, a.Elem(), b.Elem())
	case t.Kind() == reflect.Pointer:
		d.leaf(path, a, b)
	case t.Kind() == reflect.Map:
		d.named(path, a, b)
	default:
		for _, f := range fields(t) {
			if inner := path + "." + f.Tag.Get("yaml"); !d.inherited(inner) {
				d.value(inner, a.FieldByIndex(f.Index), b.FieldByIndex(f.Index))
			}
		}
	}
}

// leaf compares values that change as a whole.
func (d *difference) leaf(path string, a, b reflect.Value) {
	old, had := d.shown(path, a)
	now, has := d.shown(path, b)
	if a.Type() == reflect.TypeFor[Secret]() {
		if a.String() == b.String() { // of a reflect.Value: the text itself
			return
		}
		old, now = hidden, hidden
	} else if old == now && had == has {
		return
	}
	switch {
	case !had:
		d.add(path, Added, "", now)
	case !has:
		d.add(path, Removed, old, "")
	default:
		d.add(path, Changed, old, now)
	}
}

// shown is a value in one line; ok is false if the file need not have it. Where another scope or key decides in its absence,
// zero is absence.
func (d *difference) shown(path string, v reflect.Value) (line string, ok bool) {
	section, _, _ := strings.Cut(path, ".")
	if v.IsZero() && slices.Contains([]string{"policy", "sites", "routes", "records"}, section) {
		return "", false
	}
	return flow(v)
}

// named compares what the operator gave names.
func (d *difference) named(path string, a, b reflect.Value) {
	names := make(map[string]bool)
	for _, v := range slices.Concat(a.MapKeys(), b.MapKeys()) {
		names[v.String()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		key, inner := reflect.ValueOf(name), path+"."+pathKey(name)
		x, y := a.MapIndex(key), b.MapIndex(key)
		switch {
		case !x.IsValid():
			d.add(inner, Added, "", d.entry(d.new, path, name, y))
		case !y.IsValid():
			d.add(inner, Removed, d.entry(d.old, path, name, x), "")
		default:
			d.value(inner, x, y)
		}
	}
}

// entry is a named value in one line: of a trunk, whose policy is long, the summary.
func (d *difference) entry(c *Config, section, name string, v reflect.Value) string {
	if section == "trunks" {
		return c.summary(name)
	}
	line, _ := flow(v)
	return line
}

// routes compares routes of the same name, and the order of those that both have.
func (d *difference) routes() {
	at := func(c *Config) map[string]int {
		places := make(map[string]int, len(c.Routes))
		for i := range c.Routes {
			places[c.Routes[i].Name] = i
		}
		return places
	}
	before, after := at(d.old), at(d.new)
	var oldOrder, newOrder []string
	for _, r := range d.old.Routes {
		if _, ok := after[r.Name]; ok {
			oldOrder = append(oldOrder, r.Name)
		} else {
			d.add("routes."+r.Name, Removed, r.summary(), "")
		}
	}
	for _, r := range d.new.Routes {
		path := "routes." + r.Name
		if i, ok := before[r.Name]; ok {
			newOrder = append(newOrder, r.Name)
			d.value(path, reflect.ValueOf(d.old.Routes[i]), reflect.ValueOf(r))
		} else {
			d.add(path, Added, "", r.summary())
		}
	}
	if !slices.Equal(oldOrder, newOrder) {
		d.add("routes", Changed, strings.Join(oldOrder, ", "), strings.Join(newOrder, ", "))
	}
}

// inherited reports whether a key is of a trunk's policy and one wider scope of the file gives it before and after: the
// change, if there is one, is that scope's.
func (d *difference) inherited(path string) bool {
	rest, ok := strings.CutPrefix(path, "trunks.")
	if !ok {
		return false
	}
	trunk, key, _ := strings.Cut(rest, ".")
	was, _ := d.old.Origin(trunk, key)
	is, _ := d.new.Origin(trunk, key)
	return was == is && was != scopeDefault && was != "trunk "+trunk && !strings.HasPrefix(was, "profile ")
}

func (d *difference) add(path, kind, old, new string) {
	section, _, _ := strings.Cut(path, ".")
	d.changes = append(d.changes, Change{Path: path, Kind: kind, Old: old, New: new, NeedsRestart: !live(section)})
}

// restarts marks the trunks that need what only a restart brings: a listener or a network that is new or not the same.
func (d *difference) restarts() {
	fixed := make(map[string]bool) // names below sip.listeners and media.networks with a change
	for _, c := range d.changes {
		if parts := strings.SplitN(c.Path, ".", 4); len(parts) > 2 && (parts[1] == "listeners" || parts[1] == "networks") {
			fixed[parts[1]+"."+parts[2]] = true
		}
	}
	for i := range d.changes {
		c := &d.changes[i]
		parts := strings.SplitN(c.Path, ".", 3)
		if parts[0] != "trunks" || c.Kind == Removed && len(parts) == 2 {
			continue
		}
		switch key := cmp.Or(strings.Join(parts[2:], ""), "all"); key {
		case "all", "listener", "network":
			t := d.new.Trunks[parts[1]]
			c.NeedsRestart = fixed["listeners."+t.Listener] || fixed["networks."+t.Network]
		}
	}
}
