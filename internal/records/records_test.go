package records

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; nothing is judged by it.
const patience = 20 * time.Second

// record is one line.
type record struct {
	Call int    `json:"call"`
	Pad  string `json:"pad,omitempty"`
}

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// notes is a log that may be read while it is written.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}

func (n *notes) count(s string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.b.String(), s)
}

func openWriter(t *testing.T, o Options) *Writer {
	t.Helper()
	w, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWriter(t, w) })
	return w
}

func closeWriter(t *testing.T, w *Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
}

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// calls reads the numbers of the records in a file, every line of which must be whole.
func calls(t *testing.T, path string) (found []int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("%s ends with half a line", path)
	}
	for line := range strings.Lines(string(b)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%s: %v: %q", path, err, line)
		}
		found = append(found, r.Call)
	}
	return found
}

func TestEveryRecordOfAnOrderlyShutdownIsInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	w := openWriter(t, Options{File: path})
	const writers, each = 8, 200
	var wait sync.WaitGroup
	for n := range writers {
		wait.Go(func() {
			for i := range each {
				for !w.Write(record{Call: n*each + i}) { // the queue is as long as it is
					t.Error("dropped")
				}
			}
		})
	}
	wait.Wait()
	closeWriter(t, w)
	seen := map[int]bool{}
	for _, n := range calls(t, path) {
		seen[n] = true
	}
	if s := w.Stats(); len(seen) != writers*each || s.Written != writers*each || s.Dropped != 0 || s.Errors != 0 || s.Queued != 0 {
		t.Errorf("%d records in the file, %+v", len(seen), s)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if w.Write(record{}) || w.Stats().Dropped != 1 {
		t.Error("a record after the end is taken, or not counted")
	}
}

func TestAFullFileMakesRoomForTheNextAndTheOldestGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	w := openWriter(t, Options{File: path, Size: 100, Keep: 2})
	for n := range 8 { // two of them fill a file
		w.Write(record{Call: n, Pad: strings.Repeat("x", 25)})
		until(t, "written", func() bool { return w.Stats().Written == uint64(n+1) })
	}
	want := map[string][2]int{"": {6, 7}, ".1": {4, 5}, ".2": {2, 3}}
	for suffix, pair := range want {
		if got := calls(t, path+suffix); fmt.Sprint(got) != fmt.Sprint(pair) {
			t.Errorf("%q has %v, want %v", suffix, got, pair)
		}
	}
	if _, err := os.Stat(path + ".3"); !os.IsNotExist(err) {
		t.Errorf("a third is kept: %v", err)
	}
	if s := w.Stats(); s.Rotated != 3 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestFewerKeptFilesTakeTheSurplusAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	for n := 1; n <= 5; n++ {
		if err := os.WriteFile(fmt.Sprintf("%s.%d", path, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := openWriter(t, Options{File: path, Size: 1, Keep: 2})
	for n := range 2 {
		w.Write(record{Call: n})
		until(t, "written", func() bool { return w.Stats().Written == uint64(n+1) })
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

func TestAGapAmongTheFullFilesIsTakenInAndNothingBehindItMoves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	for _, n := range []int{1, 3} { // a crash between two renames left .2 empty
		if err := os.WriteFile(fmt.Sprintf("%s.%d", path, n), fmt.Appendf(nil, "{\"call\":%d}\n", 100+n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := openWriter(t, Options{File: path, Size: 1, Keep: 4})
	for n := range 2 {
		w.Write(record{Call: n})
		until(t, "written", func() bool { return w.Stats().Written == uint64(n+1) })
	}
	for suffix, want := range map[string]int{"": 1, ".1": 0, ".2": 101, ".3": 103} {
		if got := calls(t, path+suffix); len(got) != 1 || got[0] != want {
			t.Errorf("%q has %v, want %d", suffix, got, want)
		}
	}
}

func TestAfterLogrotateMovedTheFileReopenBeginsANewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	o := Options{File: path}
	w := openWriter(t, o)
	w.Write(record{Call: 1})
	until(t, "written", func() bool { return w.Stats().Written == 1 })
	if err := os.Rename(path, path+"-moved"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.Write(record{Call: 2})
	closeWriter(t, w)
	if before, after := calls(t, path+"-moved"), calls(t, path); fmt.Sprint(before, after) != "[1] [2]" {
		t.Errorf("%v %v", before, after)
	}
}

func TestReopenOfWhatCannotBeOpenedChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "calls.jsonl")
	w := openWriter(t, Options{File: path})
	if err := w.Reopen(t.Context(), Options{File: filepath.Join(dir, "none", "calls")}); err == nil || !strings.Contains(err.Error(), "records.file") {
		t.Errorf("%v", err)
	}
	if err := w.Reopen(t.Context(), Options{File: dir}); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("%v", err)
	}
	w.Write(record{Call: 1})
	closeWriter(t, w)
	if got := calls(t, path); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if err := w.Reopen(t.Context(), Options{File: path}); err == nil {
		t.Error("a closed writer is reopened")
	}
}

func TestRecordsCanBeTurnedOnAndOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	w := openWriter(t, Options{})
	for _, o := range []Options{{File: path}, {}} {
		if !w.Write(record{Call: 1}) {
			t.Error("dropped")
		}
		until(t, "taken", func() bool { return w.Stats().Queued == 0 })
		if err := w.Reopen(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(record{Call: 2})
	closeWriter(t, w)
	if got := calls(t, path); len(got) != 1 || w.Stats().Written != 1 || w.Stats().Dropped != 0 {
		t.Errorf("%v, %+v", got, w.Stats())
	}
}

func TestTheHalfLineOfACrashDoesNotSpoilTheNextRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	if err := os.WriteFile(path, []byte("{\"call\":1}\n{\"ca"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, Options{File: path})
	w.Write(record{Call: 2})
	closeWriter(t, w)
	if b, _ := os.ReadFile(path); string(b) != "{\"call\":1}\n{\"ca\n{\"call\":2}\n" {
		t.Errorf("%q", b)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of a file that was there became %v", info.Mode())
	}
}

func TestWhatIsNoRegularFileIsRefusedAndNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{File: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

func TestARecordThatIsNoneIsDroppedAndTheOthersAreNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	var log notes
	w := openWriter(t, Options{File: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, r := range []any{record{Call: 1}, func() {}, record{Pad: strings.Repeat("x", maxRecord)}, record{Call: 2}} {
		w.Write(r)
	}
	closeWriter(t, w)
	if got := calls(t, path); fmt.Sprint(got) != "[1 2]" || w.Stats().Dropped != 2 || log.count("call records dropped") == 0 {
		t.Errorf("%v, %+v", got, w.Stats())
	}
}
