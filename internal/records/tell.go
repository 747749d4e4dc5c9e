package records

import (
	"sync"
	"time"
)

// telling is what the log was told: one line a minute about drops, however many there are, and one about trouble with the
// file.
type telling struct {
	mu      sync.Mutex
	lost    uint64    // drops that no line told of
	why     string    // of the last one
	drops   time.Time // of the next line about drops
	trouble time.Time // of the next line about trouble
}

// drop counts records that are in no file.
func (w *Writer) drop(n int, why string) {
	w.dropped.Add(uint64(n))
	t := &w.told
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost += uint64(n)
	t.why = why
	w.say()
}

// tell says what was held back, once its minute is over or at once.
func (w *Writer) tell(atOnce bool) {
	t := &w.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if atOnce {
		t.drops = time.Time{}
	}
	w.say()
}

// say writes the line about drops if one is due; told.mu is held.
func (w *Writer) say() {
	t, now := &w.told, w.now()
	if t.lost == 0 || now.Before(t.drops) {
		return
	}
	w.log.Error("call records dropped", "records", t.lost, "reason", t.why, "total", w.dropped.Load())
	t.lost, t.drops = 0, now.Add(tellEvery)
}

// stumble counts an attempt that failed, and tells of one a minute.
func (w *Writer) stumble(what string, err error) {
	failed, now := w.failed.Add(1), w.now()
	t := &w.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.trouble) {
		return
	}
	t.trouble = now.Add(tellEvery)
	w.log.Error(what, "error", err, "failed", failed)
}
