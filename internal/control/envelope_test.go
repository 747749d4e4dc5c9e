package control

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

func TestEveryMalformedLineHasAnAnswerThatSaysWhatIsWrong(t *testing.T) {
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	const head = `{"jsonrpc":"2.0","id":7,"method":"session.get"`
	for _, c := range []struct {
		name, line string
		code       int
		id         string
		message    string // its beginning
	}{
		{"words", `hello`, CodeParse, "null", "the line is not JSON: invalid character 'h'"},
		{"half an object", head, CodeParse, "null", "the line is not JSON: unexpected end"},
		{"two objects", head + `} {}`, CodeParse, "null", "the line is not JSON: invalid character '{'"},
		{"invalid UTF-8", head + `,"params":{"id":"` + "\xff" + `"}}`, CodeParse, "null", "the line is not JSON: it is not valid UTF-8"},
		{"a NUL", head + `,"params":{"id":"` + "\x00" + `"}}`, CodeParse, "null", "the line is not JSON: invalid character '\\x00'"},
		{"deeper than anybody means", head + `,"params":{"id":` + deep + `}}`, CodeParse, "null", "the line is not JSON: invalid character '[' exceeded max depth"},
		{"a batch", `[` + head + `}]`, CodeInvalid, "null", "batches are not supported"},
		{"an empty batch", `[]`, CodeInvalid, "null", "batches are not supported"},
		{"a number", `12`, CodeInvalid, "null", "the line is JSON but no object"},
		{"null", `null`, CodeInvalid, "null", "the line is JSON but no object"},
		{"no version", `{"id":7,"method":"a"}`, CodeInvalid, "7", `"jsonrpc": want "2.0"`},
		{"version 1", `{"jsonrpc":"1.0","id":7,"method":"a"}`, CodeInvalid, "7", `"jsonrpc": want "2.0"`},
		{"a version by number", `{"jsonrpc":2.0,"id":7,"method":"a"}`, CodeInvalid, "7", `"jsonrpc": want "2.0"`},
		{"no method", `{"jsonrpc":"2.0","id":"x"}`, CodeInvalid, `"x"`, `"method": want the name`},
		{"a method by number", `{"jsonrpc":"2.0","id":7,"method":1}`, CodeInvalid, "7", `"method": want the name`},
		{"an answer", `{"jsonrpc":"2.0","id":7,"result":{}}`, CodeInvalid, "7", `result: unknown field`},
		{"a misspelt member", head + `,"parms":{}}`, CodeInvalid, "7", `parms: unknown field; did you mean "params"?`},
		{"a member in capitals", `{"jsonrpc":"2.0","ID":7,"method":"a"}`, CodeInvalid, "null", `ID: unknown field; did you mean "id"?`},
		{"an id twice", head + `,"id":8}`, CodeInvalid, "7", `"id" is given twice`},
		{"a method twice", head + `,"method":"session.close"}`, CodeInvalid, "7", `"method" is given twice`},
		{"an id of null", `{"jsonrpc":"2.0","id":null,"method":"a"}`, CodeInvalid, "null", `"id": want a string or a number`},
		{"an id of true", `{"jsonrpc":"2.0","id":true,"method":"a"}`, CodeInvalid, "null", `"id": want a string or a number`},
		{"an id that is an object", `{"jsonrpc":"2.0","id":{},"method":"a"}`, CodeInvalid, "null", `"id": want a string or a number`},
		{"an id that is a list", `{"jsonrpc":"2.0","id":[1],"method":"a"}`, CodeInvalid, "null", `"id": want a string or a number`},
		{"an endless id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 200) + `","method":"a"}`, CodeInvalid, "null", `"id": want a string or a number of at most 128 bytes`},
		{"params by position", head + `,"params":["x"]}`, CodeParams, "7", `"params": want an object`},
		{"params that are a string", head + `,"params":"x"}`, CodeParams, "7", `"params": want an object`},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, bad := parseRequest([]byte(c.line), nil)
			if bad == nil {
				t.Fatalf("taken as %+v", req)
			}
			r := parse(t, string(appendAnswer(nil, req.id, nil, bad, MaxLine)))
			if r.Error.Code != c.code || !strings.HasPrefix(r.Error.Message, c.message) || string(r.ID) != c.id && !(c.id == "null" && r.ID == nil) {
				t.Errorf("id %s, code %d: %s\nwant id %s, code %d: %s...", r.ID, r.Error.Code, r.Error.Message, c.id, c.code, c.message)
			}
		})
	}
}

func TestWellFormedRequestsAreReadAsTheyStand(t *testing.T) {
	for _, c := range []struct {
		name, line, id, params string
	}{
		{"the usual", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":1}}`, "1", `{"x":1}`},
		{"no params", `{"jsonrpc":"2.0","id":1,"method":"a"}`, "1", ""},
		{"params of null", `{"jsonrpc":"2.0","id":1,"method":"a","params":null}`, "1", ""},
		{"carriage return at the end", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\r\n", "1", ""},
		{"a negative id", `{"jsonrpc":"2.0","id":-5,"method":"a"}`, "-5", ""},
		{"an id beyond 64 bits", `{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"a"}`, "123456789012345678901234567890", ""},
		{"an id with an exponent", `{"jsonrpc":"2.0","id":1e400,"method":"a"}`, "1e400", ""},
		{"an empty id", `{"jsonrpc":"2.0","id":"","method":"a"}`, `""`, ""},
		{"a notification", `{"jsonrpc":"2.0","method":"a"}`, "", ""},
		{"members in another order", `{"params":{}, "method":"a", "id":"q\"","jsonrpc":"2.0"}`, `"q\""`, "{}"},
		{"a method given twice inside params is for Decode", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"id":1,"id":2}}`, "1", `{"id":1,"id":2}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, bad := parseRequest([]byte(c.line), nil)
			if bad != nil || req.method != "a" || string(req.id) != c.id || string(req.params) != c.params {
				t.Errorf("got %q %s %s, %v", req.method, req.id, req.params, bad)
			}
		})
	}
}

