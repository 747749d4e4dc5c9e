package b2bua

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"tandem/internal/control"
)

// CallRecord is what is left of a call: one for each INVITE that entered by a trunk or was refused. It is written as one
// log line (event=call) and given to Options.OnRecord.
type CallRecord struct {
	Call    string     `json:"call"` // our id; local tag of the A leg, and the beginning of its session's id
	Node    string     `json:"node"`
	CallIDA string     `json:"call_id_a,omitempty"`
	CallIDB string     `json:"call_id_b,omitempty"` // of the trunk that answered
	From    string     `json:"from,omitempty"`      // trunk by which it entered
	To      string     `json:"to,omitempty"`        // trunk that answered
	Route   string     `json:"route,omitempty"`
	Called  string     `json:"called"`
	Caller  string     `json:"caller"`
	Tried   []TrunkTry `json:"tried,omitempty"` // in their order

	Start  time.Time `json:"start"` // the INVITE
	Ring   time.Time `json:"ring,omitzero"`
	Answer time.Time `json:"answer,omitzero"`
	End    time.Time `json:"end"`

	Code  int    `json:"code"`            // final status of the INVITE towards the caller; 200 for every answered call
	Cause int    `json:"cause,omitempty"` // Q.850, if a peer told one
	By    string `json:"by"`              // who ended it: caller, callee, tandem
	Why   string `json:"why,omitempty"`

	Media []MediaRecord `json:"media,omitempty"` // leg a, then b; none if the relay could not be asked
}

// TrunkTry is one attempt on a trunk, or why there was none.
type TrunkTry struct {
	Trunk   string    `json:"trunk"`
	Address string    `json:"address,omitempty"`
	Skipped bool      `json:"skipped,omitempty"`
	Code    int       `json:"code,omitempty"` // its final status; 504: none came, 503: also a peer that could not be reached
	Why     string    `json:"why,omitempty"`
	Start   time.Time `json:"start,omitzero"`
	End     time.Time `json:"end,omitzero"`
}

// MediaRecord is one leg's media: what its peer sent, as it reached us, and what was sent to it.
type MediaRecord struct {
	Leg       string            `json:"leg"`
	Pinned    string            `json:"pinned,omitempty"`
	SSRC      uint32            `json:"ssrc,omitempty"`
	RXSuite   string            `json:"rx_suite"`
	TXSuite   string            `json:"tx_suite"`
	Packets   uint64            `json:"packets"`
	Bytes     uint64            `json:"bytes"`
	Sent      uint64            `json:"sent"`
	Lost      int64             `json:"lost"`
	JitterMS  float64           `json:"jitter_ms"`
	MaxJitter float64           `json:"jitter_max_ms"`
	MOS       float64           `json:"mos"`
	Drops     map[string]uint64 `json:"drops,omitempty"`
}

// complete finishes the record and hands it over.
func (c *call) complete(code int, by, why string, final *control.SessionState) {
	r := &c.rec
	if !r.Answer.IsZero() {
		code = 200 // what the caller got; by and why tell how it ended
	}
	r.End, r.Code, r.By, r.Why = c.b.o.Now(), code, by, why
	if final != nil {
		for _, s := range final.Streams {
			for i := range s.Legs {
				r.Media = append(r.Media, mediaRecord(&s.Legs[i]))
			}
		}
	}
	line := []any{
		"event", "call", "from", r.From, "to", r.To, "route", r.Route, "code", code, "cause", r.Cause,
		"by", by, "why", why, "called", r.Called, "caller", r.Caller, "call_id_a", r.CallIDA, "call_id_b", r.CallIDB,
		"start", r.Start,
	}
	if !r.Ring.IsZero() {
		line = append(line, "ring", r.Ring)
	}
	if !r.Answer.IsZero() {
		line = append(line, "answer", r.Answer)
	}
	c.log.Info("call", append(line, "end", r.End, "tried", inJSON{r.Tried}, "media", inJSON{r.Media})...)
	if m := c.b.o.Metrics; m != nil {
		m.Call(r.From, r.To, code)
	}
	c.b.counters.ended.Add(1)
	if f := c.b.o.OnRecord; f != nil {
		f(*r)
	}
}

