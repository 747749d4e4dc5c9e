// Package records keeps call records: one JSON object a line, in a file that is rotated by size and by count.
//
// The failure it prevents is twofold. A call that waits for a disk: Write never blocks, it puts the record into a bounded
// queue, and one goroutine encodes and writes (TestAStuckDiskHoldsUpNobody). And a bill that is wrong because a disk was
// full: what could not be written is kept and tried again, half a line is taken back before the next attempt, and each record
// that had to go is counted and told of (TestAFullDiskLosesNothingThatFitsIntoTheQueue).
//
// What reaches the disk, and when: records are written in batches as soon as they come, so the end of the process costs
// those in the queue at most; they are synced once a second, at each rotation and at Close, so a power cut costs about a
// second of them. A file that is rotated keeps its lines whole: the current file is renamed to .1, .1 to .2 and so on, each by
// one rename(2), and nothing is copied.
//
// What is in a record belongs to signaling/b2bua; this package has no idea of calls.
package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where records go. The zero value writes none.
type Options struct {
	File string           // empty: records are taken and forgotten
	Size int64            // bytes after which a new file begins; default 100 MB
	Keep int              // full files that are kept beside the current one; default 10
	Log  *slog.Logger     // nil: nothing is logged
	Now  func() time.Time // nil: time.Now

	open  func(path string) (file, error) // tests: another disk
	retry time.Duration                   // tests: a shorter retryPause
	queue int                             // tests: a shorter queueSize
}

const (
	defaultSize = 100_000_000 // bytes: some 60,000 records of a call with media
	defaultKeep = 10          // files: a gigabyte in all

	queueSize  = 8192        // records: four seconds at 2,000 calls a second, and 16 MB at worst
	batchBytes = 64 << 10    // of lines in one write
	syncEvery  = time.Second // what a power cut may cost
	retryPause = time.Second // after a failed write: a disk that is full stays so for a while
	tellEvery  = time.Minute // between two log lines about the same trouble
	rotateWait = time.Minute // after a rotation that failed: the file grows meanwhile
	maxRecord  = 1 << 20     // bytes of one line: a record is a few KB, so more is a fault, and is counted as a drop
)

// Stats are totals since Open.
type Stats struct {
	Written uint64 // records that are in a file
	Dropped uint64 // records that are in none: the queue was full, or Close could not wait any longer
	Errors  uint64 // attempts to write, sync or rotate that failed; what was to be written is tried again
	Rotated uint64 // files that were filled
	Queued  int    // records that wait now
	Bytes   int64  // of the current file
}

// Writer takes records. It is safe for concurrent use.
type Writer struct {
	log   *slog.Logger
	now   func() time.Time
	retry time.Duration
	queue chan any
	asks  chan ask
	quit  chan struct{} // closed by Close
	hurry chan struct{} // closed when Close waits no longer
	done  chan struct{} // closed when the goroutine is gone

	mu     sync.RWMutex // held for reading while something is put into the queue
	closed bool         // under mu

	off                               atomic.Bool // there is no file
	written, dropped, failed, rotated atomic.Uint64
	bytes                             atomic.Int64
	told                              telling

	disk   disk // of the goroutine
	gaveUp int  // records given up because Close could not wait; of the goroutine, until done is closed
}

// ask is a request to go on with other options.
type ask struct {
	o    Options
	done chan error
}

// Open opens or makes the file and starts writing. A file that cannot be opened is an error now, not at the first call.
func Open(o Options) (*Writer, error) {
	w := &Writer{
		log: o.Log, now: o.Now, retry: o.retry, asks: make(chan ask),
		quit: make(chan struct{}), hurry: make(chan struct{}), done: make(chan struct{}),
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.retry == 0 {
		w.retry = retryPause
	}
	if o.queue == 0 {
		o.queue = queueSize
	}
	w.queue = make(chan any, o.queue)
	if err := w.use(o); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// Write takes one record, which must not change any more, and never waits. false: the queue is full, or the writer closed,
// and the record is counted as dropped.
func (w *Writer) Write(record any) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		w.drop(1, "the writer is closed")
		return false
	case w.off.Load():
		return true
	}
	select {
	case w.queue <- record:
		return true
	default:
		w.drop(1, "the queue is full")
		return false
	}
}

