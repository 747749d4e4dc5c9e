package b2bua

import (
	"context"
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
// the mailbox: a full mailbox never loses a timer. Whoever lets go of the call arms it.
type deadlines struct {
	now   func() time.Time
	ring  func() // says that fire is wanted
	list  []*deadline
	timer *time.Timer // nil: none was needed yet
	armed time.Time   // what it is set to; zero: nothing
}

// after schedules do. The result is for stop.
func (ds *deadlines) after(d time.Duration, do func()) *deadline {
	t := &deadline{at: ds.now().Add(d), do: do}
	ds.list = append(ds.list, t)
	return t
}

// stop forgets a deadline. Nil and one that ran already are fine.
func (ds *deadlines) stop(t *deadline) {
	if t == nil {
		return
	}
	if i := slices.Index(ds.list, t); i >= 0 {
		ds.list = slices.Delete(ds.list, i, i+1)
	}
}

// arm sets the runtime timer to the earliest deadline.
func (ds *deadlines) arm() {
	if len(ds.list) == 0 {
		if !ds.armed.IsZero() {
			ds.timer.Stop()
			ds.armed = time.Time{}
		}
		return
	}
	first := slices.MinFunc(ds.list, func(a, b *deadline) int { return a.at.Compare(b.at) }).at
	if first.Equal(ds.armed) {
		return
	}
	ds.armed = first
	wait := max(0, first.Sub(ds.now()))
	if ds.timer == nil {
		ds.timer = time.AfterFunc(wait, ds.ring)
		return
	}
	ds.timer.Reset(wait)
}

// fire runs what is due, earliest first. What a deadline schedules anew waits for the next fire.
func (ds *deadlines) fire() {
	now := ds.now()
	ds.armed = time.Time{}
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
}

// clear forgets everything.
func (ds *deadlines) clear() {
	ds.list = nil
	if ds.timer != nil {
		ds.timer.Stop()
	}
}

// patienceShare of Timers.Control is how long those who begin to wait share a context.
const patienceShare = 32

// patience is the context of one thing that a call waits for. What begins to wait within the same short time has the same one, so
// that its end is up to that much late: a call waits some seven times, and nearly always for less than a millisecond.
func (b *B2BUA) patience() context.Context {
	now := time.Now() // not Options.Now: contexts have no other clock
	s := b.spell.Load()
	if s == nil || now.After(s.fresh) {
		step := b.t.Control / patienceShare
		s = &spell{fresh: now.Add(step)}
		s.ctx, s.end = context.WithDeadline(context.Background(), s.fresh.Add(b.t.Control))
		b.spell.Store(s)
	}
	return s.ctx
}

// spell is the context of those who begin to wait until it is not fresh any more.
type spell struct {
	ctx   context.Context
	end   context.CancelFunc
	fresh time.Time
}
