package b2bua

import (
	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// accept answers the open INVITE of a leg with 200 and keeps sending that until the ACK (RFC 3261 section 13.3.1.4): the
// transaction does not, over no transport.
func (c *call) accept(l *leg, body []byte) {
	s := l.open
	res := s.in.Response(200, reasonPhrase(200))
	c.addOurs(res, l.trunk, s.in.Listener)
	c.agreeTimer(l, s.in.Req, res)
	c.addHeard(l, res)
	if body != nil {
		setSDP(res, body)
	}
	s.final, s.res, s.every = true, res, c.b.t.T1
	if err := s.in.Respond(res); err != nil {
		c.log.Info("200 not sent", "leg", l.name, "error", err)
	}
	s.again = c.timers.after(s.every, func() { c.repeat(l, s) })
	s.end = c.timers.after(c.b.t.giveUp(), func() { c.unacknowledged(l, s) })
}

// repeat sends the 2xx once more, T1, 2*T1, ... T2 apart.
func (c *call) repeat(l *leg, s *served) {
	if l.open != s || s.res == nil {
		return
	}
	if err := s.in.Respond(s.res); err != nil {
		c.log.Debug("200 not repeated", "leg", l.name, "error", err)
	}
	s.every = min(2*s.every, c.b.t.T2)
	s.again = c.timers.after(s.every, func() { c.repeat(l, s) })
}

// unacknowledged is a 2xx without an ACK for 64*T1: the dialog is confirmed but useless (RFC 3261 section 13.3.1.4).
func (c *call) unacknowledged(l *leg, s *served) {
	if l.open != s {
		return
	}
	bye := l.bye
	c.settled(l)
	if bye != nil {
		c.sendBYE(l, bye.why)
		return
	}
	c.log.Warn("no ACK", "leg", l.name)
	c.hangUp(408, "no ACK", l.String())
}

// settled forgets the open INVITE of a leg.
func (c *call) settled(l *leg) {
	if s := l.open; s != nil {
		c.timers.stop(s.again)
		c.timers.stop(s.end)
		s.res = nil
		l.open = nil
	}
}

// acked is the ACK of a peer. What overtook it goes on now.
func (c *call) acked(l *leg, in *guard.Inbound) {
	s := l.open
	if s == nil || !s.final || s.seq != cseq(in.Req) {
		return // of an INVITE that is settled: a retransmission
	}
	bye := l.bye
	c.settled(l)
	if bye != nil {
		l.bye = nil
		c.sendBYE(l, bye.why)
	}
	if s.late && !s.agreed && c.phase == Answered && !l.ended {
		c.lateAnswered(l, s, in.Req)
	}
	c.unparkAll(l)
}

// acknowledge sends the ACK of our INVITE number seq on a leg, or sends it again: each repeated 2xx gets one (RFC 3261
// section 13.2.2.4).
func (c *call) acknowledge(l *leg, seq uint32) {
	req, err := l.d.request(sip.ACK, seq)
	if err == nil {
		for _, h := range l.proof {
			req.AppendHeader(h)
		}
		err = c.b.o.Stack.Ack(req, *c.way(l))
	}
	if err != nil {
		c.log.Warn("ACK not sent", "leg", l.name, "error", err)
	}
}

// park keeps what overtook the ACK of our 2xx on a leg, for a moment. False: there is no room, or nothing to wait for.
func (c *call) park(l *leg, do func()) bool {
	if l.open == nil || l.open.res == nil || len(l.parked) >= parkedMost {
		return false
	}
	l.parked = append(l.parked, do)
	if len(l.parked) == 1 {
		l.unpark = c.timers.after(c.b.t.Park, func() { c.unparkAll(l) })
	}
	return true
}

// unparkAll handles what was parked, in its order.
func (c *call) unparkAll(l *leg) {
	c.timers.stop(l.unpark)
	list := l.parked
	l.parked = nil
	for _, do := range list {
		do()
	}
}
