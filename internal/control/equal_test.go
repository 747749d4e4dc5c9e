package control

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// every has a field of each kind that a message may have, with and without omitempty.
type every struct {
	S  string            `json:"s"`
	SO string            `json:"so,omitempty"`
	B  bool              `json:"b"`
	I  int8              `json:"i,omitempty"`
	U  uint16            `json:"u"`
	F  float64           `json:"f,omitempty"`
	F4 float32           `json:"f4"`
	P  *string           `json:"p,omitempty"`
	PB *bool             `json:"pb"`
	PL *[]string         `json:"pl,omitempty"`
	L  []every           `json:"l"`
	LO []int64           `json:"lo,omitempty"`
	O  *every            `json:"o,omitempty"`
	M  map[string]uint64 `json:"m,omitempty"`
	R  json.RawMessage   `json:"r,omitempty"`
	A  any               `json:"a,omitempty"`
	Y  []byte            `json:"y,omitempty"`
}

// checkAgainstJSON reads raw both ways.
func checkAgainstJSON[T any](t *testing.T, raw []byte) {
	t.Helper()
	strict, err := Decode[T](raw)
	var theirs T
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	theirErr := dec.Decode(&theirs)
	if theirErr == nil {
		theirErr = json.Unmarshal(raw, new(json.RawMessage)) // nothing may follow
	}
	if len(bytes.Trim(raw, " \t\r\n")) == 0 {
		return // Decode reads nothing as {}
	}
	switch {
	case err == nil && theirErr != nil:
		t.Fatalf("Decode takes what encoding/json does not (%v): %q", theirErr, raw)
	case err == nil && !reflect.DeepEqual(strict, theirs):
		t.Fatalf("%q\ndecoded %+v\nand not %+v", raw, strict, theirs)
	case err != nil && theirErr == nil && !knownStrictness(err.Error()):
		t.Fatalf("Decode refuses what encoding/json takes: %v: %q", err, raw)
	}
	if err == nil {
		checkEncoding(t, strict)
		var answer T
		if err := decodeAnswer(raw, &answer); err != nil || !reflect.DeepEqual(answer, strict) {
			t.Fatalf("as an answer it is %+v, %v: %q", answer, err, raw)
		}
	}
}

// knownStrictness tells that an error is one that Decode is meant to have beyond encoding/json.
func knownStrictness(err string) bool {
	for _, reason := range []string{"given twice", "missing", "not null", "unknown field"} { // unknown: another case
		if strings.Contains(err, reason) {
			return true
		}
	}
	return false
}

// checkEncoding compares with encoding/json, byte for byte.
func checkEncoding(t *testing.T, v any) {
	t.Helper()
	theirs, theirErr := json.Marshal(v)
	ours, err := appendJSON([]byte("before"), v)
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("%+v: %v, and encoding/json says %v", v, err, theirErr)
	}
	if err == nil && string(ours) != "before"+string(theirs) {
		t.Fatalf("encoded %s\nand not %s", ours, theirs)
	}
}

// oddities are texts at the edges of JSON.
var oddities = []string{
	`{}`, `[]`, `null`, ` { } `, `{"s":"a","b":true,"u":1,"f4":1,"pb":null}`, `{"s":"\u00e9\ud83d\ude00\ud800\n\/","b":false,"u":65535,"f4":-0.5,"pb":true}`,
	`{"s":"é\u2028<&>","so":"\\\"","b":true,"i":-128,"u":0,"f":1e-7,"f4":1e30,"p":"","pb":false,"pl":[],"l":[],"lo":[1,-2,3],"m":{"b":1,"a":2}}`,
	`{"s":"","b":true,"u":1,"f4":0,"pb":null,"l":[{"s":"x","b":true,"u":1,"f4":-0,"pb":null}],"o":{"s":"y","b":true,"u":2,"f4":3,"pb":true},"r":{"z":[1, 2]},"a":[{}, null]}`,
	`{"s":"a","b":true,"u":1,"f4":1,"pb":null,"f":-0}`, `{"s":"a","b":true,"u":-0,"f4":1,"pb":null}`, `{"s":"a","b":true,"u":1e2,"f4":1,"pb":null}`,
	`{"s":"a","b":true,"u":01,"f4":1,"pb":null}`, `{"s":"a","b":true,"u":1.,"f4":1,"pb":null}`, `{"s":"a","b":true,"u":1,"f4":1e,"pb":null}`,
	`{"s":"a","b":true,"u":1,"f4":1e39,"pb":null}`, `{"s":"a","b":true,"u":1,"f4":1,"pb":null,}`, `{,"s":"a"}`, `{"s" "a"}`, `{"s":"a"`,
	`{"s":"a","S":"b"}`, `{"\u0073":"escaped name","b":true,"u":1,"f4":1,"pb":null}`, "{\"s\":\"\xff\",\"b\":true,\"u\":1,\"f4\":1,\"pb\":null}",
	"{\"s\":\"a\x01\"}", "{\"s\":\"\\u12g4\"}", `{"s":"\x"}`, `{"s":tru}`, `{"b":truex}`, `{"b":nul}`, `{"l":[1]}`, `{"l":[,]}`, `{"l":[null]}`, `{"m":{"a":null}}`,
	`{"y":"aGk="}`, `{"r":nul}`, `{"a":}`, `{"o":{"o":{"o":{"s":1}}}}`, "\ufeff{}", "{\"s\":\"\x7f\"}", `{"f":1E+2}`, `{"f":--1}`, `{"f":-}`, `{"f":.5}`,
}

