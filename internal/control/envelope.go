package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// The envelope of JSON-RPC 2.0 (jsonrpc.org/specification, sections 4 and 5), as the server reads and writes it. The
// library's own reading of a request re-encodes the params, so that a member given twice goes unnoticed, and its answer has
// no null id; both matter to whoever drives the socket by hand.

// request is one well-formed request. id is nil for a notification, else a JSON string or number, to be echoed as it came.
type request struct {
	id     json.RawMessage
	method string
	params json.RawMessage // an object, or nil
}

const maxRequestID = 128 // bytes of a request's id with its quotes: it is echoed, so it is bounded

// parseRequest reads one line. With an Error the request carries the id, if one was found, and nothing else.
func parseRequest(line []byte) (request, *Error) {
	if !utf8.Valid(line) {
		return request{}, Errorf(CodeParse, "the line is not JSON: it is not valid UTF-8")
	}
	if err := json.Unmarshal(line, new(json.RawMessage)); err != nil {
		return request{}, Errorf(CodeParse, "the line is not JSON: %s", describeSyntax(err))
	}
	switch line = bytes.TrimSpace(line); line[0] {
	case '{':
	case '[':
		return request{}, Errorf(CodeInvalid, "batches are not supported: send one request a line")
	default:
		return request{}, Errorf(CodeInvalid, "the line is JSON but no object: want {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":...}")
	}
	member, bad := members(line)
	req := request{}
	if id, given := member["id"]; given {
		if !goodID(id) {
			return req, Errorf(CodeInvalid, `"id": want a string or a number of at most %d bytes`, maxRequestID)
		}
		req.id = id
	}
	if bad != nil {
		return request{id: req.id}, bad
	}
	if v, given := member["jsonrpc"]; !given || string(v) != `"2.0"` {
		return request{id: req.id}, Errorf(CodeInvalid, `"jsonrpc": want "2.0"`)
	}
	if v, given := member["method"]; !given || v[0] != '"' || json.Unmarshal(v, &req.method) != nil {
		return request{id: req.id}, Errorf(CodeInvalid, `"method": want the name of a method as a string`)
	}
	switch v := member["params"]; {
	case v == nil || string(v) == "null":
	case v[0] == '{':
		req.params = v
	default:
		return request{id: req.id}, Errorf(CodeParams, `"params": want an object with named parameters`)
	}
	return req, nil
}

// members reads the members of a request's object. It refuses unknown ones and a second of the same name, and still returns
// the others, so that the answer can carry the id.
func members(object []byte) (map[string]json.RawMessage, *Error) {
	known := []string{"jsonrpc", "id", "method", "params"}
	found := make(map[string]json.RawMessage, len(known))
	var bad *Error
	dec := json.NewDecoder(bytes.NewReader(object))
	_, err := dec.Token() // {
	for err == nil && dec.More() {
		var key json.Token
		if key, err = dec.Token(); err != nil {
			break
		}
		var value json.RawMessage
		if err = dec.Decode(&value); err != nil {
			break
		}
		name := key.(string)
		switch _, twice := found[name]; {
		case twice:
			bad = Errorf(CodeInvalid, "%q is given twice", name)
		case slices.Contains(known, name):
			found[name] = value
		case bad == nil:
			bad = unknownName(CodeInvalid, "", name, known)
		}
	}
	if err != nil { // the line was valid JSON a moment ago
		bad = Errorf(CodeParse, "the line is not JSON: %s", describeSyntax(err))
	}
	return found, bad
}

func goodID(id json.RawMessage) bool {
	return len(id) <= maxRequestID && (id[0] == '"' || id[0] == '-' || '0' <= id[0] && id[0] <= '9')
}

// describeSyntax adds the place to a JSON error.
func describeSyntax(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s (byte %d)", e.Error(), e.Offset)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return "the JSON ends too early"
	}
	return err.Error()
}

// nullAnswer begins every answer to a line whose id could not be read, and a refusal.
const nullAnswer = `{"jsonrpc":"2.0","id":null,`

// encodeAnswer is one line: the result, or the error if it is not nil. id nil is null.
func encodeAnswer(id json.RawMessage, result any, e *Error, max int) []byte {
	if e == nil {
		body, err := json.Marshal(result)
		if err == nil {
			line := appendAnswer(id, "result", body)
			if len(line) <= max {
				return line
			}
			e = Errorf(CodeInternal, "the answer has %d bytes, more than the %d of a line: ask for less at once", len(line), max)
		} else {
			e = Errorf(CodeInternal, "the answer cannot be encoded: %v", err)
		}
	}
	body, err := json.Marshal(e)
	if err != nil { // a number and a string: cannot happen, and is still an answer
		body = []byte(`{"code":-32603,"message":"the error cannot be encoded"}`)
	}
	return appendAnswer(id, "error", body)
}

func appendAnswer(id json.RawMessage, member string, body []byte) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	line := make([]byte, 0, len(nullAnswer)+maxRequestID+len(member)+len(body)+8)
	line = append(line, `{"jsonrpc":"2.0","id":`...)
	line = append(line, id...)
	line = append(line, `,"`...)
	line = append(line, member...)
	line = append(line, `":`...)
	line = append(line, body...)
	return append(line, "}\n"...)
}

// encodeEvent is one line: a notification.
func encodeEvent(method string, params any) ([]byte, error) {
	line, err := json.Marshal(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
	return append(line, '\n'), err
}
