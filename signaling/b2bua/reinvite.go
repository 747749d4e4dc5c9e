package b2bua

import (
	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/sdp"
)

// reinvited is a re-INVITE. What concerns only the one side is answered at once; what the other must know is passed on.
func (c *call) reinvited(l *leg, in *guard.Inbound) {
	switch {
	case c.phase == Over || l.ended:
		c.decide(in, 481, nil)
		return
	case l.open != nil && !l.open.final, l.update != nil: // RFC 3261 section 14.2
		c.decide(in, 500, retryAfter(c.b.soon()))
		return
	case c.phase < Answered, l.asked != nil && !l.asked.uac.done: // after a 491 the peer may go first
		c.decide(in, 491, nil)
		return
	}
	c.settled(l) // an INVITE proves that our 2xx of the one before arrived, ACK or not
	l.open = &served{in: in, seq: cseq(in.Req)}
	l.learn(in.Req)
	if !c.timerAllows(l, l.open) {
		return
	}
	if len(in.Req.Body()) == 0 {
		c.offerAgain(l)
		return
	}
	next, ok := c.readOffer(l, l.open, in.Req)
	if !ok {
		return
	}
	if l.d.Media.alike(next) {
		c.answerAlone(l, l.open, next)
		return
	}
	c.tell(&asked{to: c.other(l), from: l, s: l.open, offer: next})
}

// answerAlone answers an offer that says nothing new to the other side: a refresh, another address, another key.
func (c *call) answerAlone(l *leg, s *served, next Media) {
	now := l.d.Media
	if now.Pass {
		c.passAlone(l, s, next)
		return
	}
	next.Ours = next.Theirs.Answer(now.Ours)
	offer, err := next.heard()
	if err != nil {
		c.refuseOffer(l, s, err)
		return
	}
	told, err := readSDP(now.Sent)
	if err != nil {
		c.refuseOffer(l, s, err)
		return
	}
	body := next.tell(func() []byte { return sdp.Answer(offer, next.Audio, told, now.Slot, next.side(next.TX)) })
	o := c.opposite(l)
	if err := c.applyBoth(l, &next, o, &o.d.Media); err != nil {
		c.refuseOffer(l, s, err)
		return
	}
	l.d.Media, s.before = next, &now
	c.renewed(l, s, body)
}

// renewed sends the 200 to a re-INVITE or an UPDATE. The target it brought is the target from now on.
func (c *call) renewed(l *leg, s *served, body []byte) {
	if l.d.retarget(s.in.Req) {
		l.egress = nil
	}
	if s == l.open {
		c.accept(l, body)
		return
	}
	c.updatedOK(l, s, body)
}

// applyBoth is apply for two legs in any order.
func (c *call) applyBoth(l *leg, m *Media, o *leg, om *Media) error {
	answered := c.phase >= Answered
	var err error
	if l == c.a {
		err = c.apply(m, om, o, answered)
	} else {
		err = c.apply(om, m, l, answered)
	}
	if err == nil {
		c.noteFax(m, om)
	}
	return err
}

// withdrawn is a CANCEL for a re-INVITE: what it set in motion on the other side is cancelled as well.
func (c *call) withdrawn(l *leg) {
	s := l.open
	s.final = true
	c.settled(l)
	if s.before != nil { // answered, but the stack's 487 was faster: our peer has withdrawn what all others agreed to
		l.d.Media = *s.before
		c.tell(&asked{to: c.other(l), from: l, offer: l.d.Media})
		return
	}
	if o := c.other(l); o != nil && o.asked != nil && o.asked.s == s {
		if o.asked.again != nil && o.asked.uac.done {
			c.withdraw(o.asked, 487)
			return
		}
		o.asked.uac.cancel()
	}
}

// decline answers the open re-INVITE of a leg with a failure; the call goes on as it was.
func (c *call) decline(l *leg, code int, with func(*sip.Response)) {
	s := l.open
	l.open = nil
	c.refuse(l, s, code, with)
}

// refuse answers a request of a leg with a failure, unless it has its answer.
func (c *call) refuse(l *leg, s *served, code int, with func(*sip.Response)) {
	if s == nil || s.final {
		return
	}
	switch s {
	case l.open:
		l.open = nil
	case l.update:
		l.update = nil
	}
	s.final = true
	c.decide(s.in, code, with)
}

// answerFrom writes the answer to one leg's offer from the other leg's answer.
func answerFrom(m, other *Media) ([]byte, error) {
	offer, err := m.heard()
	if err != nil {
		return nil, err
	}
	answer, err := other.heard()
	if err != nil {
		return nil, err
	}
	return m.tell(func() []byte { return sdp.Answer(offer, m.Audio, answer, other.Audio, m.side(m.TX)) }), nil
}

func readSDP(body string) (*sdp.Session, error) { return sdp.Read([]byte(body)) }
