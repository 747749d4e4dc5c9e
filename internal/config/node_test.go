package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// pool is one file for the nodes a and b, which share a gateway; listener any is of whichever reads the file.
const pool = `node: a
media:
  networks:
    at-a: {addresses: [192.0.2.1], ports: 40000-40099}
    at-b: {addresses: [192.0.2.2], ports: 40000-40099}
    spare: {addresses: [192.0.2.3], ports: 40000-40099}
sip:
  listeners:
    a: {node: a, transport: udp, address: "192.0.2.1:5060"}
    b: {node: b, transport: udp, address: "192.0.2.2:5060"}
    any: {transport: udp, address: "127.0.0.1:5060"}
trunks:
  gw-a: {listener: a, peer: 198.51.100.1, network: at-a}
  gw-b: {listener: b, peer: 198.51.100.1, network: at-b}
  uc-b: {listener: b, peer: 198.51.100.2, network: at-b}
  test: {listener: any, peer: 127.0.0.1:5070, network: at-a}
groups:
  gw: {trunks: [gw-a, gw-b], balance: weight, weights: {gw-b: 3}}
  only-b: {trunks: [uc-b]}
routes:
  - {name: in, from: [gw], to: [test, uc-b]}
  - {name: out, from: [test, uc-b], to: [gw]}
  - {name: there, from: [test], to: [only-b, uc-b], balance: shuffle}
  - {name: on, from: [test], to: [only-b], continue: true}
  - {name: never, from: [uc-b], to: [gw-b], usages: [u]}
`

func TestListenersOfOtherNodesAndTheirTrunksAreLeftOut(t *testing.T) {
	for _, n := range []struct {
		node                                string
		listeners, trunks, groups, networks string
	}{
		{"", "a any", "gw-a test", "gw", "at-a spare"}, // the file says node a
		{"a", "a any", "gw-a test", "gw", "at-a spare"},
		{"b", "any b", "gw-b test uc-b", "gw only-b", "at-a at-b spare"}, // trunk test has network at-a there too
		{"c", "any", "test", "", "at-a spare"},
		{AllNodes, "a any b", "gw-a gw-b test uc-b", "gw only-b", "at-a at-b spare"},
	} {
		c, err := ParseFor("t.yaml", []byte(pool), n.node)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range [][2]string{
			{names(c.SIP.Listeners), n.listeners}, {names(c.Trunks), n.trunks}, {names(c.Groups), n.groups}, {names(c.Media.Networks), n.networks},
		} {
			if got[0] != got[1] {
				t.Errorf("node %q has %q, want %q", n.node, got[0], got[1])
			}
		}
		if n.node != "" && n.node != AllNodes && c.Node != n.node {
			t.Errorf("read for %s it is node %s", n.node, c.Node)
		}
	}
}

func TestRoutesLoseTrunksOfOtherNodesAndRefuseWithoutAny(t *testing.T) {
	c := mustParse(t, pool)
	want := map[string]Route{
		"in":    {From: []string{"gw"}, To: []string{"test"}, Balance: BalanceOrder},
		"out":   {From: []string{"test"}, To: []string{"gw"}, Balance: BalanceOrder},
		"there": {From: []string{"test"}, Reject: 503},
		"on":    {Reject: 503}, // serves nobody: its calls go on to what follows
		"never": {Usages: []string{"u"}, Reject: 503},
	}
	for i, r := range c.Routes {
		w := want[r.Name]
		if !slices.Equal(r.From, w.From) || !slices.Equal(r.To, w.To) || !slices.Equal(r.Usages, w.Usages) || r.Reject != w.Reject || r.Balance != w.Balance || r.Continue {
			t.Errorf("route %s: %+v, want %+v", r.Name, r, w)
		}
		if got := c.Line("routes[" + string(rune('0'+i)) + "]"); got != 21+i {
			t.Errorf("route %s is in line %d", r.Name, got)
		}
	}
	if g := c.Groups["gw"]; !slices.Equal(g.Trunks, []string{"gw-a"}) || !maps.Equal(g.Weights, map[string]int{"gw-a": 1}) {
		t.Errorf("group gw: %+v", g)
	}
	again := mustParse(t, described(c))
	if described(again) != described(c) {
		t.Errorf("a node's view reads back differently:\n%s\n---\n%s", described(c), described(again))
	}
}

func TestAFileWithoutNodesIsTheSameForAll(t *testing.T) {
	c, err := ParseFor("t.yaml", []byte(minimal), "other")
	if err != nil || len(c.Trunks) != 2 || c.Node != "other" {
		t.Errorf("%v %v", c, err)
	}
}

func TestANodeWithoutAListenerIsWarned(t *testing.T) {
	text := strings.Replace(pool, "    any: {transport: udp, address: \"127.0.0.1:5060\"}\n", "", 1)
	text = strings.Replace(text, "  test: {listener: any, peer: 127.0.0.1:5070, network: at-a}\n", "", 1)
	c, err := ParseFor("t.yaml", []byte(strings.ReplaceAll(text, "test", "gw-a")), "sbc9")
	if err != nil {
		t.Fatal(err)
	}
	want := "t.yaml:8:3: sip.listeners: none is of this node, sbc9; set node, or run it with --node, as one of: a, b"
	if !slices.ContainsFunc(c.Warnings(), func(e Error) bool { return e.Error() == want }) {
		t.Errorf("%v", c.Warnings())
	}
}

func TestTwoNodesMayHaveOneAddressAndOneNodeMayNot(t *testing.T) {
	if _, err := Parse("t.yaml", []byte(strings.Replace(pool, `"192.0.2.2:5060"`, `"192.0.2.1:5060"`, 1))); err != nil {
		t.Error(err)
	}
	errorCase{"any node", strings.Replace(pool, `"127.0.0.1:5060"`, `"192.0.2.1:5060"`, 1),
		"11:36: sip.listeners.any.address: 192.0.2.1:5060: listener a has it already (line 9); give each its own port"}.run(t)
	errorCase{"name of a node", strings.Replace(pool, "node: b", "node: b.example", 1),
		"10:15: sip.listeners.b.node: b.example: is not of the right form; use 1 to 32 letters, digits and dashes"}.run(t)
	_, err := ParseFor("t.yaml", []byte(pool), "a b")
	if err == nil || err.Error() != "t.yaml: node a b: is not of the right form; use 1 to 32 letters, digits and dashes" {
		t.Errorf("%v", err)
	}
}

func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}
