package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
)

// Decode reads the params of a call into T, strictly. encoding/json alone would take "ID" for "id", the last of two
// members of one name, and name an unknown field without its place. Every error is an *Error with CodeParams that begins
// with the path: streams[0].legs[1].pinn: unknown field; did you mean "pin"?
//
// A field of T without omitempty must be given, unless it is a list: an absent list is empty, and null is as good as
// absent. T and what it holds are structs with a json tag on every field; one with an embedded struct or with another
// option than omitempty is left to encoding/json, and not strict. Empty raw is {}. Nothing of raw is kept.
func Decode[T any](raw json.RawMessage) (T, error) {
	var v, zero T
	d := decoder{scanner: scanner{text: raw}, strict: true}
	if d.ended() {
		d = decoder{scanner: scanner{text: []byte("{}")}, strict: true}
	}
	null, fault := d.value(shapeOf(reflect.TypeFor[T]()), reflect.ValueOf(&v).Elem())
	if fault == nil && !d.ended() {
		fault = d.broken()
	}
	switch {
	case fault != nil:
		return zero, Errorf(CodeParams, "%s", fault)
	case null:
		return zero, Errorf(CodeParams, "params: want an object, not null")
	}
	return v, nil
}

// decodeAnswer reads what a server sent into what v points to, which it replaces. It is not strict: a newer server may say
// more than we know. Only a member given twice is an error here as well.
func decodeAnswer(raw []byte, v any) error {
	if state, ok := v.(*SessionState); ok && state != nil {
		*state = SessionState{}
		if readState(raw, state) {
			return nil
		}
	}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return json.Unmarshal(raw, v) // it says what is wrong with v
	}
	s := shapeOf(p.Type().Elem())
	if s.kind == foreign {
		return json.Unmarshal(raw, v)
	}
	p.Elem().SetZero()
	d := decoder{scanner: scanner{text: raw}}
	_, fault := d.value(s, p.Elem())
	if fault == nil && !d.ended() {
		fault = d.broken()
	}
	if fault != nil {
		p.Elem().SetZero() // nor is half an answer one
		return errors.New(fault.String())
	}
	return nil
}

// decoder reads JSON straight into Go values. Its depth is the type's: what has no place in the type is an error, or
// skipped, before it is entered.
type decoder struct {
	scanner
	strict bool // unknown and missing members are errors, and so is null for what must be there
}

// fault is what is wrong and where. The path grows from its end while the decoder returns.
type fault struct {
	path string
	text string
}

func faultf(format string, args ...any) *fault { return &fault{text: fmt.Sprintf(format, args...)} }

// within puts a step before the path: a member's name, or an element's place.
func (f *fault) within(step string) *fault {
	if f.path != "" && f.path[0] != '[' {
		step += "."
	}
	f.path = step + f.path
	return f
}

func (f *fault) String() string {
	if f.path == "" {
		return "params: " + f.text
	}
	return f.path + ": " + f.text
}

// broken is the fault of a text that is not JSON.
func (d *decoder) broken() *fault { return &fault{text: describeEnd(syntax(d.text))} }

// value reads one value into v, which is zero, and tells whether it is null; null leaves v as it is.
func (d *decoder) value(s *shape, v reflect.Value) (null bool, f *fault) {
	c := d.next()
	if s.kind == foreign {
		return d.foreign(v)
	}
	if c == 'n' {
		if _, ok := d.word(); !ok {
			return false, d.broken()
		}
		return true, nil
	}
	for ; s.pointer != nil; s = s.pointer {
		v.Set(reflect.New(s.pointer.t))
		v = v.Elem()
	}
	switch {
	case c == '"' && s.kind == text:
		token, plain, ok := d.quoted()
		if !ok {
			return false, d.broken()
		}
		v.SetString(unquote(token, plain))
		return false, nil
	case c == '{' && s.kind == object:
		return false, d.object(s, v)
	case c == '[' && s.kind == list:
		return false, d.list(s, v)
	case c == '{' && s.kind == dictionary:
		return false, d.dictionary(s, v)
	case (c == 't' || c == 'f') && s.kind == truth:
		word, ok := d.word()
		if !ok {
			return false, d.broken()
		}
		v.SetBool(word == "true")
		return false, nil
	case c == '-' || isDigit(c):
		return false, d.numeral(s, v)
	}
	return false, d.misplaced(s)
}

// numeral reads a number, if that belongs here and fits: a fraction does not fit an integer, even 1.0.
func (d *decoder) numeral(s *shape, v reflect.Value) *fault {
	token, ok := d.number()
	if !ok {
		return d.broken()
	}
	if n, ok := fewDigits(token); ok && setCount(s, v, n) {
		return nil
	}
	err := strconv.ErrSyntax
	switch s.kind {
	case integer:
		var n int64
		if n, err = strconv.ParseInt(string(token), 10, s.t.Bits()); err == nil {
			v.SetInt(n)
		}
	case natural:
		var n uint64
		if n, err = strconv.ParseUint(string(token), 10, s.t.Bits()); err == nil {
			v.SetUint(n)
		}
	case decimal:
		var n float64
		if n, err = strconv.ParseFloat(string(token), s.t.Bits()); err == nil {
			v.SetFloat(n)
		}
	}
	if err != nil {
		return faultf("want %s, not the number %s", wanted(s.t), clip(string(token)))
	}
	return nil
}

