package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

const gateways = "../../deploy/examples/gateways.yaml"

// explained runs the command and returns what it prints.
func explained(t *testing.T, c explainCmd) (string, error) {
	t.Helper()
	c.Timeout = 5 * time.Second
	var out, diag bytes.Buffer
	err := c.Run(context.Background(), streams{nil, &out, &diag})
	return out.String() + diag.String(), err
}

func TestExplainPrintsForPeopleAndForMachines(t *testing.T) {
	c := explainCmd{Config: gateways, Trunk: "pbx", From: "2345", To: "01234567", Down: []string{"city1"}}
	text, err := explained(t, c)
	for _, want := range []string{`A call enters by pbx, from "2345" to "01234567".`, `dial plan campus, rule city           yes  "01234567" becomes "+4311234567"`, "gateways.yaml:", "left out: it is down"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v, no %s in\n%s", err, want, text)
		}
	}
	c.JSON = true
	text, err = explained(t, c)
	var e route.Explanation
	if err != nil || json.Unmarshal([]byte(text), &e) != nil || e.Route != "local" || len(e.Hops) != 1 || e.Hops[0].Called != "1234567" {
		t.Errorf("%v\n%s", err, text)
	}
	if strings.Contains(text, `\u00`) {
		t.Errorf("patterns are escaped for browsers:\n%s", text)
	}
}

func TestExplainSaysWhatIsMissing(t *testing.T) {
	for want, c := range map[string]explainCmd{
		"by which trunk does the call enter? name one of city1, city2, fax, long, mobile, pbx, test": {Config: gateways, To: "1"},
		`there is no trunk "cty1"; name one of city1, city2, fax, long, mobile, pbx, test`:           {Config: gateways, To: "1", Trunk: "pbx", Full: []string{"cty1"}},
		"explain: name the configuration with -c, or ask the running node with --live":               {To: "1"},
	} {
		if _, err := explained(t, c); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := explained(t, explainCmd{Config: gateways + "x", To: "1"}); err == nil {
		t.Error("a config that is not there is no error")
	}
}

func TestExplainKnowsThePoolAndEachNodeOfIt(t *testing.T) {
	c := explainCmd{Config: "../../deploy/examples/lync-pool.yaml", Trunk: "fe1-a", From: "+43155500", To: "+431234567"}
	if text, err := explained(t, c); err != nil || !strings.Contains(text, "left out: it belongs to node sbc-b, the call is on sbc-a") {
		t.Errorf("%v\n%s", err, text)
	}
	c.Node = "sbc-a"
	if text, err := explained(t, c); err != nil || strings.Contains(text, "gw1-b") || !strings.Contains(text, "1. gw1-a") {
		t.Errorf("%v\n%s", err, text)
	}
	c.Node = "sbc-b"
	if _, err := explained(t, c); err == nil || !strings.Contains(err.Error(), `there is no trunk "fe1-a"`) {
		t.Errorf("%v", err)
	}
}

// idleCalls and idleRelay are what a node has to say of itself beside trunks and routes.
type (
	anyCalls  = console.Calls // its own name would hide its method
	idleCalls struct{ anyCalls }
	idleRelay struct{ console.Relay }
)

func (idleCalls) Draining() bool     { return false }
func (idleCalls) Stats() b2bua.Stats { return b2bua.Stats{} }
func (idleRelay) Up() bool           { return true }

func TestExplainAsksTheRunningNode(t *testing.T) {
	cfg, err := config.Load(gateways)
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return noon }
	trunks, err := trunk.New(cfg, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	routes := route.New(cfg)
	file := console.File{Path: "/etc/tandem/in-force.yaml"}
	desk := console.New(console.Options{Clock: clock, Calls: idleCalls{}, Relay: idleRelay{},
		Now: func() console.Now { return console.Now{Trunks: trunks, Routes: routes, File: file} }})
	path := filepath.Join(t.TempDir(), "sip.sock")
	server, err := control.Listen(control.ServerOptions{Path: path, Handler: desk})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	mobile, _ := trunks.ByName("mobile")
	mobile.RetryAfter(time.Minute, noon)

	c := explainCmd{Live: true, SIP: path, Trunk: "pbx", From: "2345", To: "006601234567", Down: []string{"city1"}}
	text, err := explained(t, c)
	for _, want := range []string{"Health and places are those of the running node, but city1 down.", "mobile  left out: it asked for rest, 1m0s more", "1. city2", "in-force.yaml:"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v, no %s in\n%s", err, want, text)
		}
	}
	file = console.File{}
	if text, err := explained(t, c); err != nil || !strings.Contains(text, noFile+":") || strings.Contains(text, "in-force") {
		t.Errorf("a node without a file: %v\n%s", err, text)
	}
	c.Trunk = "pxb"
	if _, err := explained(t, c); err == nil || !strings.Contains(err.Error(), `there is no trunk "pxb"`) {
		t.Errorf("%v", err)
	}
	c.SIP = path + "x"
	if _, err := explained(t, c); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a socket that is not there: %v", err)
	}
}