// inJSON writes a list of a record as JSON in every log format.
type inJSON struct{ list any }

// MarshalText is for text logs, MarshalJSON for JSON logs.
func (j inJSON) MarshalText() ([]byte, error) { return json.Marshal(j.list) }

func (j inJSON) MarshalJSON() ([]byte, error) { return json.Marshal(j.list) }

func mediaRecord(l *control.LegState) MediaRecord {
	return MediaRecord{
		Leg: l.Name, Pinned: l.Pinned, SSRC: l.SSRC, RXSuite: l.RXSuite, TXSuite: l.TXSuite,
		Packets: l.In.Packets, Bytes: l.In.Bytes, Sent: l.Out.Packets, Lost: l.Quality.Lost,
		JitterMS: l.Quality.JitterMS, MaxJitter: l.Quality.MaxJitter, MOS: l.Quality.MOS, Drops: l.Drops,
	}
}

// Metrics takes counts as they happen. Methods must not block.
type Metrics interface {
	Call(from, to string, code int) // a call ended; trunks may be empty
	Attempt(trunk string, code int) // a trunk's final answer to an INVITE; 504: none came
	Setup(d time.Duration)          // from the INVITE to our 200
	Drop(reason DropReason)         // a message without effect
}

// DropReason says why a message had no effect.
type DropReason uint8

// The reasons.
const (
	DropMailbox  DropReason = iota // a call's mailbox was full
	DropStranger                   // the source belongs to no trunk
	DropStray                      // an ACK of no dialog
	DropLimit                      // limits.calls is reached
	DropPanic                      // a fault of ours ended a call
	drops
)

// String is the reason's name in metrics.
func (r DropReason) String() string {
	if r >= drops {
		return "unknown"
	}
	return [drops]string{"mailbox_full", "stranger", "stray", "calls_limit", "panic"}[r]
}

// counters are totals since New.
type counters struct {
	ended atomic.Uint64
	drops [drops]atomic.Uint64
}

// Stats are the totals since New, and what there is now.
type Stats struct {
	Active   int // calls that are not over
	Table    int // calls in the table, those that wait for last answers included
	Dialogs  int
	Unclosed int // sessions whose end the relay has not confirmed
	Ended    uint64
	Drops    [drops]uint64 // by DropReason
}

// Stats counts.
func (b *B2BUA) Stats() Stats {
	s := Stats{Active: int(b.active.Load()), Ended: b.counters.ended.Load()}
	for i := range s.Drops {
		s.Drops[i] = b.counters.drops[i].Load()
	}
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

// CallInfo is a call as call.list shows it.
type CallInfo struct {
	ID      string    `json:"id"`
	Phase   string    `json:"phase"`
	From    string    `json:"from"` // trunks
	To      string    `json:"to,omitempty"`
	Called  string    `json:"called"`
	Caller  string    `json:"caller"`
	Session string    `json:"session,omitempty"` // of the relay
	Start   time.Time `json:"start"`
	Answer  time.Time `json:"answer,omitzero"`
}

// snapshotInfo is what the call's goroutine shows of itself.
type snapshotInfo = atomic.Pointer[CallInfo]

// publish renews what Calls shows.
func (c *call) publish() {
	i := &CallInfo{ID: c.id, Phase: c.phase.String(), Called: c.called, Caller: c.caller, From: c.rec.From,
		Start: c.rec.Start, Answer: c.rec.Answer}
	switch {
	case c.peer != nil:
		i.To = c.peer.d.Trunk
	case c.try != nil:
		i.To = c.try.leg.d.Trunk
	}
	if c.session != nil {
		i.Session = c.session.id
	}
	c.info.Store(i)
}

// Calls lists the calls that are not over, in no order.
func (b *B2BUA) Calls() []CallInfo {
	var list []CallInfo
	for _, c := range b.all() {
		if i := c.info.Load(); i != nil && i.Phase != Over.String() {
			list = append(list, *i)
		}
	}
	return list
}
