package trial

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tandem/bench/load"
	"tandem/bench/rig"
	"tandem/bench/rival"
	"tandem/bench/subject"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// place returns a rig that goes with the test.
func place(t *testing.T) *rig.Place {
	t.Helper()
	if os.Geteuid() != 0 {
		leaveOut(t, "network namespaces need root")
	}
	if runtime.NumCPU() < 2 {
		leaveOut(t, "a measurement needs two CPUs")
	}
	p, err := rig.Build(t.Context(), rig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// tandem returns the relay of this checkout, freshly built.
func tandem(t *testing.T, engine string, sessions int) *subject.Tandem {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tandem")
	build := exec.Command("go", "build", "-o", binary, "tandem/cmd/tandem")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return &subject.Tandem{Binary: binary, Engine: engine, Sessions: sessions}
}

func rtpengine(t *testing.T) *rival.Rtpengine {
	t.Helper()
	r, err := rival.Find("rtpengine")
	if err != nil {
		leaveOut(t, err.Error())
	}
	return r
}

// TestBothSidesDoTheSameWorkInEveryMode: what the sink opens with the keys it was given was sealed with them, by either side.
func TestBothSidesDoTheSameWorkInEveryMode(t *testing.T) {
	p, ours, theirs := place(t), tandem(t, "sockets", 10), rtpengine(t)
	for _, mode := range []load.Mode{load.RTP, load.SRTP, load.Both} {
		for _, s := range []subject.Subject{ours, theirs} {
			o := Options{Place: p, Mode: mode, Streams: 20, Log: t.Logf}
			err := with(t.Context(), &o, s, func(l *live) error {
				got, err := l.fit(t.Context(), 1000, 300*time.Millisecond)
				if err != nil {
					return err
				}
				m := l.measures(&got)
				if m.DeliveredPPS == 0 || m.NSPerForward == 0 || m.P50 == 0 || m.Max < m.P50 || m.RSS == 0 {
					t.Errorf("%s %s: %+v", mode, s.Name(), m)
				}
				if want := s.Name() + "/"; !strings.HasPrefix(m.Path, want) {
					t.Errorf("%s %s: path %q", mode, s.Name(), m.Path)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s %s: %v", mode, s.Name(), err)
			}
		}
	}
}

func TestAComparisonHasEveryRoundOfBothSides(t *testing.T) {
	o := Options{Place: place(t), Mode: load.Both, Streams: 20, Rate: 1000, Rounds: 2, Quick: true, Log: t.Logf}
	c, err := Compare(t.Context(), o, tandem(t, "sockets", 10), rtpengine(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rounds) != 2 || c.Rounds[1].Rival == nil || c.Ratio == nil || c.Ratio.CPU <= 0 {
		t.Fatalf("%+v", c)
	}
	if a := c.Allocations; a == nil || a.Forwards == 0 || c.Allocs == nil {
		t.Errorf("allocations %+v", a)
	}
	if c.Rival.Allocs != nil || c.Rival.BatchIn != nil {
		t.Errorf("rtpengine does not tell, but: %+v", c.Rival)
	}
}

func TestSessionsAreOpenedAndClosed(t *testing.T) {
	const count = 200
	s, err := Sessions(t.Context(), place(t), tandem(t, "sockets", count), count)
	if err != nil || s.OpensPerS <= 0 || s.ClosesPerS <= 0 || s.RSSAfter <= 0 || s.Engine != "sockets" {
		t.Fatalf("%+v %v", s, err)
	}
}

func TestARelayThatCannotStartSaysWhy(t *testing.T) {
	p := place(t)
	o := Options{Place: p, Mode: load.RTP, Streams: 2, Log: t.Logf}
	err := with(t.Context(), &o, tandem(t, "no-such-engine", 1), func(*live) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no-such-engine") {
		t.Errorf("%v", err)
	}
}

func TestAnInterruptedRunEnds(t *testing.T) {
	p := place(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Place: p, Mode: load.RTP, Streams: 20, Log: t.Logf}
	ours := tandem(t, "sockets", 10)
	err := with(ctx, &o, ours, func(l *live) error {
		cancel()
		_, err := l.run(ctx, 1000, time.Hour/1000)
		return err
	})
	if err == nil {
		t.Error("a cancelled run gave a result")
	}
	if ours.Process() != nil {
		t.Error("the relay is still there")
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for _, o := range []Options{{Rounds: 0}, {Rounds: 1, Rate: -1}, {Rounds: 1, Rate: 2 * mostRate}} {
		if _, err := Compare(t.Context(), o, &subject.Tandem{}, nil); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// slow is a relay whose counter goes on for some readings after the load ended.
type slow struct {
	subject.Subject
	readings, until int
}

func (s *slow) Name() string { return "slow" }

func (s *slow) Counters(context.Context) (subject.Counters, error) {
	s.readings++
	return subject.Counters{Received: uint64(min(s.readings, s.until))}, nil
}

func TestARunBeginsWhenTheOneBeforeIsWorkedOff(t *testing.T) {
	s := &slow{until: 4}
	got, err := (&live{subject: s}).drained(t.Context())
	if err != nil || got.Received != 4 || s.readings != 5 {
		t.Errorf("%+v %v after %d readings", got, err, s.readings)
	}
}
