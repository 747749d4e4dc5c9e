package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tandem/deploy/profiles"
)

// profiled is the minimal file with a directory of profiles and a trunk on each of its listeners. Lines count from media.
func profiled(dir, uc, gw string) string {
	s := strings.Replace(minimal, "sip:\n", "sip:\n  profiles: "+dir+"\n", 1)
	s = strings.Replace(s, "peer: UC.example.com}", "peer: UC.example.com, "+uc+"}", 1)
	return strings.Replace(s, "peer: 198.51.100.1}", "peer: 198.51.100.1, "+gw+"}", 1)
}

func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEveryProfileThatIsBuiltInIsValid(t *testing.T) {
	all, err := profiles.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Fatalf("%d profiles", len(all))
	}
	for _, e := range all {
		name, _ := strings.CutSuffix(e.Name(), profileFile)
		c := mustParse(t, strings.Replace(minimal, "peer: UC.example.com}", "peer: UC.example.com, profile: "+name+"}", 1))
		if got := c.Trunks["uc"].Profile; got != name {
			t.Errorf("%s: the trunk has profile %q", name, got)
		}
	}
}

func TestGenericProfileIsNoOther(t *testing.T) {
	with := mustParse(t, minimal+"policy: {profile: generic}\n")
	without := mustParse(t, minimal)
	if !reflect.DeepEqual(with.Trunks, without.Trunks) {
		t.Errorf("%+v\n---\n%+v", with.Trunks, without.Trunks)
	}
}

func TestProfileHoldsWhereNoScopeOfTheFileSaysAnything(t *testing.T) {
	dir := directory(t, map[string]string{"house.yaml": "# ours\nmax_calls: 7\nmax_cps: 3\nforward_pai: true\nfailover: {timeout: 4s}\n"})
	c := mustParse(t, profiled(dir, "max_cps: 9", "profile: generic")+"policy: {profile: house, max_calls: 5}\n")
	uc, gw := c.Trunks["uc"], c.Trunks["gw"]
	if uc.Profile != "house" || uc.MaxCalls != 5 || uc.MaxCPS != 9 || !uc.PAI || uc.Failover.Timeout.Seconds() != 4 {
		t.Errorf("uc: %+v", uc.Policy)
	}
	if gw.PAI || gw.MaxCPS != 0 || gw.Failover.Timeout.Seconds() != 10 {
		t.Errorf("gw, which has another: %+v", gw.Policy)
	}
	for key, want := range map[string]string{"profile": "global", "max_calls": "global", "max_cps": "trunk uc", "forward_pai": "profile house", "failover.codes": "default"} {
		if scope, _ := c.Origin("uc", key); scope != want {
			t.Errorf("%s comes from %s, want %s", key, scope, want)
		}
	}
	if _, line := c.Origin("uc", "forward_pai"); line != 4 {
		t.Errorf("forward_pai stands in line %d of its profile, want 4", line)
	}
	var table bytes.Buffer
	c.DescribePolicies(&table)
	if !strings.Contains(table.String(), "profile house, line 4") {
		t.Errorf("the origin is not shown:\n%s", &table)
	}
}

func TestDirectoryOfTheOperatorReplacesProfilesThatAreBuiltIn(t *testing.T) {
	dir := directory(t, map[string]string{"teams.yaml": "max_calls: 11\n"})
	c := mustParse(t, profiled(dir, "profile: teams", "profile: lync"))
	if uc := c.Trunks["uc"]; uc.MaxCalls != 11 || uc.History {
		t.Errorf("teams: %+v", uc.Policy)
	}
	if gw := c.Trunks["gw"]; !gw.History {
		t.Errorf("lync, which is only built in: %+v", gw.Policy)
	}
}

func TestTrustFollowsTheCertificate(t *testing.T) {
	c := mustParse(t, minimal)
	if uc, gw := c.Trunks["uc"], c.Trunks["gw"]; !uc.Trusted || !uc.Identity || gw.Trusted || gw.Identity {
		t.Errorf("uc %v %v, gw %v %v", uc.Trusted, uc.Identity, gw.Trusted, gw.Identity)
	}
	c = mustParse(t, strings.Replace(minimal, "key: k.pem}", "key: k.pem, client: request}", 1))
	if uc := c.Trunks["uc"]; uc.Trusted {
		t.Error("a peer that need not show a certificate is trusted")
	}
}

func TestProfilesThatAreWrongAreRefused(t *testing.T) {
	dir := directory(t, map[string]string{
		"typo.yaml": "max_call: 3\n", "chain.yaml": "profile: teams\n", "bad.yaml": "max_calls: many\n", "list.yaml": "- 1\n",
		"plan.yaml": "dial_plan: nowhere\n", "big.yaml": strings.Repeat("#", maxProfile+1),
	})
	for name, want := range map[string]string{
		"temas":    `trunks.uc.profile: temas: there is no profile of this name; did you mean "teams"?`,
		"../teams": "there is no profile of this name",
		"typo":     `typo.yaml:1:1: profiles.typo.max_call: unknown key; did you mean "max_calls"?`,
		"chain":    "chain.yaml:1:10: profiles.chain.profile: teams: a profile is not made of another; write the keys that it needs",
		"bad":      "bad.yaml:1:12: profiles.bad.max_calls: many",
		"list":     "list.yaml:1:1: the file is no mapping",
		"plan":     "plan.yaml:1:12: profiles.plan.dial_plan: nowhere",
		"big":      "big.yaml:1:1: cannot be read: it is larger than a profile can be",
	} {
		_, err := Parse("t.yaml", []byte(profiled(dir, "profile: "+name, "profile: generic")))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
	if _, err := Parse("t.yaml", []byte(profiled("here", "site: x", "max_calls: 1"))); err == nil || !strings.Contains(err.Error(), "sip.profiles: here: is not an absolute path") {
		t.Errorf("a relative directory: %v", err)
	}
}

func TestChangeOfAProfileIsAChangeOfItsTrunks(t *testing.T) {
	dir := directory(t, map[string]string{"house.yaml": "max_calls: 7\n"})
	text := profiled(dir, "profile: house", "profile: generic")
	before := mustParse(t, text)
	if err := os.WriteFile(filepath.Join(dir, "house.yaml"), []byte("max_calls: 8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	changes := Diff(before, mustParse(t, text))
	if len(changes) != 1 || changes[0].String() != "changed trunks.uc.max_calls: 7 -> 8" {
		t.Errorf("%v", changes)
	}
}