const exactDigits = 15 // of a decimal number that a float64 holds as it is (IEEE 754)

// fewDigits is the value of a number that is nothing but digits, and not many: most are.
func fewDigits(token []byte) (n uint64, ok bool) {
	if len(token) > exactDigits {
		return 0, false
	}
	for _, c := range token {
		if !isDigit(c) {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}

// setCount sets v to n if it is of a kind, and has the room, for it.
func setCount(s *shape, v reflect.Value, n uint64) bool {
	switch {
	case s.kind == natural && !v.OverflowUint(n):
		v.SetUint(n)
	case s.kind == integer && !v.OverflowInt(int64(n)):
		v.SetInt(int64(n))
	case s.kind == decimal:
		v.SetFloat(float64(n))
	default:
		return false
	}
	return true
}

// object reads a struct.
func (d *decoder) object(s *shape, v reflect.Value) *fault {
	if !d.enter() {
		return d.broken()
	}
	seen := uint64(0)
	next := 0
	for first := true; ; first = false {
		another, ok := d.more('}', first)
		if !ok {
			return d.broken()
		}
		if !another {
			break
		}
		i, name, ok := d.member(s, next)
		if !ok {
			return d.broken()
		}
		if i < 0 {
			if d.strict {
				step, text := unknownField(name, s.names())
				return (&fault{text: text}).within(step)
			}
			if _, ok := d.scanner.value(); !ok {
				return d.broken()
			}
			continue
		}
		field := &s.fields[i]
		if seen&(1<<i) != 0 {
			return faultf("given twice").within(field.name)
		}
		seen |= 1 << i
		null, f := d.value(field.shape, v.Field(field.index))
		switch {
		case f != nil:
			return f.within(field.name)
		case null && d.strict && s.required&(1<<i) != 0:
			return faultf("want %s, not null", wanted(field.shape.t)).within(field.name)
		}
		next = i + 1
	}
	if missing := s.required &^ seen; missing != 0 && d.strict {
		return faultf("missing").within(s.fields[bits.TrailingZeros64(missing)].name)
	}
	return nil
}

// member takes a name and its colon, and returns the index of the field that it names: mostly one soon after where the search
// begins, written as we write it. Else the index is -1, and unknown is the name.
func (d *decoder) member(s *shape, from int) (i int, unknown string, ok bool) {
	if rest := d.text[d.at:]; len(rest) > 1 {
		for i := from; i < len(s.labels); i++ {
			label := s.labels[i]
			if label[1] == rest[1] && len(label) <= len(rest) && string(rest[:len(label)]) == label {
				d.at += len(label)
				return i, "", true
			}
		}
	}
	token, plain, ok := d.quoted()
	if !ok || !d.take(':') {
		return -1, "", false
	}
	if i = s.find(token, plain, from); i < 0 {
		unknown = unquote(token, plain)
	}
	return i, unknown, true
}

const firstElements = 2 // that a list has room for before it grows: most have so many, the legs of a stream above all

// list reads a slice.
func (d *decoder) list(s *shape, v reflect.Value) *fault {
	if !d.enter() {
		return d.broken()
	}
	n := 0
	for ; ; n++ {
		switch another, ok := d.more(']', n == 0); {
		case !ok:
			return d.broken()
		case !another:
			if n == 0 {
				v.Set(reflect.MakeSlice(s.t, 0, 0)) // nothing is not null
			}
			return nil
		}
		if n == v.Cap() {
			v.Grow(firstElements)
		}
		v.SetLen(n + 1)
		null, f := d.value(s.elem, v.Index(n))
		if f == nil && null && d.strict {
			f = faultf("want %s, not null", wanted(s.elem.t))
		}
		if f != nil {
			return f.within(fmt.Sprintf("[%d]", n))
		}
	}
}

// dictionary reads a map.
func (d *decoder) dictionary(s *shape, v reflect.Value) *fault {
	if !d.enter() {
		return d.broken()
	}
	v.Set(reflect.MakeMap(s.t))
	for first := true; ; first = false {
		switch another, ok := d.more('}', first); {
		case !ok:
			return d.broken()
		case !another:
			return nil
		}
		token, plain, ok := d.quoted()
		if !ok || !d.take(':') {
			return d.broken()
		}
		name := unquote(token, plain)
		elem := reflect.New(s.elem.t).Elem()
		if _, f := d.value(s.elem, elem); f != nil {
			return f.within(clip(name))
		}
		v.SetMapIndex(reflect.ValueOf(name), elem)
	}
}

// foreign lets encoding/json read a value.
func (d *decoder) foreign(v reflect.Value) (null bool, f *fault) {
	raw, ok := d.scanner.value()
	if !ok {
		return false, d.broken()
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		return false, &fault{text: describeSyntax(err)}
	}
	return string(raw) == "null", nil
}
