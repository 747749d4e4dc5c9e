package control

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeNamesThePathAndWhatBelongsThere(t *testing.T) {
	const leg = `{"id":"s","streams":[{"name":"audio","legs":[{"name":"a"},{"name":"b",`
	for _, c := range []struct{ name, params, message string }{
		{"an unknown field", `{"id":"s","stream":[]}`, `stream: unknown field; did you mean "streams"?`},
		{"an unknown field of a leg", leg + `"pinn":"auth"}]}]}`, `streams[0].legs[1].pinn: unknown field; did you mean "pin"?`},
		{"an unknown field like no other", `{"id":"s","zzz":1}`, `zzz: unknown field (known: id, generation, owner, opaque, streams)`},
		{"a field in capitals", `{"ID":"s"}`, `ID: unknown field; did you mean "id"?`},
		{"a field twice", `{"id":"s","id":"t"}`, `id: given twice`},
		{"a key twice", leg + `"rx":{"suite":"none","suite":"none"}}]}]}`, `streams[0].legs[1].rx.suite: given twice`},
		{"no id", `{"streams":[]}`, `id: missing`},
		{"nothing", ``, `id: missing`},
		{"an id of null", `{"id":null}`, `id: want a string, not null`},
		{"a leg without a name", `{"id":"s","streams":[{"name":"audio","legs":[{}]}]}`, `streams[0].legs[0].name: missing`},
		{"a leg of null", `{"id":"s","streams":[{"name":"audio","legs":[null]}]}`, `streams[0].legs[0]: want an object, not null`},
		{"a list for a string", `{"id":["s"]}`, `id: want a string, not a list`},
		{"a string for a list", `{"id":"s","streams":"audio"}`, `streams: want a list, not a string`},
		{"a string for a number", leg + `"dscp":"46"}]}]}`, `streams[0].legs[1].dscp: want an integer from -9223372036854775808 to 9223372036854775807, not a string`},
		{"a fraction for a number", `{"id":"s","generation":1.5}`, `generation: want an integer from 0 to 18446744073709551615, not the number "1.5"`},
		{"a negative generation", `{"id":"s","generation":-1}`, `generation: want an integer from 0 to 18446744073709551615, not the number "-1"`},
		{"a payload type over 255", leg + `"payloads":[{"type":256}]}]}]}`, `streams[0].legs[1].payloads[0].type: want an integer from 0 to 255, not the number "256"`},
		{"a number without end", `{"id":"s","generation":` + strings.Repeat("9", 500) + `}`, `generation: want an integer from 0 to 18446744073709551615, not the number "` + strings.Repeat("9", 64) + `"...`},
		{"a number for a truth", leg + `"any_port":1}]}]}`, `streams[0].legs[1].any_port: want true or false, not the number "1"`},
		{"a truth for crypto", leg + `"rx":true}]}]}`, `streams[0].legs[1].rx: want an object, not true`},
		{"a key that is no string", leg + `"rx":{"suite":"none","key":["secret"]}}]}]}`, `streams[0].legs[1].rx.key: want a string, not a list`},
		{"null for all", `null`, `params: want an object, not null`},
		{"a list for all", `[]`, `params: want an object, not a list`},
		{"no JSON", `{"id":`, `id: the JSON ends too early`},
		{"JSON and more", `{"id":"s"} x`, `params: invalid character 'x' after top-level value (byte 12)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Decode[Open](json.RawMessage(c.params))
			e, ok := err.(*Error)
			if !ok || e.Code != CodeParams || e.Message != c.message {
				t.Errorf("got %v\nwant %s", err, c.message)
			}
			if !reflect.DeepEqual(v, Open{}) {
				t.Errorf("something was decoded beside the error: %+v", v)
			}
		})
	}
}

func TestDecodeTakesWhatTheMessagesAllow(t *testing.T) {
	open, err := Decode[Open](json.RawMessage(openExample))
	if err != nil || open.ID != "call-1" || open.Streams[0].Legs[1].RX.Suite != "AES_CM_128_HMAC_SHA1_80" {
		t.Fatalf("%+v, %v", open, err)
	}
	again, err := json.Marshal(open)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Decode[Open](again); err != nil || !reflect.DeepEqual(back, open) {
		t.Errorf("a message that we wrote is not read as it was: %v", err)
	}
	u, err := Decode[Update](json.RawMessage(`{"id":"s","generation":2,"opaque":null,"streams":[{"name":"audio","watch":true}]}`))
	if err != nil || u.Opaque != nil || !*u.Streams[0].Watch {
		t.Errorf("an update of one switch: %+v, %v", u, err)
	}
	if l, err := Decode[List](nil); err != nil || l != (List{}) {
		t.Errorf("a list of everything: %+v, %v", l, err)
	}
	if d, err := Decode[Drain](json.RawMessage(`{"on":false}`)); err != nil || d.On {
		t.Errorf("drain off: %+v, %v", d, err)
	}
	if _, err := Decode[Drain](nil); err == nil {
		t.Error("drain without on must not mean off")
	}
}

func TestDecodeReadsEveryKindOfFieldThatAMessageMayHave(t *testing.T) {
	type kinds struct {
		M map[string]int  `json:"m,omitempty"`
		F float64         `json:"f,omitempty"`
		A any             `json:"a,omitempty"`
		R json.RawMessage `json:"r,omitempty"`
		P *int8           `json:"p,omitempty"`
		x int
		N int `json:"-"`
	}
	v, err := Decode[kinds](json.RawMessage(`{"m":{"a":1},"f":1e3,"a":[[{}]],"r":{"z":[1]},"p":-128}`))
	if err != nil || v.M["a"] != 1 || v.F != 1000 || v.A == nil || string(v.R) != `{"z":[1]}` || *v.P != -128 || v.x != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	for params, want := range map[string]string{
		`{"m":{"a":"b"}}`: `m."a": want an integer from -9223372036854775808 to 9223372036854775807, not a string`,
		`{"p":128}`:       `p: want an integer from -128 to 127, not the number "128"`,
		`{"f":1e999}`:     `f: want a number, not the number "1e999"`,
		`{"N":1}`:         `N: unknown field (known: m, f, a, r, p)`,
		`{"x":1}`:         `x: unknown field (known: m, f, a, r, p)`,
		`{"f":{}}`:        `f: want a number, not an object`,
	} {
		if _, err := Decode[kinds](json.RawMessage(params)); err == nil || err.(*Error).Message != want {
			t.Errorf("%s: got %v\nwant %s", params, err, want)
		}
	}
}

func TestNoKeyLeavesInAnErrorOfDecode(t *testing.T) {
	const secret = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	for _, params := range []string{
		`{"id":"s","streams":[{"name":"a","legs":[{"name":"a","rx":"` + secret + `"}]}]}`,
		`{"id":"s","streams":[{"name":"a","legs":[{"name":"a","rx":{"suite":"x","key":{"` + secret[:4] + `":1}}}]}]}`,
		`{"id":"s","streams":[{"name":"a","legs":[{"name":"a","dscp":"` + secret + `"}]}]}`,
		`{"id":"s","streams":[{"name":"a","legs":[{"name":"a","rx":{"suite":"x","key":"` + secret + `"},"dscp":"x"}]}]}`,
	} {
		if _, err := Decode[Open](json.RawMessage(params)); err == nil || strings.Contains(err.Error(), secret[:4]) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRedactStrikesKeysOutAndLeavesTheRest(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"rx and tx", `{"id":"s","streams":[{"legs":[{"rx":{"suite":"A","key":"SECRET"},"tx":{"key":"SECRET"}}]}]}`,
			`{"id":"s","streams":[{"legs":[{"rx":{"key":"redacted","suite":"A"},"tx":{"key":"redacted"}}]}]}`},
		{"a key that is no string", `{"key":["SECRET"]}`, `{"key":"redacted"}`},
		{"another case", `{"KEY":"SECRET"}`, `{"KEY":"redacted"}`},
		{"an escaped name", `{"k\u0065y":"SECRET"}`, `{"key":"redacted"}`},
		{"opaque", `{"opaque":"{\"key\":\"SECRET\"}"}`, `{"opaque":"redacted"}`},
		{"a number as it was", `{"n":12345678901234567890}`, `{"n":12345678901234567890}`},
		{"not JSON", `{"key":"SECRET`, `"14 bytes that are not JSON"`},
		{"nothing", ``, `"0 bytes that are not JSON"`},
		{"two values", `{} {"key":"SECRET"}`, `"19 bytes that are not JSON"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(Redact(json.RawMessage(c.in))); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// openExample is a session.open as signaling sends it: SRTP on one leg, plain RTP on the other.
const openExample = `{"id":"call-1","owner":"node1","streams":[{"name":"audio","watch":false,"legs":[
 {"name":"a","network":"lan","remote":"192.0.2.10:40000","pin":"exact","payloads":[{"type":8,"name":"PCMA","clock":8000},{"type":101,"name":"telephone-event","clock":8000}]},
 {"name":"b","network":"wan","remote":"198.51.100.4:50000","signaling":"198.51.100.1","prefixes":["198.51.100.0/24"],"dscp":46,"rtcp_mux":true,
  "rx":{"suite":"AES_CM_128_HMAC_SHA1_80","key":"WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz","mki":"01"},
  "tx":{"suite":"AES_CM_128_HMAC_SHA1_80","key":"WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"}}]}]}`
