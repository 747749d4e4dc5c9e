package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/trunk"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shown is a picture with trunks in every condition, and calls whose peers write what they like.
func shown() *picture {
	status := func(name string, state trunk.State, calls int) trunk.Status {
		return trunk.Status{Name: name, Peer: "192.0.2.1:5060", Transport: "udp", State: state, Since: noon.Add(-90 * time.Second), Calls: calls}
	}
	full := status("gw-full", trunk.Up, 30)
	full.MaxCalls = 30
	down := status("gw-down", trunk.Down, 0)
	down.Misses = 7
	rests := status("gw-rests", trunk.Demoted, 2)
	rests.RestSeconds = 42
	p := &picture{At: noon, Node: console.HelloResult{Node: "sbc1", Version: "v1", Calls: 3, Trunks: 4, Relay: true, UptimeMS: 3 * 3600_000,
		Config: console.File{SHA256: "0123456789abcdef"}}}
	p.Trunks = []console.Trunk{
		{Status: full, Looked: noon, Full: "all 30 places are taken", Quality: &console.Quality{Loss: 2.5, JitterMS: 12, MOS: 3.9}},
		{Status: down, Looked: noon},
		{Status: rests, Looked: noon},
		{Status: status("well-and-with-a-long-name", trunk.Up, 1), Looked: noon},
	}
	for n := range 3 {
		p.Calls = append(p.Calls, b2bua.CallInfo{
			ID: fmt.Sprintf("sbc1.%d", n), Phase: "answered", From: "uc", To: "gw-full", Called: fmt.Sprintf("+4312345%d", n),
			Caller: "\x1b[2J\u009b31mevil\u202e", Start: noon, Answer: noon, Age: float64(60 * n), Talk: float64(60 * n),
		})
	}
	p.Found = 3
	return p
}

func TestAFrameFillsEveryScreenExactly(t *testing.T) {
	for _, v := range []*view{
		{socket: "/s"}, {socket: "/s", err: errors.New("gone\x1b[H")}, {picture: shown()}, {picture: shown(), calls: true},
		{picture: shown(), err: errors.New("gone")}, {picture: shown(), typing: true, filter: "gw"}, {picture: &picture{}},
	} {
		for width := 1; width <= 200; width += 7 {
			for height := 1; height <= 60; height++ {
				lines := v.frame(width, height)
				if len(lines) != height {
					t.Fatalf("%dx%d: %d lines", width, height, len(lines))
				}
				for i, l := range lines {
					l = strings.TrimSuffix(strings.TrimPrefix(l, "\x1b["+styleTitle+"m"), "\x1b[0m")
					if len(l) != width || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) {
						t.Fatalf("%dx%d, line %d: %q", width, height, i, l)
					}
				}
			}
		}
	}
}

func TestEightyColumnsTellTheGistOfEachTrunk(t *testing.T) {
	v := &view{picture: shown()}
	screen := strings.Join(v.frame(80, 24), "\n")
	for _, want := range []string{
		"tandem sbc1  v1  up 3h00  calls 3", "trunks 4: 2 up, 1 demoted, 1 down  config 01234567",
		"TRUNK*", "gw-full        up       1m30   30/30     0       0    2.5  3.9 full: all 30 pla~", "gw-down        down", "7 polls missed",
		"rests 42s more", "well-and-with~", "q quit  t trunks  c calls", "1-4 of 4",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q is missing:\n%s", want, screen)
		}
	}
	if wide := strings.Join(v.frame(160, 24), "\n"); !strings.Contains(wide, "full: all 30 places are taken") || !strings.Contains(wide, "well-and-with-a-long-name") {
		t.Errorf("a wide screen cuts what has room:\n%s", wide)
	}
}

func TestTextHasBothTablesUncut(t *testing.T) {
	text := new(view).text(shown())
	for _, want := range []string{"well-and-with-a-long-name", "full: all 30 places are taken", "udp 192.0.2.1:5060", "sbc1.2", "+43123450", "?[2J?31mevil?"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
		t.Errorf("control sequences in text for a pipe: %q", text)
	}
}

