package console

import (
	"maps"
	"sync"
	"time"

	"tandem/signaling/b2bua"
)

// What counts as recent: enough calls that one bad one does not frighten, few enough that a bad hour shows.
const (
	recentCalls = 100              // of a trunk
	recentTime  = 30 * time.Minute // since their end
)

// Quality is what the peer of a trunk sent in its recent calls, as it reached us.
type Quality struct {
	Calls    int     `json:"calls"`        // that had media and ended within the last 30 minutes, at most 100
	Loss     float64 `json:"loss_percent"` // of all their packets
	JitterMS float64 `json:"jitter_ms"`    // mean over the calls
	MOS      float64 `json:"mos"`          // mean over the calls, 1.0 to 4.5
	WorstMOS float64 `json:"mos_worst"`
}

// Ledger remembers the media of the last calls of each trunk. It is bounded by the number of trunks, and safe for
// concurrent use.
type Ledger struct {
	mu     sync.Mutex
	trunks map[string]*recent
}

// recent is a ring of samples.
type recent struct {
	samples [recentCalls]sample
	n       int // ever noted
}

// sample is one leg of one call.
type sample struct {
	end            time.Time
	expected, lost int64
	jitter, mos    float64
}

// NewLedger returns an empty one.
func NewLedger() *Ledger { return &Ledger{trunks: map[string]*recent{}} }

// Note takes the record of a call that ended: leg a is the media of the trunk by which it entered, leg b that of the one
// that answered, unless a transfer brought somebody else.
func (l *Ledger) Note(r *b2bua.CallRecord) {
	for i := range r.Media {
		m := &r.Media[i]
		name := m.Trunk
		if name == "" {
			name = map[string]string{"a": r.From, "b": r.To}[m.Leg]
		}
		if r.To == "" && m.Leg == "b" || name == "" || m.Packets == 0 || m.MOS == 0 { // nothing was heard
			continue
		}
		l.note(name, sample{r.End, int64(m.Expected), m.Lost, m.JitterMS, m.MOS})
	}
}

func (l *Ledger) note(name string, s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trunks[name]
	if t == nil {
		t = new(recent)
		l.trunks[name] = t
	}
	t.samples[t.n%recentCalls] = s
	t.n++
}

// Keep forgets every trunk that is none any more.
func (l *Ledger) Keep(is func(trunk string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.trunks, func(name string, _ *recent) bool { return !is(name) })
}

// Quality sums a trunk's recent calls up; false: there are none with media.
func (l *Ledger) Quality(trunk string, now time.Time) (Quality, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trunks[trunk]
	if t == nil {
		return Quality{}, false
	}
	var q Quality
	var expected, lost int64
	for _, s := range t.samples[:min(t.n, recentCalls)] {
		if now.Sub(s.end) > recentTime {
			continue
		}
		if q.Calls == 0 || s.mos < q.WorstMOS {
			q.WorstMOS = s.mos
		}
		q.Calls++
		expected += s.expected
		lost += max(0, s.lost) // duplicates make it negative (RFC 3550 appendix A.3): they mend no other call
		q.JitterMS += s.jitter
		q.MOS += s.mos
	}
	if q.Calls == 0 {
		return Quality{}, false
	}
	q.JitterMS /= float64(q.Calls)
	q.MOS /= float64(q.Calls)
	if expected > 0 {
		q.Loss = 100 * float64(lost) / float64(expected)
	}
	return q, true
}
