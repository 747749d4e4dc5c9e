package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tandem/signaling/b2bua"
	"tandem/signaling/console"
)

// peer is a sipp (Debian package sip-tester).
func peer(t *testing.T, at netip.AddrPort, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("sipp is not installed: make peers")
	}
	media, err := freePort("udp", at.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, append(args, "-i", at.Addr().String(), "-p", strconv.Itoa(int(at.Port())), "-mp", strconv.Itoa(int(media)), "-nostdin")...)
	c.Dir = t.TempDir()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait() //nolint:errcheck // it was killed, or waited for already
	})
	return c
}

// place is an address of the site that nobody has.
func (s *site) place(t *testing.T) netip.AddrPort {
	t.Helper()
	port, err := freePort("udp", s.host)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(s.host, port)
}

// process is a tandem of its own.
type process struct {
	*exec.Cmd
	site *site
	log  *notes
}

// start runs the built binary with both planes.
func (s *site) start(t *testing.T) *process {
	t.Helper()
	p := &process{exec.Command(binary(t), "run", "-c", s.path("t.yaml")), s, &notes{}}
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		if t.Failed() {
			t.Log(p.log)
		}
	})
	until(t, "tandem is ready", func() bool { return strings.Contains(p.log.String(), `"msg":"sip ready"`) })
	return p
}

// tandem runs the built binary and returns what it printed.
func tandem(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(binary(t), args...).Output()
	if err != nil {
		t.Fatalf("tandem %s: %v %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ctl asks with the product's own command.
func (s *site) ctl(t *testing.T, result any, args ...string) {
	t.Helper()
	out := tandem(t, append([]string{"ctl", "-c", s.path("t.yaml")}, args...)...)
	if err := json.Unmarshal([]byte(out), result); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// records reads the call records, each of which must be whole.
func (s *site) records(t *testing.T) (all []b2bua.CallRecord) {
	t.Helper()
	f, err := os.Open(s.path("calls.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var r b2bua.CallRecord
		switch err := d.Decode(&r); err {
		case nil:
			all = append(all, r)
		case io.EOF:
			return all
		default:
			t.Fatal(err)
		}
	}
}

// hangup has the node read its configuration again, and waits until it did so for the nth time.
func (p *process) hangup(t *testing.T, n int) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, fmt.Sprintf("reload %d", n), func() bool {
		return strings.Count(p.log.String(), `"msg":"configuration reloaded"`) == n
	})
}

// end stops the node in order.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("tandem: %v", err)
	}
}

func TestReloadsUnderLoadHarmNoCall(t *testing.T) {
	s := newSite(t)
	caller, gw1, gw2 := s.place(t), s.place(t), s.place(t)
	uc := fmt.Sprintf("  uc: {listener: in, peer: %q, options: {off: true}}\n", caller)
	first := fmt.Sprintf("  gw1: {listener: out, peer: %q, options: {off: true}}\n", gw1)
	second := fmt.Sprintf("  gw2: {listener: out, peer: %q, options: {off: true}}\n", gw2)
	s.write(t, uc+first, "  - {name: out, from: [uc], to: [gw1]}")
	peer(t, gw1, "-sn", "uas")
	peer(t, gw2, "-sn", "uas")
	p := s.start(t)

	const calls, rate = 160, 20 // a second: 8 s of load
	load := peer(t, caller, "-sn", "uac", "-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-d", "1500", netip.AddrPortFrom(s.host, s.a).String())
	var list console.CallList
	until(t, "calls are up", func() bool { s.ctl(t, &list, "call.list"); return list.Total >= rate })
	if c := list.Calls[0]; c.From != "uc" || c.To != "gw1" || c.Called != "service" {
		t.Errorf("%+v", c)
	}
	if text := tandem(t, "top", "-c", s.path("t.yaml"), "--once"); !strings.Contains(text, "gw1 ") || !strings.Contains(text, "answered uc          gw1") {
		t.Errorf("%s", text)
	}

	s.write(t, uc+first+second, "  - {name: out, from: [uc], to: [gw1, gw2], balance: shuffle}") // one more
	p.hangup(t, 1)
	until(t, "calls by the new trunk", func() bool { s.ctl(t, &list, "call.list", `{"trunk":"gw2"}`); return list.Found > 0 })
	s.write(t, uc+strings.Replace(first, "options", "max_calls: 500, options", 1)+second, "  - {name: out, from: [uc], to: [gw1, gw2], balance: shuffle}") // a change
	p.hangup(t, 2)
	s.ctl(t, &list, "call.list", `{"trunk":"gw1"}`)
	if list.Found == 0 {
		t.Error("no call is left on the trunk that goes")
	}
	s.write(t, uc+second, "  - {name: out, from: [uc], to: [gw2]}") // one less, with calls on it
	p.hangup(t, 3)
	if err := load.Wait(); err != nil { // sipp counts: 0 is that every call went as it should
		t.Errorf("sipp: %v", err)
	}
	until(t, "every call is over", func() bool { s.ctl(t, &list, "call.list"); return list.Total == 0 })

	for _, want := range []string{"added trunks.gw2", "changed trunks.gw1.max_calls: 0 -\\u003e 500", "removed trunks.gw1"} {
		if strings.Count(p.log.String(), `"change":"`+want) != 1 && strings.Count(p.log.String(), `"change":"`+strings.ReplaceAll(want, `\u003e`, ">")) != 1 {
			t.Errorf("the log does not tell once: %s", want)
		}
	}
	p.end(t)
	by := map[string]int{}
	for _, r := range s.records(t) {
		if r.Code != 200 || r.By != "caller" || len(r.Tried) != 1 {
			t.Errorf("harmed: %+v", r)
		}
		by[r.To]++
	}
	if by["gw1"]+by["gw2"] != calls || by["gw1"] == 0 || by["gw2"] == 0 {
		t.Errorf("%d calls, by trunk %v", calls, by)
	}
	wholeLines(t, p.log.String())
}

// wholeLines checks that a log is JSON, line by line, and that each line about a call has its id.
func wholeLines(t *testing.T, log string) {
	t.Helper()
	about := map[string]bool{"routed": true, "call": true}
	for line := range strings.Lines(log) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		if about[fmt.Sprint(l["msg"])] && !strings.HasPrefix(fmt.Sprint(l["call"]), "sbc1.") {
			t.Errorf("no id: %s", line)
		}
	}
}

