package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The envelope of JSON-RPC 2.0 (jsonrpc.org/specification, sections 4 and 5), as both sides read and write it. Params and
// results are left as they came: Decode must see a member given twice, and whoever drives the socket by hand gets an answer
// with a null id to a line that was not understood.

// The members that an envelope may have, by their place in envelope.member.
const (
	memberVersion = iota
	memberID
	memberMethod
	memberParams
	memberResult
	memberError
)

var (
	requestMembers = []string{"jsonrpc", "id", "method", "params"}
	allMembers     = append(requestMembers[:4:4], "result", "error")
)

// envelope is one object with its members as they stand in the line, nil if they are absent.
type envelope struct {
	member [memberError + 1][]byte
}

// openEnvelope reads one object and nothing after it. bad is the first member given twice, or else the first that is not
// among known; the others are read all the same, so that an answer can carry the id. broken: the line is not JSON.
func openEnvelope(line []byte, known []string) (e envelope, bad *Error, broken bool) {
	s := scanner{text: line}
	if s.next() != '{' || !s.enter() {
		return e, nil, true
	}
	twice := false
	for first := true; ; first = false {
		another, ok := s.more('}', first)
		if !ok {
			return e, nil, true
		}
		if !another {
			return e, bad, !s.ended()
		}
		token, plain, ok := s.quoted()
		if !ok || !s.take(':') {
			return e, nil, true
		}
		value, ok := s.value()
		if !ok {
			return e, nil, true
		}
		switch i := indexOf(known, token, plain); {
		case i < 0 && bad == nil:
			step, text := unknownField(unquote(token, plain), known)
			bad = Errorf(CodeInvalid, "%s: %s", step, text)
		case i < 0:
		case e.member[i] != nil && !twice:
			twice, bad = true, Errorf(CodeInvalid, "%q is given twice", known[i])
		case e.member[i] == nil:
			e.member[i] = value
		}
	}
}

func indexOf(known []string, token []byte, plain bool) int {
	for i, name := range known {
		if spells(token, plain, name) {
			return i
		}
	}
	return -1
}

// textOf is the text of a member that is a string.
func textOf(member []byte) (text string, ok bool) {
	if len(member) == 0 || member[0] != '"' {
		return "", false
	}
	s := scanner{text: member}
	token, plain, _ := s.quoted() // it was read before
	return unquote(token, plain), true
}

// request is one well-formed request. id is nil for a notification, else a JSON string or number, to be echoed as it came.
type request struct {
	id     json.RawMessage
	method string
	params json.RawMessage // an object, or nil
	room   []byte          // what id and params lie in, for the request after this one
}

const maxRequestID = 128 // bytes of a request's id with its quotes: it is echoed, so it is bounded

// parseRequest reads one line and keeps nothing of it: what the request holds is in room, or in more memory. With an Error the
// request carries the id, if one was found, and nothing else but the room.
func parseRequest(line, room []byte) (request, *Error) {
	if !utf8.Valid(line) {
		return request{room: room}, Errorf(CodeParse, "the line is not JSON: it is not valid UTF-8")
	}
	e, bad, broken := openEnvelope(line, requestMembers)
	if broken {
		return request{room: room}, noRequest(line)
	}
	id, params := e.member[memberID], e.member[memberParams]
	if id != nil && !goodID(id) {
		return request{room: room}, Errorf(CodeInvalid, `"id": want a string or a number of at most %d bytes`, maxRequestID)
	}
	if string(params) == "null" {
		params = nil
	}
	kept := append(append(slices.Grow(room[:0], len(id)+len(params)), id...), params...)
	req := request{room: kept}
	if id != nil {
		req.id = kept[:len(id):len(id)]
	}
	if bad != nil {
		return req, bad
	}
	if string(e.member[memberVersion]) != `"2.0"` {
		return req, Errorf(CodeInvalid, `"jsonrpc": want "2.0"`)
	}
	method, ok := textOf(e.member[memberMethod])
	if !ok {
		return req, Errorf(CodeInvalid, `"method": want the name of a method as a string`)
	}
	if params != nil && params[0] != '{' {
		return req, Errorf(CodeParams, `"params": want an object with named parameters`)
	}
	req.method = method
	if params != nil {
		req.params = kept[len(id):]
	}
	return req, nil
}

