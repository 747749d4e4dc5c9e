package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// document is one file on its way into a Config: where each key stands, and what is wrong so far. It decodes by the yaml
// tags of the structs rather than through the YAML library, which stops at the first error and knows neither our suggestions
// nor our types.
type document struct {
	file     string
	at       map[string]place // by path, of every key that the file has
	errs     Errors
	warnings Errors
	wrong    map[string]bool // paths with an error: a second one would only repeat it
	secret   map[string]bool // paths whose text no message repeats
	profiles map[string]*profile
}

func newDocument(file string) *document {
	return &document{file: file, at: make(map[string]place), wrong: make(map[string]bool), secret: make(map[string]bool),
		profiles: make(map[string]*profile)}
}

// place is where a value stands, or the key of a mapping or list, and the text of a scalar.
type place struct {
	line, column int
	text         string
	scalar       bool
}

// has reports whether the file gives the key.
func (d *document) has(path string) bool {
	_, ok := d.at[path]
	return ok
}

// line is where a key stands.
func (d *document) line(path string) int {
	return d.at[path].line
}

// lines are the lines of all keys.
func (d *document) lines() map[string]int {
	lines := make(map[string]int, len(d.at))
	for path, at := range d.at {
		lines[path] = at.line
	}
	return lines
}

// syntax reports an error that belongs to no key.
func (d *document) syntax(line, column int, message string) {
	d.errs = append(d.errs, Error{File: d.file, Line: line, Column: column, Message: message})
}

// fail reports what is wrong with the value of a key, and what to do. Only the first error of a path counts.
func (d *document) fail(path, what, do string) {
	if d.wrong[path] {
		return
	}
	d.wrong[path] = true
	d.errs = append(d.errs, d.remark(path, what, do))
}

// warn reports what is valid and surely not meant.
func (d *document) warn(path, what, do string) {
	d.warnings = append(d.warnings, d.remark(path, what, do))
}

// remark is about the value of a key; if the file does not have it, about the section that should.
func (d *document) remark(path, what, do string) Error {
	message := what + "; " + do
	at, ok := d.at[path]
	switch {
	case ok && at.scalar && d.secret[path]:
		message = hidden + ": " + message
	case ok && at.scalar:
		message = show(at.text) + ": " + message
	}
	for outer := path; !ok && outer != ""; at, ok = d.at[outer] {
		outer = outer[:max(0, strings.LastIndexAny(outer, ".["))]
	}
	if !ok {
		at = place{line: 1, column: 1}
	}
	return Error{File: d.file, Line: at.line, Column: at.column, Path: path, Message: message}
}

// missing reports a key that the file should have.
func (d *document) missing(path, do string) {
	if !d.has(path) {
		d.fail(path, "is missing", do)
	}
}

// decode reads the value of one key into v. The caller has noted the place of the key already, or this is the root.
func (d *document) decode(path string, node ast.Node, v reflect.Value) {
	if secretive(v.Type()) {
		d.secret[path] = true
	}
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		d.failAt(path, node, "anchors and aliases are not read here", "write the value out")
		return
	case *ast.TagNode:
		d.failAt(path, node, "tags are not read here", "remove the word that begins with !")
		return
	}
	_, null := node.(*ast.NullNode)
	kind := v.Kind()
	switch {
	case scalarType(v.Type()):
		d.scalar(path, node, v)
	case null: // a section whose keys are all commented out
		if kind == reflect.Pointer {
			d.warn(path, "has no keys, and so is not there", "write {} for one of defaults, or remove it")
		}
		delete(d.at, path)
	case kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(path, node, v.Elem())
	case kind == reflect.Slice:
		d.list(path, node, v)
	case kind == reflect.Map:
		d.named(path, node, v)
	default:
		d.section(path, node, v)
	}
}

// scalarType reports whether a type is written as one YAML scalar.
func scalarType(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer && t != reflect.TypeFor[*regexp.Regexp]() {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix](),
		reflect.TypeFor[PortRange](), reflect.TypeFor[time.Duration](), reflect.TypeFor[*regexp.Regexp]():
		return true
	}
	return slices.Contains([]reflect.Kind{reflect.String, reflect.Int, reflect.Bool}, t.Kind())
}

