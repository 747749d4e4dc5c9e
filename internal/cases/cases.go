// Package cases reads stored routing cases: what a config is meant to do with certain calls, beside the config.
//
//   - name: a call of the town goes to the town's gateway
//     trunk: pbx
//     from: "+43151234"
//     to: "0720123"
//     down: [gw-spare]
//     expect: {route: city, hops: [gw-city], called: "720123"}
//   - name: no circuit is a failure of the trunk, not a busy callee
//     answer: {trunk: gw-city, code: 486, cause: 34, expect: 503}
//
// The failure it prevents is a check that checks nothing: a misspelt key, a case without an expectation or a number that
// YAML took for something else is an error with its line, never a case that passes (TestACaseThatExpectsNothingIsRefused). Whether
// a case holds is for signaling/route to say; no trunk or route is looked up here.
package cases

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Limits of a file. The YAML parser recurses with every bracket and takes time with the square of their number.
const (
	maxFile  = 512 << 10 // bytes: some thousand cases
	maxDepth = 16        // open brackets in a line; a case needs 3
)

// Case is one of them: a call and its decision, or a peer's failure and what it is translated to.
type Case struct {
	Line int // where it begins
	Name string

	Trunk, From, To              string   // the call: by which trunk, who calls, what was dialled
	Down, Demoted, Resting, Full []string // trunks that are assumed to be so; all others are up and have room
	Expect                       Expect

	Answer *Answer // instead of a call
}

// Expect is the part of a decision that the case tells; nil fields are not looked at.
type Expect struct {
	Route     *string // the first that matches; "" : none
	Number    *string // the called number after the dial plan
	Emergency *bool
	Hops      []Hop // the trunks to try; empty but not nil: none
	Called    *Numbers
	Caller    *Numbers
	Skipped   []string // trunks left out, in any order; empty but not nil: none
	Code      *int     // refusal; 0: the call is routed
	Why       *string  // words that the reason of the refusal has in it
}

// Hop is a place in the order of trying: a trunk, or several that are equals, whose order is drawn anew for each call (any_of).
type Hop []string

// Numbers are what peers are sent: the same to each, or by trunk.
type Numbers struct {
	Each    string
	ByTrunk map[string]string // nil: Each holds
}

// String is what is expected, in words.
func (n *Numbers) String() string {
	if n.ByTrunk == nil {
		return strconv.Quote(n.Each)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(n.ByTrunk)) {
		parts = append(parts, fmt.Sprintf("%q to %s", n.ByTrunk[name], name))
	}
	return strings.Join(parts, ", ")
}

// Answer is a failure that a peer answers.
type Answer struct {
	Trunk  string
	Code   int // 400..699
	Cause  int // Q.850, 0: none told
	Expect int // what the caller's side sees
}

// Error is one thing wrong in the file.
type Error struct {
	File         string
	Line, Column int
	Message      string // what is wrong; what to do
}

// Error is file:line:column: message.
func (e Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors is everything wrong in the file, in the order of its lines.
type Errors []Error

// Error is one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Path is where the cases of a config are: tandem.yaml has tandem.cases.yaml beside it.
func Path(config string) string {
	for _, end := range []string{".yaml", ".yml"} {
		if base, ok := strings.CutSuffix(config, end); ok {
			return base + ".cases" + end
		}
	}
	return config + ".cases.yaml"
}

// Load reads the file at path. The error is of type Errors if the file could be read at all.
func Load(path string) ([]Case, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("routing cases: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("routing cases: %w", err)
	}
	return Parse(path, b)
}

// Parse reads the content of a file; name stands for it in errors, which are of type Errors. Without an error there is at least one case.
func Parse(name string, b []byte) ([]Case, error) {
	r := &reader{file: name}
	list := r.read(b)
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b Error) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, r.errs
	}
	return list, nil
}

// told reports whether the case expects anything.
func (e *Expect) told() bool {
	return e.Route != nil || e.Number != nil || e.Emergency != nil || e.Hops != nil || e.Called != nil || e.Caller != nil ||
		e.Skipped != nil || e.Code != nil || e.Why != nil
}

// check wants a case that is whole.
func (c *Case) check() error {
	switch {
	case c.Name == "":
		return errors.New("the case has no name; say in a sentence what it is about")
	case c.Answer != nil:
		return c.checkAnswer()
	case c.Trunk == "":
		return errors.New("the case has no trunk; name the one by which the call enters")
	case c.To == "":
		return errors.New("the case has no number; write what was dialled as to: in quotes")
	case !c.Expect.told():
		return errors.New("the case expects nothing and would always pass; write expect: with route, hops, called or code")
	}
	return nil
}

func (c *Case) checkAnswer() error {
	a := c.Answer
	switch {
	case c.Trunk != "" || c.From != "" || c.To != "" || c.Expect.told() || c.Down != nil || c.Demoted != nil || c.Resting != nil || c.Full != nil:
		return errors.New("answer stands alone: a case is about a call or about an answer; make two of it")
	case a.Trunk == "":
		return errors.New("the answer has no trunk; name the one whose peer answers")
	case a.Code < 400 || a.Code > 699:
		return errors.New("the answer's code is no failure; write 400 to 699")
	case a.Cause < 0 || a.Cause > 127:
		return errors.New("the answer's cause is none of Q.850; write 1 to 127 or leave it out")
	case a.Expect < 400 || a.Expect > 699:
		return errors.New("the answer expects no failure; write 400 to 699, the same code if nothing is translated")
	}
	return nil
}