// noRequest says why a line is no object.
func noRequest(line []byte) *Error {
	if err := syntax(line); err != nil {
		return Errorf(CodeParse, "the line is not JSON: %s", describeSyntax(err))
	}
	if s := (scanner{text: line}); s.next() == '[' {
		return Errorf(CodeInvalid, "batches are not supported: send one request a line")
	}
	return Errorf(CodeInvalid, "the line is JSON but no object: want {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":...}")
}

func goodID(id []byte) bool {
	return len(id) <= maxRequestID && (id[0] == '"' || id[0] == '-' || isDigit(id[0]))
}

// describeSyntax adds the place to a JSON error.
func describeSyntax(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s (byte %d)", e.Error(), e.Offset)
	}
	return err.Error()
}

// nullAnswer begins every answer to a line whose id could not be read, and a refusal.
const nullAnswer = `{"jsonrpc":"2.0","id":null,`

// appendAnswer appends one line: the result, or the error if it is not nil. id nil is null. An answer of more than max
// bytes becomes an error.
func appendAnswer(b []byte, id json.RawMessage, result any, e *Error, max int) []byte {
	start := len(b)
	if e == nil {
		line, err := appendJSON(append(appendAnswerHead(b, id), `"result":`...), result)
		line = append(line, "}\n"...)
		switch size := len(line) - start; {
		case err != nil:
			e = Errorf(CodeInternal, "the answer cannot be encoded: %v", err)
		case size > max:
			e = Errorf(CodeInternal, "the answer has %d bytes, more than the %d of a line: ask for less at once", size, max)
		default:
			return line
		}
		b = line[:start]
	}
	line, err := appendJSON(append(appendAnswerHead(b, id), `"error":`...), *e)
	if err != nil { // a number and a string: cannot happen, and is still an answer
		line = append(appendAnswerHead(b[:start], id), `"error":{"code":-32603,"message":"the error cannot be encoded"}`...)
	}
	return append(line, "}\n"...)
}

// messageHead begins every answer with an id, and every request.
const messageHead = `{"jsonrpc":"2.0","id":`

func appendAnswerHead(b []byte, id json.RawMessage) []byte {
	if id == nil {
		return append(b, nullAnswer...)
	}
	b = append(b, messageHead...)
	b = append(b, id...)
	return append(b, ',')
}

// plainAnswer cuts the result out of an answer as appendAnswer writes it. If the result is one well-formed value then the line
// says nothing else, and need not be opened; whether it is, its reader finds out.
func plainAnswer(line []byte) (id uint64, result []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(messageHead))
	if !ok {
		return 0, nil, false
	}
	digits, rest, ok := bytes.Cut(rest, []byte(`,"result":`))
	if !ok || len(digits) == 0 || digits[0] == '0' {
		return 0, nil, false
	}
	if id, ok = fewDigits(digits); !ok {
		return 0, nil, false
	}
	result, ok = bytes.CutSuffix(rest, []byte("}\n"))
	return id, result, ok
}

// appendRequest appends one line: a call. params nil sends none.
func appendRequest(b []byte, id uint64, method string, params any) (_ []byte, err error) {
	b = append(b, messageHead...)
	b = strconv.AppendUint(b, id, 10)
	return appendMethod(b, method, params)
}

// appendEvent appends one line: a notification.
func appendEvent(b []byte, method string, params any) ([]byte, error) {
	return appendMethod(append(b, `{"jsonrpc":"2.0"`...), method, params)
}

// appendMethod appends the end of a request.
func appendMethod(b []byte, method string, params any) (_ []byte, err error) {
	b = appendText(append(b, `,"method":`...), method)
	if params != nil {
		b = append(b, `,"params":`...)
		if b, err = appendJSON(b, params); err != nil {
			return b, err
		}
	}
	return append(b, "}\n"...), nil
}
