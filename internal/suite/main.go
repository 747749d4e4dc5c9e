// Command suite runs the whole test suite and says what became of every test: once as built, for the allocation proofs,
// and once under the race detector. What this machine could not run is listed by name and reason; with STRICT=1 a test
// that was left out is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// name is a test of a package; Test is empty for the package itself.
type name struct{ Package, Test string }

// tally is what became of the tests of one or more passes.
type tally struct {
	passed  int
	failed  []name
	skipped []name
	output  map[name]*strings.Builder
}

func main() {
	strict := os.Getenv("STRICT") == "1"
	began := time.Now()
	var t tally
	t.output = map[name]*strings.Builder{}
	for _, pass := range []struct {
		title string
		flags []string
	}{
		{"as built", nil},
		{"race detector", []string{"-race"}},
	} {
		fmt.Printf("=== go test, %s\n", pass.title)
		if err := t.run(append(pass.flags, os.Args[1:]...)); err != nil {
			fmt.Fprintln(os.Stderr, "suite:", err)
			os.Exit(1)
		}
	}
	t.report(strict)
	fmt.Printf("finished in %s\n", time.Since(began).Round(time.Second))
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, len(t.failed), len(t.skipped))
	if len(t.failed) > 0 || strict && len(t.skipped) > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

// run is one pass over all packages. -p 1: the tests with real peers share the machine's ports and cores with nobody.
func (t *tally) run(flags []string) error {
	command := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1", "-p", "1", "-timeout", "15m"}, flags, []string{"./..."})...)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // the go command's own words
			continue
		}
		t.take(e)
	}
	failures := len(t.failed)
	if err := command.Wait(); err != nil && failures == 0 {
		return fmt.Errorf("go test: %w", err) // it did not even build
	}
	return lines.Err()
}

func (t *tally) take(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		if t.output[n] == nil {
			t.output[n] = new(strings.Builder)
		}
		t.output[n].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			fmt.Printf("%-5s %-32s %6.1fs\n", e.Action, e.Package, e.Elapsed)
		}
		switch {
		case e.Action == "fail":
			t.failed = append(t.failed, n)
		case e.Test == "":
		case e.Action == "skip":
			t.skipped = append(t.skipped, n)
		default:
			t.passed++
			if !slices.Contains(t.failed, n) { // in the pass before this one: what it said then is to be shown
				delete(t.output, n)
			}
		}
	}
}

// report prints the words of what failed, and what was left out.
func (t *tally) report(strict bool) {
	for _, n := range t.failed {
		fmt.Printf("\n--- FAIL %s %s\n", n.Package, n.Test)
		for of, out := range t.output {
			// A package that fails also shows what its unfinished tests said: the one that panicked has no event of its own.
			if of == n || n.Test == "" && of.Package == n.Package && !slices.Contains(t.failed, of) {
				fmt.Print(out.String())
			}
		}
	}
	if len(t.skipped) == 0 {
		fmt.Println("\nNothing was left out.")
		return
	}
	fmt.Println("\nLeft out on this machine:")
	for _, n := range t.skipped {
		reason := ""
		if out := t.output[n]; out != nil {
			for line := range strings.Lines(out.String()) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
					reason = line
				}
			}
		}
		fmt.Printf("  %s %s: %s\n", n.Package, n.Test, reason)
	}
	if strict {
		fmt.Println("STRICT=1: nothing may be left out.")
	}
}
