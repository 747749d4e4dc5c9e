package control

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"tandem/internal/near"
)

// Decode reads the params of a call into T, strictly. encoding/json alone would take "ID" for "id", the last of two
// members of one name, and name an unknown field without its place. Every error is an *Error with CodeParams that begins
// with the path: streams[0].legs[1].pinn: unknown field; did you mean "pin"?
//
// A field of T without omitempty must be given, unless it is a list: an absent list is empty, and null is as good as
// absent. T and what it holds are structs with a json tag on every field; embedded structs are not followed.
// Empty raw is {}.
func Decode[T any](raw json.RawMessage) (T, error) {
	var v T
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("{}")
	}
	c := checker{json.NewDecoder(bytes.NewReader(raw))}
	c.dec.UseNumber()
	if null, err := c.value(reflect.TypeFor[T](), "params"); err != nil {
		return v, err
	} else if null {
		return v, Errorf(CodeParams, "params: want an object, not null")
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		var zero T
		return zero, Errorf(CodeParams, "params: %s", describeSyntax(err))
	}
	return v, nil
}

// checker walks JSON beside the Go type that it is meant for. Its depth is the type's: what has no place in the type is
// an error before it is entered.
type checker struct{ dec *json.Decoder }

// value checks one value at path, which is "params" for the whole, and tells whether it is null.
func (c *checker) value(t reflect.Type, path string) (null bool, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		var raw json.RawMessage
		if err := c.dec.Decode(&raw); err != nil {
			return false, at(path, "%s", describeSyntax(err))
		}
		return string(raw) == "null", nil
	}
	tok, err := c.dec.Token()
	if err != nil {
		return false, at(path, "%s", describeSyntax(err))
	}
	switch tok := tok.(type) {
	case nil:
		return true, nil
	case json.Delim:
		switch {
		case tok == '{' && t.Kind() == reflect.Struct:
			return false, c.object(t, path)
		case tok == '{' && t.Kind() == reflect.Map:
			return false, c.dictionary(t, path)
		case tok == '[' && t.Kind() == reflect.Slice:
			return false, c.list(t, path)
		}
	case string:
		if t.Kind() == reflect.String {
			return false, nil
		}
	case bool:
		if t.Kind() == reflect.Bool {
			return false, nil
		}
	case json.Number:
		if fits(tok.String(), t) {
			return false, nil
		}
		return false, at(path, "want %s, not the number %s", wanted(t), clip(tok.String()))
	}
	return false, at(path, "want %s, not %s", wanted(t), given(tok))
}

// object checks the members of a struct; its { is read.
func (c *checker) object(t reflect.Type, path string) error {
	names, required := fields(t)
	seen := make([]bool, len(names))
	for c.dec.More() {
		key, err := c.dec.Token()
		if err != nil {
			return at(path, "%s", describeSyntax(err))
		}
		name := key.(string)
		i := indexOf(names, name)
		switch {
		case i < 0:
			return unknownName(CodeParams, prefix(path), name, names)
		case seen[i]:
			return at(prefix(path)+name, "given twice")
		}
		null, err := c.value(t.Field(i).Type, prefix(path)+name)
		if err != nil {
			return err
		}
		seen[i] = true
		if null && required[i] {
			return at(prefix(path)+name, "want %s, not null", wanted(t.Field(i).Type))
		}
	}
	for i, name := range names {
		if required[i] && !seen[i] {
			return at(prefix(path)+name, "missing")
		}
	}
	return c.end(path)
}

// list checks the elements of a slice; its [ is read.
func (c *checker) list(t reflect.Type, path string) error {
	for i := 0; c.dec.More(); i++ {
		place := fmt.Sprintf("%s[%d]", path, i)
		if null, err := c.value(t.Elem(), place); err != nil {
			return err
		} else if null {
			return at(place, "want %s, not null", wanted(t.Elem()))
		}
	}
	return c.end(path)
}

// dictionary checks the values of a map; its { is read.
func (c *checker) dictionary(t reflect.Type, path string) error {
	for c.dec.More() {
		key, err := c.dec.Token()
		if err != nil {
			return at(path, "%s", describeSyntax(err))
		}
		if _, err := c.value(t.Elem(), prefix(path)+clip(key.(string))); err != nil {
			return err
		}
	}
	return c.end(path)
}

// end reads the closing bracket.
func (c *checker) end(path string) error {
	if _, err := c.dec.Token(); err != nil {
		return at(path, "%s", describeSyntax(err))
	}
	return nil
}

// fields lists the json names of a struct's fields by their index ("" for one that JSON does not reach) and which of them
// must be given.
func fields(t reflect.Type) (names []string, required []bool) {
	names, required = make([]string, t.NumField()), make([]bool, t.NumField())
	for i := range names {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		names[i] = name
		kind := f.Type.Kind()
		required[i] = !strings.Contains(options, "omitempty") && kind != reflect.Slice && kind != reflect.Map
	}
	return names, required
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name && name != "" {
			return i
		}
	}
	return -1
}

// readsItself tells that a type decodes itself, so that its inside is not ours to judge.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Interface || p.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fits tells that a JSON number can be held by t without loss of its whole part.
func fits(number string, t reflect.Type) bool {
	var err error
	switch {
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		_, err = strconv.ParseInt(number, 10, t.Bits())
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		_, err = strconv.ParseUint(number, 10, t.Bits())
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		_, err = strconv.ParseFloat(number, t.Bits())
	default:
		return false
	}
	return err == nil
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

// given says in words what stood there, never the value: it may be a key.
func given(tok json.Token) string {
	switch tok := tok.(type) {
	case string:
		return "a string"
	case bool:
		return strconv.FormatBool(tok)
	case json.Delim:
		if tok == '[' {
			return "a list"
		}
	}
	return "an object"
}

// at is a parameter error at a path.
func at(path, format string, args ...any) *Error {
	return Errorf(CodeParams, "%s: %s", path, fmt.Sprintf(format, args...))
}

// prefix is what a member's name is appended to.
func prefix(path string) string {
	if path == "params" {
		return ""
	}
	return path + "."
}

// unknownName is the error for a member that is not known, with a suggestion or else all that are.
func unknownName(code int, prefix, name string, known []string) *Error {
	place := prefix + strings.Trim(clip(name), `"`)
	if meant, ok := near.Word(name, known); ok {
		return Errorf(code, "%s: unknown field; did you mean %q?", place, meant)
	}
	var list []string
	for _, k := range known {
		if k != "" {
			list = append(list, k)
		}
	}
	return Errorf(code, "%s: unknown field (known: %s)", place, strings.Join(list, ", "))
}
