package cases

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

const whole = `# a comment
- name: a call
  trunk: pbx
  from: +43155
  to: 0043
  down: [gw1]
  demoted: [gw2]
  resting: [gw3]
  full: []
  expect:
    route: out
    number: "+43"
    emergency: false
    hops: [gw4, {any_of: [gw5, gw6]}]
    called: "43"
    caller: {gw4: 155, gw5: "0155"}
    skipped: []
    code: 0
    why: no
- name: an answer
  answer: {trunk: gw1, code: 486, cause: 34, expect: 503}
`

func TestEveryKeyIsRead(t *testing.T) {
	got, err := Parse("x.cases.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := []Case{
		{Line: 2, Name: "a call", Trunk: "pbx", From: "+43155", To: "0043",
			Down: []string{"gw1"}, Demoted: []string{"gw2"}, Resting: []string{"gw3"}, Full: []string{},
			Expect: Expect{Route: ptr("out"), Number: ptr("+43"), Emergency: ptr(false), Hops: []Hop{{"gw4"}, {"gw5", "gw6"}},
				Called: &Numbers{Each: "43"}, Caller: &Numbers{ByTrunk: map[string]string{"gw4": "155", "gw5": "0155"}},
				Skipped: []string{}, Code: ptr(0), Why: ptr("no")}},
		{Line: 20, Name: "an answer", Answer: &Answer{Trunk: "gw1", Code: 486, Cause: 34, Expect: 503}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

func TestNumbersAreTextWithOrWithoutQuotes(t *testing.T) {
	for _, number := range []string{"+4312345", "0043", "112", "1.5", "0x1f", "1_000", "true", "'+43'", `"0043"`, "'*21#'", "anonymous"} {
		list, err := Parse("x", []byte("- {name: n, trunk: t, to: "+number+", expect: {code: 0}}"))
		if err != nil || list[0].To != strings.Trim(number, `'"`) {
			t.Errorf("%s: %v, %+v", number, err, list)
		}
	}
}

func TestACaseThatExpectsNothingIsRefused(t *testing.T) {
	_, err := Parse("x", []byte("- {name: n, trunk: t, to: '1'}\n- {name: n, trunk: t, to: '1', expect: {}}\n"))
	const message = "the case expects nothing and would always pass; write expect: with route, hops, called or code"
	if want := "x:1:4: " + message + "\nx:2:4: " + message; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	const call = "- name: n\n  trunk: t\n  to: '1'\n  expect: {code: 0}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"a misspelt key", call + "  form: '1'\n", `x:5:3: unknown key "form"; did you mean "from"?`},
		{"an unknown key", call + "  colour: red\n", `x:5:3: unknown key "colour"; a case has answer, demoted, down, expect, from, full, name, resting, to, trunk`},
		{"a misspelt expectation", "- name: n\n  trunk: t\n  to: '1'\n  expect: {rout: x}\n", `x:4:12: unknown key "rout"; did you mean "route"?`},
		{"a key twice", call + "  to: '2'\n", `x:5:3: "to" stands in line 3 already; keep one of the two`},
		{"no name", "- {trunk: t, to: '1', expect: {code: 0}}", "x:1:4: the case has no name; say in a sentence what it is about"},
		{"no trunk", "- {name: n, to: '1', expect: {code: 0}}", "x:1:4: the case has no trunk; name the one by which the call enters"},
		{"no number", "- {name: n, trunk: t, expect: {code: 0}}", "x:1:4: the case has no number; write what was dialled as to: in quotes"},
		{"a case that is none", "- just text\n", "x:1:3: this is no section; write keys here, as name: value"},
		{"a mapping of cases", "cases: []\n", "x:1:1: this is no list; write [one, another], or items that begin with a dash"},
		{"nothing", "", "x:1:1: there is no case in this file; write a list of them, each beginning with - name:"},
		{"comments only", "# nothing\n", "x:1:1: there is no case in this file; write a list of them, each beginning with - name:"},
		{"a word for a list", call + "  down: gw1\n", "x:5:9: this is no list; write [one, another], or items that begin with a dash"},
		{"a name twice", call + "  down: [gw1, gw1]\n", `x:5:15: "gw1" stands in this list already; remove one of the two`},
		{"a list for a word", call + "  from: [1]\n", "x:5:9: one value is wanted here, in quotes if it is a number"},
		{"nothing for a word", call + "  from:\n", "x:5:9: one value is wanted here, in quotes if it is a number"},
		{"a word for a code", "- {name: n, trunk: t, to: '1', expect: {code: no}}", "x:1:47: a whole number is wanted here, in digits"},
		{"a word for a truth", "- {name: n, trunk: t, to: '1', expect: {emergency: maybe}}", "x:1:52: write true or false"},
		{"an empty set", "- {name: n, trunk: t, to: '1', expect: {hops: [{any_of: []}]}}", "x:1:49: any_of names no trunk; list those whose order is drawn"},
		{"an anchor", call + "  from: &a '1'\n", "x:5:9: one value is wanted here, in quotes if it is a number"},
		{"a merge key", call + "  <<: {from: '1'}\n", "x:5:3: this is not a plain key; merge keys (<<) and ? keys are not read here, write the keys out"},
		{"a call and an answer", call + "  answer: {trunk: t, code: 404, expect: 404}\n", "x:1:3: answer stands alone: a case is about a call or about an answer; make two of it"},
		{"an answer of nobody", "- {name: n, answer: {code: 404, expect: 404}}", "x:1:4: the answer has no trunk; name the one whose peer answers"},
		{"an answer that is no failure", "- {name: n, answer: {trunk: t, code: 200, expect: 404}}", "x:1:4: the answer's code is no failure; write 400 to 699"},
		{"a cause that is none", "- {name: n, answer: {trunk: t, code: 404, cause: 128, expect: 404}}", "x:1:4: the answer's cause is none of Q.850; write 1 to 127 or leave it out"},
		{"an answer that expects nothing", "- {name: n, answer: {trunk: t, code: 404}}", "x:1:4: the answer expects no failure; write 400 to 699, the same code if nothing is translated"},
		{"two mistakes", call + "  form: '1'\n  dowm: [x]\n", "x:5:3: unknown key \"form\"; did you mean \"from\"?\nx:6:3: unknown key \"dowm\"; did you mean \"down\"?"},
		{"no YAML", "- name: 'x\n", "x:1:9: could not find end character of single-quoted text; check the indentation and the quotes"},
		{"no text", "- name: \x00\n", "x:1:9: this is not text; save the file as UTF-8"},
		{"brackets", "- name: " + strings.Repeat("[", 17) + "\n", "x:1:1: more than 16 brackets are open here; is this the right file?"},
		{"too large", strings.Repeat("#", maxFile+1), "x:1:1: the file is larger than 524288 bytes; is this the right file?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Parse("x", []byte(tc.text)); err == nil || err.Error() != tc.want {
				t.Errorf("%v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestBracketsInTextAndCommentsAreNone(t *testing.T) {
	text := "# " + strings.Repeat("[", 40) + "\n- {name: '" + strings.Repeat("[", 40) + "', trunk: t, to: '1', expect: {code: 0}}\n"
	if _, err := Parse("x", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestCasesStandBesideTheirConfig(t *testing.T) {
	for config, want := range map[string]string{"/etc/tandem.yaml": "/etc/tandem.cases.yaml", "a.yml": "a.cases.yml", "tandem.conf": "tandem.conf.cases.yaml"} {
		if got := Path(config); got != want {
			t.Errorf("Path(%s) = %s, want %s", config, got, want)
		}
	}
	path := filepath.Join(t.TempDir(), "x.cases.yaml")
	if _, err := Load(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := Load(path); err != nil || len(list) != 2 {
		t.Errorf("%v, %d cases", err, len(list))
	}
}

// FuzzParse checks that no file ends in a panic, that errors have a place and that a case without an error expects something.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("- {name: n, trunk: t, to: +1, expect: {hops: [{any_of: [a, b]}, c], code: 0}}"))
	f.Add([]byte("- name: &a [*a]\n  <<: {x: 1}\n"))
	f.Add([]byte("a: {b: [c, {d: \"\\u0000\"}]}\n---\n- ? x\n"))
	f.Add([]byte("- !!binary x\n- |\n  y\n- 'z\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		list, err := Parse("x", b)
		if err == nil {
			if len(list) == 0 {
				t.Fatal("no case and no error")
			}
			for _, c := range list {
				if c.Line < 1 || c.Name == "" || c.Answer == nil && !c.Expect.told() {
					t.Fatalf("%+v", c)
				}
			}
			return
		}
		errs, ok := err.(Errors)
		if !ok || len(errs) == 0 {
			t.Fatalf("%T", err)
		}
		for _, e := range errs {
			if e.Line < 1 || e.Column < 1 || e.Message == "" || strings.ContainsAny(e.Message, "\x00") {
				t.Fatalf("%+v", e)
			}
		}
	})
}
