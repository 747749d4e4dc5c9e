package topology

import (
	"bytes"
	"context"
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

// shownOutput is how much of the end of a process's output a failing test shows, in bytes.
const shownOutput = 12 << 10

// process is a program that runs on a host. It ends with the test, and with this process at the latest; what it said is
// shown if the test failed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
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

// start runs a program on the host, in dir. The test's name for it is name.
func (h *host) start(dir, name string, env []string, program string, args ...string) *process {
	h.t.Helper()
	ctx, kill := context.WithCancel(context.Background())
	p := &process{t: h.t, name: name + " on " + h.name, cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	p.cmd.Env = append(os.Environ(), append(env, "TERM=dumb", "HOME="+dir)...)
	p.cmd.WaitDelay = time.Second                                        // for children that hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever becomes of this process
	var err error
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = h.do(p.cmd.Start) // a child is where the thread is that forked it
	}
	if err != nil {
		kill()
		h.t.Fatalf("%s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	h.t.Cleanup(func() {
		kill()
		<-p.done
		if h.t.Failed() {
			text := p.out.String()
			h.t.Logf("%s: %s\n%s", p.name, strings.Join(p.cmd.Args, " "), text[max(0, len(text)-shownOutput):])
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

// signal sends one to the process, which must be there.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v: %v", p.name, s, err)
	}
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
}

// finish waits for the process's own end, which must be a good one.
func (p *process) finish() {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Fatalf("%s: %v", p.name, p.err)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s: still running after %s", p.name, patience)
	}
}

// terminate asks the process to end, and waits for it.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	p.finish()
}

// says waits until the process has written text.
func (p *process) says(text string) {
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