// Reopen goes on with the options' File, Size and Keep: after a reload, and after somebody else moved the file away. What
// waits goes into the new file. With an error all stays as it was; ctx bounds how long a disk that is stuck is waited for.
func (w *Writer) Reopen(ctx context.Context, o Options) error {
	a := ask{o, make(chan error, 1)}
	select {
	case w.asks <- a:
		return <-a.done
	case <-ctx.Done():
		return fmt.Errorf("call records: the disk does not answer: %w", ctx.Err())
	case <-w.done:
		return errors.New("call records: the writer is closed")
	}
}

// Stats tells what became of the records.
func (w *Writer) Stats() Stats {
	return Stats{
		Written: w.written.Load(), Dropped: w.dropped.Load(), Errors: w.failed.Load(), Rotated: w.rotated.Load(),
		Queued: len(w.queue), Bytes: w.bytes.Load(),
	}
}

// Close writes what was taken, syncs and closes the file. When ctx ends first, a disk that does not take the rest is given
// up: the rest is dropped, counted, and the error says how many.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if already {
		<-w.done
		return nil
	}
	close(w.quit)
	select {
	case <-w.done:
	case <-ctx.Done():
		close(w.hurry)
		<-w.done
	}
	if w.gaveUp > 0 {
		return fmt.Errorf("call records: %d could not be written before the end", w.gaveUp)
	}
	return nil
}

// run writes until Close.
func (w *Writer) run() {
	defer close(w.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-w.queue:
			w.batch(r)
		case a := <-w.asks:
			w.reopen(a)
		case <-tick.C:
			w.sync()
			w.tell(false)
		case <-w.quit:
			w.finish()
			return
		}
	}
}

// finish writes what is left. Nothing enters the queue any more.
func (w *Writer) finish() {
	for {
		select {
		case r := <-w.queue:
			w.batch(r)
		default:
			w.sync()
			w.disk.close()
			w.tell(true)
			return
		}
	}
}

// batch encodes a record and those that wait behind it, and writes them as one.
func (w *Writer) batch(r any) {
	lines, n := w.encode(nil, r), 0
	if lines != nil {
		n = 1
	}
more:
	for len(lines) < batchBytes {
		select {
		case r := <-w.queue:
			if longer := w.encode(lines, r); longer != nil {
				lines, n = longer, n+1
			}
		default:
			break more
		}
	}
	if n > 0 {
		w.write(lines, n)
	}
}

// encode appends one line; nil: the record is none.
func (w *Writer) encode(lines []byte, r any) []byte {
	line, err := json.Marshal(r)
	switch {
	case err != nil:
		w.drop(1, "it cannot be encoded: "+err.Error())
		return nil
	case len(line) > maxRecord:
		w.drop(1, fmt.Sprintf("it has %d bytes, more than the %d of a line", len(line), maxRecord))
		return nil
	}
	return append(append(lines, line...), '\n')
}

// write puts n lines into the file, however long that takes: the queue fills up meanwhile, and Close ends it.
func (w *Writer) write(lines []byte, n int) {
	for {
		err := w.attempt(lines)
		if err == nil {
			w.written.Add(uint64(n))
			return
		}
		w.stumble("call records not written; trying again", err)
		if !w.pause() {
			w.drop(n, err.Error())
			w.gaveUp += n
			return
		}
	}
}

// pause waits for the next attempt, and answers who wants another file meanwhile. false: Close waits no longer.
func (w *Writer) pause() bool {
	wait := time.NewTimer(w.retry)
	defer wait.Stop()
	select {
	case <-wait.C:
	case a := <-w.asks:
		w.reopen(a)
	case <-w.hurry:
		return false
	}
	return true
}

// attempt is one write, with a new file before it if the current one is full.
func (w *Writer) attempt(lines []byte) error {
	now := w.now()
	if w.disk.full(len(lines)) && !now.Before(w.disk.again) {
		if err := w.disk.rotate(); err != nil {
			w.disk.again = now.Add(rotateWait)
			w.stumble("call records not rotated; the file grows", err)
		} else {
			w.rotated.Add(1)
		}
	}
	err := w.disk.write(lines)
	w.bytes.Store(w.disk.size)
	return err
}

// sync has the disk keep what was written.
func (w *Writer) sync() {
	if err := w.disk.sync(); err != nil {
		w.stumble("call records not synced", err)
	}
}

// reopen answers Reopen.
func (w *Writer) reopen(a ask) {
	w.sync()
	a.done <- w.use(a.o)
}

// use goes on with another file.
func (w *Writer) use(o Options) error {
	if err := w.disk.use(o); err != nil {
		return err
	}
	w.off.Store(o.File == "")
	w.bytes.Store(w.disk.size)
	return nil
}
