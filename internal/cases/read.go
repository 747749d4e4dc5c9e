package cases

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"tandem/internal/near"
)

// reader is one file on its way into cases. It walks the YAML tree itself: the library's decoder takes +4312 for a number and
// loses the plus, and stops at the first error.
type reader struct {
	file string
	errs Errors
}

// keys are what a section may have: by key, how to read the value.
type keys map[string]func(ast.Node)

// read parses the file.
func (r *reader) read(b []byte) []Case {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // the byte order mark that some editors put first
	if !r.readable(b) {
		return nil
	}
	file, err := parser.ParseBytes(b, 0, parser.AllowDuplicateMapKey()) // duplicates are ours to report, with the others
	if err != nil {
		line, column, message := 1, 1, err.Error()
		if e := yaml.Error(nil); errors.As(err, &e) {
			message = e.GetMessage()
			if tk := e.GetToken(); tk != nil && tk.Position != nil {
				line, column = tk.Position.Line, tk.Position.Column
			}
		}
		r.fail(line, column, message+"; check the indentation and the quotes")
		return nil
	}
	var list []Case
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		r.items(doc.Body, func(n ast.Node) { list = append(list, r.one(n)) })
	}
	if len(list) == 0 && len(r.errs) == 0 {
		r.fail(1, 1, "there is no case in this file; write a list of them, each beginning with - name:")
	}
	return list
}

// readable refuses what the parser should not see.
func (r *reader) readable(b []byte) bool {
	if len(b) > maxFile {
		r.fail(1, 1, fmt.Sprintf("the file is larger than %d bytes; is this the right file?", maxFile))
		return false
	}
	for i, line := range bytes.Split(b, []byte("\n")) {
		bad := bytes.IndexFunc(line, func(c rune) bool { return c == utf8.RuneError || c < ' ' && c != '\t' && c != '\r' })
		if bad >= 0 {
			r.fail(i+1, bad+1, "this is not text; save the file as UTF-8")
			return false
		}
	}
	return r.shallow(b)
}

// shallow refuses a file whose brackets are open too deep. Quoted text and comments do not count.
func (r *reader) shallow(b []byte) bool {
	depth, line, quote, comment := 0, 1, byte(0), false
	for _, c := range b {
		switch {
		case c == '\n':
			line, quote, comment = line+1, 0, false
		case comment:
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			comment = true
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
		if depth > maxDepth {
			r.fail(line, 1, fmt.Sprintf("more than %d brackets are open here; is this the right file?", maxDepth))
			return false
		}
	}
	return true
}

// one reads a case.
func (r *reader) one(n ast.Node) Case {
	var c Case
	c.Line, _ = position(first(n))
	before := len(r.errs)
	r.section(n, "a case", keys{
		"name": r.text(&c.Name), "trunk": r.text(&c.Trunk), "from": r.text(&c.From), "to": r.text(&c.To),
		"down": r.list(&c.Down), "demoted": r.list(&c.Demoted), "resting": r.list(&c.Resting), "full": r.list(&c.Full),
		"expect": func(n ast.Node) { r.expect(n, &c.Expect) },
		"answer": func(n ast.Node) { c.Answer = r.answer(n) },
	})
	if err := c.check(); err != nil && len(r.errs) == before { // what is misspelt is not missing as well
		line, column := position(first(n))
		r.fail(line, column, err.Error())
	}
	return c
}

func (r *reader) expect(n ast.Node, e *Expect) {
	r.section(n, "expect", keys{
		"route": r.maybe(&e.Route), "number": r.maybe(&e.Number), "why": r.maybe(&e.Why),
		"code":      func(n ast.Node) { e.Code = new(int); r.number(e.Code)(n) },
		"emergency": func(n ast.Node) { e.Emergency = new(bool); r.truth(e.Emergency)(n) },
		"hops":      func(n ast.Node) { e.Hops = []Hop{}; r.items(n, func(n ast.Node) { e.Hops = append(e.Hops, r.hop(n)) }) },
		"skipped":   r.list(&e.Skipped),
		"called":    func(n ast.Node) { e.Called = r.numbers(n) },
		"caller":    func(n ast.Node) { e.Caller = r.numbers(n) },
	})
}

func (r *reader) answer(n ast.Node) *Answer {
	a := new(Answer)
	r.section(n, "answer", keys{
		"trunk": r.text(&a.Trunk), "code": r.number(&a.Code), "cause": r.number(&a.Cause), "expect": r.number(&a.Expect),
	})
	return a
}

// hop reads a trunk, or {any_of: [trunks]}.
func (r *reader) hop(n ast.Node) Hop {
	if _, isSection := n.(ast.MapNode); !isSection {
		var name string
		r.text(&name)(n)
		return Hop{name}
	}
	var set []string
	r.section(n, "a hop", keys{"any_of": r.list(&set)})
	if len(set) == 0 {
		r.failAt(n, "any_of names no trunk; list those whose order is drawn")
	}
	return set
}

// numbers reads a number, or one for each trunk.
func (r *reader) numbers(n ast.Node) *Numbers {
	v := new(Numbers)
	if _, isSection := n.(ast.MapNode); !isSection {
		r.text(&v.Each)(n)
		return v
	}
	v.ByTrunk = make(map[string]string)
	r.entries(n, func(key string, _, value ast.Node) {
		var number string
		r.text(&number)(value)
		v.ByTrunk[key] = number
	})
	return v
}

// section reads a mapping that has no keys but these.
func (r *reader) section(n ast.Node, what string, known keys) {
	r.entries(n, func(key string, at, value ast.Node) {
		if read, ok := known[key]; ok {
			read(value)
			return
		}
		names := slices.Sorted(maps.Keys(known))
		do := what + " has " + strings.Join(names, ", ")
		if meant, ok := near.Word(key, names); ok {
			do = fmt.Sprintf("did you mean %q?", meant)
		}
		r.failAt(at, fmt.Sprintf("unknown key %s; %s", show(key), do))
	})
}

// entries calls read with each key of a mapping, the key's node and the value.
func (r *reader) entries(n ast.Node, read func(key string, at, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.failAt(n, "this is no section; write keys here, as name: value")
		return
	}
	seen := make(map[string]int)
	for it := m.MapRange(); it.Next(); {
		at, isNode := it.Key().(ast.Node)
		key, ok := "", false
		if isNode && !it.Key().IsMergeKey() {
			key, ok = scalar(at)
		}
		line, _ := position(it.Key())
		switch {
		case !ok:
			r.failAt(it.Key(), "this is not a plain key; merge keys (<<) and ? keys are not read here, write the keys out")
		case seen[key] > 0:
			r.failAt(it.Key(), fmt.Sprintf("%s stands in line %d already; keep one of the two", show(key), seen[key]))
		default:
			seen[key] = line
			read(key, at, it.Value())
		}
	}
}

// items calls read with each item of a list.
func (r *reader) items(n ast.Node, read func(ast.Node)) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.failAt(n, "this is no list; write [one, another], or items that begin with a dash")
		return
	}
	for _, item := range seq.Values {
		read(item)
	}
}

