package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"tandem/internal/near"
)

// suggest says what to do about an unknown key of the section at path, whose struct is t: the nearest key of that section,
// the section where the key belongs, or the list of what is allowed.
func suggest(path, key string, t reflect.Type) string {
	here := keys(t)
	if meant, ok := near.Word(key, here); ok {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	sections := make(map[string][]string) // by key: where it is allowed
	collect("", reflect.TypeFor[Config](), sections)
	if at := sections[key]; len(at) > 0 {
		return "it belongs in " + places(at, " or in ")
	}
	all := make([]string, 0, len(sections))
	for k := range sections {
		all = append(all, k)
	}
	slices.Sort(all)
	if meant, ok := near.Word(key, all); ok {
		return fmt.Sprintf("did you mean %q of %s?", meant, places(sections[meant], " or of "))
	}
	where := path
	if where == "" {
		where = "the top level"
	}
	return fmt.Sprintf("%s has %s", where, strings.Join(here, ", "))
}

// mostPlaces is how many sections a suggestion names; the shortest say it best.
const mostPlaces = 3

// places joins the paths of sections.
func places(list []string, or string) string {
	if len(list) <= mostPlaces {
		return strings.Join(list, or)
	}
	list = slices.SortedStableFunc(slices.Values(list), func(a, b string) int { return len(a) - len(b) })
	return strings.Join(list[:mostPlaces], or) + ", among others"
}

// keys lists the yaml keys of a struct, in its order.
func keys(t reflect.Type) []string {
	var names []string
	for _, f := range fields(t) {
		names = append(names, f.Tag.Get("yaml"))
	}
	return names
}

// fields are the fields of a struct that are keys of the file; those of an embedded struct stand among its own.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
		return f.Anonymous || !f.IsExported()
	})
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
	for _, f := range fields(t) {
		key := f.Tag.Get("yaml")
		where := path
		if where == "" {
			where = "the top level"
		}
		sections[key] = append(sections[key], where)
		collect(strings.TrimPrefix(path+"."+key, "."), f.Type, sections)
	}
}
