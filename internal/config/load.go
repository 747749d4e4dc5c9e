package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds what the YAML parser sees, in bytes: some thousand trunks. The parser recurses with every bracket and takes
// time with the square of their number, so that a file that is no config at all should not reach it.
const maxFile = 512 << 10

// AllNodes in place of a node's name stands for the whole pool: nothing is left out.
const AllNodes = "*"

// Load reads the file at path for the node that it names, or that the host is. The error is of type Errors if the file could
// be read at all.
func Load(path string) (*Config, error) {
	return LoadFor(path, "")
}

// LoadFor reads the file at path for one node of the pool: listeners of others and their trunks are left out. An empty node
// is the one that the file names, or the host; AllNodes leaves nothing out.
func LoadFor(path, node string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w; give the path of the file with -c", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return ParseFor(path, b, node)
}

// Parse reads the content of a file as Load does; name stands for it in errors. Defaults are filled in, scopes are merged and
// every value is checked, so that a Config without an error needs no further checks but those that only the machine can make:
// that files, addresses and users exist. The error is of type Errors and holds everything that was found.
func Parse(name string, b []byte) (*Config, error) {
	return ParseFor(name, b, "")
}

// ParseFor reads the content of a file as LoadFor does. The whole file is checked, whatever the node.
func ParseFor(name string, b []byte, node string) (*Config, error) {
	if node != "" && node != AllNodes && !nodeName.MatchString(node) {
		return nil, Errors{{File: name, Message: fmt.Sprintf("node %s: is not of the right form; use 1 to %d letters, digits and dashes",
			show(node), maxNode)}}
	}
	d := newDocument(name)
	c := new(Config)
	if root, ok := d.read(b); ok {
		if root != nil {
			d.decode("", root, reflect.ValueOf(c).Elem())
		}
		if node != "" && node != AllNodes && !d.wrong["node"] {
			c.Node = node
			d.at["node"] = place{line: d.line("node")}
		}
		c.fill(d)
		c.check(d)
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	c.warn(d)
	if node != AllNodes {
		c.keep(d)
	}
	d.warnings.sort()
	c.source = &source{file: name, lines: d.lines(), warnings: d.warnings}
	return c, nil
}

// read parses the YAML into its tree. Root is nil for a file without content; ok is false after an error.
func (d *document) read(b []byte) (root ast.Node, ok bool) {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // the byte order mark that some editors put first
	if !d.readable(b) {
		return nil, false
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
		d.syntax(line, column, message+"; "+mend(message))
		return nil, false
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType:
		case root != nil:
			line, column := position(doc.Body)
			d.syntax(line, column, "a second document begins here; keep one, without --- between")
			return nil, false
		default:
			root = doc.Body
		}
	}
	if _, isMap := root.(ast.MapNode); root != nil && !isMap {
		line, column := position(root)
		d.syntax(line, column, "the file is no mapping; begin it with keys such as media: and sip:")
		return nil, false
	}
	return root, true
}

// mend says what to do about the parser's complaint.
func mend(complaint string) string {
	if strings.Contains(complaint, "escape character") {
		return "in double quotes a backslash begins an escape: write the value in single quotes, as '^\\+43'"
	}
	return "check the indentation, and quote values that begin with [ { * & ! @ or contain ': '"
}

// readable refuses what the parser should not see.
func (d *document) readable(b []byte) bool {
	if len(b) > maxFile {
		d.syntax(1, 1, fmt.Sprintf("the file is larger than %d bytes; is this the right file?", maxFile))
		return false
	}
	depth := 0
	for i, line := range bytes.Split(b, []byte("\n")) {
		if depth += brackets(line); depth > maxDepth {
			d.syntax(i+1, 1, fmt.Sprintf("more than %d brackets are open here; is this the right file?", maxDepth))
			return false
		}
		for j := 0; j < len(line); {
			r, size := utf8.DecodeRune(line[j:])
			if (r == utf8.RuneError && size <= 1) || (r < ' ' && r != '\t' && r != '\r') {
				d.syntax(i+1, utf8.RuneCount(line[:j])+1, fmt.Sprintf("byte 0x%02x is not text; save the file as UTF-8", line[j]))
				return false
			}
			j += size
		}
	}
	return true
}

// maxDepth bounds open brackets: the parser's time grows with the square of their number.
const maxDepth = 64

// brackets counts how many more brackets a line opens than it closes, at its deepest; quoted text and comments do not count.
func brackets(line []byte) int {
	depth, deepest, quote := 0, 0, byte(0)
	for _, c := range line {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			return depth
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	if deepest > maxDepth {
		return deepest // closed again or not, it is too deep
	}
	return depth
}

// Embedded is the config of `tandem run` without a file: everything on loopback, calls to 127.0.0.1:5060 leave for a phone
// at 127.0.0.1:5090.
func Embedded() *Config {
	c, err := Parse("embedded", []byte(strings.TrimSpace(embedded)))
	if err != nil {
		panic(err) // a constant: the test of this function is the proof that it is valid
	}
	c.source.file = "" // nobody could open it
	return c
}

const embedded = `
media:
  networks:
    local:
      addresses: [127.0.0.1]
      ports: 40000-49999
sip:
  listeners:
    local-udp:
      transport: udp
      address: 127.0.0.1:5060
    local-udp2:
      transport: udp
      address: 127.0.0.1:5070
trunks:
  caller:
    listener: local-udp
    peer: 127.0.0.1:5080
    sources: [127.0.0.0/8]
    network: local
    options: {off: true}
  callee:
    listener: local-udp2
    peer: 127.0.0.1:5090
    sources: [127.0.0.0/8]
    network: local
    options: {off: true}
routes:
  - name: local
    from: [caller]
    to: [callee]
`
