package b2bua

import (
	"context"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/sdp"
)

// Media goes past us where both trunks of a call say so (bypass: true): bodies cross line for line, addresses and keys
// included, and the relay has no session. That is for two sides of one network; nothing of what this package promises about
// hiding one side from the other holds there. A call that we made ourselves (a late offer, a transfer) has no body to pass
// on, so its media is relayed.

// bypasses reports a trunk towards which the call's media goes past us.
func (c *call) bypasses(at *attempt) bool {
	return at.turn.trunk.Policy.Bypass && c.a.trunk.Policy.Bypass && !c.owesAnswer() && c.from == nil
}

// passedBody takes a body that crosses as it is. What is read of it is what a later transfer needs to know.
func (m Media) passedBody(body []byte) (Media, error) {
	s, err := sdp.Read(body)
	if err != nil {
		return m, refuse(400, "%v", err)
	}
	m.Received, m.Pass = string(s.Bytes()), true
	if i, ok := s.Audio(); ok {
		a := s.Media()[i]
		m.Audio, m.Slot, m.Secure, m.Mux, m.Theirs, m.Wants = i, i, a.Secure(), a.Mux, a.Flow(), a.Flow()
		m.Fax, m.Sealed = false, false
	} else if i, ok := s.Fax(); ok {
		m.Fax, m.Sealed, m.Secure = true, m.sealed(), false
		m.Audio, m.Slot, m.Theirs, m.Wants = i, i, s.Media()[i].Flow(), s.Media()[i].Flow()
	}
	return m, nil
}

// cross joins two bodies: each side is told what the other said.
func (c *call) cross(from, to *leg, offer, answer Media) []byte {
	offer.Sent, answer.Sent = answer.Received, offer.Received
	offer.Pass, answer.Pass = true, true
	from.d.Media, to.d.Media = offer, answer
	return []byte(answer.Received)
}

// agreePassed completes an offer that crossed as it was, with the answer om. Who took it back meanwhile, too late for us to stop it,
// has what was agreed before: the other side is told that.
func (c *call) agreePassed(q *asked, om Media) {
	if q.s != nil && !q.waits() {
		q.to.d.Media = om
		c.passOn(&asked{to: q.to, from: q.from, offer: q.from.d.Media, done: q.done})
		return
	}
	m := q.offer
	if q.s == nil {
		m = q.from.d.Media
	}
	before := q.from.d.Media
	body := c.cross(q.from, q.to, m, om)
	c.noteFax(&m, &om)
	if q.waits() {
		q.s.before = &before
		c.renewed(q.from, q.s, body)
	}
	if q.done != nil {
		q.done(true)
	}
}

// readOffer is offered for a leg in whatever way its bodies are used.
func (t terms) readOffer(ctx context.Context, now Media, body []byte) (Media, error) {
	if now.Pass {
		return now.passedBody(body)
	}
	return t.offered(ctx, now, body)
}

// passAlone repeats to a peer what the other side said last.
func (c *call) passAlone(l *leg, s *served, next Media) {
	l.d.Media = next
	c.renewed(l, s, []byte(next.Sent))
}

// passLate takes the answer in the ACK of a re-INVITE without an offer.
func (c *call) passLate(l *leg, s *served, req *sip.Request) {
	next, err := l.d.Media.passedBody(req.Body())
	if err != nil || len(req.Body()) == 0 {
		c.log.Warn("answer to our offer not usable", "leg", l.name, "why", err)
		return
	}
	s.agreed = true
	changed := next.Received != l.d.Media.Received
	l.d.Media = next
	if changed {
		c.tell(&asked{to: c.opposite(l), from: l, offer: next})
	}
}
