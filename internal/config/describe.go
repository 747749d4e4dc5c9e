package config

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Describe writes what was understood, defaults filled in and scopes merged: a summary of trunks and routes, as comments, and
// all values. The whole is itself a file that means the same, and that Parse accepts if it holds no passwords: those are not
// shown, and Parse refuses what stands in their place. Errors of w are w's to remember.
func (c *Config) Describe(w io.Writer) {
	io.WriteString(w, "# What Tandem understood, defaults filled in and scopes merged. This is a config file itself, without the passwords.\n#\n")
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		fmt.Fprintf(w, "# trunk %s: %s\n", name, c.summary(name))
	}
	for i := range c.Routes {
		fmt.Fprintf(w, "# route %s: %s\n", c.Routes[i].Name, c.Routes[i].summary())
	}
	io.WriteString(w, c.section("", reflect.ValueOf(c).Elem(), 0))
}

// summary is a route in one line.
func (r *Route) summary() string {
	var b strings.Builder
	switch {
	case slices.Contains(r.From, FromAny):
		b.WriteString("from anybody")
	case len(r.From) > 0:
		b.WriteString("from " + strings.Join(r.From, ", "))
	}
	if len(r.Usages) > 0 {
		if b.Len() > 0 {
			b.WriteString(" or ")
		}
		fmt.Fprintf(&b, "by usage %s", strings.Join(r.Usages, ", "))
	}
	if b.Len() == 0 {
		b.WriteString("from nobody")
	}
	number := "any number"
	if r.Match != nil {
		number = "numbers " + quote(r.Match.String())
	}
	fmt.Fprintf(&b, ", %s", number)
	if r.Caller != nil {
		fmt.Fprintf(&b, " of callers %s", quote(r.Caller.String()))
	}
	switch {
	case r.Reject != 0:
		fmt.Fprintf(&b, ", rejected with %d", r.Reject)
	case r.Balance == BalanceShuffle:
		fmt.Fprintf(&b, ", to %s, shuffled", strings.Join(r.To, " or "))
	default:
		fmt.Fprintf(&b, ", to %s", strings.Join(r.To, ", then "))
	}
	if r.Continue {
		b.WriteString(", then the next that matches")
	}
	if r.Emergency {
		b.WriteString(", emergency")
	}
	return b.String()
}

// summary is a trunk in one line.
func (c *Config) summary(name string) string {
	t := c.Trunks[name]
	l := c.SIP.Listeners[t.Listener]
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s to %s, media on %s", l.Transport, l.Address, t.Peer, t.Network)
	if t.SRTP == SRTPOff {
		b.WriteString(" in RTP")
	} else {
		fmt.Fprintf(&b, " in SRTP (%s)", t.SRTP)
	}
	fmt.Fprintf(&b, ", pin %s, ", t.Pin)
	if len(t.Sources) == 0 {
		b.WriteString("callers: its own addresses")
	} else {
		b.WriteString("callers: " + strings.Join(texts(reflect.ValueOf(t.Sources)), ", "))
	}
	if l.Transport == TLSTransport {
		b.WriteString(", certificate for " + strings.Join(t.TLSNames, " or "))
	}
	return b.String()
}

// section is a struct or map as text, a key a line. What is empty without having been written so is left out.
func (c *Config) section(path string, v reflect.Value, depth int) string {
	var b strings.Builder
	if v.Kind() == reflect.Map {
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			c.key(&b, path, name.String(), v.MapIndex(name), depth)
		}
		return b.String()
	}
	for _, f := range fields(v.Type()) {
		c.key(&b, path, f.Tag.Get("yaml"), v.FieldByIndex(f.Index), depth)
	}
	return b.String()
}

