package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	keptOutput = 64 << 10        // bytes of the end of a process's output
	farewell   = 5 * time.Second // from SIGTERM to SIGKILL: a relay with 20,000 sessions needs a moment to give them back
)

// Process is a program that runs in the relay's namespace on the relay's CPU.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  tail
	done chan struct{}
	err  error // valid once done is closed

	stop  sync.Once
	asked bool         // written within stop: it was running when it was asked to end
	ended func() error // of the context that kills it
}

// Start runs a program in the relay's namespace, pinned to the relay's CPU before its first instruction. env is added to
// this process's environment. When ctx ends, or this process dies, the program is killed.
func (p *Place) Start(ctx context.Context, program string, args []string, env ...string) (*Process, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("rig: start %s: %w", program, err)
	}
	process := &Process{name: filepath.Base(program), cmd: exec.CommandContext(ctx, path, args...), done: make(chan struct{}), ended: ctx.Err}
	process.cmd.Stdout, process.cmd.Stderr = &process.out, &process.out
	process.cmd.Env = append(os.Environ(), env...)
	process.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true} // a terminal's ^C is ours to pass on
	process.cmd.WaitDelay = time.Second                                                      // for children that hold its output open
	err = p.relay.warden.run(func() error { return p.relay.start(process.cmd) })
	if err != nil {
		return nil, fmt.Errorf("rig: start %s: %w", program, err)
	}
	go func() {
		process.err = process.cmd.Wait()
		close(process.done)
	}()
	p.mu.Lock()
	closed := p.closed
	p.processes = append(p.processes, process)
	p.mu.Unlock()
	if closed { // Close did not see it
		return nil, errors.Join(errGone, process.Stop())
	}
	if _, err := preferSession(strconv.Itoa(process.PID())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, process.Stop())
	}
	return process, nil
}

// start starts a program on the side's CPU and before others: a child has the CPUs, the policy and the nice value of the thread
// that forked it.
func (s *side) start(cmd *exec.Cmd) error {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := pinThread(0, s.cpu); err != nil {
		return err
	}
	policy := uint32(unix.SCHED_NORMAL)
	if s.batch {
		policy = unix.SCHED_BATCH
	}
	if err := schedule(0, policy); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, schedule(0, unix.SCHED_NORMAL), unix.Setpriority(unix.PRIO_PROCESS, 0, 0), unix.SchedSetaffinity(0, &before))
}

// PID returns the process number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output returns the end of what the process wrote to standard output and error, at most 64 KB.
func (p *Process) Output() string { return p.out.String() }

// Stop asks the process to end, insists after 5 s, and returns when it is gone. The error is how it ended, with what it
// said, unless it ended because it was asked to.
func (p *Process) Stop() error {
	p.stop.Do(func() {
		select {
		case <-p.done:
			return
		default:
		}
		p.asked = true
		p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone: done tells
		select {
		case <-p.done:
		case <-time.After(farewell):
			p.cmd.Process.Kill()
		}
	})
	<-p.done
	var exit *exec.ExitError
	if (p.asked || p.ended() != nil) && errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return nil
		}
	}
	if p.err != nil {
		return fmt.Errorf("rig: %s: %w\n%s", p.name, p.err, p.Output())
	}
	return nil
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(b)
	if over := t.text.Len() - keptOutput; over > 0 {
		t.text.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
