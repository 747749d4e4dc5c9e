package records

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// mode is of a file that we make: its owner writes, its group reads (numbers of callers are nobody else's business).
const mode = 0o640

// file is what a disk offers.
type file interface {
	Write([]byte) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
	Stat() (fs.FileInfo, error)
}

// disk is the current file and those before it. The zero value swallows every line.
type disk struct {
	o     Options
	f     file      // nil: none is open
	size  int64     // bytes of whole lines
	dirty bool      // written since the last sync
	torn  bool      // half a line stands behind size and could not be taken back
	again time.Time // no rotation before this
}

// use opens the options' file and lets go of the one before.
func (d *disk) use(o Options) error {
	if o.open == nil {
		o.open = d.o.open
	}
	if o.open == nil {
		o.open = open
	}
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
	next := disk{o: o}
	if o.File != "" {
		if err := next.begin(); err != nil {
			return fmt.Errorf("records.file: %w", err)
		}
	}
	d.close()
	*d = next
	return nil
}

// begin opens the current file, and ends the half line that a crash may have left at its end.
func (d *disk) begin() error {
	f, err := d.o.open(d.o.File)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: choose another path", d.o.File)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.f, d.size = f, info.Size()
	d.torn = !endsWhole(d.o.File, d.size)
	return nil
}

// open opens a file for appending, or makes it.
func open(path string) (file, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for its reader
		return nil, fmt.Errorf("%s is no regular file: choose another path", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		return f, f.Chmod(mode) // whatever the umask says
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
}

// endsWhole tells whether a file is empty or ends with a newline. What cannot be read is taken for whole.
func endsWhole(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil || size == 0 {
		return true
	}
	defer f.Close()
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return true
	}
	return last[0] == '\n'
}

// full tells whether n more bytes belong into a new file. The first line of a file is never too long for it.
func (d *disk) full(n int) bool {
	return d.f != nil && d.size > 0 && d.size+int64(n) > d.o.Size
}

// write appends whole lines or nothing.
func (d *disk) write(lines []byte) error {
	if d.o.File == "" {
		return nil
	}
	if d.f == nil {
		if err := d.begin(); err != nil {
			return err
		}
	}
	if d.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := d.f.Write(lines)
	if err == nil {
		d.size, d.dirty, d.torn = d.size+int64(n), true, false
		return nil
	}
	if n > 0 && d.f.Truncate(d.size) != nil {
		d.torn, d.size = true, d.size+int64(n)
	}
	return err
}

// sync has the kernel write to the disk what it holds.
func (d *disk) sync() error {
	if !d.dirty {
		return nil
	}
	d.dirty = false
	return d.f.Sync()
}

// rotate gives the full file the name .1, after those before it moved on by one; the oldest is replaced. Where the numbers
// have a gap, as a crash amid this leaves one, it takes in what stands before it, and nothing behind it moves.
func (d *disk) rotate() error {
	if err := d.sync(); err != nil {
		return err
	}
	last := 1
	for last < d.o.Keep {
		if _, err := os.Lstat(d.name(last)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		last++
	}
	for n := last; n > 1; n-- {
		if err := os.Rename(d.name(n-1), d.name(n)); err != nil {
			return err
		}
	}
	if err := os.Rename(d.o.File, d.name(1)); err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody moved it already
		return err
	}
	for n := d.o.Keep + 1; os.Remove(d.name(n)) == nil; n++ { // more were kept before
	}
	d.close()
	return nil // write begins the new file, and tries again if it cannot
}

// name is that of a full file: 1 is the youngest.
func (d *disk) name(n int) string { return d.o.File + "." + strconv.Itoa(n) }

// close lets go of the file.
func (d *disk) close() {
	if d.f != nil {
		d.f.Close() //nolint:errcheck // it was synced, and nothing can be done about it
	}
	d.f, d.size, d.dirty, d.torn = nil, 0, false, false
}
