package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/identity"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

const file = `
node: sbc1
media:
  networks:
    local: {addresses: [127.0.0.1], ports: 40000-49999}
sip:
  listeners:
    in: {transport: udp, address: "127.0.0.1:5060"}
    out: {transport: udp, address: "127.0.0.1:5070"}
    tls: {transport: tls, address: "127.0.0.1:5071", tls: {certificate: sbc.pem, key: sbc.key}}
trunks:
  uc: {listener: in, peer: "127.0.0.1:5080", options: {off: true}}
  gw1: {listener: out, peer: "127.0.0.1:5090", max_calls: 1, options: {off: true}}
  gw2: {listener: out, peer: "127.0.0.2:5090", options: {off: true}}
  own: {listener: tls, peer: "127.0.0.3:5061", tls: {certificate: own.pem, key: own.key}, options: {off: true}}
  tls: {listener: tls, peer: "127.0.0.2:5061", options: {off: true}}
routes:
  - {name: city, from: [uc], match: '^\+431', to: [gw1, gw2]}
`

// noon is when everything here happens.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// plane is a call plane with the calls that a test gives it.
type plane struct {
	calls    []b2bua.CallInfo
	hung     []string
	draining bool
	media    map[string]control.SessionState
	down     bool
	reloads  []bool
	wrong    error
}

func (p *plane) Calls() []b2bua.CallInfo { return slices.Clone(p.calls) }

func (p *plane) Hangup(id string) bool {
	if !slices.ContainsFunc(p.calls, func(c b2bua.CallInfo) bool { return c.ID == id }) {
		return false
	}
	p.hung = append(p.hung, id)
	return true
}

func (p *plane) Drain(on bool)      { p.draining = on }
func (p *plane) Draining() bool     { return p.draining }
func (p *plane) Stats() b2bua.Stats { return b2bua.Stats{Active: len(p.calls), Ended: 7} }
func (p *plane) Up() bool           { return !p.down }

func (p *plane) Get(_ context.Context, ref control.Ref) (control.SessionState, error) {
	s, ok := p.media[ref.ID]
	if !ok {
		return s, control.Errorf(control.CodeNotFound, "session %q is not open", ref.ID)
	}
	return s, nil
}

// desk is a console on a real socket, with a client.
type desk struct {
	*plane
	ledger *Ledger
	trunks *trunk.Table
	client *control.Client
	log    bytes.Buffer // of the handler, which is done when the answer is here
}

func open(t *testing.T, p *plane) *desk {
	t.Helper()
	cfg, err := config.Parse("test", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return noon }
	trunks, err := trunk.New(cfg, nil, clock) // nothing here needs DNS
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{plane: p, ledger: NewLedger(), trunks: trunks}
	routes := route.New(cfg)
	c := New(Options{
		Node: "sbc1", Version: "v1", Boot: "boot", Start: noon.Add(-time.Hour), Clock: clock, Calls: p, Relay: p, Ledger: d.ledger,
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
		Now: func() Now { return Now{trunks, routes, File{Path: "/etc/t.yaml", SHA256: "abc", Restart: []string{}}} },
		Reload: func(_ context.Context, check bool) (Reloaded, error) {
			p.reloads = append(p.reloads, check)
			return Reloaded{Applied: !check, Changes: []string{"added trunks.gw3"}, Restart: []string{}, Notes: []string{}}, p.wrong
		},
		Certificates: func() []identity.Expiry {
			return []identity.Expiry{{File: "own.pem", Subject: "CN=own", At: noon.Add(2 * time.Hour)}, {File: "sbc.pem", Subject: "CN=sbc", At: noon.Add(time.Hour)}}
		},
	})
	path := filepath.Join(t.TempDir(), "sip.sock")
	server, err := control.Listen(control.ServerOptions{Path: path, Handler: c})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	if d.client, err = control.Dial(t.Context(), path, control.DialOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.client.Close() })
	return d
}

// ask calls a method with parameters as a person writes them.
func ask[R any](t *testing.T, d *desk, method, params string) (r R, err error) {
	t.Helper()
	err = d.client.Call(t.Context(), method, json.RawMessage(params), &r)
	return r, err
}

func must[R any](t *testing.T, d *desk, method, params string) R {
	t.Helper()
	r, err := ask[R](t, d, method, params)
	if err != nil {
		t.Fatalf("%s %s: %v", method, params, err)
	}
	return r
}

func call(n int, from, to, called string) b2bua.CallInfo {
	return b2bua.CallInfo{ID: fmt.Sprintf("sbc1.%04d", n), Phase: "answered", From: from, To: to, Called: called, Caller: "+4366", Start: noon}
}