func TestARequestOutlivesTheBufferItWasReadFrom(t *testing.T) {
	line := []byte(`{"jsonrpc":"2.0","id":"abc","method":"m","params":{"x":1}}`)
	req, _ := parseRequest(line, nil)
	clear(line)
	if string(req.id) != `"abc"` || string(req.params) != `{"x":1}` {
		t.Errorf("got %s %s", req.id, req.params)
	}
}

func TestAnAnswerIsNeverLongerThanALine(t *testing.T) {
	r := parse(t, string(appendAnswer(nil, json.RawMessage("1"), strings.Repeat("x", 400), nil, 300)))
	if r.Error == nil || r.Error.Code != CodeInternal || !strings.Contains(r.Error.Message, "more than the 300 of a line") {
		t.Errorf("got %+v", r)
	}
}

func TestAnAnswerThatCannotBeEncodedIsAnError(t *testing.T) {
	r := parse(t, string(appendAnswer(nil, json.RawMessage("1"), make(chan int), nil, MaxLine)))
	if r.Error == nil || r.Error.Code != CodeInternal {
		t.Errorf("got %+v", r)
	}
}

// FuzzPlainAnswer compares the short way with the long one: an answer that plainAnswer takes, and whose result is one value, says
// what openEnvelope finds in it, and nothing else.
func FuzzPlainAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"id":"x"}}`, `{"jsonrpc":"2.0","id":12,"result":null}`, `{"jsonrpc":"2.0","id":0,"result":1}`,
		`{"jsonrpc":"2.0","id":1,"result":1,"result":2}`, `{"jsonrpc":"2.0","id":1,"result":"},\"result\":"}`, `{"jsonrpc":"2.0","id":,"result":1}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":",\"result\":"}}`, `{"jsonrpc":"2.0","id":1e3,"result":[]}`, `{"jsonrpc":"2.0","id":1,"result":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		line := append(text, '\n')
		id, result, ok := plainAnswer(line)
		s := scanner{text: result}
		if !ok || !s.skip() || !s.ended() {
			return
		}
		e, bad, broken := openEnvelope(line, allMembers)
		if bad != nil || broken || string(e.member[memberID]) != strconv.FormatUint(id, 10) {
			t.Fatalf("id %d in %q, which is %q, %v, %v", id, line, e.member, bad, broken)
		}
		if got := e.member[memberResult]; !bytes.Equal(got, bytes.Trim(result, " \t\r\n")) {
			t.Fatalf("result %q in %q, and not %q", result, line, got)
		}
		if e.member[memberMethod] != nil || e.member[memberParams] != nil || e.member[memberError] != nil {
			t.Fatalf("%q has more than a result", line)
		}
	})
}
