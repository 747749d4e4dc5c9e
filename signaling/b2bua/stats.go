package b2bua

import (
	"sync/atomic"
	"time"
)

// Metrics takes counts as they happen. Methods must not block.
type Metrics interface {
	Call(from, to string, code int) // a call ended; To is empty unless a trunk answered
	Attempt(trunk string, code int) // a trunk's final answer to an INVITE, as the peer gave it; 504: none came
	Setup(d time.Duration)          // from the INVITE to our 200
	Drop(reason DropReason)         // a message without effect
}

// DropReason says why a message had no effect.
type DropReason uint8

// The reasons.
const (
	DropMailbox  DropReason = iota // a call's mailbox was full
	DropStranger                   // the source belongs to no trunk
	DropForeign                    // inside a dialog, but from nowhere that the dialog's trunk is
	DropStray                      // an ACK of no dialog
	DropLimit                      // limits.calls is reached
	DropWrong                      // INVITE of a trunk that must authenticate, with a wrong or malformed answer
	DropReplayed                   // likewise, with an answer that was used before
	DropIdentity                   // a STIR Identity that would not be true any more
	DropHeader                     // values of a header that were malformed or too many
	DropPanic                      // a fault of ours ended a call
	DropOverload                   // a new call, refused so that others are served in time
	DropDraining                   // a new call, refused because no new ones are taken any more
	drops
)

// String is the reason's name in metrics.
func (r DropReason) String() string {
	if r >= drops {
		return "unknown"
	}
	return [drops]string{"mailbox_full", "stranger", "foreign_source", "stray", "calls_limit", "auth_wrong", "auth_replayed", "identity_changed", "bad_header", "panic", "overload", "draining"}[r]
}

// counters are totals since New.
type counters struct {
	ended      atomic.Uint64
	challenged atomic.Uint64
	drops      [drops]atomic.Uint64
}

// Stats are the totals since New, and what there is now.
type Stats struct {
	Active     int // calls that are not over
	Table      int // calls in the table, those that wait for last answers included
	Dialogs    int
	Waiting    int // calls whose first INVITE has not left
	Unclosed   int // sessions whose end the relay has not confirmed
	Ended      uint64
	Challenged uint64        // INVITEs that were asked to authenticate
	Drops      [drops]uint64 // by DropReason
}

// Stats counts.
func (b *B2BUA) Stats() Stats {
	s := Stats{Active: int(b.active.Load()), Ended: b.counters.ended.Load(), Challenged: b.counters.challenged.Load()}
	for i := range s.Drops {
		s.Drops[i] = b.counters.drops[i].Load()
	}
	s.Waiting = b.pressure.waiting()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Table, s.Dialogs, s.Unclosed = len(b.calls), len(b.dialogs), len(b.unclosed)
	return s
}

func (b *B2BUA) count(r DropReason) {
	b.counters.drops[r].Add(1)
	if m := b.o.Metrics; m != nil {
		m.Drop(r)
	}
}

func (b *B2BUA) attempt(trunk string, code int) {
	if m := b.o.Metrics; m != nil {
		m.Attempt(trunk, code)
	}
}

func (b *B2BUA) answered(d time.Duration) {
	if m := b.o.Metrics; m != nil {
		m.Setup(d)
	}
}
