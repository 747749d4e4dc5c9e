package control

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// kind is what JSON a Go type reads and writes.
type kind uint8

const (
	foreign    kind = iota // encoding/json does it: types that encode themselves, and what no message has
	text                   // string
	truth                  // bool
	integer                // int, int8 ...
	natural                // uint, uint8 ...
	decimal                // float32, float64
	list                   // slice
	dictionary             // map by string
	object                 // struct with a json name on every field
)

// shape is a Go type as JSON, worked out once: what reflection tells slowly, in the order in which it is asked.
type shape struct {
	kind    kind
	t       reflect.Type
	pointer *shape  // of what t points to; the kind is its kind
	elem    *shape  // of a list's or dictionary's elements
	fields  []field // of an object, in the order of the struct

	labels   []string // of the fields: the name as it is written, with quotes and colon
	required uint64   // fields that Decode wants, a bit each: no omitempty, and neither a list nor a dictionary, of which nothing is none
}

// field is one member of an object.
type field struct {
	name      string
	index     int // in the struct
	shape     *shape
	omitempty bool
}

const maxFields = 64 // of an object: Decode remembers in one word which it has seen

// shapes holds one shape for each type that was ever a message: as many as the program has.
var shapes sync.Map // reflect.Type to *shape

// shapeOf returns the shape of a type.
func shapeOf(t reflect.Type) *shape {
	if s, known := shapes.Load(t); known {
		return s.(*shape)
	}
	s, _ := shapes.LoadOrStore(t, makeShape(t, map[reflect.Type]*shape{}))
	return s.(*shape)
}

// makeShape works a shape out. A type that holds itself finds itself among those begun.
func makeShape(t reflect.Type, begun map[reflect.Type]*shape) *shape {
	if s := begun[t]; s != nil {
		return s
	}
	s := &shape{t: t}
	begun[t] = s
	k := t.Kind()
	switch {
	case k == reflect.Pointer:
		s.pointer = makeShape(t.Elem(), begun)
		s.kind = s.pointer.kind
	case encodesItself(t):
	case k == reflect.String:
		s.kind = text
	case k == reflect.Bool:
		s.kind = truth
	case k >= reflect.Int && k <= reflect.Int64:
		s.kind = integer
	case k >= reflect.Uint && k <= reflect.Uint64:
		s.kind = natural
	case k == reflect.Float32 || k == reflect.Float64:
		s.kind = decimal
	case k == reflect.Slice && t.Elem().Kind() != reflect.Uint8: // bytes travel as base64
		s.kind, s.elem = list, makeShape(t.Elem(), begun)
	case k == reflect.Map && t.Key() == reflect.TypeFor[string]():
		s.kind, s.elem = dictionary, makeShape(t.Elem(), begun)
	case k == reflect.Struct && named(t):
		s.kind = object // before its fields: one may point back
		s.addFields(t, begun)
	}
	return s
}

// encodesItself tells that a type's inside is not ours to judge.
func encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t == reflect.TypeFor[json.Number]() || t.Kind() == reflect.Interface ||
		p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) ||
		p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// named tells that every field of a struct that JSON may reach has a name of its own, and no option but omitempty.
func named(t reflect.Type) bool {
	names := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			return false
		case !f.IsExported() || name == "-" && options == "":
		case name == "" || name == "-" || names[name] || strings.ContainsFunc(name, unusual) || options != "" && options != "omitempty":
			return false
		}
		names[name] = true
	}
	return t.NumField() <= maxFields
}

// unusual tells a character that no name of a message has, and that JSON might have to escape.
func unusual(c rune) bool {
	return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
}

// addFields lists the members of a struct.
func (s *shape) addFields(t reflect.Type, begun map[reflect.Type]*shape) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		k, omit := f.Type.Kind(), options == "omitempty"
		if !omit && k != reflect.Slice && k != reflect.Map {
			s.required |= 1 << len(s.fields)
		}
		s.fields = append(s.fields, field{name: name, index: i, shape: makeShape(f.Type, begun), omitempty: omit})
		s.labels = append(s.labels, `"`+name+`":`)
	}
}

// find returns the index of the field that a string token names, or -1. Members mostly come in the order of the struct:
// the search begins at the one after the last that was found.
func (s *shape) find(token []byte, plain bool, from int) int {
	for n := range s.fields {
		i := from + n
		if i >= len(s.fields) {
			i -= len(s.fields)
		}
		if spells(token, plain, s.fields[i].name) {
			return i
		}
	}
	return -1
}

// names lists the members of an object.
func (s *shape) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}
