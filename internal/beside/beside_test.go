package beside

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// sh runs a script.
func sh(t testing.TB, script string) *Process {
	t.Helper()
	return Start(t, "sh", exec.Command("sh", "-c", script), patience, nil)
}

func TestWhatAProgramSaysIsHeardAsItSaysIt(t *testing.T) {
	p := sh(t, "echo one; read line; echo $line >&2; echo one; read line")
	p.Says("one")
	if _, err := io.WriteString(p.In, "two\n"); err != nil {
		t.Fatal(err)
	}
	p.Says("two")
	p.SaysTimes("one", 2)
	if p.Ended() {
		t.Error("it ended before it was told to")
	}
	io.WriteString(p.In, "end\n")
	p.Finish()
	if !p.Ended() || p.Err() != nil || p.Said() != "one\ntwo\none\n" {
		t.Errorf("ended %v (%v), said %q", p.Ended(), p.Err(), p.Said())
	}
}

func TestLastWordsAreHeard(t *testing.T) {
	sh(t, "echo -n farewell").Says("farewell")
}

func TestAProgramIsEndedInEachWay(t *testing.T) {
	p := sh(t, "trap 'exit 0' TERM; echo ready; while :; do read line || exit 3; done")
	p.Says("ready")
	p.Terminate()
	p.Terminate() // a second time it is gone already
	p = sh(t, "echo ready; read line")
	p.Says("ready")
	p.Kill()
	if !p.Ended() || p.Err() == nil {
		t.Errorf("killed: ended %v (%v)", p.Ended(), p.Err())
	}
}

func TestStartRunsWhereTheTestSays(t *testing.T) {
	ran := false
	Start(t, "true", exec.Command("true"), patience, func(start func() error) error { ran = true; return start() }).Finish()
	if !ran {
		t.Error("the program was started elsewhere")
	}
}

// strict is a test that notes its failure and its cleanups, and ends its goroutine as a test does.
type strict struct {
	testing.TB
	said     []string
	cleanups []func()
}

func (s *strict) Helper()                   {}
func (s *strict) Failed() bool              { return len(s.said) > 0 }
func (s *strict) Cleanup(f func())          { s.cleanups = append(s.cleanups, f) }
func (s *strict) Logf(f string, a ...any)   { s.said = append(s.said, fmt.Sprintf(f, a...)) }
func (s *strict) Fatalf(f string, a ...any) { s.Logf(f, a...); runtime.Goexit() }

func TestFailuresSayWhichProgramAndWhatItSaid(t *testing.T) {
	for says, do := range map[string]func(*strict){
		`sh ended (exit status 3) before it said "more" 1 times`: func(s *strict) { sh(s, "echo some; exit 3").Says("more") },
		"sh: exit status 4": func(s *strict) { sh(s, "echo some; exit 4").Finish() },
		"sh: still running after 1ms": func(s *strict) {
			p := Start(s, "sh", exec.Command("sh", "-c", "echo some; read line"), patience, nil)
			p.Says("some")
			p.patience = time.Millisecond
			p.Finish()
		},
		"sh: terminated: os: process already finished": func(s *strict) {
			p := sh(s, "echo some")
			p.Finish()
			p.Signal(syscall.SIGTERM)
		},
	} {
		s := &strict{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			do(s)
		}()
		<-done
		for _, f := range s.cleanups {
			f()
		}
		if all := strings.Join(s.said, "\n"); !strings.Contains(all, says) || !strings.Contains(all, "\nsome\n") {
			t.Errorf("got %q, want %q and what it said", all, says)
		}
	}
}
