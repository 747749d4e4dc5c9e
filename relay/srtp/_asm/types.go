package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

// kernelTypes reads the types of package kernel from its sources, so that offsets are those of the fields there. Only type
// declarations and constants count: what they need is in the package, hence no importer.
func kernelTypes(dir string) (*types.Package, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, entry := range entries {
		if !isSource(entry.Name()) {
			continue
		}
		file, err := parser.ParseFile(set, filepath.Join(dir, entry.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	config := types.Config{
		IgnoreFuncBodies: true,
		Sizes:            types.SizesFor("gc", "amd64"),
		Error:            func(error) {}, // imports are not resolved, and need not be
	}
	pkg, _ := config.Check("kernel", set, files, nil)
	for _, name := range []string{"RoundKeys", "HMAC", "GHASH", "stream", "runs"} {
		if pkg.Scope().Lookup(name) == nil {
			return nil, fmt.Errorf("%s: type %s is not there", dir, name)
		}
	}
	return pkg, nil
}

// isSource tells whether a file may declare types. Those for amd64 do not: they may be what is being written.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, "_amd64.go")
}
