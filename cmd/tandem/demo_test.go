package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/control"
)

// demo runs the command as the command line would.
func demo(t *testing.T, c demoCmd) (out, complaints string, err error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var o, e bytes.Buffer
	err = c.Run(t.Context(), streams{in: strings.NewReader(""), out: &o, err: &e})
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	return o.String(), e.String(), err
}

func TestDemoTellsWhatWasHeard(t *testing.T) {
	out, complaints, err := demo(t, demoCmd{Seconds: 1, Calls: 1})
	if err != nil || complaints != "" {
		t.Fatalf("%v\n%s\n%s", err, complaints, out)
	}
	last := 0
	for _, want := range []string{
		"phone", "tandem", "gateway", "INVITE (SDP)", "200 OK (SDP)", "ACK", "SRTP", "BYE", "200 OK to BYE",
		"uc-to-pstn", "pstn-to-uc", "no drops", "Audio flowed unharmed both ways.\n",
	} {
		at := strings.Index(out[last:], want)
		if at < 0 {
			t.Fatalf("%q is missing or out of place:\n%s", want, out)
		}
		last += at
	}
}

func TestDemoJSONAddsUp(t *testing.T) {
	const calls, seconds = 3, 1
	out, complaints, err := demo(t, demoCmd{Seconds: seconds, Calls: calls, JSON: true})
	if err != nil || complaints != "" {
		t.Fatalf("%v\n%s\n%s", err, complaints, out)
	}
	var r demoReport
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.OK || r.Calls != calls || r.Failed != 0 || r.SetupMS <= 0 || r.FirstAudioMS <= 0 || len(r.Directions) != 2 {
		t.Errorf("%s", out)
	}
	want := uint64(calls * (seconds*50 + int(greeting/frame)))
	var sent, dropped uint64
	for _, d := range r.Directions {
		if d.Sent != want || d.Received != want || d.Lost != 0 || d.MOS < 3 || d.Suite != demoSuite {
			t.Errorf("want %d packets: %+v", want, d)
		}
		sent += d.Sent
	}
	for _, n := range r.Drops {
		dropped += n
	}
	if r.Relay.Received != r.Relay.Forwarded+dropped || r.Relay.Received < sent {
		t.Errorf("%d sent: %s", sent, out)
	}
}

func TestDemoRefusesWhatItCannotDo(t *testing.T) {
	for flag, c := range map[string]demoCmd{"--seconds=0": {Calls: 1}, "--calls=1001": {Seconds: 1, Calls: 1001}} {
		if out, _, err := demo(t, c); err == nil || !strings.Contains(err.Error(), flag) || out != "" {
			t.Errorf("%s: %v, %q", flag, err, out)
		}
	}
}

func TestAnInterruptedDemoSaysSo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, complaints bytes.Buffer
	if err := (&demoCmd{Seconds: 1, Calls: 2}).Run(ctx, streams{out: &out, err: &complaints}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDemoFailsWhenAudioWasHarmed(t *testing.T) {
	fine := func() *demoReport {
		return &demoReport{
			Calls:      1,
			Directions: []demoDirection{{Name: "uc-to-pstn", Sent: 50, Received: 50}, {Name: "pstn-to-uc", Sent: 50, Received: 50}},
			Drops:      map[string]uint64{},
		}
	}
	tests := []struct {
		name  string
		spoil func(*demoReport, *control.Stats)
		want  string
	}{
		{"nothing", func(*demoReport, *control.Stats) {}, ""},
		{"a lost packet", func(r *demoReport, _ *control.Stats) { r.Directions[1].Received-- }, "pstn-to-uc: of 50 packets sent 49"},
		{"a corrupt packet", func(r *demoReport, _ *control.Stats) { r.Directions[0].Corrupt++ }, "corrupt 1"},
		{"silence", func(r *demoReport, _ *control.Stats) { r.Directions[0] = demoDirection{Name: "uc-to-pstn"} }, "nothing was sent"},
		{"a call that failed", func(r *demoReport, _ *control.Stats) { r.Failed++ }, "1 of 2 calls failed, for example: busy"},
		{"a drop that is not counted", func(_ *demoReport, s *control.Stats) { s.Received++ }, "do not balance"},
		{"packets lost in the kernel", func(_ *demoReport, s *control.Stats) { s.Overflows = 4 }, "too slow"},
		{"a session that stays", func(_ *demoReport, s *control.Stats) { s.Sessions = 1 }, "1 session still open"},
	}
	for _, tt := range tests {
		r, stats := fine(), control.Stats{Received: 100, Forwarded: 100}
		tt.spoil(r, &stats)
		r.judge(stats, errors.New("busy"))
		var complaints, out bytes.Buffer
		err := r.complain(&complaints)
		if perr := r.print(&out); perr != nil {
			t.Error(perr)
		}
		switch unharmed := strings.Contains(out.String(), "Audio flowed unharmed both ways."); {
		case tt.want == "" && (err != nil || !r.OK || !unharmed):
			t.Errorf("%s: %v %s", tt.name, err, complaints.String())
		case tt.want != "" && (err != exit(1) || r.OK || unharmed || !strings.Contains(complaints.String(), tt.want)):
			t.Errorf("%s: %v, want %q in %q", tt.name, err, tt.want, complaints.String())
		}
	}
}
