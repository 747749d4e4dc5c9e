package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/internal/cases"
	"tandem/internal/config"
)

// examples are the configs of deploy/examples.
func examples(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../../deploy/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var configs []string
	for _, path := range all {
		if !strings.HasSuffix(path, ".cases.yaml") {
			configs = append(configs, path)
		}
	}
	if len(configs) < 4 {
		t.Fatalf("%d examples: %v", len(configs), configs)
	}
	return configs
}

func TestEveryExampleIsValidAndItsRoutingCasesHold(t *testing.T) {
	count := 0
	for _, path := range examples(t) {
		cfg, err := config.LoadFor(path, config.AllNodes)
		if err != nil {
			t.Fatal(err)
		}
		if w := cfg.Warnings(); len(w) > 0 {
			t.Errorf("%v", w)
		}
		var out strings.Builder
		if ok, err := runCases(&out, path, ""); err != nil || !ok {
			t.Errorf("%v\n%s", err, out.String())
		}
		list, err := cases.Load(cases.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		count += len(list)
	}
	if count < 45 {
		t.Errorf("the examples have %d cases, at least 45 are wanted", count)
	}
}

// TestEachRuleOfTheExamplesMattersToACase takes one rule after the other out of the examples, turns one switch after the other,
// and wants a case that notices: a case that holds whatever the config says would be no proof.
func TestEachRuleOfTheExamplesMattersToACase(t *testing.T) {
	rule := regexp.MustCompile(`(?m)^ *- \{.*(match|code|cause|to): .*\n`)
	turns := map[*regexp.Regexp]string{
		rule:                                   "",
		regexp.MustCompile(`, continue: true`): "",
		regexp.MustCompile(`, balance: (shuffle|order)`):        "",
		regexp.MustCompile(`balance: weight, weights: \{.*?\}`): "balance: order",
		regexp.MustCompile(`remove_plus: true`):                 "remove_plus: false",
		regexp.MustCompile(`remove_plus: false`):                "remove_plus: true",
		regexp.MustCompile(`, calling_numbers: \[\]`):           "",
		regexp.MustCompile(`, caller: '.*?'`):                   "",
		regexp.MustCompile(`emergency: true, `):                 "",
		regexp.MustCompile(`dial_plan: \w+`):                    "dial_plan: ''",
		regexp.MustCompile(`, site: [^f]\w+`):                   "", // the front ends' site has caps only
		regexp.MustCompile(`, from: \[.*?\]`):                   "",
		regexp.MustCompile(`, usages: \[.*?\]`):                 "",
	}
	for _, path := range examples(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mutant := filepath.Join(t.TempDir(), filepath.Base(path))
		for turn, to := range turns {
			for _, at := range turn.FindAllIndex(text, -1) {
				changed := slices.Concat(text[:at[0]], []byte(to), text[at[1]:])
				if err := os.WriteFile(mutant, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				if ok, err := runCases(&bytes.Buffer{}, mutant, cases.Path(path)); err == nil && ok {
					t.Errorf("%s:%d: %q may become %q and no case fails", path, bytes.Count(text[:at[0]], []byte("\n"))+1, text[at[0]:at[1]], to)
				}
			}
		}
	}
}

const smallConfig = `media: {networks: {lan: {addresses: [192.0.2.1], ports: 40000-49999}}}
sip: {listeners: {udp: {transport: udp, address: "192.0.2.1:5060"}}}
dial_plans:
  campus:
    - {name: city, match: '^0([1-9]\d+)$', to: '+431$1'}
sites:
  isdn:
    policy:
      called_numbers: [{name: city, match: '^\+431(\d+)$', to: '$1'}]
      responses:
        - {code: 500, cause: 34, to: 503}
trunks:
  pbx:   {listener: udp, peer: 192.0.2.2, dial_plan: campus, usages: [local]}
  city1: {listener: udp, peer: 192.0.2.3, site: isdn}
  city2: {listener: udp, peer: 192.0.2.4, site: isdn}
groups:
  city: {trunks: [city1, city2]}
routes:
  - {name: local, usages: [local], match: '^\+431', to: [city]}
`

const wrongCases = `- name: a call of the town goes to the first gateway
  trunk: pbx
  from: "2345"
  to: "01234567"
  down: [city1]
  expect: {route: local, hops: [city1], called: "1234567", code: 0}
- name: a number of one digit
  trunk: pbx
  to: "01"
  expect: {number: "+4311"}
- name: a call that is right
  trunk: pbx
  to: "012"
  expect: {number: "+43112"}
- name: no circuit
  answer: {trunk: city1, code: 500, cause: 34, expect: 500}
- name: a trunk that is none
  trunk: pxb
  to: "1"
  expect: {code: 404}
- name: a call abroad
  trunk: pbx
  to: "+49"
  expect: {route: local}
`

func TestAWrongCaseFailsWithWhatAPersonNeeds(t *testing.T) {
	t.Chdir(t.TempDir())
	for path, text := range map[string]string{"small.yaml": smallConfig, "small.cases.yaml": wrongCases} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	ok, err := runCases(&out, "small.yaml", "")
	if err != nil || ok {
		t.Fatalf("%v, ok %v", err, ok)
	}
	const want = `small.cases.yaml:1: a call of the town goes to the first gateway
  hops      expected  city1
            got       city2
  because
    small.yaml:5   dial plan campus, rule city           yes  "01234567" becomes "+4311234567"
    small.yaml:19  route local (usage local)             yes  "+4311234567" matches ^\+431; to city
    small.yaml:17  group city                                 city1, city2: shuffled for each call
    small.yaml:9   called number, rule city (site isdn)  yes  "+4311234567" becomes "1234567"
    city1 left out: it is down
  every step: tandem explain -c small.yaml --trunk pbx --from 2345 --to 01234567 --down city1

small.cases.yaml:7: a number of one digit
  number    expected  "+4311"
            got       "01" after the dial plan
  because
    small.yaml:5   dial plan campus, rule city  no   "01" does not match ^0([1-9]\d+)$
    small.yaml:19  route local (usage local)    no   "01" does not match ^\+431
    refused with 404: no route of trunk pbx fits "01"
  every step: tandem explain -c small.yaml --trunk pbx --from '' --to 01

small.cases.yaml:15: no circuit
  answer    expected  500
            got       503: rule 1 fits (site isdn, line 11)

small.cases.yaml:17: a trunk that is none
  there is no trunk "pxb"; name one of city1, city2, pbx

small.cases.yaml:21: a call abroad
  route     expected  local
            got       none
  because
    small.yaml:5   dial plan campus, rule city  no   "+49" does not match ^0([1-9]\d+)$
    small.yaml:19  route local (usage local)    no   "+49" does not match ^\+431
    refused with 404: no route of trunk pbx fits "+49"
  every step: tandem explain -c small.yaml --trunk pbx --from '' --to +49

small.cases.yaml: 5 of 6 cases fail.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestCheckRunsTheCases(t *testing.T) {
	path := examples(t)[0]
	var out, diag bytes.Buffer
	s := streams{nil, &out, &diag}
	if err := (&checkCmd{Config: path, Routes: true}).Run(s); err != nil || !strings.Contains(out.String(), "cases hold.") {
		t.Errorf("%v: %s", err, out.String())
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("- {name: n, trunk: pbx, to: '1', expect: {code: 418}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&checkCmd{Config: path, Cases: wrong}).Run(s); err != exit(1) {
		t.Errorf("a wrong case: %v", err)
	}
	if err := (&checkCmd{Config: path, Cases: wrong + "x"}).Run(s); err == nil {
		t.Error("a file that is not there is no error")
	}
	if err := os.WriteFile(wrong, []byte("- {nam: n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&checkCmd{Config: path, Cases: wrong}).Run(s); err == nil || !strings.Contains(diag.String(), `wrong.yaml:1:4: unknown key "nam"; did you mean "name"?`) {
		t.Errorf("%v: %s", err, diag.String())
	}
}

func TestAConfigWithoutCasesSaysWhereTheyBelong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(path, []byte("media: {networks: {a: {addresses: [192.0.2.1], ports: 40000-49999}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := runCases(&bytes.Buffer{}, path, "")
	if err == nil || !strings.Contains(err.Error(), "own.cases.yaml, or name their file with --cases") {
		t.Errorf("%v", err)
	}
	if _, err := runCases(&bytes.Buffer{}, path+"x", ""); err == nil {
		t.Error("a config that is not there is no error")
	}
}

func TestWordsAreQuotedForTheShell(t *testing.T) {
	for word, want := range map[string]string{"+4312": "+4312", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "*21#": "'*21#'", "-x": "-x"} {
		if got := quoted(word); got != want {
			t.Errorf("quoted(%q) = %s, want %s", word, got, want)
		}
	}
}
