package trunk

import "time"

// SIP status codes that say something about a peer rather than about a call.
const (
	statusTimeout     = 408 // RFC 3261 section 21.4.9: nobody answered
	statusUnavailable = 503 // RFC 3261 section 21.5.4: this server cannot for now
)

// When a silent peer loses its place. The rule joins Lync's and Teams': demote first, give up later, one answer restores.
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
	Every time.Duration // between polls; 0: never polled

	next    time.Time // when to poll again; zero: at once
	asked   time.Time // when the first unanswered poll was sent; zero: none is open
	misses  int       // unanswered polls in a row
	refused time.Time // when the last word was a 503; zero: it was not
	down    bool      // misses reached downAfter and no good answer came since
	rest    time.Time // no requests before this (Retry-After); zero: none
}

// State is the peer's health at this moment. It sinks by itself while a poll stays unanswered.
func (h *Health) State(now time.Time) State {
	switch {
	case h.down:
		return Down
	case h.refuses(now), !h.asked.IsZero() && now.Sub(h.asked) >= demoteAfter:
		return Demoted
	}
	return Up
}

// refuses reports a 503 that still counts: until another answer, or for a while if no poll will ever bring one. A peer that
// is tried last would otherwise stay last for as long as the others take the calls.
func (h *Health) refuses(now time.Time) bool {
	return !h.refused.IsZero() && (h.Every > 0 || now.Sub(h.refused) < demoteAfter)
}

// Resting is how long the peer still asks to be left alone; 0: it does not.
func (h *Health) Resting(now time.Time) time.Duration {
	return max(0, h.rest.Sub(now))
}

// Due reports whether a poll should be sent. A resting peer is not polled either: Retry-After covers every request to that
// server (RFC 3261 section 21.5.4).
func (h *Health) Due(now time.Time) bool {
	return h.Every > 0 && !now.Before(h.next) && h.Resting(now) == 0
}

// Polled is called when an OPTIONS is sent.
func (h *Health) Polled(now time.Time) {
	h.next = now.Add(h.Every)
	if h.asked.IsZero() {
		h.asked = now
	}
}

// Answered is called with the final status of an OPTIONS, and with that of an INVITE: any answer but 503 and 408 proves
// that the peer lives. The 408 of an OPTIONS is a miss. That of an INVITE says nothing here, as it may tell of a callee far
// behind the peer: do not report it.
func (h *Health) Answered(code int, now time.Time) {
	switch code {
	case statusTimeout:
		h.Missed(now)
	case statusUnavailable:
		h.asked, h.misses = time.Time{}, 0
		h.refused = now
	default:
		h.asked, h.misses = time.Time{}, 0
		h.refused, h.down = time.Time{}, false
	}
}

// Missed is called when an OPTIONS got no answer, or its transport failed.
func (h *Health) Missed(now time.Time) {
	if h.asked.IsZero() {
		h.asked = now // a miss nobody announced: silence counts from here
	}
	h.misses = min(h.misses+1, downAfter)
	if h.misses == downAfter {
		h.down = true
	}
}

// RetryAfter is called with the Retry-After of a 503. A later moment wins over an earlier one; longer rests than an hour are
// cut to that.
func (h *Health) RetryAfter(d time.Duration, now time.Time) {
	if until := now.Add(min(d, restMost)); d > 0 && until.After(h.rest) {
		h.rest = until
	}
}

// Health is a snapshot of the trunk's health.
func (tr *Trunk) Health() Health {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.health
}

// State is the trunk's place in the order of trying.
func (tr *Trunk) State(now time.Time) State {
	h := tr.Health()
	return h.State(now)
}

// PollDue reports whether an OPTIONS should be sent, and if so notes that it was: two callers never both get true.
func (tr *Trunk) PollDue(now time.Time) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.health.Due(now) {
		return false
	}
	tr.health.Polled(now)
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
	tr.mu.Lock()
	defer tr.mu.Unlock()
	before = tr.health.State(now)
	change(&tr.health)
	return before, tr.health.State(now)
}
