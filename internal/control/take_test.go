package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// strangeServer accepts one client and is not one of ours.
func strangeServer(t *testing.T) (*Client, net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(background(t), path, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return c, nc
}

func TestNonsenseFromAServerEndsTheConnectionAndSaysWhy(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"no JSON", "hello\n", "invalid character 'h'"},
		{"neither question nor answer", `{"jsonrpc":"2.0"}` + "\n", "unable to determine message type"},
		{"both question and answer", `{"jsonrpc":"2.0","id":1,"result":1,"method":"relay.hello"}` + "\n", "unable to determine message type"},
		{"an answer to nobody without an error", nullAnswer + `"result":1}` + "\n", "without id and without error"},
		{"an answer to nobody that is broken", nullAnswer + `]` + "\n", "invalid character ']'"},
		{"an answer to nobody with an error", nullAnswer + `"error":{"code":-32600,"message":"go away"}}` + "\n", "go away (code -32600)"},
		{"a line without end", strings.Repeat("x", MaxLine+1), "too long"},
		{"half an answer and the end", `{"jsonrpc":`, "unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, nc := strangeServer(t)
			if _, err := nc.Write([]byte(c.line)); err != nil {
				t.Fatal(err)
			}
			nc.Close()
			await(t, "the end of the connection", client.Done())
			if err := client.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Answers as another server might write them: in another order, spread out, with an id that is not ours, or wrong in one member.
func TestAnAnswerIsUnderstoodHoweverItIsWritten(t *testing.T) {
	for _, c := range []struct{ answer, id, err string }{
		{`{"jsonrpc":"2.0","id":1,"result":{"id":"x"}}`, "x", ""},
		{`{"jsonrpc":"2.0","id":1,"result": {"id":"x"} }`, "x", ""},
		{`{"result":{"id":"x"},"id":1,"jsonrpc":"2.0"}`, "x", ""},
		{` { "jsonrpc" : "2.0" , "id" : 1 , "result" : { "id" : "x" } } `, "x", ""},
		{`{"jsonrpc":"2.0","id":1,"result":{"id":7}}`, "", `id: want a string, not the number "7"`},
		{`{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"gone"}}`, "", "gone (code 1)"},
		{`{"jsonrpc":"2.0","id":99,"result":{"id":"y"}}` + "\n" + `{"jsonrpc":"2.0","id":1,"result":{"id":"x"}}`, "x", ""},
		{`{"jsonrpc":"2.0","id":1,"result":{"id":"x"},"result":{}}`, "", `"result" is given twice`},
		{`{"jsonrpc":"2.0","id":1,"result":{"id":"x"}}}`, "", "invalid character '}'"},
		{`{"jsonrpc":"2.0","id":01,"result":{"id":"x"}}`, "", "invalid character '1'"},
		{`{"jsonrpc":"2.0","id":1,"result":}`, "", "invalid character '}'"},
	} {
		t.Run(c.answer, func(t *testing.T) {
			client, nc := strangeServer(t)
			go func() {
				bufio.NewReader(nc).ReadString('\n')
				nc.Write([]byte(c.answer + "\n"))
			}()
			r, err := client.Get(background(t), Ref{ID: "x"})
			if r.ID != c.id || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %q, %v", r.ID, err)
			}
		})
	}
}

func TestCallsFromTheServerAreDeclined(t *testing.T) {
	_, nc := strangeServer(t)
	if _, err := nc.Write([]byte("\n" + `{"jsonrpc":"2.0","method":"media.pinned","params":[]}` + "\n" + getX + "\n")); err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := json.NewDecoder(nc).Decode(&r); err != nil || r.Error == nil || r.Error.Code != CodeNoMethod {
		t.Errorf("got %+v, %v", r, err)
	}
}
