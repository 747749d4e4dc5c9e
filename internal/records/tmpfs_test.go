package records

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inside tells the child process of TestAFullDiskLosesNothingThatFitsIntoTheQueue where its disk shall be.
const inside = "TANDEM_TEST_TMPFS"

// tinyDisk is the size of a disk that a few records fill, in bytes.
const tinyDisk = 16 << 10

func TestAFullDiskLosesNothingThatFitsIntoTheQueue(t *testing.T) {
	if dir := os.Getenv(inside); dir != "" {
		fillDisk(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting a disk needs root")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestAFullDiskLosesNothingThatFitsIntoTheQueue$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), inside+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS} // its mounts are gone when it ends
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the disk was full") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk writes until the disk is full, on, and after somebody made room.
func fillDisk(t *testing.T, dir string) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", tinyDisk)); err != nil {
		t.Fatal(err)
	}
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "calls.jsonl")
	if err := os.WriteFile(ballast, make([]byte, tinyDisk/2), 0o600); err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, Options{File: path, retry: 1})
	const records = 100 // of 100 bytes and more: the disk has room for some 80
	for n := range records {
		w.Write(record{Call: n, Pad: strings.Repeat("x", 100)})
	}
	until(t, "the disk is full", func() bool { return w.Stats().Errors > 0 })
	t.Log("the disk was full", w.Stats())
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)
	got := calls(t, path)
	for n := range records {
		if n >= len(got) || got[n] != n {
			t.Fatalf("record %d is not in its place: %v", n, got)
		}
	}
	if s := w.Stats(); len(got) != records || s.Written != records || s.Dropped != 0 {
		t.Errorf("%d lines, %+v", len(got), s)
	}
}
