package b2bua

import (
	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// updated is an UPDATE of a peer (RFC 3311), or a PRACK with an offer: it may come before the answer, and is answered at
// once or never. Without SDP it refreshes the session and its target.
func (c *call) updated(l *leg, in *guard.Inbound) {
	busy := l.asked != nil && !l.asked.uac.done
	switch {
	case c.phase == Over || l.ended:
		c.decide(in, 481, nil)
		return
	case l.update != nil: // RFC 3311 section 5.2, and RFC 3261 section 14.2
		c.decide(in, 500, retryAfter(c.b.soon()))
		return
	}
	l.learn(in.Req)
	s := &served{in: in, seq: cseq(in.Req)}
	l.update = s
	if !c.timerAllows(l, s) {
		return
	}
	if len(in.Req.Body()) == 0 {
		c.renewed(l, s, nil)
		return
	}
	switch {
	case busy, c.phase >= Answered && l.open != nil && l.open.late: // our offer is not answered yet
		c.refuse(l, s, 491, nil)
		return
	case c.phase >= Answered && l.open != nil && !l.open.final, l == c.a && c.phase < Answered && !c.rel.done: // its own is not
		c.refuse(l, s, 500, retryAfter(c.b.soon()))
		return
	}
	next, ok := c.readOffer(l, s, in.Req)
	if !ok {
		return
	}
	o := c.opposite(l)
	switch {
	case o == nil: // between two trunks
		c.refuse(l, s, 500, retryAfter(c.b.soon()))
	case l.d.Media.alike(next):
		c.answerAlone(l, s, next)
	case c.phase < Answered && !c.mayUpdate(o):
		c.updateAlone(l, s, o, next)
	default:
		c.tell(&asked{to: o, from: l, s: s, offer: next})
	}
}

// mayUpdate reports a leg in an early dialog that may be sent an UPDATE: it knows that method, and its first offer and
// answer are exchanged for certain (RFC 3311 section 5.1).
func (c *call) mayUpdate(l *leg) bool {
	if !l.can.update || l.ended {
		return false
	}
	if l == c.a {
		return c.rel.done && c.rel.out == nil
	}
	return c.try != nil && c.try.leg == l && c.try.cur != nil && c.try.cur.settled
}

// updateAlone answers an early UPDATE that the other side cannot be told of. A new direction is the relay's affair for now;
// codecs that the other side was not offered are not.
func (c *call) updateAlone(l *leg, s *served, o *leg, next Media) {
	before, turned := l.d.Media, next
	turned.Theirs = before.Theirs
	if before.Pass || !same(before, turned) {
		c.refuse(l, s, 504, nil) // RFC 3311 section 5.2
		return
	}
	c.answerAlone(l, s, next)
}

// updatedOK sends the 200 to an UPDATE or a PRACK.
func (c *call) updatedOK(l *leg, s *served, body []byte) {
	if l.update == s {
		l.update = nil
	}
	s.final = true
	c.decide(s.in, 200, func(res *sip.Response) {
		if s.in.Req.Method == sip.UPDATE {
			c.addOurs(res, l.trunk, s.in.Listener)
			c.agreeTimer(l, s.in.Req, res)
		}
		if body != nil {
			setSDP(res, body)
		}
	})
}
