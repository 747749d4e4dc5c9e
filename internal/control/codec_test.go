package control

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// tape is a connection of which the whole input is known.
type tape struct {
	io.Reader
	out bytes.Buffer
}

func (t *tape) Write(b []byte) (int, error)      { return t.out.Write(b) }
func (t *tape) Close() error                     { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

const fuzzLine = 2048 // bytes of a line: small, so that the fuzzer gets beyond it

// FuzzCodec plays any input to a server. It must answer every line that is not blank and no notification, exactly once,
// with well-formed JSON of bounded length, and come to an end.
func FuzzCodec(f *testing.F) {
	for _, seed := range []string{
		getX, getX + "\n" + getX, getX[:40], "[" + getX + "]", "\n\r\n \n" + getX + "\n",
		strings.Repeat("[", 3000), strings.Repeat("x", 3000) + "\n" + getX, "\x00\xff\n" + getX,
		`{"jsonrpc":"2.0","id":1,"method":"session.open","params":` + strings.ReplaceAll(openExample, "\n", "") + `}`,
		`{"jsonrpc":"2.0","id":1e999,"method":"session.get","params":{"id":"x","id":"y","generation":1e30}}`,
		`{"jsonrpc":"2.0","id":{"a":[]},"method":"session.get","Method":"a"}`, `{"jsonrpc":"2.0","method":"session.get"}`,
		`{"jsonrpc":"2.0","id":"\ud800","method":"\u0000"}`, `{"jsonrpc":"2.0","id":1,"method":"panic"}`,
		`{"jsonrpc":"2.0","id":1,"method":"relay.hello","params":{"protocol":1,"owner":"x","events":true}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `null`, `""`, `{}`, `{"id":1,"id":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newServer(ServerOptions{Handler: echo, MaxInFlight: 4, maxLine: fuzzLine})
		tape := &tape{Reader: bytes.NewReader(in)}
		newConn(s, tape, Peer{}).serve()

		least, most := 0, 0
		for line := range bytes.SplitSeq(in, []byte("\n")) {
			if len(bytes.TrimSpace(line)) == 0 && len(line) < fuzzLine {
				continue
			}
			most++
			var object map[string]json.RawMessage
			json.Unmarshal(line, &object)
			if _, asked := object["id"]; asked || object == nil || len(line) >= fuzzLine {
				least++ // only an object without id can be a notification
			}
		}
		got := 0
		for line := range bytes.Lines(tape.out.Bytes()) {
			got++
			var answer map[string]json.RawMessage
			if err := json.Unmarshal(line, &answer); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			_, result := answer["result"]
			_, failed := answer["error"]
			if _, id := answer["id"]; !id || result == failed || string(answer["jsonrpc"]) != `"2.0"` {
				t.Fatalf("not an answer: %q", line)
			}
			if len(line) > 4*fuzzLine {
				t.Fatalf("an answer of %d bytes to a line of %d", len(line), fuzzLine)
			}
		}
		if got < least || got > most {
			t.Fatalf("%d answers, want %d to %d, for %q", got, least, most, in)
		}
		Redact(in)
	})
}

func BenchmarkNotify(b *testing.B) {
	c := newConn(newServer(ServerOptions{Handler: echo, EventQueue: 1}), &tape{Reader: strings.NewReader("")}, Peer{})
	b.ReportAllocs()
	for b.Loop() { // the queue is full after the first: what a stuck controller costs the relay
		c.Notify(EventTimeout, Event{Session: "s", Stream: "audio", Leg: "a", After: "running"})
	}
}