func TestAShutdownWithCallsWritesEveryRecord(t *testing.T) {
	s := newSite(t)
	caller, gw1 := s.place(t), s.place(t)
	s.write(t, fmt.Sprintf("  uc: {listener: in, peer: %q, options: {off: true}}\n  gw1: {listener: out, peer: %q, options: {off: true}}", caller, gw1), oneRoute)
	peer(t, gw1, "-sn", "uas")
	p := s.start(t)
	const calls = 30
	peer(t, caller, "-sn", "uac", "-m", strconv.Itoa(calls), "-r", strconv.Itoa(calls), "-d", "60000", netip.AddrPortFrom(s.host, s.a).String())
	var list console.CallList
	until(t, "all calls are up", func() bool {
		s.ctl(t, &list, "call.list")
		answered := 0
		for _, c := range list.Calls {
			if c.Phase == "answered" {
				answered++
			}
		}
		return answered == calls
	})
	p.end(t)
	for _, r := range s.records(t) {
		if r.Code != 200 || r.By != "tandem" || r.Answer.IsZero() || r.End.IsZero() || len(r.Media) != 2 {
			t.Errorf("%+v", r)
		}
	}
	if n := len(s.records(t)); n != calls {
		t.Errorf("%d records of %d calls", n, calls)
	}
}

func TestCtlFindsTheSocketByTheMethod(t *testing.T) {
	s := newSite(t)
	s.write(t, twoTrunks, oneRoute)
	s.start(t)
	for method, want := range map[string]string{
		"sip.hello": `"node": "sbc1"`, "trunk.list": `"gw1"`, "relay.hello": `"engine": "sockets"`, "session.list": `"sessions": []`,
	} {
		if out := tandem(t, "ctl", "-c", s.path("t.yaml"), method); !strings.Contains(out, want) {
			t.Errorf("%s: %s", method, out)
		}
	}
	if out := tandem(t, "ctl", "--socket", s.path("relay.sock"), "--compact", "relay.stats"); strings.Count(out, "\n") != 1 {
		t.Errorf("%s", out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"trunk.lst", "-c", s.path("t.yaml")}, `did you mean "trunk.list"?`},
		{[]string{"trnk.list"}, `"trnk.list" is no method (did you mean trunk.list?)`},
		{[]string{"--socket", s.path("none"), "relay.hello"}, "nobody listens there"},
		{[]string{"-c", s.path("t.yaml"), "call.get", "{"}, "parameters: not valid JSON"},
		{[]string{"-c", filepath.Join(s.dir, "none.yaml"), "sip.hello"}, "no such file"},
		{[]string{"-c", s.path("t.yaml"), "call.get"}, `id: missing (code -32602); an example: tandem ctl call.get '{"id":"..."}'`},
		{[]string{"-c", s.path("t.yaml"), "session.open"}, "docs/control.md has the parameters of session.open"},
		{[]string{"-c", s.path("t.yaml"), "relay.drain"}, `an example: tandem ctl relay.drain '{"on":true}'`},
		{[]string{"-c", s.path("t.yaml"), "sip.drain"}, `sip.drain: on: missing; write {"on":true} to take no new calls, {"on":false} to take them again`},
	} {
		var complaint bytes.Buffer
		c := exec.Command(binary(t), append([]string{"ctl"}, tt.args...)...)
		c.Stderr = &complaint
		if err := c.Run(); err == nil || !strings.Contains(complaint.String(), tt.want) || strings.Count(complaint.String(), "\n") != 1 {
			t.Errorf("%v: %v: %s", tt.args, err, complaint.String())
		}
	}
	out := tandem(t, "ctl")
	for _, m := range append(console.Methods(), relayMethods...) {
		if !strings.Contains(out, m.Name) || !strings.Contains(out, m.Does) {
			t.Errorf("%s is not listed", m.Name)
		}
	}
}

func TestCtlShowsTextAsItIs(t *testing.T) {
	for in, want := range map[string]string{
		`{"change":"max_calls: 0 -\u003e 2"}`: `{"change":"max_calls: 0 -> 2"}`,
		`"a \u003c b \u0026 c"`:               `"a < b & c"`,
		`"the text \\u003c"`:                  `"the text \\u003c"`,
	} {
		if got := readable.Replace(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
