package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// built is the product as it is shipped, built once for all tests that run it.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tandem-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// screen is a terminal with a program in it.
type screen struct {
	master, slave *os.File
	before        unix.Termios
	command       *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
}

// openScreen makes a terminal (pty(7)).
func openScreen(t *testing.T, columns, rows uint16) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	s := &screen{master: master, slave: slave}
	s.resize(t, columns, rows)
	s.before = s.settings(t)
	return s
}

func (s *screen) settings(t *testing.T) unix.Termios {
	t.Helper()
	now, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *now
}

// resize tells the terminal its size, and whoever runs in it by SIGWINCH.
func (s *screen) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// run starts a program whose terminal this is.
func (s *screen) run(t *testing.T, args ...string) {
	t.Helper()
	s.command = exec.Command(binary(t), args...)
	s.command.Stdin, s.command.Stdout, s.command.Stderr = s.slave, s.slave, s.slave
	s.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.command.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(s, s.master) //nolint:errcheck // ends with the terminal
	t.Cleanup(func() { s.command.Process.Kill() })
}

// Write keeps what the program writes.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

// text is everything that was written, and frame the last whole frame of it.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (s *screen) frame() string {
	frames := strings.Split(s.text(), screenHome)
	if len(frames) < 3 {
		return ""
	}
	return frames[len(frames)-2]
}

func (s *screen) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the program and checks that the terminal is as it was.
func (s *screen) ended(t *testing.T) {
	t.Helper()
	if err := s.command.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.text())
	}
	if s.settings(t) != s.before {
		t.Error("the terminal's settings are not as they were")
	}
	until(t, "the screen is given back", func() bool { return strings.HasSuffix(s.text(), screenClose) })
}

func TestTopShowsANodeAndGivesTheTerminalBack(t *testing.T) {
	node := newSite(t)
	node.write(t, twoTrunks, oneRoute)
	p := node.open(t, slog.New(slog.DiscardHandler))
	s := openScreen(t, 80, 24)
	s.run(t, "top", "-c", node.path("t.yaml"), "--every", "100ms")
	until(t, "the trunks", func() bool { return strings.Contains(s.frame(), "gw1            up") })
	if raw := s.settings(t); raw.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Errorf("keys come by the line, or are echoed: %x", raw.Lflag)
	}
	if lines := strings.Split(s.frame(), "\r\n"); len(lines) != 24 {
		t.Errorf("%d lines on a screen of 24", len(lines))
	}
	s.press(t, "c")
	until(t, "the calls", func() bool { return strings.Contains(s.frame(), "CALLER") })
	s.resize(t, 132, 10)
	until(t, "a wider frame", func() bool { f := s.frame(); return strings.Contains(f, "ID  ") && strings.Count(f, "\r\n") == 9 })
	s.press(t, "t/gw")
	until(t, "one trunk", func() bool { f := s.frame(); return strings.Contains(f, "filter: gw_") && !strings.Contains(f, "uc  ") })

	if err := p.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the node is gone", func() bool { return strings.Contains(s.frame(), "THE NODE IS GONE") })
	p = node.open(t, slog.New(slog.DiscardHandler))
	defer p.Close()
	until(t, "the node is back", func() bool { f := s.frame(); return f != "" && !strings.Contains(f, "GONE") })
	s.press(t, "\rq")
	s.ended(t)
}

func TestTopGivesTheTerminalBackOnEachSignal(t *testing.T) {
	for _, sign := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		s := openScreen(t, 80, 24)
		s.run(t, "top", "--sip", filepath.Join(t.TempDir(), "nobody.sock"))
		until(t, "it says that there is no node", func() bool { return strings.Contains(s.text(), "no node at") })
		if err := s.command.Process.Signal(sign); err != nil {
			t.Fatal(err)
		}
		s.ended(t)
	}
}

func TestAPanicGivesTheTerminalBackAndTellsWhereOneCanReadIt(t *testing.T) {
	s := openScreen(t, 80, 24)
	go io.Copy(s, s.master) //nolint:errcheck // ends with the terminal
	func() {
		defer func() {
			if r := recover(); r != "on purpose" {
				t.Errorf("%v", r)
			}
		}()
		term, err := openTerminal(s.slave, s.slave)
		if err != nil {
			t.Fatal(err)
		}
		defer term.restore()
		panic("on purpose")
	}()
	if s.settings(t) != s.before {
		t.Error("the terminal's settings are not as they were")
	}
	until(t, "the screen is given back", func() bool { return s.text() == screenOpen+screenClose })
}

func TestAFaultOfTheWatchIsRaisedWhereTheTerminalIsPutInOrder(t *testing.T) {
	questions, out := make(chan question, 1), make(chan seen, 1)
	questions <- question{}
	var nobody *eye // whose look is a fault
	go nobody.watch(t.Context(), 0, questions, out)
	if s := <-out; s.fault == nil {
		t.Errorf("%+v", s)
	}
}

func TestTopWithoutATerminalSaysWhatToDo(t *testing.T) {
	out, err := exec.Command(binary(t), "top", "--sip", filepath.Join(t.TempDir(), "nobody.sock")).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(string(out), "no terminal: use --once or --json") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.Command(binary(t), "top", "--once", "--sip", "/nobody.sock").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/nobody.sock: nobody listens there") {
		t.Errorf("%v: %s", err, out)
	}
}
