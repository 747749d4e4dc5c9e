package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Error is one thing wrong in the file.
type Error struct {
	File    string
	Line    int    // from 1; 0 if the error is about no place in the file
	Column  int    // from 1, in characters
	Path    string // "trunks.gw1.peer", "routes[2].to[0]"; empty for an error of syntax
	Message string // value: what is wrong; what to do
}

// Error is file:line:col: key.path: value: what is wrong; what to do.
func (e Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Message
}

// Errors is everything wrong in the file, in the order of its lines.
type Errors []Error

// Error is one line for each of them.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sort orders by place; of several at one place the first found comes first.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// shownMost is how much of a value an error repeats, in bytes: enough to recognise it, one line on a terminal.
const shownMost = 80

// show is a value of the file as an error repeats it: plain if it is printable, quoted if not, cut if long.
func show(text string) string {
	short := text
	if len(short) > shownMost {
		short = strings.ToValidUTF8(short[:shownMost], "") + "..."
	}
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(short)
	}
	return short
}
