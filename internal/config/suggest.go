package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggest says what to do about an unknown key of the section at path, whose struct is t: the nearest key of that section,
// the section where the key belongs, or the list of what is allowed.
func suggest(path, key string, t reflect.Type) string {
	here := keys(t)
	if near, ok := nearest(key, here); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	sections := make(map[string][]string) // by key: where it is allowed
	collect("", reflect.TypeFor[Config](), sections)
	if at := sections[key]; len(at) > 0 {
		return "it belongs in " + strings.Join(at, " or in ")
	}
	all := make([]string, 0, len(sections))
	for k := range sections {
		all = append(all, k)
	}
	slices.Sort(all)
	if near, ok := nearest(key, all); ok {
		return fmt.Sprintf("did you mean %q of %s?", near, strings.Join(sections[near], " or of "))
	}
	where := path
	if where == "" {
		where = "the top level"
	}
	return fmt.Sprintf("%s has %s", where, strings.Join(here, ", "))
}

// keys lists the yaml keys of a struct, in its order.
func keys(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}

// collect finds every section that has a key. NAME stands for a name that the operator chose, [] for a place in a list.
func collect(path string, t reflect.Type, sections map[string][]string) {
	switch t.Kind() {
	case reflect.Pointer:
		collect(path, t.Elem(), sections)
		return
	case reflect.Slice:
		collect(path+"[]", t.Elem(), sections)
		return
	case reflect.Map:
		collect(path+".NAME", t.Elem(), sections)
		return
	case reflect.Struct:
	default:
		return
	}
	if scalarType(t) || scalarType(reflect.PointerTo(t)) {
		return
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		where := path
		if where == "" {
			where = "the top level"
		}
		sections[key] = append(sections[key], where)
		collect(strings.TrimPrefix(path+"."+key, "."), t.Field(i).Type, sections)
	}
}

// nearest finds the candidate that takes the fewest typing errors to become key: one in a short word, two or more in longer
// ones. Dashes and underscores, and upper and lower case, are the same here.
func nearest(key string, candidates []string) (string, bool) {
	const longest = 40 // bytes: nobody mistypes a key into a longer one
	if len(key) > longest {
		return "", false
	}
	plain := strings.NewReplacer("-", "_").Replace(strings.ToLower(key))
	best, least := "", max(1, len(plain)/3)+1
	for _, c := range candidates {
		if n := distance(plain, strings.ToLower(c)); n < least {
			best, least = c, n
		}
	}
	return best, best != ""
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between two words (the optimal
// string alignment distance).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