// scalar reads one value.
func (d *document) scalar(path string, node ast.Node, v reflect.Value) {
	text, ok := scalarText(node)
	if _, null := node.(*ast.NullNode); null {
		d.failAt(path, node, "has no value", "give it one or remove the key")
		return
	}
	if !ok {
		d.failAt(path, node, "is a list or a section", "one value is wanted here: "+wanted(v.Type()))
		return
	}
	d.note(path, node, text, true)
	if what, do := setScalar(v, text); what != "" {
		d.fail(path, what, do)
	}
}

// scalarText is the text of a scalar node without its quotes.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

// list reads a sequence.
func (d *document) list(path string, node ast.Node, v reflect.Value) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.failAt(path, node, "is not a list", "write [one, another]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, n := range seq.Values {
		item := fmt.Sprintf("%s[%d]", path, i)
		d.note(item, first(n), "", false)
		d.decode(item, n, v.Index(i))
	}
}

// first is the node whose place tells where an item begins: for a section its first key.
func first(node ast.Node) ast.Node {
	if m, ok := node.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return it.Key()
		}
	}
	return node
}

// named reads a mapping whose keys are names that the operator chose.
func (d *document) named(path string, node ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(path, node, func(key, entry string, value ast.Node) {
		if v.Type().Elem() == reflect.TypeFor[Secret]() {
			d.secret[entry] = true // and its key is a user, who has the name that the peer gave
		} else if !isName(key) {
			d.name(entry, key)
			return
		}
		if _, null := value.(*ast.NullNode); null {
			d.fail(entry, "has no keys", "fill it or remove it")
			return
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(entry, value, elem)
		v.SetMapIndex(reflect.ValueOf(key), elem)
	})
}

// section reads a mapping whose keys are the yaml tags of a struct.
func (d *document) section(path string, node ast.Node, v reflect.Value) {
	known := fields(v.Type())
	d.entries(path, node, func(key, entry string, value ast.Node) {
		for _, f := range known {
			if f.Tag.Get("yaml") == key {
				d.decode(entry, value, v.FieldByIndex(f.Index))
				return
			}
		}
		if path == "sip" && (key == "trunks" || key == "routes") {
			d.fail(entry, key+" stand at the top level now", "move them out of sip, to the left margin")
			return
		}
		d.fail(entry, "unknown key", suggest(path, key, v.Type()))
	})
}

// entries calls read for each key of a mapping, with the key, its path and its value; a second one of the same name is an
// error and not read.
func (d *document) entries(path string, node ast.Node, read func(key, entry string, value ast.Node)) {
	m, ok := node.(ast.MapNode)
	if !ok {
		d.failAt(path, node, "is not a section", "write keys below it, indented, as name: value")
		return
	}
	seen := make(map[string]int)
	for it := m.MapRange(); it.Next(); {
		k := it.Key()
		line, column := position(k)
		key, ok := "", false
		if n, isNode := k.(ast.Node); isNode && !k.IsMergeKey() {
			key, ok = scalarText(n)
		}
		if !ok {
			d.errs = append(d.errs, Error{d.file, line, column, path,
				"this is not a plain key: merge keys (<<), ? keys and empty keys are not read here; write the keys out"})
			continue
		}
		entry := strings.TrimPrefix(path+"."+pathKey(key), ".")
		if before := seen[key]; before > 0 {
			d.errs = append(d.errs, Error{d.file, line, column, entry,
				fmt.Sprintf("stands in line %d already; keep one of the two", before)})
			continue
		}
		seen[key] = line
		d.note(entry, k, "", false)
		read(key, entry, it.Value())
	}
}

// pathKey is a key as part of a path: names keep their form, anything else is quoted so that it cannot pose as two keys.
func pathKey(key string) string {
	if isName(key) {
		return key
	}
	return strconv.Quote(key[:min(len(key), shownMost)])
}

// note remembers where a key or a value stands.
func (d *document) note(path string, node ast.Node, text string, scalar bool) {
	line, column := position(node)
	d.at[path] = place{line, column, text, scalar}
}

// failAt is fail for a value that is not of the right kind: the place is the value's.
func (d *document) failAt(path string, node ast.Node, what, do string) {
	text, scalar := scalarText(node)
	if path == "" {
		line, column := position(node)
		d.syntax(line, column, what+"; "+do)
		return
	}
	if at, ok := d.at[path]; scalar || !ok {
		d.note(path, node, text, scalar)
	} else {
		d.at[path] = place{line: at.line, column: at.column}
	}
	d.fail(path, what, do)
}

// position is where a node begins.
func position(node ast.Node) (line, column int) {
	if tk := node.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line, tk.Position.Column
	}
	return 1, 1
}
