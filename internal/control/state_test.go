package control

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// fill gives everything within v a value that is not empty, and lists n elements: a member that is added to a message is among
// those compared.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(`{"x":1}\`)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1<<32 - 1)
	case reflect.Float64:
		v.SetFloat(4.25)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]uint64{"stranger": 3, "early": 1}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("a kind that no state has had: " + v.Kind().String())
	}
}

func filled(n int) (s SessionState) {
	fill(reflect.ValueOf(&s).Elem(), n)
	return s
}

func TestAStateIsWrittenAndReadByHandAsEncodingJSONDoes(t *testing.T) {
	bare := SessionState{Streams: []StreamState{{Legs: []LegState{{}, {}}}, {Legs: []LegState{}}}}
	for _, want := range []SessionState{openState, filled(0), filled(1), filled(2), filled(3), bare, {Streams: []StreamState{}}} {
		line, ok := appendState(nil, &want)
		if theirs, err := json.Marshal(want); !ok || err != nil || string(line) != string(theirs) {
			t.Errorf("%v, %v: wrote %s\nand not %s", ok, err, line, theirs)
		}
		var got SessionState
		if ok := readState(line, &got); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: of %s\nread %+v", ok, line, got)
		}
	}
}

// disturbed are states that differ from what appendState writes, sound or not.
func disturbed() []string {
	whole, _ := appendState(nil, &openState)
	text := string(whole)
	swap := func(old, new string) string { return strings.Replace(text, old, new, 1) }
	return []string{
		``, `null`, `{}`, ` ` + text + "\n", text + "x", text[:len(text)-1], text[:len(text)/2],
		swap(`"generation":1`, `"generation":01`), swap(`"generation":1`, `"generation":-1`), swap(`"generation":1`, `"generation": 1 `),
		swap(`"generation":1`, `"generation":1.0`), swap(`"generation":1`, `"generation":18446744073709551615`), swap(`"generation":1`, `"generation":null`),
		swap(`"age_ms":12`, `"age_ms":- 12`), swap(`"age_ms":12`, `"age_ms":--12`), swap(`"age_ms":12`, `"age_ms":-0`), swap(`"age_ms":12`, `"age_ms":`),
		swap(`"age_ms":12`, `"age_ms":12,"closed":false`), swap(`"ssrc":4000000000`, `"ssrc":4294967296`), swap(`"ssrc":4000000000`, `"ssrc":0`),
		swap(`"jitter_ms":1.75`, `"jitter_ms":-0`), swap(`"jitter_ms":1.75`, `"jitter_ms":-1.5e-3`), swap(`"jitter_ms":1.75`, `"jitter_ms":1e999`),
		swap(`"jitter_ms":1.75`, `"jitter_ms":1.`), swap(`{"stranger":3}`, `{}`), swap(`{"stranger":3}`, `{"stranger":3,}`),
		swap(`{"stranger":3}`, `{"stranger":3,"stranger":4}`), swap(`{"stranger":3}`, `{"stranger":3 "x":4}`), swap(`{"stranger":3}`, `null`),
		swap(`"lan"`, `"\u00e9\ud800\n"`), swap(`"lan"`, "\"\xff\""), swap(`"lan"`, "\"\x01\""), swap(`"lan"`, `"lan","new":[1,{}]`), swap(`"lan"`, `null`),
		swap(`"legs":[`, `"legs":[,`), swap(`"legs":[`, `"legs":[]`), swap(`"streams":[`, `"streams":[null,`), swap(`"id":"call-1"`, `"ID":"call-1"`),
		swap(`,"owner":"node1"`, `,"owner":""`), swap(`,"owner":"node1"`, ``), swap(`,"owner":"node1"`, `,"owner":"node1","owner":"node2"`),
	}
}

// checkState wants a text that is read by hand to be what encoding/json reads, and what is not, not to be lost by that.
func checkState(t *testing.T, raw []byte) {
	t.Helper()
	var byHand, theirs SessionState
	theirErr := json.Unmarshal(raw, &theirs)
	if readState(raw, &byHand) && (theirErr != nil || !reflect.DeepEqual(byHand, theirs)) {
		t.Fatalf("%q\nread by hand is %+v\nand not %+v, %v", raw, byHand, theirs, theirErr)
	}
	if line, ok := appendState(nil, &theirs); ok && theirErr == nil {
		if want, err := json.Marshal(theirs); err != nil || string(line) != string(want) {
			t.Fatalf("wrote %s\nand not %s, %v", line, want, err)
		}
	}
}

func TestAStateOutOfTheOrdinaryIsReadAllTheSame(t *testing.T) {
	for _, raw := range disturbed() {
		checkState(t, []byte(raw))
		var got, want SessionState
		err, theirErr := decodeAnswer([]byte(raw), &got), json.Unmarshal([]byte(raw), &want)
		switch {
		case err != nil && strings.Contains(err.Error(), "given twice"), err != nil && theirErr != nil: // ours alone is strict about the first
		case (err == nil) != (theirErr == nil) || !reflect.DeepEqual(got, want) && !strings.Contains(raw, `"ID"`): // another case is another name
			t.Errorf("%s\nis %+v, %v\nand not %+v, %v", raw, got, err, want, theirErr)
		}
	}
}

// FuzzState compares what is written and read by hand with encoding/json.
func FuzzState(f *testing.F) {
	for _, seed := range append(disturbed(), string(must(appendState(nil, &openState)))) {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkState)
}

func must(line []byte, ok bool) []byte {
	if !ok {
		panic("a plain state is not written by hand")
	}
	return line
}

func TestTextIsEscapedAndReadWhereverItsOddBytesStand(t *testing.T) {
	for _, odd := range []string{``, `"`, `\`, `<`, `>`, `&`, "\x7f", "\x01", "é", `\"`, "=", ":", "%", "'", "!", "\u2028"} {
		for before := range 18 {
			for after := range 10 {
				text := strings.Repeat("a", before) + odd + strings.Repeat("b", after) + odd
				want, err := json.Marshal(text)
				if got := appendText([]byte("before"), text); err != nil || string(got) != "before"+string(want) {
					t.Fatalf("%q is written %s", text, got)
				}
				s := scanner{text: want}
				if token, plain, ok := s.quoted(); !ok || unquote(token, plain) != text {
					t.Fatalf("%s is read %q", want, unquote(token, plain))
				}
			}
		}
	}
}
