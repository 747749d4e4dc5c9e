package rival

import (
	"reflect"
	"strings"
	"testing"
)

func TestBencodeIsWhatTheProtocolShows(t *testing.T) {
	for _, c := range []struct {
		value any
		text  string
	}{
		{"ping", "4:ping"},
		{"", "0:"},
		{int64(-7), "i-7e"},
		{[]any{"a", int64(0)}, "l1:ai0ee"},
		{map[string]any{"command": "ping"}, "d7:command4:pinge"},
		{map[string]any{"b": []any{}, "a": map[string]any{}}, "d1:ade1:blee"},
	} {
		if got := string(Encode(nil, c.value)); got != c.text {
			t.Errorf("encode %v: %s, want %s", c.value, got, c.text)
		}
		got, err := Decode(c.text)
		if err != nil || !reflect.DeepEqual(got, c.value) {
			t.Errorf("decode %s: %v %v, want %v", c.text, got, err, c.value)
		}
	}
}

func TestDictionariesMayComeInAnyOrder(t *testing.T) {
	got, err := Decode("d6:result2:ok3:sdp3:v=0e")
	want := map[string]any{"result": "ok", "sdp": "v=0"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v %v", got, err)
	}
	if got, err = Decode("d3:sdp3:v=06:result2:oke"); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v %v", got, err)
	}
}

func TestWhatIsNoBencodeIsRefusedWithItsPlace(t *testing.T) {
	for text, says := range map[string]string{
		"":                           "byte 0: ends where",
		"x":                          "byte 0: 'x' begins no value",
		"4:pin":                      "byte 0: a string of 4 bytes, but 3",
		"4ping":                      "without a colon",
		"04:ping":                    "is no integer",
		"i7":                         "without an end",
		"i-0e":                       "is no integer",
		"i+1e":                       "is no integer",
		"ie":                         "is no integer",
		"i99999999999999999999e":     "is no integer",
		"99999999999999999999:a":     "is no integer",
		"l1:a":                       "byte 4: ends where",
		"di1e1:ae":                   "key that is no string",
		"d1:ai1e1:ai2ee":             "byte 7: key \"a\" comes twice",
		"d1:ae":                      "'e' begins no value",
		"4:pingx":                    "byte 6: 1 bytes after",
		strings.Repeat("l", 100_000): "nested deeper than 32",
	} {
		if v, err := Decode(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, %v; want %q", text, v, err, says)
		}
	}
}

// FuzzDecode: what is accepted encodes again, and decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"d7:command4:pinge", "d6:result5:error12:error-reason15:Unknown call-ide", "li1ei-2e0:l1:aee", "d1:ad1:bl1:ceee",
		"4:pin", "i-0e", "d1:ai1e1:ai2ee", "llllllll", "18446744073709551615:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Decode(text)
		if err != nil {
			return
		}
		encoded := string(Encode(nil, v))
		if len(encoded) != len(text) {
			t.Fatalf("%q was accepted, but encodes as %q", text, encoded)
		}
		again, err := Decode(encoded)
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%q: %v, then %v %v", text, v, again, err)
		}
	})
}
