package config

import (
	"fmt"
	"io"
	"reflect"
)

// Secret is text that is never printed, whatever the verb or the encoding; string(s) is the only way to it.
type Secret string

// hidden is what stands in place of a secret.
const hidden = "(hidden)"

// String hides the text.
func (Secret) String() string { return hidden }

// Format hides it from every verb of fmt, %#v and %d among them.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalText hides it from JSON and from structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// secretive reports whether a value of the type is a secret or a section with one: a word in the section's place, by a
// mistake in the indentation, may be it.
func secretive(t reflect.Type) bool {
	secret := reflect.TypeFor[Secret]()
	switch t.Kind() {
	case reflect.Pointer, reflect.Map:
		return secretive(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i).Type; f == secret || f.Kind() == reflect.Map && f.Elem() == secret {
				return true
			}
		}
	}
	return t == secret
}
