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

// Describe writes what was understood, defaults filled in: a summary of trunks and routes, as comments, and all values. The
// whole is itself a file that Parse accepts, and that means the same. Errors of w are w's to remember.
func (c *Config) Describe(w io.Writer) {
	io.WriteString(w, "# What Tandem understood, defaults filled in. This is a valid config file itself.\n#\n")
	for _, name := range slices.Sorted(maps.Keys(c.SIP.Trunks)) {
		fmt.Fprintf(w, "# trunk %s: %s\n", name, c.summary(name))
	}
	for _, r := range c.SIP.Routes {
		from, number := strings.Join(r.From, ", "), "any number"
		if from == "" {
			from = "nobody"
		}
		if r.Match != nil {
			number = "numbers " + quote(r.Match.String())
		}
		fmt.Fprintf(w, "# route %s: from %s, %s, to %s\n", r.Name, from, number, strings.Join(r.To, ", then "))
	}
	describe(w, reflect.ValueOf(c).Elem(), 0)
}

// summary is a trunk in one line.
func (c *Config) summary(name string) string {
	t := c.SIP.Trunks[name]
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

// describe writes a struct or map, a key a line. What is empty without having been written so is left out.
func describe(w io.Writer, v reflect.Value, depth int) {
	if v.Kind() == reflect.Map {
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			describeKey(w, name.String(), v.MapIndex(name), depth)
		}
		return
	}
	for i := range v.NumField() {
		describeKey(w, v.Type().Field(i).Tag.Get("yaml"), v.Field(i), depth)
	}
}

// describeKey writes one key and its value.
func describeKey(w io.Writer, key string, v reflect.Value, depth int) {
	indent := strings.Repeat("  ", depth)
	if !scalarType(v.Type()) && v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch {
	case scalarType(v.Type()):
		if text, ok := text(v); ok {
			fmt.Fprintf(w, "%s%s: %s\n", indent, key, text)
		}
	case v.Kind() == reflect.Slice && v.IsNil(), v.Kind() == reflect.Map && v.IsNil():
	case v.Kind() == reflect.Map && v.Len() == 0:
		fmt.Fprintf(w, "%s%s: {}\n", indent, key)
	case v.Kind() == reflect.Slice && (v.Len() == 0 || scalarType(v.Type().Elem())):
		fmt.Fprintf(w, "%s%s: [%s]\n", indent, key, strings.Join(texts(v), ", "))
	case v.Kind() == reflect.Slice:
		fmt.Fprintf(w, "%s%s:\n", indent, key)
		for i := range v.Len() {
			var item strings.Builder
			describe(&item, v.Index(i), depth+2)
			io.WriteString(w, indent+"  - "+strings.TrimLeft(item.String(), " "))
		}
	default:
		fmt.Fprintf(w, "%s%s:\n", indent, key)
		describe(w, v, depth+1)
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
