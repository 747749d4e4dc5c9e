package peers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// shownOutput is how much of the end of a process's output a failing test shows, in bytes.
const shownOutput = 8 << 10

// process is a program that runs beside the test. It ends with the test at the latest; what it said is shown if the test
// failed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it ended
	err  error         // how; valid once done is closed
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a program in dir. The test's name for it is name.
func start(t *testing.T, dir, name, program string, args ...string) *process {
	t.Helper()
	ctx, kill := context.WithCancel(context.Background())
	p := &process{t: t, name: name, cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+dir)
	p.cmd.WaitDelay = time.Second // for children that hold its output open
	if err := p.cmd.Start(); err != nil {
		kill()
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		kill()
		<-p.done
		if t.Failed() {
			text := p.out.String()
			t.Logf("%s: %s\n%s", name, strings.Join(p.cmd.Args, " "), text[max(0, len(text)-shownOutput):])
		}
	})
	return p
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// finish waits for the process's own end, which must be a good one.
func (p *process) finish(within time.Duration) {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Fatalf("%s: %v", p.name, p.err)
		}
	case <-time.After(within):
		p.t.Fatalf("%s: still running after %s", p.name, within)
	}
}

// terminate asks the process to end, and waits for it.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	p.finish(patience)
}

// awaitOutput waits until the process has written text.
func (p *process) awaitOutput(text string) {
	p.t.Helper()
	await(p.t, p.name+" says "+text, func() bool {
		if strings.Contains(p.out.String(), text) {
			return true
		}
		if p.ended() {
			p.t.Fatalf("%s ended (%v) before it said %q", p.name, p.err, text)
		}
		return false
	})
}
