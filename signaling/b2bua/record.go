package b2bua

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"tandem/internal/control"
)

// CallRecord is what is left of a call: one for each INVITE that entered by a trunk, answered or refused. Strangers and who
// did not authenticate leave none, only counts. It is written as one log line (event=call) and given to Options.OnRecord;
// nobody changes it afterwards.
//
// Numbers stand three times: as they were dialled, as the dial plan made them, and as they were sent to the trunk that was
// tried last.
type CallRecord struct {
	Call    string `json:"call"` // our id; local tag of the A leg, and the beginning of its session's id
	Node    string `json:"node"`
	CallIDA string `json:"call_id_a,omitempty"`
	CallIDB string `json:"call_id_b,omitempty"` // of the trunk that answered, else of the one tried last
	From    string `json:"from"`                // trunk by which it entered
	Source  string `json:"source"`              // address of the peer that sent the INVITE
	User    string `json:"user,omitempty"`      // who authenticated, on a trunk that challenges
	To      string `json:"to,omitempty"`        // trunk that answered

	TransferOf string `json:"transfer_of,omitempty"` // our id of the call whose REFER began this one
	Joined     []Join `json:"joined,omitempty"`      // who came into this call out of another, in their order

	Route     string `json:"route,omitempty"`    // the first that matched; of each attempt: in Tried
	Decision  string `json:"decision,omitempty"` // of the routes, in one line
	Emergency bool   `json:"emergency,omitempty"`

	Called        string `json:"called"`
	CalledPlanned string `json:"called_planned,omitempty"`
	CalledSent    string `json:"called_sent,omitempty"`
	Caller        string `json:"caller"`
	CallerPlanned string `json:"caller_planned,omitempty"`
	CallerSent    string `json:"caller_sent,omitempty"`

	Tried []TrunkTry `json:"tried,omitempty"` // in their order: left out by routing, then tried

	Start  time.Time `json:"start"` // the INVITE
	Ring   time.Time `json:"ring,omitzero"`
	Answer time.Time `json:"answer,omitzero"`
	Fax    time.Time `json:"fax,omitzero"` // T.38 took the place of the audio, the first time, or began the call
	End    time.Time `json:"end"`

	Code  int    `json:"code"`            // final status of the INVITE towards the caller; 200 for every answered call
	Cause int    `json:"cause,omitempty"` // Q.850: of the failure or the BYE that ended it, if a peer told one, or ours
	By    string `json:"by"`              // who ended it: caller, callee, tandem
	Why   string `json:"why,omitempty"`

	Media []MediaRecord `json:"media,omitempty"` // leg a, then b; after a Join once more; none if the relay could not be asked
}

// Join is a transfer that brought somebody from another call of ours into this one, in the place of who asked for it.
type Join struct {
	Call  string    `json:"call"`  // our id of that call
	Left  string    `json:"left"`  // caller or callee: who left this one
	Trunk string    `json:"trunk"` // of who came
	At    time.Time `json:"at"`
}

// TrunkTry is one INVITE to one address of a trunk, or why there was none.
type TrunkTry struct {
	Trunk      string    `json:"trunk"`
	Route      string    `json:"route,omitempty"`
	Address    string    `json:"address,omitempty"`
	Skipped    bool      `json:"skipped,omitempty"`
	Code       int       `json:"code,omitempty"`       // its final status as it counts for the call; 504: none came, 503: also a peer that could not be reached
	Translated int       `json:"translated,omitempty"` // what the peer answered, if a rule of the trunk made Code of it
	Cause      int       `json:"cause,omitempty"`      // Q.850, if the peer told one
	Why        string    `json:"why,omitempty"`
	Start      time.Time `json:"start,omitzero"`
	End        time.Time `json:"end,omitzero"`
}