// FuzzDecode compares Decode with encoding/json: what it takes, json decodes to the same; what it refuses, json refuses too,
// or the refusal is of the strictness that Decode is for. What is decoded is encoded as json does.
func FuzzDecode(f *testing.F) {
	for _, seed := range oddities {
		f.Add([]byte(seed))
	}
	state, err := json.Marshal(openState)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{openExample, string(state), `{"id":"s","generation":2,"opaque":null,"streams":[{"name":"audio","watch":true,"legs":null}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkAgainstJSON[every](t, raw)
		checkAgainstJSON[Open](t, raw)
		checkAgainstJSON[SessionState](t, raw)
		s := scanner{text: raw}
		if _, ok := s.value(); (ok && s.ended()) != json.Valid(raw) {
			t.Fatalf("well-formed: %v, and encoding/json says %v: %q", ok && s.ended(), json.Valid(raw), raw)
		}
	})
}

func TestNestingIsBoundedAsInEncodingJSON(t *testing.T) {
	for depth := maxDepth - 2; depth <= maxDepth+2; depth++ {
		raw := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		s := scanner{text: raw}
		if _, ok := s.value(); ok != json.Valid(raw) {
			t.Errorf("depth %d: %v", depth, ok)
		}
		line := []byte(`{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":` + string(raw) + `}}`)
		if _, bad := parseRequest(line, nil); (bad == nil) != json.Valid(line) {
			t.Errorf("depth %d in a request: %v", depth, bad)
		}
	}
}

func TestAnswersAreEncodedAsEncodingJSONDoes(t *testing.T) {
	word := "x\"<>&\u2028\xff\x00é"
	yes, words := true, []string{"a", word}
	type itself struct{ X, Y int } // no names: left to encoding/json
	for _, v := range []any{
		nil, openState, &openState, SessionState{}, Stats{}, Stats{Drops: map[string]uint64{"b": 1, "a": 2}, BatchIn: 1.5},
		ListResult{Sessions: []SessionState{openState, {}}, Next: "x"}, HelloResult{Suites: words}, Open{Streams: []Stream{{Watch: &yes, Legs: []Leg{{Prefixes: &words}}}}},
		Event{Session: word}, "done", word, 7, -7, uint64(math.MaxUint64), true, 1.0, words, map[string]any{"b": 1, "a": word}, json.RawMessage(` { "a" : 1 } `),
		(*Open)(nil), []SessionState(nil), itself{1, 2}, []itself{{1, 2}}, struct{}{}, make(chan int), json.RawMessage(`{`),
		every{F: math.NaN()}, every{F: math.Inf(1)}, every{R: json.RawMessage("nonsense")}, every{A: make(chan int)}, every{Y: []byte("bytes")}, []json.Number{"1"},
		every{S: word, F: -0.1, F4: 0.1, P: &word, PB: &yes, PL: &words, L: []every{{}}, O: &every{}, M: map[string]uint64{word: 1}, A: every{}},
	} {
		checkEncoding(t, v)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 1e-6, 9.99e-7, 1e20, 1e21, 123456.789, math.MaxFloat64, math.SmallestNonzeroFloat64, 4.34} {
		checkEncoding(t, every{F: f, F4: float32(f)})
	}
}

func TestAnAnswerIsEncodedAndALineScannedWithoutAllocating(t *testing.T) {
	state := openState
	state.Streams = []StreamState{{Name: "audio", Legs: []LegState{openState.Streams[0].Legs[0], openState.Streams[0].Legs[0]}}}
	var result any = state
	id := json.RawMessage("1")
	buffer := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { appendAnswer(buffer, id, result, nil, MaxLine) }); n != 0 {
		t.Errorf("%v allocations for an answer", n)
	}
	raw := []byte(openExample)
	if n := testing.AllocsPerRun(100, func() {
		s := scanner{text: raw}
		s.value()
	}); n != 0 {
		t.Errorf("%v allocations for a scan", n)
	}
}

func TestAnAnswerMayHoldMoreThanWeKnow(t *testing.T) {
	raw := []byte(`{"id":"s","news":{"a":[1,{"b":null}]},"generation":3,"streams":[{"name":"audio","colour":"red","legs":null}]}`)
	got := SessionState{ID: "old", Owner: "old"}
	want := SessionState{ID: "s", Generation: 3, Streams: []StreamState{{Name: "audio"}}}
	if err := decodeAnswer(raw, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []struct{ raw, want string }{
		{`{"id":1}`, `id: want a string, not the number "1"`},
		{`{"id":"s","id":"t"}`, "id: given twice"},
		{`{"id":"s","news":[}`, "params: invalid character '}'"},
		{`{"id":"s"} x`, "params: invalid character 'x'"},
	} {
		if err := decodeAnswer([]byte(c.raw), &got); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.raw, err)
		}
	}
	var any map[string]any
	if err := decodeAnswer([]byte(`{"a":[1]}`), &any); err != nil || len(any) != 1 {
		t.Errorf("%v, %v", any, err)
	}
	if err := decodeAnswer([]byte(`{}`), SessionState{}); err == nil {
		t.Error("an answer was decoded into nothing that can hold it")
	}
}
