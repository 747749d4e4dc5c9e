package control

import (
	"fmt"
	"reflect"
	"strings"

	"tandem/internal/near"
)

// The words for what Decode does not take. They never repeat a value, but for a number: it may be a key.

// misplaced is the fault of a value that does not belong where it stands.
func (d *decoder) misplaced(s *shape) *fault {
	given := "an object"
	switch c := d.next(); c {
	case '{':
	case '[':
		given = "a list"
	case '"':
		given = "a string"
		if _, _, ok := d.quoted(); !ok {
			return d.broken()
		}
	default:
		word, ok := d.word()
		if !ok {
			return d.broken()
		}
		given = word
	}
	return faultf("want %s, not %s", wanted(s.t), given)
}

// wanted says in words what belongs where a Go type stands.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch k := t.Kind(); {
	case k >= reflect.Int && k <= reflect.Int64:
		return fmt.Sprintf("an integer from %d to %d", int64(-1)<<(t.Bits()-1), int64(1)<<(t.Bits()-1)-1)
	case k >= reflect.Uint && k <= reflect.Uint64:
		return fmt.Sprintf("an integer from 0 to %d", ^uint64(0)>>(64-t.Bits()))
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.String:
		return "a string"
	case k == reflect.Slice:
		return "a list"
	}
	return "an object"
}

// describeEnd is describeSyntax with other words for a text that ends too early: its last byte says nothing.
func describeEnd(err error) string {
	if said := describeSyntax(err); !strings.HasPrefix(said, "unexpected end of JSON input") {
		return said
	}
	return "the JSON ends too early"
}

// unknownField says that a member is not known, with a suggestion or else all that are.
func unknownField(name string, known []string) (step, text string) {
	step = strings.Trim(clip(name), `"`)
	if meant, ok := near.Word(name, known); ok {
		return step, fmt.Sprintf("unknown field; did you mean %q?", meant)
	}
	return step, fmt.Sprintf("unknown field (known: %s)", strings.Join(known, ", "))
}