// MediaRecord is one leg's media: what its peer sent, as it reached us, and what was sent to it.
type MediaRecord struct {
	Leg       string            `json:"leg"`
	Trunk     string            `json:"trunk,omitempty"`  // of the peer: after a transfer not that of From or To
	Pinned    string            `json:"pinned,omitempty"` // where media went, once evidence decided
	SSRC      uint32            `json:"ssrc,omitempty"`   // of the peer, the latest
	RXSuite   string            `json:"rx_suite"`
	TXSuite   string            `json:"tx_suite"`
	Packets   uint64            `json:"packets"`
	Bytes     uint64            `json:"bytes"`
	Sent      uint64            `json:"sent"`
	Expected  uint64            `json:"expected"` // by the sequence numbers
	Lost      int64             `json:"lost"`
	JitterMS  float64           `json:"jitter_ms"` // as RFC 3550 estimates it, at the end
	MaxJitter float64           `json:"jitter_max_ms"`
	MOS       float64           `json:"mos"`             // 1.0 to 4.5; 0: nothing heard
	Drops     map[string]uint64 `json:"drops,omitempty"` // packets of the peer that were not forwarded, by reason
}

// complete finishes the record and hands it over.
func (c *call) complete(code int, by, why string, final *control.SessionState) {
	r := &c.rec
	if r.Answer.IsZero() {
		r.Fax = time.Time{} // an offer that came to nothing
	} else {
		code = 200 // what the caller got; by and why tell how it ended
	}
	r.End, r.Code, r.By, r.Why = c.b.o.Now(), code, by, why
	c.noteMedia(final)
	if c.log.Enabled(context.Background(), slog.LevelInfo) {
		c.log.Info("call", r.attributes()...)
	}
	if m := c.b.o.Metrics; m != nil {
		m.Call(r.From, r.To, code)
	}
	c.b.counters.ended.Add(1)
	if f := c.b.o.OnRecord; f != nil {
		f(*r)
	}
}

// noteMedia keeps the final counters of a session of the relay.
func (c *call) noteMedia(final *control.SessionState) {
	if final == nil {
		return
	}
	for _, s := range final.Streams {
		c.rec.Media = slices.Grow(c.rec.Media, len(s.Legs))
		for i := range s.Legs {
			m := mediaRecord(&s.Legs[i])
			switch {
			case m.Leg == legA:
				m.Trunk = c.a.trunk.Name
			case c.peer != nil:
				m.Trunk = c.peer.trunk.Name
			}
			c.rec.Media = append(c.rec.Media, m)
		}
	}
}

// attributes are the record as the rest of a log line that has the call's id.
func (r *CallRecord) attributes() []any {
	line := []any{
		"event", "call", "from", r.From, "to", r.To, "route", r.Route, "code", r.Code, "cause", r.Cause,
		"by", r.By, "why", r.Why, "called", r.Called, "caller", r.Caller, "call_id_a", r.CallIDA, "call_id_b", r.CallIDB,
		"start", r.Start,
	}
	if r.Emergency {
		line = append(line, "emergency", true)
	}
	if len(r.Joined) > 0 {
		line = append(line, "joined", inJSON{r.Joined})
	}
	if !r.Ring.IsZero() {
		line = append(line, "ring", r.Ring)
	}
	if !r.Answer.IsZero() {
		line = append(line, "answer", r.Answer)
	}
	if !r.Fax.IsZero() {
		line = append(line, "fax", r.Fax)
	}
	return append(line, "end", r.End, "tried", inJSON{r.Tried}, "media", inJSON{r.Media})
}

// inJSON writes a list of a record as JSON in every log format.
type inJSON struct{ list any }

// MarshalText is for text logs, MarshalJSON for JSON logs.
func (j inJSON) MarshalText() ([]byte, error) { return json.Marshal(j.list) }

func (j inJSON) MarshalJSON() ([]byte, error) { return json.Marshal(j.list) }

func mediaRecord(l *control.LegState) MediaRecord {
	return MediaRecord{
		Leg: l.Name, Pinned: l.Pinned, SSRC: l.SSRC, RXSuite: l.RXSuite, TXSuite: l.TXSuite,
		Packets: l.In.Packets, Bytes: l.In.Bytes, Sent: l.Out.Packets, Expected: l.Quality.Expected, Lost: l.Quality.Lost,
		JitterMS: l.Quality.JitterMS, MaxJitter: l.Quality.MaxJitter, MOS: l.Quality.MOS, Drops: l.Drops,
	}
}
