// Package archtest holds the shape of the house: which room may open a door to which other. The rules are the table
// below; docs/architecture.md says why.
package archtest

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Module     *struct{ Path string }
}

// packages lists the module's packages with their imports; test files have their freedom.
func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Module", "tandem/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages of tandem: too few to be the whole module", len(all))
	}
	return all
}

// under tells whether a package is root or below it.
func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func underAny(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return under(path, root) })
}

// rule lets the packages under from import, of ours and of others', only what is under allowed.
type rule struct {
	from    string
	ours    []string
	foreign []string
}

var steps = []string{"tandem/relay/verdict"}

// The first rule that fits a package is its rule.
var rules = []rule{
	{"tandem/relay/netio/fake", []string{"tandem/relay/netio", "tandem/relay/verdict"}, nil},
	{"tandem/relay/netio/frame", nil, nil},
	{"tandem/relay/netio/hop", nil, []string{"golang.org/x/sys", "github.com/vishvananda/netlink"}},
	{"tandem/relay/netio/steer", nil, []string{"golang.org/x/sys", "github.com/cilium/ebpf"}},
	{"tandem/relay/netio/xsk", nil, []string{"golang.org/x/sys", "github.com/cilium/ebpf"}},
	{"tandem/relay/netio", []string{"tandem/relay/netio", "tandem/relay/verdict"}, []string{"golang.org/x/sys", "github.com/vishvananda/netlink"}},
	{"tandem/relay/rtp", steps, nil},
	{"tandem/relay/srtp/kernel", nil, []string{"golang.org/x/sys"}},
	{"tandem/relay/srtp", []string{"tandem/relay/srtp/kernel", "tandem/relay/verdict"}, []string{"golang.org/x/sys"}},
	{"tandem/relay/pin", steps, nil},
	{"tandem/relay/quality", steps, nil},
	{"tandem/relay/ports", steps, nil},
	{"tandem/relay/verdict", nil, nil},
	{"tandem/relay", []string{"tandem/relay", "tandem/internal"}, []string{"golang.org/x/sys"}},
	{"tandem/signaling/sdp", nil, nil},
	{"tandem/signaling/route", []string{"tandem/signaling/trunk", "tandem/internal"}, nil},
	{"tandem/signaling/trunk", []string{"tandem/signaling", "tandem/internal"}, []string{"github.com/miekg/dns"}},
	{"tandem/signaling/guard", []string{"tandem/internal"}, []string{"github.com/emiago/sipgo"}},
	{"tandem/signaling/b2bua", []string{"tandem/signaling", "tandem/internal"}, []string{"github.com/emiago/sipgo"}},
	{"tandem/signaling/register", []string{"tandem/signaling", "tandem/internal"}, []string{"github.com/emiago/sipgo"}},
	{"tandem/signaling", []string{"tandem/signaling", "tandem/internal"}, nil},
	{"tandem/internal/control", []string{"tandem/internal/near"}, nil},
	{"tandem/internal/cases", []string{"tandem/internal/near"}, []string{"github.com/goccy/go-yaml"}},
	{"tandem/deploy", nil, nil},
	{"tandem/internal/config", []string{"tandem/internal/near", "tandem/deploy/profiles"}, []string{"github.com/goccy/go-yaml"}},
	{"tandem/internal/metrics", []string{"tandem/internal/control"}, []string{"github.com/prometheus/client_golang"}},
	{"tandem/internal/phone", nil, []string{"github.com/emiago/sipgo", "github.com/pion"}},
	{"tandem/internal", []string{"tandem/internal"}, nil},
	{"tandem/cmd", []string{"tandem"}, []string{"github.com/alecthomas/kong", "golang.org/x/sys"}},
	{"tandem/bench", []string{"tandem"}, []string{
		"golang.org/x/sys", "github.com/pion", "github.com/cilium/ebpf", "github.com/vishvananda", "github.com/HdrHistogram",
	}},
}

func TestImportsGoOnlyInTheAllowedDirections(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(rules, func(r rule) bool { return under(p.ImportPath, r.from) })
		if i < 0 {
			t.Errorf("%s has no rule: which room does it belong to?", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			allowed := rules[i].foreign
			if under(imported, "tandem") {
				allowed = rules[i].ours
			} else if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if !underAny(imported, allowed) {
				t.Errorf("%s imports %s; the rule for %s allows %v", p.ImportPath, imported, rules[i].from, allowed)
			}
		}
	}
}

func TestTheWorkerImportsTheStepsAndNothingElseOfOurs(t *testing.T) {
	allowed := []string{"tandem/relay/netio", "tandem/relay/rtp", "tandem/relay/srtp", "tandem/relay/pin", "tandem/relay/quality", "tandem/relay/verdict"}
	for _, imported := range importsOf(t, "../../relay/worker.go") {
		if under(imported, "tandem") && !slices.Contains(allowed, imported) {
			t.Errorf("relay/worker.go imports %s; the packet path uses only %v", imported, allowed)
		}
	}
}

// mayUnsafe are the rooms that speak to the kernel or the processor directly.
var mayUnsafe = []string{"relay/netio", "relay/srtp/kernel", "bench/rig", "bench/load"}

func TestUnsafeStaysInItsRooms(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
		if slices.Contains(importsOf(t, path), "unsafe") && !underAny(room, mayUnsafe) {
			t.Errorf("%s imports unsafe; it belongs in one of %v", path, mayUnsafe)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheTopLevelIsFixed(t *testing.T) {
	allowed := []string{
		"relay", "signaling", "bench", "cmd", "internal", "go.mod", "go.sum", "Makefile", "BENCHMARKS.md",
		"README.md", "LICENSE", "docs", "deploy", ".ci", ".git", ".gitignore", "bin",
	}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong on the top level; allowed: %v", e.Name(), allowed)
		}
	}
}

func importsOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, imported)
	}
	return all
}
