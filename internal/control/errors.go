package control

import (
	"errors"
	"fmt"
	"strings"

	"tandem/internal/near"
)

// CodeRefused is the answer to a connection that may not speak: its credentials, or one connection too many. It is in the
// range that JSON-RPC 2.0 section 5.1 leaves to servers; the connection is closed after it.
const CodeRefused = -32000

// ErrClosed is what a call returns when the connection ended before the answer came, whichever side ended it.
var ErrClosed = errors.New("control connection closed")

// Error is a protocol error as it travels: one of the Code constants and a sentence that names what, where and what to do.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Errorf makes an Error. The text travels to the peer: it never holds a key.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// CodeOf is the code of a protocol error anywhere in err's chain, or 0 for any other error and for nil.
func CodeOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

// UnknownMethod is the answer to a method outside known: it suggests the nearest one and lists all of them.
func UnknownMethod(method string, known ...string) *Error {
	hint := ""
	if meant, ok := near.Word(method, known); ok {
		hint = fmt.Sprintf("; did you mean %q?", meant)
	}
	return Errorf(CodeNoMethod, "unknown method %s%s (known: %s)", clip(method), hint, strings.Join(known, ", "))
}

// onWire turns what a handler returned into what travels. A wrapped Error keeps its code and shows the whole chain; any
// other error is CodeInternal with its text.
func onWire(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return &Error{Code: CodeInternal, Message: err.Error()}
	case error(e) == err:
		return e
	}
	return &Error{Code: e.Code, Message: err.Error()}
}

const maxQuoted = 64 // bytes of a peer's own words that an error repeats: enough to recognise, too few to flood a log

// clip quotes a peer's word for an error message, shortened.
func clip(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q...", s[:maxQuoted])
}
