// Package beside runs programs beside a test: Tandem itself, sipp, baresip, another copy of the test binary. What it prevents
// is a program that outlives its test, and a failure that shows everything but what the program said.
//
// What does not live here: where a program runs (a namespace, a directory, an environment) and how it is ended when the test
// process is killed: that is in the command that the test hands over.
package beside

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	shown     = 12 << 10    // bytes of the end of a program's output that a failing test shows
	openPipes = time.Second // for children that hold its output open after its end
)

// Process is a program that runs beside a test. It ends with the test at the latest; what it said is shown if the test
// failed.
type Process struct {
	T    testing.TB
	Name string // as the test calls it
	In   io.Writer

	patience time.Duration
	cmd      *exec.Cmd
	out      Output
	done     chan struct{} // closed when it ended
	err      error         // how; valid once done is closed
}

// Start runs a command. patience is how long anything may take that the test waits for; by runs the function that it is
// given, which is what starts the program, on the thread of its choice; nil is here.
func Start(t testing.TB, name string, cmd *exec.Cmd, patience time.Duration, by func(func() error) error) *Process {
	t.Helper()
	p := &Process{T: t, Name: name, patience: patience, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &p.out, &p.out, openPipes
	if by == nil {
		by = func(start func() error) error { return start() }
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		p.In = in
		err = by(cmd.Start)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill() // an error means that it is gone: done tells
		<-p.done
		if t.Failed() {
			text := p.Said()
			t.Logf("%s: %s\n%s", name, strings.Join(cmd.Args, " "), text[max(0, len(text)-shown):])
		}
	})
	return p
}

// Said is all that it wrote so far, to either of its outputs.
func (p *Process) Said() string { return p.out.String() }

// Done is closed when the program ended, however; Err tells how then.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how it ended, nil if that was well. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Ended reports whether it is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends one to the program, which must be there.
func (p *Process) Signal(s syscall.Signal) {
	p.T.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.T.Fatalf("%s: %v: %v", p.Name, s, err)
	}
}

// Kill ends the program as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	p.T.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Finish waits for its own end, which must be a good one.
func (p *Process) Finish() {
	p.T.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.T.Fatalf("%s: %v", p.Name, p.err)
		}
	case <-time.After(p.patience):
		p.T.Fatalf("%s: still running after %s", p.Name, p.patience)
	}
}

// Terminate asks it to end, and waits for a good end.
func (p *Process) Terminate() {
	p.T.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatalf("%s: %v", p.Name, err)
	}
	p.Finish()
}

// Says waits until it has written text.
func (p *Process) Says(text string) { p.T.Helper(); p.SaysTimes(text, 1) }

// SaysTimes waits until it has written text so many times.
func (p *Process) SaysTimes(text string, times int) { p.T.Helper(); p.says(text, times, p.patience) }

// SaysWithin is Says for what takes longer than anything else.
func (p *Process) SaysWithin(text string, patience time.Duration) {
	p.T.Helper()
	p.says(text, 1, patience)
}

func (p *Process) says(text string, times int, patience time.Duration) {
	p.T.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		news := p.out.next()
		if strings.Count(p.Said(), text) >= times {
			return
		}
		select {
		case <-news:
		case <-p.done:
			if strings.Count(p.Said(), text) >= times { // its last words
				return
			}
			p.T.Fatalf("%s ended (%v) before it said %q %d times", p.Name, p.err, text, times)
		case <-late.C:
			p.T.Fatalf("%s did not say %q %d times within %s", p.Name, text, times, patience)
		}
	}
}

// Output collects what several goroutines write. The zero value is empty.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{} // closed by the next write; nil: nobody waits
}

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news != nil {
		close(o.news)
		o.news = nil
	}
	return o.text.Write(b)
}

// next is closed by the next write.
func (o *Output) next() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news == nil {
		o.news = make(chan struct{})
	}
	return o.news
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