// text, number, truth, list and maybe read a value into p.
func (r *reader) text(p *string) func(ast.Node) {
	return func(n ast.Node) {
		text, ok := scalar(n)
		if !ok {
			r.failAt(n, "one value is wanted here, in quotes if it is a number")
		}
		*p = text
	}
}

func (r *reader) maybe(p **string) func(ast.Node) {
	return func(n ast.Node) {
		*p = new(string)
		r.text(*p)(n)
	}
}

func (r *reader) number(p *int) func(ast.Node) {
	return func(n ast.Node) {
		text, _ := scalar(n)
		v, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			r.failAt(n, "a whole number is wanted here, in digits")
		}
		*p = int(v)
	}
}

func (r *reader) truth(p *bool) func(ast.Node) {
	return func(n ast.Node) {
		text, _ := scalar(n)
		if text != "true" && text != "false" {
			r.failAt(n, "write true or false")
		}
		*p = text == "true"
	}
}

func (r *reader) list(p *[]string) func(ast.Node) {
	return func(n ast.Node) {
		list := []string{}
		r.items(n, func(item ast.Node) {
			var name string
			r.text(&name)(item)
			if slices.Contains(list, name) {
				r.failAt(item, show(name)+" stands in this list already; remove one of the two")
			}
			list = append(list, name)
		})
		*p = list
	}
}

// scalar is the text of one value as it stands in the file, without its quotes: 0043 stays 0043, +43 stays +43.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// first is the node whose place tells where a value begins: for a section its first key.
func first(n ast.Node) ast.Node {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return it.Key()
		}
	}
	return n
}

// position is where a node begins.
func position(n ast.Node) (line, column int) {
	if n != nil {
		if tk := n.GetToken(); tk != nil && tk.Position != nil {
			return tk.Position.Line, tk.Position.Column
		}
	}
	return 1, 1
}

func (r *reader) fail(line, column int, message string) {
	r.errs = append(r.errs, Error{r.file, line, column, message})
}

func (r *reader) failAt(n ast.Node, message string) {
	line, column := position(first(n))
	r.fail(line, column, message)
}

// shownMost is how much of a text an error repeats, in bytes.
const shownMost = 60

// show is a text of the file as an error repeats it.
func show(text string) string {
	if len(text) > shownMost {
		text = strings.ToValidUTF8(text[:shownMost], "") + "..."
	}
	return strconv.Quote(text)
}
