package b2bua

import (
	"slices"
	"time"
)

// Timers are the durations of RFC 3261 and ours. Zero fields get their defaults; tests make them short.
type Timers struct {
	T1      time.Duration // round-trip estimate; default 500 ms (RFC 3261 section 17.1.1.1)
	T2      time.Duration // longest interval between retransmissions of a 2xx; default 4 s
	Park    time.Duration // how long a message that overtook another is kept; default 200 ms
	Glare   time.Duration // unit of the waits after a 491; default 10 ms (RFC 3261 section 14.1)
	Control time.Duration // longest wait for the relay's answer; default 3 s
	Sweep   time.Duration // between attempts to close a session that the relay did not confirm; default 5 s
	Poll    time.Duration // between looks at which trunk is due for an OPTIONS; default 1 s
}

// defaults fills in what is zero.
func (t Timers) defaults() Timers {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.T1, 500*time.Millisecond)
	set(&t.T2, 4*time.Second)
	set(&t.Park, 200*time.Millisecond)
	set(&t.Glare, 10*time.Millisecond)
	set(&t.Control, 3*time.Second)
	set(&t.Sweep, 5*time.Second)
	set(&t.Poll, time.Second)
	return t
}

// giveUp is 64*T1: no ACK, no answer within it means there will be none.
func (t Timers) giveUp() time.Duration { return 64 * t.T1 }

// deadline is one thing a call will do at a moment. Do runs in the call's goroutine.
type deadline struct {
	at time.Time
	do func()
}

// deadlines are a call's timers: a handful, so a slice, and one runtime timer for the earliest. They do not pass through
// the mailbox: a full mailbox never loses a timer.
type deadlines struct {
	now   func() time.Time
	list  []*deadline
	timer *time.Timer
}

func newDeadlines(now func() time.Time) *deadlines {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &deadlines{now: now, timer: timer}
}

// after schedules do. The result is for stop.
func (ds *deadlines) after(d time.Duration, do func()) *deadline {
	t := &deadline{at: ds.now().Add(d), do: do}
	ds.list = append(ds.list, t)
	ds.arm()
	return t
}

// stop forgets a deadline. Nil and one that ran already are fine.
func (ds *deadlines) stop(t *deadline) {
	if t == nil {
		return
	}
	if i := slices.Index(ds.list, t); i >= 0 {
		ds.list = slices.Delete(ds.list, i, i+1)
		ds.arm()
	}
}

// arm sets the runtime timer to the earliest deadline.
func (ds *deadlines) arm() {
	if len(ds.list) == 0 {
		ds.timer.Stop()
		return
	}
	first := slices.MinFunc(ds.list, func(a, b *deadline) int { return a.at.Compare(b.at) })
	ds.timer.Reset(max(0, first.at.Sub(ds.now())))
}

// fire runs what is due, earliest first. What a deadline schedules anew waits for the next fire.
func (ds *deadlines) fire() {
	now := ds.now()
	var due []*deadline
	for _, t := range ds.list {
		if !t.at.After(now) {
			due = append(due, t)
		}
	}
	slices.SortStableFunc(due, func(a, b *deadline) int { return a.at.Compare(b.at) })
	for _, t := range due {
		if i := slices.Index(ds.list, t); i >= 0 { // an earlier one may have stopped it
			ds.list = slices.Delete(ds.list, i, i+1)
			t.do()
		}
	}
	ds.arm()
}

// clear forgets everything.
func (ds *deadlines) clear() {
	ds.list = nil
	ds.timer.Stop()
}
