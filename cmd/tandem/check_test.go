package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pool is a valid file for two nodes, with one usage that leads nowhere.
const pool = `media: {networks: {a: {addresses: [192.0.2.1], ports: 40000-40099}, b: {addresses: [192.0.2.2], ports: 40000-40099}}}
sip:
  listeners:
    a: {node: a, transport: udp, address: "192.0.2.1:5060"}
    b: {node: b, transport: udp, address: "192.0.2.2:5060"}
policy: {max_calls: 20}
trunks:
  in-a: {listener: a, peer: 198.51.100.1, network: a, usages: [nowhere]}
  in-b: {listener: b, peer: 198.51.100.1, network: b}
  out-b: {listener: b, peer: 198.51.100.2, network: b, max_calls: 30}
routes:
  - {name: out, from: [in-a, in-b], to: [out-b]}
`

func TestCheckTellsWhatItUnderstood(t *testing.T) {
	file := written(t, pool)
	for _, c := range []struct {
		name          string
		cmd           checkCmd
		want, wantErr []string
		never         []string
	}{
		{"the whole file", checkCmd{}, []string{"# trunk in-a: ", "# trunk out-b: ", "# route out: from in-a, in-b, any number, to out-b", "policy:\n  max_calls: 20\n"},
			[]string{file + " is valid.", "warning: " + file + ":8:64: trunks.in-a.usages[0]: nowhere: no route has this usage"}, nil},
		{"one node", checkCmd{Node: "a"}, []string{"node: a\n", "# trunk in-a: ", "# route out: from in-a, any number, rejected with 503"}, nil, []string{"out-b"}},
		{"resolved", checkCmd{Resolved: true}, []string{"trunk out-b: udp 192.0.2.2:5060", "trunk out-b, line 10", "global, line 6"}, nil, []string{"sip:"}},
		{"quietly", checkCmd{Quiet: true}, nil, []string{"warning: "}, []string{"trunk", "is valid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cmd.Config = file
			var out, err bytes.Buffer
			if e := c.cmd.Run(streams{out: &out, err: &err}); e != nil {
				t.Fatal(e)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
			for _, want := range c.wantErr {
				if !strings.Contains(err.String(), want) {
					t.Errorf("no %q in\n%s", want, &err)
				}
			}
			for _, never := range c.never {
				if strings.Contains(out.String(), never) {
					t.Errorf("%q in\n%s", never, &out)
				}
			}
		})
	}
}

func TestCheckOfAWrongFileListsItsMistakesAndFails(t *testing.T) {
	file := written(t, strings.Replace(pool, "to: [out-b]", "to: [outb]", 1))
	var out, err bytes.Buffer
	e := (&checkCmd{Config: file}).Run(streams{out: &out, err: &err})
	var code exit
	if !errors.As(e, &code) || code != 2 || out.Len() > 0 {
		t.Errorf("%v, printed %q", e, &out)
	}
	if want := file + ":12:42: routes[0].to[0]: outb: there is no trunk of this name; did you mean \"out-b\"?\n"; err.String() != want {
		t.Errorf("got %swant %s", &err, want)
	}
}

func TestCheckHoldsTheRoutingCasesAgainstTheFile(t *testing.T) {
	file := written(t, pool)
	cases := filepath.Join(filepath.Dir(file), "cases.yaml")
	for _, c := range []struct {
		name, trunk, print string
		holds              bool
	}{
		{"a case that holds", "out-b", "all 1 cases hold", true},
		{"a case that does not", "in-a", "1 of 1 cases fail", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "- {name: n, trunk: in-b, from: '1', to: '2', expect: {hops: [" + c.trunk + "]}}\n"
			if err := os.WriteFile(cases, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, err bytes.Buffer
			e := (&checkCmd{Config: file, Cases: cases}).Run(streams{out: &out, err: &err})
			if (e == nil) != c.holds || !strings.Contains(out.String(), c.print) {
				t.Errorf("%v\n%s%s", e, &out, &err)
			}
			out.Reset()
			e = (&checkCmd{Config: file, Cases: cases, Quiet: true}).Run(streams{out: &out, err: &err})
			if (e == nil) != c.holds || (out.Len() == 0) != c.holds {
				t.Errorf("quietly: %v\n%s", e, &out)
			}
		})
	}
	var out, err bytes.Buffer
	if e := (&checkCmd{Config: file, Routes: true}).Run(streams{out: &out, err: &err}); e == nil || !strings.Contains(err.String(), "there are no routing cases") {
		t.Errorf("without a file of cases: %v\n%s", e, &err)
	}
}

func TestTheExamplesPassTheCheckWithoutAWarning(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no example was found")
	}
	for _, file := range append(files, "../../deploy/tandem.yaml") {
		if strings.HasSuffix(file, ".cases.yaml") {
			continue
		}
		var out, err bytes.Buffer
		if e := (&checkCmd{Config: file, Quiet: true}).Run(streams{out: &out, err: &err}); e != nil {
			t.Errorf("%s: %v\n%s", file, e, &err)
		}
		for line := range strings.Lines(err.String()) { // this machine need not have their certificates
			if !strings.HasPrefix(line, "warning: on this machine") && strings.Contains(line, file) {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}

// written is the path of a file with a text.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
