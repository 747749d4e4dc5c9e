package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/console"
)

// patience is how long a test waits for what must come; nothing is judged by it.
const patience = 30 * time.Second

// until waits for what somebody else is about to do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// notes is a log that may be read while it is written.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// site is a directory with a configuration for one node.
type site struct {
	dir  string
	host netip.Addr // of everything
	a, b uint16     // ports of the two listeners
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), host: demoHost()}
	for _, port := range []*uint16{&s.a, &s.b} {
		var err error
		if *port, err = freePort("udp", s.host); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// write writes the configuration: trunks and routes as given, one a line.
func (s *site) write(t *testing.T, trunks, routes string, more ...string) {
	t.Helper()
	text := fmt.Sprintf(`node: sbc1
log: {format: json}
control: {socket: %q}
metrics: {relay: "off", sip: "off"}
media:
  engine: sockets
  networks: {local: {addresses: [%q], ports: 20000-23999}}
records: {file: %q}
sip:
  socket: %q
  listeners:
    in: {transport: udp, address: "%[2]s:%[5]d"}
    out: {transport: udp, address: "%[2]s:%[6]d"}
%[7]s
trunks:
%[8]s
routes:
%[9]s
`, s.path("relay.sock"), s.host, s.path("calls.jsonl"), s.path("sip.sock"), s.a, s.b, strings.Join(more, "\n"), trunks, routes)
	if err := os.WriteFile(s.path("next.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.path("next.yaml"), s.path("t.yaml")); err != nil {
		t.Fatal(err)
	}
}

// edit replaces one text in the configuration.
func (s *site) edit(t *testing.T, old, new string) {
	t.Helper()
	text, err := os.ReadFile(s.path("t.yaml"))
	if err != nil || !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%v, or no %q", err, old)
	}
	if err := os.WriteFile(s.path("t.yaml"), bytes.Replace(text, []byte(old), []byte(new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	twoTrunks = `  uc: {listener: in, peer: "127.0.0.1:5080", options: {off: true}}
  gw1: {listener: out, peer: "127.0.0.1:5090", max_calls: 30, options: {off: true}, auth: {user: us, password: sesame1}}`
	oneRoute = `  - {name: out, from: [uc], to: [gw1]}`
)

// open starts the call plane in this process.
func (s *site) open(t *testing.T, log *slog.Logger) *sipPlane {
	t.Helper()
	from := source{path: s.path("t.yaml")}
	cfg, err := from.load()
	if err != nil {
		t.Fatal(err)
	}
	p, err := openSIP(cfg, from, log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ours lists the goroutines that run code of this module, this test's own left out.
func ours() (stacks []string) {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	for g := range strings.SplitSeq(string(b), "\n\n") {
		if strings.Contains(g, "tandem/") && !strings.Contains(g, "testing.tRunner") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

func TestAClosedPlaneLeavesNoGoroutineAndNoSocket(t *testing.T) {
	s := newSite(t)
	s.write(t, twoTrunks, oneRoute)
	before := len(ours())
	p := s.open(t, slog.New(slog.DiscardHandler))
	if _, err := p.reload(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	until(t, "every goroutine ends", func() bool { return len(ours()) <= before })
	if _, err := os.Lstat(s.path("sip.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestAPlaneThatCannotOpenTakesDownWhatItOpened(t *testing.T) {
	s := newSite(t)
	s.write(t, twoTrunks, oneRoute)
	taken, err := net.Listen("unix", s.path("sip.sock")) // the last thing that is opened
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := len(ours())
	from := source{path: s.path("t.yaml")}
	cfg, err := from.load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openSIP(cfg, from, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), s.path("sip.sock")) {
		t.Fatalf("a taken socket: %v", err)
	}
	until(t, "every goroutine ends", func() bool { return len(ours()) <= before })
	again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.host, s.a)))
	if err != nil {
		t.Fatalf("the listener stays: %v", err)
	}
	again.Close()
}

// asks calls a method of the site's node.
func asks(t *testing.T, s *site, method, params string, result any) {
	t.Helper()
	raw, err := control.Raw(t.Context(), s.path("sip.sock"), method, json.RawMessage(params))
	if err != nil {
		t.Fatalf("%s %s: %v", method, params, err)
	}
	if err := json.Unmarshal(raw, result); err != nil {
		t.Fatal(err)
	}
}

func TestAReloadTakesUpWhatItCanAndTellsTheRest(t *testing.T) {
	s, log := newSite(t), &notes{}
	s.write(t, twoTrunks, oneRoute)
	p := s.open(t, slog.New(slog.NewJSONHandler(log, nil)))
	defer p.Close()
	s.write(t, strings.NewReplacer("max_calls: 30", "max_calls: 40", "sesame1", "sesame2").Replace(twoTrunks)+`
  gw2: {listener: out, peer: "127.0.0.2:5090", options: {off: true}}`,
		`  - {name: out, from: [uc], to: [gw1, gw2]}`, "  user_agent: New")
	var r console.Reloaded
	asks(t, s, console.MethodReload, `{"check":true}`, &r)
	if r.Applied || len(r.Changes) != 4 || len(r.Restart) != 1 || !strings.Contains(r.Restart[0], "sip.user_agent") {
		t.Errorf("check: %+v", r)
	}
	if strings.Contains(log.String(), "gw2") {
		t.Errorf("a check is logged as a change: %s", log)
	}
	asks(t, s, console.MethodReload, `{}`, &r)
	if all := strings.Join(r.Changes, "\n"); !r.Applied || len(r.Changes) != 4 || !strings.Contains(all, "changed trunks.gw1.max_calls: 30 -> 40") ||
		!strings.Contains(all, "added trunks.gw2") || !strings.Contains(all, "routes.out.to") || !strings.Contains(all, "trunks.gw1.auth.password") {
		t.Errorf("%+v", r)
	}
	for _, change := range append(r.Changes, r.Restart...) {
		quoted, _ := json.Marshal(change)
		if strings.Count(log.String(), string(quoted)) != 1 && !strings.Contains(change, "->") { // the log writes > as it is
			t.Errorf("not logged once: %s", change)
		}
	}
	if strings.Contains(log.String()+fmt.Sprint(r), "sesame") {
		t.Errorf("a password is told: %s", log)
	}
	var list console.TrunkList
	asks(t, s, console.MethodTrunks, `{"match":"gw"}`, &list)
	if len(list.Trunks) != 2 || list.Trunks[0].MaxCalls != 40 || list.Trunks[1].Name != "gw2" {
		t.Errorf("%+v", list)
	}
	var hello console.HelloResult
	asks(t, s, console.MethodHello, `{}`, &hello)
	if hello.Config.Reloads != 1 || hello.Config.SHA256 != r.SHA256 || len(hello.Config.Restart) != 1 {
		t.Errorf("%+v", hello.Config)
	}
	asks(t, s, console.MethodReload, `{}`, &r)
	if len(r.Changes) != 0 || len(r.Restart) != 1 {
		t.Errorf("what waits for a restart is forgotten, or what is in force is told again: %+v", r)
	}
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	s, log := newSite(t), &notes{}
	s.write(t, twoTrunks, oneRoute)
	p := s.open(t, slog.New(slog.NewJSONHandler(log, nil)))
	defer p.Close()
	before := p.now.Load()
	for name, tt := range map[string]struct {
		break_ func()
		want   string
	}{
		"no YAML":   {func() { s.write(t, "  uc: [", "") }, "t.yaml:"},
		"a mistake": {func() { s.write(t, strings.Replace(twoTrunks, "max_calls", "max_cals", 1), oneRoute) }, `did you mean`},
		"a trunk of a new listener": {func() {
			s.write(t, twoTrunks+"\n  gw3: {listener: new, peer: 127.0.0.3}", oneRoute, `    new: {transport: tcp, address: "127.0.0.1:5061"}`)
		}, "trunks.gw3.listener: new is a new listener, which only a restart opens"},
		"a listener of another transport, on which secrecy depends": {func() {
			s.write(t, twoTrunks, oneRoute)
			s.edit(t, "out: {transport: udp", "out: {transport: tcp")
		}, "sip.listeners.out.transport: tcp instead of udp is for a restart, and trunk gw"},
		"a certificate that is not there": {func() {
			s.write(t, strings.Replace(twoTrunks, "listener: in,", "listener: in, tls: {certificate: /none.pem, key: /none.key},", 1), oneRoute)
		}, "trunks.uc.tls"},
		"a trunk of a network that the relay does not have": {func() {
			s.write(t, twoTrunks+"\n  gw3: {listener: out, peer: 127.0.0.3, network: new}", oneRoute)
			s.edit(t, "local: {", "new: {addresses: [127.0.0.4], ports: 24000-24999}, local: {")
			s.edit(t, "listener: in,", "listener: in, network: local,")
			s.edit(t, "max_calls", "network: local, max_calls")
		}, "trunks.gw3.network: the relay that runs does not have new"},
		"records that cannot be written": {func() {
			s.write(t, twoTrunks, oneRoute)
			s.edit(t, "calls.jsonl", "none/none/calls.jsonl")
		}, "t.yaml:8: records.file: open "},
		"no file": {func() { os.Remove(s.path("t.yaml")) }, "no such file"},
	} {
		tt.break_()
		_, err := control.Raw(t.Context(), s.path("sip.sock"), console.MethodReload, nil)
		if control.CodeOf(err) != console.CodeConfig || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if p.now.Load() != before {
			t.Errorf("%s: something was taken up", name)
		}
	}
	if n := strings.Count(log.String(), "configuration not reloaded"); n != 8 {
		t.Errorf("%d of 8 failures are logged: %s", n, log)
	}
	s.write(t, twoTrunks, oneRoute)
	if _, err := p.reload(t.Context(), false); err != nil {
		t.Errorf("the good file again: %v", err)
	}
}

func TestANodeWithoutAFileSaysThatThereIsNothingToReload(t *testing.T) {
	s := newSite(t)
	s.write(t, twoTrunks, oneRoute)
	cfg, err := config.Load(s.path("t.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := openSIP(cfg, source{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.reload(t.Context(), false); control.CodeOf(err) != console.CodeConfig || !strings.Contains(err.Error(), "without a configuration file") {
		t.Errorf("%v", err)
	}
}

func TestAReloadGoesOnWithTheRecordsWhereverLogrotateLeftThem(t *testing.T) {
	s := newSite(t)
	s.write(t, twoTrunks, oneRoute)
	p := s.open(t, slog.New(slog.DiscardHandler))
	defer p.Close()
	if err := os.Rename(s.path("calls.jsonl"), s.path("calls.jsonl-20260301")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.reload(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path("calls.jsonl")); err != nil {
		t.Errorf("no new file: %v", err)
	}
}