func TestKeysSwitchSortFilterAndScroll(t *testing.T) {
	first := func(v *view, width, height int) string { return strings.Fields(v.frame(width, height)[3])[0] }
	v := &view{picture: shown()}
	if got := first(v, 80, 24); got != "gw-down" {
		t.Errorf("by name: %s", got)
	}
	v.key('r')
	if got := first(v, 80, 24); got != "well-and-with~" {
		t.Errorf("the other way round: %s", got)
	}
	v.key('s')
	if got := first(v, 80, 24); got != "gw-down" {
		t.Errorf("by state, the worst first: %s", got)
	}
	for range 2 {
		v.key('s')
	}
	if got := first(v, 80, 24); got != "gw-full" {
		t.Errorf("by calls, the most first: %s", got)
	}
	for range len(trunkColumns) - 3 {
		v.key('s')
	}
	if got := first(v, 80, 24); got != "gw-down" {
		t.Errorf("around to the name: %s", got)
	}
	v.frame(80, 6) // two rows
	v.key(keyDown)
	if got := first(v, 80, 6); got != "gw-full" {
		t.Errorf("one down: %s", got)
	}
	v.key(keyPageDown)
	v.key(keyPageDown)
	if got := first(v, 80, 6); got != "gw-rests" {
		t.Errorf("beyond the end: %s", got)
	}
	v.key(keyPageUp)
	v.key(keyPageUp)
	if got := first(v, 80, 6); got != "gw-down" {
		t.Errorf("beyond the beginning: %s", got)
	}
	v.key('c')
	if screen := strings.Join(v.frame(80, 24), "\n"); !strings.Contains(screen, "CALLER") || !strings.Contains(screen, "+43123452") || v.question() != (question{"", true}) {
		t.Errorf("calls: %s", screen)
	}
	for _, k := range []int{'/', 'g', 'q', keyErase, 'w', keyEnter} {
		if v.key(k) {
			t.Error("quits while a filter is typed")
		}
	}
	if v.question() != (question{"gw", true}) || !strings.Contains(v.foot(1), "/ filter=gw") {
		t.Errorf("%+v", v.question())
	}
	if v.key(keyEscape); v.filter != "" {
		t.Error("escape keeps the filter")
	}
	if !v.key('q') || !v.key(keyInterrupt) || v.key(0) {
		t.Error("q and Ctrl-C quit, others do not")
	}
}

func TestEachTroubleOfATrunkHasItsNote(t *testing.T) {
	for want, spoil := range map[string]func(*console.Trunk){
		"":                    func(*console.Trunk) {},
		"rests 9s more":       func(t *console.Trunk) { t.RestSeconds, t.Full = 9, "x" },
		"full: x":             func(t *console.Trunk) { t.Full = "x" },
		"no address: nx":      func(t *console.Trunk) { t.DNSError = "nx" },
		"old addresses: nx":   func(t *console.Trunk) { t.DNSError, t.Addresses = "nx", make([]trunk.Address, 1) },
		"not registered: 403": func(t *console.Trunk) { t.Registration = "not registered: 403" },
		"1 poll missed":       func(t *console.Trunk) { t.Misses = 1 },
		"2 polls missed":      func(t *console.Trunk) { t.Misses = 2 },
		"answered 503":        func(t *console.Trunk) { t.State, t.LastCode = trunk.Demoted, 503 },
		"no answer":           func(t *console.Trunk) { t.State = trunk.Down },
		"486 busy": func(t *console.Trunk) {
			t.LastError = &trunk.Failure{Code: 486, Why: "busy", At: noon.Add(-time.Minute)}
		},
		"certificate ends 2026-03-": func(t *console.Trunk) { t.Expires = noon.Add(5 * 24 * time.Hour) },
	} {
		tr := console.Trunk{Looked: noon}
		spoil(&tr)
		if got := note(&tr); got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	quiet := console.Trunk{Looked: noon, Expires: noon.Add(31 * 24 * time.Hour)}
	quiet.Registration, quiet.LastError = "registered until then", &trunk.Failure{Code: 486, At: noon.Add(-time.Hour)}
	if got := note(&quiet); got != "" {
		t.Errorf("what is well has a note: %q", got)
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01", 59*time.Minute + 59*time.Second: "59m59",
		23*time.Hour + 59*time.Minute: "23h59", 24 * time.Hour: "1d", 9999 * 24 * time.Hour: "9999d",
	} {
		if got := short(d); got != want || len(got) > 5 {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestKeysAreReadFromBytes(t *testing.T) {
	for in, want := range map[string][]int{
		"q": {'q'}, "tc": {'t', 'c'}, "\x1b": {keyEscape}, "\x1b[A": {keyUp}, "\x1bOB": {keyDown}, "\x1b[5~\x1b[6~": {keyPageUp, keyPageDown},
		"\r": {keyEnter}, "\x7f": {keyErase}, "\x03": {keyInterrupt}, "\x1b[1;5Q": nil, "\x00\x1a\xff": nil, "a\x1b[Bb": {'a', keyDown, 'b'},
	} {
		if got := readKeys([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzKeysNeverUpsetTheView(f *testing.F) {
	f.Add([]byte("tcsr/gw\rj\x1b[6~\x1b"), uint8(80), uint8(24))
	f.Add([]byte("/\x7f\x7f\x03"), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, width, height uint8) {
		v := &view{picture: shown(), color: true}
		for _, k := range readKeys(in) {
			v.key(k)
			if lines := v.frame(int(width), int(height)); len(lines) != int(height) {
				t.Fatalf("%d lines of %d", len(lines), height)
			}
		}
	})
}
