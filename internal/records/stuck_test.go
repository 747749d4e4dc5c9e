package records

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stuck is a disk whose writes go wrong, or wait, as the test says.
type stuck struct {
	file
	mu     sync.Mutex
	err    error
	part   int           // bytes that are written before err
	gate   chan struct{} // nil: open
	waits  chan struct{} // if not nil, told that a write is at the gate
	whole  bool          // truncation fails as well
	unsync error
}

func (s *stuck) set(change func(*stuck)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *stuck) Write(b []byte) (int, error) {
	s.mu.Lock()
	err, part, gate, waits := s.err, s.part, s.gate, s.waits
	s.mu.Unlock()
	if gate != nil {
		select {
		case waits <- struct{}{}:
		default:
		}
		<-gate
	}
	if err != nil {
		n, _ := s.file.Write(b[:min(part, len(b))])
		return n, err
	}
	return s.file.Write(b)
}

func (s *stuck) Truncate(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whole {
		return fs.ErrPermission
	}
	return s.file.Truncate(size)
}

func (s *stuck) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsync
}

// onto makes the options use the disk.
func (s *stuck) onto(o Options) Options {
	o.retry = time.Millisecond
	o.open = func(path string) (file, error) {
		f, err := open(path)
		s.file = f
		return s, err
	}
	return o
}

func TestHalfALineIsTakenBackBeforeTheNextAttempt(t *testing.T) {
	for name, whole := range map[string]bool{"the disk truncates": false, "the disk does not": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "calls.jsonl")
			s := &stuck{err: syscall.ENOSPC, part: 5, whole: whole}
			w := openWriter(t, s.onto(Options{File: path}))
			w.Write(record{Call: 1})
			until(t, "three failures", func() bool { return w.Stats().Errors >= 3 })
			s.set(func(s *stuck) { s.err = nil })
			closeWriter(t, w)
			b, _ := os.ReadFile(path)
			if got := string(b); whole && !strings.HasSuffix(got, "\n{\"call\":1}\n") || !whole && got != "{\"call\":1}\n" {
				t.Errorf("%q", got)
			}
			if w.Stats().Written != 1 || w.Stats().Dropped != 0 {
				t.Errorf("%+v", w.Stats())
			}
		})
	}
}

func TestAStuckDiskHoldsUpNobody(t *testing.T) {
	var log notes
	c := &clock{t: time.Unix(1000, 0)}
	s := &stuck{gate: make(chan struct{}), waits: make(chan struct{}, 1)}
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	w := openWriter(t, s.onto(Options{File: path, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: c.now, queue: 4}))
	w.Write(record{Call: 0})
	<-s.waits // the disk has the first record, and nothing is collected beside it any more
	dropped := 0
	for n := range 100 {
		if !w.Write(record{Call: 1 + n}) {
			dropped++
		}
	}
	if s := w.Stats(); dropped != 96 || s.Dropped != 96 || s.Queued != 4 {
		t.Errorf("%d dropped, %+v", dropped, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Reopen(ctx, Options{File: path}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("reopened a stuck disk: %v", err)
	}
	if n := log.count("call records dropped"); n != 1 {
		t.Errorf("%d lines within a minute", n)
	}
	c.move(tellEvery)
	w.Write(record{})
	if log.count("records=1 ") != 1 || log.count("records=96 ") != 1 || log.count("total=97") != 1 {
		t.Errorf("the drops of the first minute are not told: %s", log.b.String())
	}
	close(s.gate)
	closeWriter(t, w)
	if got := calls(t, path); fmt.Sprint(got) != "[0 1 2 3 4]" {
		t.Errorf("%v", got)
	}
}

func TestTheEndDoesNotWaitForAFullDiskForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	s := &stuck{err: syscall.ENOSPC}
	w, err := Open(s.onto(Options{File: path}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		w.Write(record{Call: n})
	}
	until(t, "a failure", func() bool { return w.Stats().Errors > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "10 could not be written") {
		t.Errorf("%v", err)
	}
	if s := w.Stats(); s.Written != 0 || s.Dropped != 10 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestAFileThatCannotBeRenamedGrowsAndNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "calls.jsonl")
	if err := os.Mkdir(path+".1", 0o700); err != nil { // a directory is in the way
		t.Fatal(err)
	}
	c := &clock{t: time.Unix(1000, 0)}
	w := openWriter(t, Options{File: path, Size: 1, Keep: 1, Now: c.now})
	for n := range 5 {
		w.Write(record{Call: n})
		until(t, "written", func() bool { return w.Stats().Written == uint64(n+1) })
	}
	if s := w.Stats(); s.Rotated != 0 || s.Errors != 1 {
		t.Errorf("tried more than once a minute: %+v", s)
	}
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	c.move(rotateWait)
	w.Write(record{Call: 5})
	closeWriter(t, w)
	if before, after := calls(t, path+".1"), calls(t, path); fmt.Sprint(before, after) != "[0 1 2 3 4] [5]" {
		t.Errorf("%v %v", before, after)
	}
}

func TestASyncThatFailsIsCounted(t *testing.T) {
	s := &stuck{unsync: syscall.EIO}
	w := openWriter(t, s.onto(Options{File: filepath.Join(t.TempDir(), "calls.jsonl")}))
	w.Write(record{Call: 1})
	closeWriter(t, w)
	if w.Stats().Errors != 1 || w.Stats().Written != 1 {
		t.Errorf("%+v", w.Stats())
	}
}
