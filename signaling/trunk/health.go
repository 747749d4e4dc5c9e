package trunk

import (
	"cmp"
	"time"
)

// SIP status codes that say something about a peer rather than about a call.
const (
	statusTimeout     = 408 // RFC 3261 section 21.4.9: nobody answered
	statusUnavailable = 503 // RFC 3261 section 21.5.4: this server cannot for now
)

// When a silent peer loses its place, unless options.demote and options.down say otherwise. The rule joins Lync's and Teams':
// demote first, give up later, one answer restores.
const (
	demoteAfter = 3 * time.Minute // of an unanswered poll: three polls at the default rate; also how long a 503 counts without polls
	downAfter   = 5               // misses in a row
	restMost    = time.Hour       // longest Retry-After obeyed: a peer's typing error must not take it out for days
)

// State is a trunk's place in the order of trying; a smaller one is tried first.
type State uint8

// The states.
const (
	Up      State = iota // tried as listed
	Demoted              // tried last
	Down                 // not tried while another is left
)

// String is the state's name in logs and metrics: up, demoted, down.
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Demoted:
		return "demoted"
	case Down:
		return "down"
	}
	return "unknown"
}

// Health is what OPTIONS and calls have told of one peer. It is pure: every moment is passed in, and a copy is a snapshot.
// The zero value is up and never polled. Moments must not go backwards.
type Health struct {
	Every  time.Duration // between polls; 0: never polled
	Demote time.Duration // unanswered for this long: demoted; 0: three minutes
	Down   int           // unanswered so often in a row: down; 0: five times

	polled  time.Time // when the last poll was sent; zero: never
	asked   time.Time // when the first unanswered poll was sent; zero: none is open
	misses  int       // unanswered polls in a row
	refused time.Time // when the last word was a 503; zero: it was not
	refuses time.Time // since when it counts as demoted by them
	down    bool      // misses reached Down and no good answer came since
	fell    time.Time // when it went down
	rose    time.Time // when it was up again, or was first heard of
	rest    time.Time // no requests before this (Retry-After); zero: none

	code  int       // of the last answer; 0: none came yet
	heard time.Time // when it came
}

// State is the peer's health at this moment. It sinks by itself while a poll stays unanswered.
func (h *Health) State(now time.Time) State {
	switch {
	case h.down:
		return Down
	case h.refusing(now), h.silent(now):
		return Demoted
	}
	return Up
}

// Since is the moment from which the peer has been in the state of this moment.
func (h *Health) Since(now time.Time) time.Time {
	switch h.State(now) {
	case Down:
		return h.fell
	case Demoted:
		if h.refusing(now) {
			return h.refuses
		}
		return h.asked.Add(h.patience())
	}
	if forgiven := h.refused.Add(h.patience()); !h.refused.IsZero() && forgiven.After(h.rose) {
		return forgiven
	}
	return h.rose
}

// Misses is the number of polls in a row that had no answer.
func (h *Health) Misses() int { return h.misses }

// Heard is the last answer, to whatever request, and when it came; 0: none came yet.
func (h *Health) Heard() (code int, at time.Time) { return h.code, h.heard }

// patience is how long silence lasts until the peer is demoted.
func (h *Health) patience() time.Duration { return cmp.Or(h.Demote, demoteAfter) }

// silent reports that a poll has been unanswered for too long.
func (h *Health) silent(now time.Time) bool {
	return !h.asked.IsZero() && now.Sub(h.asked) >= h.patience()
}

// refusing reports a 503 that still counts: until another answer, or for a while if no poll will ever bring one. A peer that
// is tried last would otherwise stay last for as long as the others take the calls.
func (h *Health) refusing(now time.Time) bool {
	return !h.refused.IsZero() && (h.Every > 0 || now.Sub(h.refused) < h.patience())
}

// Resting is how long the peer still asks to be left alone; 0: it does not.
func (h *Health) Resting(now time.Time) time.Duration {
	return max(0, h.rest.Sub(now))
}

