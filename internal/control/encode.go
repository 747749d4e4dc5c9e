package control

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/bits"
	"reflect"
	"strconv"
)

// appendJSON appends what json.Marshal(v) returns, byte for byte, without its buffers. With an error b may have grown.
func appendJSON(b []byte, v any) ([]byte, error) {
	if v == nil {
		return append(b, "null"...), nil
	}
	if state, ok := v.(SessionState); ok {
		if out, ok := appendState(b, &state); ok {
			return out, nil
		}
	}
	at := reflect.ValueOf(v)
	return appendValue(b, shapeOf(at.Type()), at)
}

func appendValue(b []byte, s *shape, v reflect.Value) ([]byte, error) {
	if s.kind == foreign {
		return appendForeign(b, v)
	}
	for ; s.pointer != nil; s = s.pointer {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		v = v.Elem()
	}
	switch s.kind {
	case text:
		return appendText(b, v.String()), nil
	case truth:
		return strconv.AppendBool(b, v.Bool()), nil
	case integer:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case natural:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case decimal:
		return appendDecimal(b, v)
	case list:
		return appendList(b, s, v)
	case object:
		return appendObject(b, s, v)
	}
	return appendForeign(b, v) // a dictionary, whose members json sorts
}

// appendForeign lets encoding/json write a value.
func appendForeign(b []byte, v reflect.Value) ([]byte, error) {
	if v.CanAddr() {
		v = v.Addr() // a method of the pointer counts, as it does for encoding/json
	}
	encoded, err := json.Marshal(v.Interface())
	return append(b, encoded...), err
}

// appendText appends a string. Quotes and backslashes, of which JSON inside a string is full, are escaped here; what else
// needs it, control characters and what a browser might take for markup, json writes.
func appendText(b []byte, s string) []byte {
	start := len(b)
	b = append(b, '"')
	for i := 0; i < len(s); {
		if i+8 <= len(s) { // eight bytes are copied, whatever they are, and those before the first to be looked at count
			w := eight(s[i:])
			n := bits.TrailingZeros64(special(w)|markup(w)) / 8
			b = binary.LittleEndian.AppendUint64(b, w)[:len(b)+n]
			if i += n; n == 8 {
				continue
			}
		}
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
			encoded, _ := json.Marshal(s) // a string always has a JSON form
			return append(b[:start], encoded...)
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

// eight is the first eight bytes of s as special takes them.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Between these, encoding/json writes a decimal without an exponent, as JavaScript does (ECMA-262, Number::toString).
const (
	leastPlain = 1e-6
	mostPlain  = 1e21
)

// plainDecimal tells that a number is one, and is written so.
func plainDecimal(f float64) bool {
	a := math.Abs(f)
	return f == 0 || leastPlain <= a && a < mostPlain
}

func appendDecimal(b []byte, v reflect.Value) ([]byte, error) {
	if f := v.Float(); v.Type().Bits() == 64 && plainDecimal(f) {
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	return appendForeign(b, v) // tiny, huge, short, or no number at all
}

func appendList(b []byte, s *shape, v reflect.Value) (_ []byte, err error) {
	if v.IsNil() {
		return append(b, "null"...), nil
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, s.elem, v.Index(i)); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, s *shape, v reflect.Value) (_ []byte, err error) {
	b = append(b, '{')
	first := true
	for i := range s.fields {
		f := &s.fields[i]
		inner := v.Field(f.index)
		if f.omitempty && isEmpty(inner) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, s.labels[i]...)
		if b, err = appendValue(b, f.shape, inner); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// isEmpty is what omitempty leaves out (encoding/json, Marshal).
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