// key writes one key and its value.
func (c *Config) key(b *strings.Builder, path, key string, v reflect.Value, depth int) {
	named := strings.HasPrefix(path, "sites") // a site is there even if it says nothing
	path = strings.TrimPrefix(path+"."+pathKey(key), ".")
	indent := strings.Repeat("  ", depth) + quote(key)
	if !scalarType(v.Type()) && v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch {
	case scalarType(v.Type()):
		if text, ok := text(v); c.shows(path, v, ok) {
			if v.Type() == reflect.TypeFor[Secret]() {
				text += "  # not shown: write it here, or in a file that password_file names"
			}
			fmt.Fprintf(b, "%s: %s\n", indent, text)
		}
	case v.Kind() == reflect.Slice && v.IsNil(), v.Kind() == reflect.Map && v.IsNil():
	case v.Kind() == reflect.Slice && (v.Len() == 0 || scalarType(v.Type().Elem())):
		fmt.Fprintf(b, "%s: [%s]\n", indent, strings.Join(texts(v), ", "))
	case v.Kind() == reflect.Slice:
		fmt.Fprintf(b, "%s:\n", indent)
		for i := range v.Len() {
			item := c.section(fmt.Sprintf("%s[%d]", path, i), v.Index(i), depth+2)
			b.WriteString(strings.Repeat("  ", depth) + "  - " + strings.TrimLeft(item, " "))
		}
	default:
		switch inner := c.section(path, v, depth+1); {
		case inner != "":
			fmt.Fprintf(b, "%s:\n%s", indent, inner)
		case named || v.Kind() == reflect.Map:
			fmt.Fprintf(b, "%s: {}\n", indent)
		}
	}
}

// shows reports whether a value is to be written. Where nothing means that another scope or key decides, only what the file
// has is; elsewhere nothing is a value too, but for texts.
func (c *Config) shows(path string, v reflect.Value, set bool) bool {
	scoped := slices.ContainsFunc([]string{"policy.", "sites.", "routes[", "records."}, func(section string) bool {
		return strings.HasPrefix(path, section)
	})
	switch {
	case v.Kind() == reflect.String && !set, scoped && v.IsZero():
		return c.Line(path) > 0 && v.Type() != reflect.TypeFor[time.Duration]()
	default:
		return set
	}
}

// texts are the values of a list.
func texts(v reflect.Value) []string {
	list := make([]string, v.Len())
	for i := range list {
		list[i], _ = text(v.Index(i))
		if list[i] == "" {
			list[i] = `""`
		}
	}
	return list
}

// text is one value as YAML; false if it is not set.
func text(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case string:
		return quote(x), x != ""
	case Secret:
		return quote(hidden), x != ""
	case *int:
		if x == nil {
			return "", false
		}
		return strconv.Itoa(*x), true
	case *regexp.Regexp:
		if x == nil {
			return "", false
		}
		return quote(x.String()), true
	case time.Duration:
		return short(x), x != 0
	case netip.Addr:
		return quote(x.String()), x.IsValid()
	case netip.AddrPort:
		return quote(x.String()), x.IsValid()
	case netip.Prefix:
		return quote(x.String()), x.IsValid()
	case PortRange:
		return fmt.Sprintf("%d-%d", x.Low, x.High), true
	}
	return fmt.Sprint(v.Interface()), true
}

// plain are the texts that need no quotes: no YAML parser takes them for anything else.
var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./@-]*(:[0-9]+)?$`)

// quote is a text as a YAML scalar.
func quote(s string) string {
	switch {
	case plain.MatchString(s) && !slices.Contains([]string{"true", "false", "null"}, strings.ToLower(s)):
		return s
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.Quote(s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// flow is any value in one line; ok is false if it is not set.
func flow(v reflect.Value) (line string, ok bool) {
	switch {
	case scalarType(v.Type()):
		return text(v)
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return "", false
		}
		return flow(v.Elem())
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i], _ = flow(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]", !v.IsNil()
	}
	var pairs []string
	pair := func(key string, v reflect.Value) {
		if line, ok := flow(v); ok && !v.IsZero() {
			pairs = append(pairs, quote(key)+": "+line)
		}
	}
	if v.Kind() == reflect.Map {
		for _, name := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			pair(name.String(), v.MapIndex(name))
		}
		return "{" + strings.Join(pairs, ", ") + "}", !v.IsNil()
	}
	for _, f := range fields(v.Type()) {
		pair(f.Tag.Get("yaml"), v.FieldByIndex(f.Index))
	}
	return "{" + strings.Join(pairs, ", ") + "}", len(pairs) > 0
}
