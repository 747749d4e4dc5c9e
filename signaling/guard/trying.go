package guard

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Whoever sends an INVITE repeats it until something comes back, so a server transaction says 100 for a Handler that takes longer than
// 200 ms (RFC 3261 section 17.2.1). Most say something better within milliseconds, and then a 100 is one more datagram for everybody.
const (
	tryingAfter = 100 * time.Millisecond // of silence; an INVITE is repeated after 500 ms, of which the network may need the rest
	tryingEvery = 10 * time.Millisecond  // between two looks: those that wait at the same time get theirs together
)

// calm sees to it that an INVITE gets its 100, should the Handler be slow.
func (s *Stack) calm(t *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != trying || t.last != nil { // it was cancelled by the next datagram
		return
	}
	t.waits = true
	if s.servers.waiting.add(&t.place, t, s.age()+s.opt.trying) {
		s.calming.Reset(s.opt.trying)
	}
}

// calmed is when something was sent. t.mu is held.
func (t *serverTx) calmed() {
	if t.waits {
		t.waits = false
		t.l.stack.servers.waiting.remove(&t.place)
	}
}

// sayTrying is the timer: it says 100 to those who have waited long enough.
func (s *Stack) sayTrying() {
	now := s.age()
	for _, tx := range s.servers.waiting.due(now) {
		tx.sayTrying()
	}
	if next, ok := s.servers.waiting.next(); ok && !s.isClosed() {
		s.calming.Reset(max(next-now, tryingEvery))
	}
}

// sayTrying says 100 unless something was said.
func (t *serverTx) sayTrying() {
	defer t.l.recovered("a 100", t.l.local)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hush()
}

// hush needs t.mu.
func (t *serverTx) hush() {
	if t.state != trying || t.last != nil || t.in == nil {
		return
	}
	res := respond(t.in.repeats, sip.INVITE, "SIP/2.0", sip.StatusTrying, "Trying")
	if stamp := t.in.timestamp; stamp != "" {
		if !strings.ContainsAny(stamp, " \t") { // with how long it took us (RFC 3261 section 8.2.6.1)
			stamp += " " + strconv.FormatFloat((t.l.stack.age()-t.in.born).Seconds(), 'f', 3, 64)
		}
		res.AppendHeader(sip.NewHeader("Timestamp", stamp))
	}
	t.l.dress(res)
	raw, err := encodeResponse(res)
	if err != nil {
		return
	}
	t.calmed()
	t.last = raw
	t.back.send(raw) //nolint:errcheck // that the way back is gone is the Handler's to hear, when it answers
}

func timestampOf(req *sip.Request) string {
	for _, h := range req.Headers() {
		if strings.EqualFold(h.Name(), "Timestamp") {
			return h.Value()
		}
	}
	return ""
}
