package soak

import (
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is a run that nothing is wrong with.
func good() Packets {
	return Packets{Sent: 1000, Received: 1000, In: 1020, Out: 1020}
}

func TestBooksThatAgreeAreNoProblem(t *testing.T) {
	lossy := good()
	lossy.Received, lossy.Missing, lossy.Out, lossy.Drops = 997, 3, 1018, 2
	lossy.Overflows = 1
	for _, p := range []Packets{good(), lossy} {
		if problems := p.judge(); problems != nil {
			t.Errorf("%+v: %q", p, problems)
		}
	}
}

func TestBooksThatDoNotAgreeAreAProblem(t *testing.T) {
	for says, change := range map[string]func(*Packets){
		"the sum is wrong":          func(p *Packets) { p.In++ },
		"1 packets were not what":   func(p *Packets) { p.Corrupt = 1 },
		"2 came twice":              func(p *Packets) { p.Duplicates = 2 },
		"sent and never heard":      func(p *Packets) { p.Received, p.Missing = 999, 1 },
		"but the relay received 10": func(p *Packets) { p.In, p.Out = 10, 10 },
		"forwarded 999":             func(p *Packets) { p.Out, p.Drops = 999, 21 },
	} {
		p := good()
		change(&p)
		if problems := strings.Join(p.judge(), "; "); !strings.Contains(problems, says) {
			t.Errorf("%q, want %q", problems, says)
		}
	}
}

func TestTheSlopeIsOfTheSecondHalf(t *testing.T) {
	const whole = 10 * time.Minute
	var samples []sample
	for at := time.Duration(0); at < whole; at += time.Second {
		mb := 10 * at.Minutes() // it grows, and stays, and then grows by 2 MB a minute
		if at >= whole/2 {
			mb = 50 + 2*(at-whole/2).Minutes()
		}
		samples = append(samples, sample{at, map[string]float64{sipPart: mb * (1 << 20)}})
	}
	m := trend(sipPart, samples, whole)
	if math.Abs(m.SlopeMB-2) > 0.01 || math.Abs(m.Grown-10) > 0.1 || math.Abs(m.MeanMB-55) > 0.1 || math.Abs(m.MostMB-60) > 0.1 {
		t.Errorf("%+v", m)
	}
	if m := trend(relayPart, samples, whole); m.SlopeMB != 0 || m.MeanMB != 0 {
		t.Errorf("of nothing: %+v", m)
	}
}

func TestMemoryThatGrowsIsAProblemOfALongRun(t *testing.T) {
	after := readings{goroutines: map[string]float64{}, cpu: map[string]time.Duration{}}
	for whole, problem := range map[time.Duration]bool{time.Minute: false, 10 * time.Minute: true} {
		var samples []sample
		for at := time.Duration(0); at < whole; at += time.Second {
			samples = append(samples, sample{at, map[string]float64{sipPart: (50 + 10*at.Minutes()) * (1 << 20), relayPart: 30 << 20}})
		}
		r := &Result{}
		r.close(&Options{For: whole}, after, after, samples)
		if got := strings.Join(r.Problems, "; "); strings.Contains(got, "tandem sip grows") != problem || strings.Contains(got, "relay") {
			t.Errorf("%s: %q", whole, got)
		}
	}
}

func TestWhatIsLeftIsAProblem(t *testing.T) {
	before := readings{goroutines: map[string]float64{sipPart: 20}}
	after := readings{sessions: 1, goroutines: map[string]float64{sipPart: 100}}
	if got := strings.Join(after.left(before), "; "); !strings.Contains(got, "1 media sessions") || !strings.Contains(got, "sip has 100 goroutines, had 20") {
		t.Errorf("%q", got)
	}
	if got := before.left(before); got != nil {
		t.Errorf("%q", got)
	}
}

func TestATransferThatDidNotComeAboutIsAProblem(t *testing.T) {
	r := &Result{Moved: [2]int{3, 5}}
	r.close(&Options{For: time.Minute}, readings{}, readings{}, nil)
	if got := strings.Join(r.Problems, "; "); got != "2 of 5 transfers did not come about" {
		t.Errorf("%q", got)
	}
}

func TestTheShareOfTransfersIsSpreadOverTheCalls(t *testing.T) {
	for share, want := range map[float64][]int{0: nil, 0.1: {9, 19, 29}, 0.25: {3, 7, 11, 15, 19, 23, 27}} {
		var got []int
		for i := range 30 {
			l := life{churn: &churn{o: &Options{Moved: share}}, nature: i}
			if n := l.moves(); n > 0 {
				if got = append(got, i); n != len(got) {
					t.Errorf("share %v: call %d is transfer %d, want %d", share, i, n, len(got))
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("share %v: calls %v, want %v", share, got, want)
		}
	}
}

func TestARunThatMakesNoSenseIsRefused(t *testing.T) {
	sound := Options{For: time.Minute, Calls: 100, Churn: 10, Talk: time.Second}
	for says, change := range map[string]func(*Options){
		"0 calls":        func(o *Options) { o.Calls = 0 },
		"a churn of 0":   func(o *Options) { o.Churn = 0 },
		"live 1s each":   func(o *Options) { o.Churn = 100 },
		"at least a ca":  func(o *Options) { o.For = time.Second },
		"of talk in a":   func(o *Options) { o.Talk = time.Minute },
		"a share of 1.5": func(o *Options) { o.Moved = 1.5 },
	} {
		o := sound
		change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestAShortSoakLeavesNothing(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.Command("go", "build", "-o", binary, "tandem/cmd/tandem").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	o := Options{Binary: binary, Engine: "sockets", For: 5 * time.Second, Calls: 15, Churn: 5, Talk: 400 * time.Millisecond, Moved: 0.2, Log: t.Logf}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Text())
	if r.Problems != nil || r.Failed != 0 || r.Calls != 25 || r.Held != 10 || r.Renewed != 10 || r.Moved != [2]int{5, 5} {
		t.Errorf("%+v", r)
	}
	if want := uint64(25 * 2 * 20); r.Packets.Sent != want || r.Packets.Received != want {
		t.Errorf("%d packets sent, %d heard, want %d", r.Packets.Sent, r.Packets.Received, want)
	}
}