func TestHelloTellsWhoAnswers(t *testing.T) {
	d := open(t, &plane{calls: []b2bua.CallInfo{call(1, "uc", "gw1", "+431")}, down: true})
	h := must[HelloResult](t, d, MethodHello, `{"client":"test"}`)
	if h.Node != "sbc1" || h.Version != "v1" || h.Boot != "boot" || h.UptimeMS != 3600_000 || h.Calls != 1 || h.Ended != 7 || h.Trunks != 5 ||
		h.Relay || h.Draining || h.Config.SHA256 != "abc" || len(h.Certificates) != 2 || h.Certificates[1].Subject != "CN=sbc" {
		t.Errorf("%+v", h)
	}
}

func TestTrunksAreListedAsTheyAre(t *testing.T) {
	d := open(t, &plane{})
	gw1, _ := d.trunks.ByName("gw1")
	if why, ok := gw1.Take(trunk.Ask{Bandwidth: 80}, noon); !ok {
		t.Fatal(why)
	}
	gw1.Tried()
	gw1.Failed(486, "Busy Here")
	r := must[TrunkList](t, d, MethodTrunks, `{}`)
	if r.Found != 5 || r.Total != 5 || r.Next != "" || len(r.Trunks) != 5 {
		t.Fatalf("%+v", r)
	}
	got := r.Trunks[0]
	if got.Name != "gw1" || got.State != trunk.Up || got.Calls != 1 || got.MaxCalls != 1 || got.CPS != 1 || got.Bandwidth != 80 ||
		got.Full != "all 1 places are taken" || got.Counters.Failed != 1 || got.LastError == nil || got.LastError.Code != 486 ||
		!got.Looked.Equal(noon) || len(got.Addresses) != 1 {
		t.Errorf("%+v", got)
	}
	if one := must[TrunkList](t, d, MethodTrunks, `{"trunk":"gw2"}`); len(one.Trunks) != 1 || one.Trunks[0].Name != "gw2" || one.Total != 5 {
		t.Errorf("%+v", one)
	}
	if some := must[TrunkList](t, d, MethodTrunks, `{"match":"gw","limit":1}`); some.Found != 2 || some.Next != "gw1" {
		t.Errorf("%+v", some)
	}
	if rest := must[TrunkList](t, d, MethodTrunks, `{"match":"gw","after":"gw1"}`); len(rest.Trunks) != 1 || rest.Trunks[0].Name != "gw2" || rest.Next != "" {
		t.Errorf("%+v", rest)
	}
}

func TestATrunkHasTheExpiryOfTheCertificateThatItShows(t *testing.T) {
	d := open(t, &plane{})
	want := map[string]time.Time{"tls": noon.Add(time.Hour), "own": noon.Add(2 * time.Hour)}
	for _, tr := range must[TrunkList](t, d, MethodTrunks, `{}`).Trunks {
		if !tr.Expires.Equal(want[tr.Name]) {
			t.Errorf("%s: %v, want %v", tr.Name, tr.Expires, want[tr.Name])
		}
	}
}