// Due reports whether a poll should be sent. A resting peer is not polled either: Retry-After covers every request to that
// server (RFC 3261 section 21.5.4).
func (h *Health) Due(now time.Time) bool {
	return h.Every > 0 && h.Resting(now) == 0 && (h.polled.IsZero() || now.Sub(h.polled) >= h.Every)
}

// Polled is called when an OPTIONS is sent.
func (h *Health) Polled(now time.Time) {
	h.polled = now
	if h.asked.IsZero() {
		h.asked = now
	}
}

// Answered is called with the final status of an OPTIONS, and with that of an INVITE: any answer but 503 and 408 proves
// that the peer lives. The 408 of an OPTIONS is a miss. That of an INVITE says nothing here, as it may tell of a callee far
// behind the peer: do not report it.
func (h *Health) Answered(code int, now time.Time) {
	h.code, h.heard = code, now
	switch code {
	case statusTimeout:
		h.Missed(now)
	case statusUnavailable:
		switch {
		case h.silent(now):
			h.refuses = h.asked.Add(h.patience()) // demoted before, and so it stays
		case !h.refusing(now):
			h.refuses = now
		}
		h.asked, h.misses = time.Time{}, 0
		h.refused = now
	default:
		if h.State(now) != Up {
			h.rose = now
		}
		h.asked, h.misses = time.Time{}, 0
		h.refused, h.down = time.Time{}, false
	}
}

// Missed is called when an OPTIONS got no answer, or its transport failed.
func (h *Health) Missed(now time.Time) {
	if h.asked.IsZero() {
		h.asked = now // a miss nobody announced: silence counts from here
	}
	h.misses++
	if !h.down && h.misses >= cmp.Or(h.Down, downAfter) {
		h.down, h.fell = true, now
	}
}

// RetryAfter is called with the Retry-After of a 503. A later moment wins over an earlier one; longer rests than an hour are
// cut to that.
func (h *Health) RetryAfter(d time.Duration, now time.Time) {
	if until := now.Add(min(d, restMost)); d > 0 && until.After(h.rest) {
		h.rest = until
	}
}

// govern lays down new rules. Without polls nothing would ever restore a peer that polls took down: it is up again.
func (h *Health) govern(every, demote time.Duration, down int) {
	h.Every, h.Demote, h.Down = every, demote, down
	if every == 0 {
		h.asked, h.misses, h.down = time.Time{}, 0, false
	}
}

// Health is a snapshot of the trunk's health.
func (tr *Trunk) Health() Health {
	tr.live.mu.Lock()
	defer tr.live.mu.Unlock()
	return tr.live.health
}

// State is the trunk's place in the order of trying.
func (tr *Trunk) State(now time.Time) State {
	h := tr.Health()
	return h.State(now)
}

// PollDue reports whether an OPTIONS should be sent, and if so notes that it was: two callers never both get true. It is
// asked for every trunk about once a second, and so it also sees that the name of the peer is looked up again in time.
func (tr *Trunk) PollDue(now time.Time) bool {
	tr.peer.known(now)
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.health.Due(now) {
		return false
	}
	l.health.Polled(now)
	return true
}

// Answered, Missed and RetryAfter report to the trunk's Health; see there. Each returns the states before and after, for
// the log line that a change deserves.
func (tr *Trunk) Answered(code int, now time.Time) (before, after State) {
	return tr.report(now, func(h *Health) { h.Answered(code, now) })
}

// Missed reports an OPTIONS without an answer.
func (tr *Trunk) Missed(now time.Time) (before, after State) {
	return tr.report(now, func(h *Health) { h.Missed(now) })
}

// RetryAfter reports the Retry-After of a 503.
func (tr *Trunk) RetryAfter(d time.Duration, now time.Time) (before, after State) {
	return tr.report(now, func(h *Health) { h.RetryAfter(d, now) })
}

// report changes the health under its lock.
func (tr *Trunk) report(now time.Time, change func(*Health)) (before, after State) {
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.health.State(now)
	change(&l.health)
	return before, l.health.State(now)
}
