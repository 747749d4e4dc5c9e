package console

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"tandem/signaling/b2bua"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fields lists the JSON names of a message, of what is in it and so on.
func fields(t reflect.Type, seen map[reflect.Type]bool) (names []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || seen[t] || !strings.HasPrefix(t.PkgPath(), "tandem/signaling/") {
		return nil // the relay's own are in internal/control's test
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !f.Anonymous {
			names = append(names, name)
		}
		names = append(names, fields(f.Type, seen)...)
	}
	return names
}

func TestEveryMethodAndFieldIsInTheManual(t *testing.T) {
	text := read(t, "../../docs/control.md")
	for _, m := range Methods() {
		if !strings.Contains(text, "### "+m.Name) && !strings.Contains(text, ", "+m.Name+"\n") {
			t.Errorf("no section on %s", m.Name)
		}
	}
	_, section, ok := strings.Cut(text, "## The call plane's socket")
	if !ok {
		t.Fatal("the section is gone")
	}
	for _, message := range []any{Hello{}, HelloResult{}, List{}, TrunkList{}, CallList{}, Ref{}, CallState{}, Explain{}, Reload{}, Reloaded{}, DrainResult{}} {
		for _, name := range fields(reflect.TypeOf(message), map[reflect.Type]bool{}) {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("%T: %s is not explained", message, name)
			}
		}
	}
	if !strings.Contains(text, "\n| 8 |") {
		t.Error("CodeConfig is not explained")
	}
}

func TestEveryFieldOfACallRecordIsInTheManual(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "../../docs/metrics.md"), "## Call records")
	if !ok {
		t.Fatal("the section is gone")
	}
	for _, name := range fields(reflect.TypeFor[b2bua.CallRecord](), map[reflect.Type]bool{}) {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("%s is not explained", name)
		}
	}
}
