package topology

import (
	"strings"
	"testing"
	"time"

	"tandem/signaling/b2bua"
)

// story is what the record of a call must say.
type story struct {
	from, to    string // trunks; to is empty if none answered
	called      string // as dialled
	sent        string // to the trunk that was tried last; default: as dialled, or nothing if none was tried
	code, cause int
	by          string // caller, callee, tandem
	why         string // what its Why begins with
	rang        bool   // somebody did, whether or not it was answered; an answered call's callee always did
	tried       []try
	talked      uint64 // packets that each side said at least; 0: there was no media, or nobody asks
}

// try is one trunk that was tried, or left out.
type try struct {
	trunk   string
	code    int
	cause   int
	why     string // what its Why begins with
	skipped bool
}

// tells waits for a call's record and holds it against the story. It returns the record for what a story does not tell.
func (n *node) tells(callID string, want story) b2bua.CallRecord {
	n.T.Helper()
	r := n.record(callID)
	n.agrees(&r, want)
	return r
}

// agrees holds a record against the story.
func (n *node) agrees(r *b2bua.CallRecord, want story) {
	n.T.Helper()
	before := n.T.Failed()
	want.check(n.T, r)
	if r.Node != n.h.name {
		n.T.Errorf("record of %s: it is of node %q, want %q", r.CallIDA, r.Node, n.h.name)
	}
	if !before && n.T.Failed() {
		n.T.Logf("the record: %+v", *r)
	}
}

func (s story) check(t testing.TB, r *b2bua.CallRecord) {
	t.Helper()
	same := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("record of %s: %s is %v, want %v", r.CallIDA, what, got, want)
		}
	}
	begins := func(what, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("record of %s: %s is %q, want %q", r.CallIDA, what, got, want)
		}
	}
	asked := false
	for _, step := range s.tried {
		asked = asked || !step.skipped
	}
	if s.sent == "" && asked {
		s.sent = s.called
	}
	same("from", r.From, s.from)
	same("to", r.To, s.to)
	same("called", r.Called, s.called)
	same("called_sent", r.CalledSent, s.sent)
	same("code", r.Code, s.code)
	same("cause", r.Cause, s.cause)
	same("by", r.By, s.by)
	begins("why", r.Why, s.why)
	same("trunks tried", len(r.Tried), len(s.tried))
	for i := range min(len(r.Tried), len(s.tried)) {
		got, want := r.Tried[i], s.tried[i]
		same("tried trunk", got.Trunk, want.trunk)
		same("tried code", got.Code, want.code)
		same("tried cause", got.Cause, want.cause)
		same("skipped", got.Skipped, want.skipped)
		begins("tried why", got.Why, want.why)
		same("tried has an address", got.Address != "", !want.skipped)
	}
	s.checkTimes(t, r)
	s.checkMedia(t, r)
}

// checkTimes holds the moments against each other: which there are, and their order.
func (s story) checkTimes(t testing.TB, r *b2bua.CallRecord) {
	t.Helper()
	if rang := s.rang || s.to != ""; r.Ring.IsZero() == rang {
		t.Errorf("record of %s: ring is %v; it rang: %v", r.CallIDA, r.Ring, rang)
	}
	if r.Answer.IsZero() == (s.to != "") {
		t.Errorf("record of %s: answer is %v, and the trunk that answered %q", r.CallIDA, r.Answer, s.to)
	}
	at := []time.Time{r.Start}
	for _, step := range r.Tried {
		if !step.Skipped {
			at = append(at, step.Start, step.End)
		}
	}
	at = append(at, r.Answer, r.End)
	last := time.Time{}
	for i, moment := range at {
		if moment.IsZero() {
			if s.to == "" && i == len(at)-2 { // no answer
				continue
			}
			t.Errorf("record of %s: moment %d is missing", r.CallIDA, i)
			continue
		}
		if moment.Before(last) {
			t.Errorf("record of %s: its moments are not in order: %v before %v", r.CallIDA, moment, last)
		}
		last = moment
	}
	if !r.Ring.IsZero() && (r.Ring.Before(r.Start) || r.Ring.After(r.End) || s.to != "" && r.Ring.After(r.Answer)) {
		t.Errorf("record of %s: it rang at %v, began at %v, was answered at %v", r.CallIDA, r.Ring, r.Start, r.Answer)
	}
}

// checkMedia holds what was said against what was heard.
func (s story) checkMedia(t testing.TB, r *b2bua.CallRecord) {
	t.Helper()
	if s.talked == 0 {
		return
	}
	if len(r.Media) != 2 {
		t.Errorf("record of %s: media of %d legs, want 2", r.CallIDA, len(r.Media))
		return
	}
	for i, leg := range r.Media {
		other := r.Media[1-i]
		if leg.Packets < s.talked {
			t.Errorf("record of %s: the peer of leg %s said %d packets, want %d at least", r.CallIDA, leg.Leg, leg.Packets, s.talked)
		}
		if leg.Sent != other.Packets {
			t.Errorf("record of %s: leg %s was sent %d packets, and the other side said %d", r.CallIDA, leg.Leg, leg.Sent, other.Packets)
		}
		if leg.Lost != 0 || leg.SSRC == 0 || leg.MOS < 4 {
			t.Errorf("record of %s: leg %s: %d lost, SSRC %d, MOS %v", r.CallIDA, leg.Leg, leg.Lost, leg.SSRC, leg.MOS)
		}
	}
}