func TestQualityIsAbsentUntilACallHadSome(t *testing.T) {
	d := open(t, &plane{})
	if r := must[TrunkList](t, d, MethodTrunks, `{"trunk":"gw1"}`); r.Trunks[0].Quality != nil {
		t.Fatalf("quality out of nothing: %+v", r.Trunks[0].Quality)
	}
	d.ledger.Note(&b2bua.CallRecord{From: "uc", To: "gw1", End: noon, Media: []b2bua.MediaRecord{
		{Leg: "a", Packets: 100, Expected: 100, JitterMS: 1, MOS: 4.4}, {Leg: "b", Packets: 90, Expected: 100, Lost: 10, JitterMS: 7, MOS: 3},
	}})
	r := must[TrunkList](t, d, MethodTrunks, `{}`)
	for name, want := range map[string]*Quality{"gw1": {1, 10, 7, 3, 3}, "uc": {1, 0, 1, 4.4, 4.4}, "gw2": nil} {
		i := slices.IndexFunc(r.Trunks, func(t Trunk) bool { return t.Name == name })
		if got := r.Trunks[i].Quality; (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestCallsArePagedAndFoundByTrunkAndNumber(t *testing.T) {
	p := &plane{}
	for n := range 1234 { // in no order
		c := call(n*7%1234, "uc", "gw1", fmt.Sprintf("+43%d", n))
		if n%2 == 1 {
			c.To = "gw2"
		}
		p.calls = append(p.calls, c)
	}
	d := open(t, p)
	for _, tt := range []struct {
		params string
		want   int
	}{{`{}`, 1234}, {`{"trunk":"gw2"}`, 617}, {`{"trunk":"uc","match":"+43123"}`, 5}, {`{"match":"+431233"}`, 1}, {`{"limit":7}`, 1234}, {`{"trunk":"none"}`, 0}} {
		var ids []string
		var l List
		if err := json.Unmarshal([]byte(tt.params), &l); err != nil {
			t.Fatal(err)
		}
		for {
			params, _ := json.Marshal(l)
			r := must[CallList](t, d, MethodCalls, string(params))
			for _, c := range r.Calls {
				ids = append(ids, c.ID)
			}
			if r.Found != tt.want || r.Total != 1234 || l.Limit > 0 && len(r.Calls) > l.Limit {
				t.Fatalf("%s: found %d of %d, %d on the page", params, r.Found, r.Total, len(r.Calls))
			}
			if l.After = r.Next; r.Next == "" {
				break
			}
		}
		if len(ids) != tt.want || !slices.IsSorted(ids) || len(slices.Compact(ids)) != tt.want {
			t.Errorf("%s: %d calls, sorted %v", tt.params, len(ids), slices.IsSorted(ids))
		}
	}
}

func TestAPageOfTheLongestCallsFitsIntoALine(t *testing.T) {
	p := &plane{}
	for n := range 500 {
		c := call(n, "uc", "gw1", strings.Repeat("<", 256)) // escaped six-fold
		c.Caller, c.CalledSent, c.CallerSent = c.Called, c.Called, c.Called
		for range 32 {
			c.Tried = append(c.Tried, b2bua.TrunkTry{Trunk: strings.Repeat("t", 64), Why: strings.Repeat("\u2028", 60), Code: 503})
		}
		p.calls = append(p.calls, c)
	}
	d := open(t, p)
	seen := 0
	for after := ""; ; {
		params, _ := json.Marshal(List{After: after})
		r := must[CallList](t, d, MethodCalls, string(params))
		seen += len(r.Calls)
		if after = r.Next; after == "" {
			break
		}
	}
	if seen != 500 {
		t.Errorf("%d calls", seen)
	}
}

func TestACallIsToldWithItsMediaOrWhyWithout(t *testing.T) {
	with, gone, early := call(1, "uc", "gw1", "+431"), call(2, "uc", "gw1", "+431"), call(3, "uc", "", "+431")
	with.Session, gone.Session = "s1", "s2"
	p := &plane{calls: []b2bua.CallInfo{with, gone, early}, media: map[string]control.SessionState{"s1": {ID: "s1", Opaque: "{}", Streams: []control.StreamState{{Name: "audio"}}}}}
	d := open(t, p)
	if r := must[CallState](t, d, MethodCall, `{"id":"sbc1.0001"}`); r.Media == nil || r.Media.ID != "s1" || r.Media.Opaque != "" || r.NoMedia != "" || r.Call.Called != "+431" {
		t.Errorf("%+v", r)
	}
	for id, why := range map[string]string{"sbc1.0002": "not open", "sbc1.0003": "no session"} {
		if r := must[CallState](t, d, MethodCall, `{"id":"`+id+`"}`); r.Media != nil || !strings.Contains(r.NoMedia, why) {
			t.Errorf("%s: %+v", id, r)
		}
	}
	p.down = true
	if r := must[CallState](t, d, MethodCall, `{"id":"sbc1.0001"}`); r.Media != nil || !strings.Contains(r.NoMedia, "not connected") {
		t.Errorf("%+v", r)
	}
	if _, err := ask[CallState](t, d, MethodCall, `{"id":"nobody"}`); control.CodeOf(err) != control.CodeNotFound || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("%v", err)
	}
}

func TestHangUpEndsOneCall(t *testing.T) {
	d := open(t, &plane{calls: []b2bua.CallInfo{call(1, "uc", "gw1", "+431"), call(2, "uc", "gw1", "+431")}})
	must[Ref](t, d, MethodHangUp, `{"id":"sbc1.0002"}`)
	if _, err := ask[Ref](t, d, MethodHangUp, `{"id":"sbc1.0009"}`); control.CodeOf(err) != control.CodeNotFound {
		t.Errorf("%v", err)
	}
	if !slices.Equal(d.hung, []string{"sbc1.0002"}) || strings.Count(d.log.String(), "hung up by the operator") != 1 || !strings.Contains(d.log.String(), "call=sbc1.0002 uid=") {
		t.Errorf("hung up %v: %s", d.hung, d.log.String())
	}
}

func TestExplainSeesTheTrunksAsTheyAre(t *testing.T) {
	d := open(t, &plane{})
	trunks := func(e route.Explanation) (names []string) {
		for _, h := range e.Hops {
			names = append(names, h.Trunk)
		}
		return names
	}
	if e := must[route.Explanation](t, d, MethodExplain, `{"trunk":"uc","to":"+4312"}`); !e.Live || e.Route != "city" || !slices.Equal(trunks(e), []string{"gw1", "gw2"}) {
		t.Errorf("%+v", e)
	}
	gw1, _ := d.trunks.ByName("gw1")
	gw1.Take(trunk.Ask{}, noon)
	if e := must[route.Explanation](t, d, MethodExplain, `{"trunk":"uc","to":"+4312"}`); !slices.Equal(trunks(e), []string{"gw2"}) || len(e.Skips) != 1 {
		t.Errorf("a full trunk: %+v", e)
	}
	if e := must[route.Explanation](t, d, MethodExplain, `{"trunk":"uc","to":"+4312","from":"1","full":["gw2"]}`); e.Code != 503 {
		t.Errorf("all full: %+v", e)
	}
	if _, err := ask[route.Explanation](t, d, MethodExplain, `{"trunk":"nobody","to":"1"}`); control.CodeOf(err) != control.CodeParams || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("%v", err)
	}
}

func TestDrainAndReloadDoAndSayWhatCameOfIt(t *testing.T) {
	p := &plane{calls: []b2bua.CallInfo{call(1, "uc", "gw1", "+431")}}
	d := open(t, p)
	if r := must[DrainResult](t, d, MethodDrain, `{"on":true}`); !r.Draining || r.Calls != 1 || !p.draining {
		t.Errorf("%+v", r)
	}
	if r := must[DrainResult](t, d, MethodDrain, `{"on":false}`); r.Draining || p.draining {
		t.Errorf("%+v", r)
	}
	if _, err := ask[DrainResult](t, d, MethodDrain, `{}`); control.CodeOf(err) != control.CodeParams ||
		!strings.Contains(err.Error(), `sip.drain: on: missing; write {"on":true} to take no new calls, {"on":false} to take them again`) || p.draining {
		t.Errorf("a drain that does not say which way: %v", err)
	}
	if r := must[Reloaded](t, d, MethodReload, `{"check":true}`); r.Applied || len(r.Changes) != 1 {
		t.Errorf("%+v", r)
	}
	must[Reloaded](t, d, MethodReload, `{}`)
	p.wrong = control.Errorf(CodeConfig, "t.yaml:3:1: wrong")
	if _, err := ask[Reloaded](t, d, MethodReload, `{}`); control.CodeOf(err) != CodeConfig || !strings.Contains(err.Error(), "t.yaml:3:1") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(p.reloads, []bool{true, false, false}) {
		t.Errorf("%v", p.reloads)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	d := open(t, &plane{})
	for _, tt := range []struct {
		method, params string
		code           int
		want           string
	}{
		{"trunk.lst", `{}`, control.CodeNoMethod, `did you mean "trunk.list"?`},
		{"session.list", `{}`, control.CodeNoMethod, "known: sip.hello, trunk.list"},
		{MethodCalls, `{"trunc":"gw1"}`, control.CodeParams, `trunc: unknown field; did you mean "trunk"?`},
		{MethodCall, `{}`, control.CodeParams, "id"},
		{MethodDrain, `{}`, control.CodeParams, "on"},
		{MethodExplain, `{}`, control.CodeParams, "to"},
		{MethodTrunks, `{"limit":"x"}`, control.CodeParams, "limit: want an integer"},
		{MethodReload, `{"check":1}`, control.CodeParams, "check: want true or false"},
	} {
		if _, err := ask[json.RawMessage](t, d, tt.method, tt.params); control.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %d and %q", tt.method, tt.params, err, tt.code, tt.want)
		}
	}
}

func BenchmarkOnePageOfCalls(b *testing.B) {
	p := &plane{}
	for n := range 5000 {
		c := call(n, "uc", "gw1", "+4312345678")
		c.Tried = []b2bua.TrunkTry{{Trunk: "gw1", Route: "city", Address: "192.0.2.1:5060", Code: 200, Start: noon, End: noon}}
		p.calls = append(p.calls, c)
	}
	c := New(Options{Calls: p})
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.calls(List{}); err != nil || len(r.Calls) == 0 {
			b.Fatal(err)
		}
	}
}
