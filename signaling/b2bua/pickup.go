package b2bua

import "tandem/signaling/sdp"

// A call that still rings may be taken by somebody else: an INVITE with Replaces that names the leg which we called (RFC 3891
// section 3: an early dialog is replaced only at the end that initiated it). The caller's INVITE is answered, on hold; as
// soon as its ACK is here the caller is given to the call that asked, which re-INVITEs it. Until then nobody else is in the
// call.
//
// What stays refused with 481: the leg that called us, for it was not us who initiated it; a caller without an offer, whose
// answer would come before there is anything to say; and media that goes past us, which only the two ends can agree about.

// completedElsewhere is what the phone that rang is told with the CANCEL (RFC 3326 section 3.1): it shows no missed call.
const completedElsewhere = 200

// ringsAt reports a leg that we called and that has not answered.
func (c *call) ringsAt(l *leg) bool {
	return c.phase == Ringing && c.try != nil && c.try.leg == l
}

// speaks reports that the far end of a leg has a tag: while it rings there may be several (RFC 3261 section 12.1).
func (c *call) speaks(l *leg, tag string) bool {
	if c.ringsAt(l) {
		for _, f := range c.try.forks {
			if f.d.RemoteTag == tag {
				return true
			}
		}
	}
	return l.d.RemoteTag == tag
}

// pickUp takes the call from the leg that rings. The result is 0, or the status that says why not.
func (c *call) pickUp(cl *claim) int {
	s := c.a.open
	if s == nil || s.final || s.late || c.from != nil || c.a.d.Media.Pass || c.try.proposed.Pass {
		return 481
	}
	body := []byte(c.a.d.Media.Sent) // an 18x said it already, and a 200 must say the same (RFC 3261 section 13.2.1)
	if len(body) == 0 {
		m := c.a.d.Media
		m.Ours = sdp.Inactive
		var err error
		if body, err = answerFrom(&m, &m); err != nil { // whatever was offered: what remains of it the re-INVITE says
			return 488
		}
		c.a.d.Media = m
	}
	if c.rel.done {
		body = nil
	}
	c.log.Info("picked up", "leg", c.try.leg.String(), "by", cl.trunk)
	c.abandonAll("picked up by another call", reasonSIP(completedElsewhere, "Call completed elsewhere")...)
	c.endTurn()
	c.timers.stop(c.ring)
	c.phase, c.a.d.Confirmed = Answered, true
	c.rec.Answer = c.b.o.Now()
	c.publish()
	c.whenProved(func() { c.accept(c.a, body) })
	c.handOver(cl, idleTries)
	return 0
}

// handOver gives the caller to who picked the call up, once it has acknowledged our 200.
func (c *call) handOver(cl *claim, tries int) {
	switch {
	case c.phase == Over || c.a.ended:
		cl.answer(nil, 487)
	case !c.a.idle() && tries > 0:
		// By the mailbox, which is emptied in any case, and behind what else waits for the ACK: it may be a BYE.
		again := func() { c.postOwn(func() { c.handOver(cl, tries-1) }) }
		if !c.park(c.a, again) {
			c.timers.after(idleWait, again)
		}
	case !c.a.idle():
		cl.answer(nil, 408)
		c.hangUp(408, "no ACK", c.a.String())
	case !c.give(c.a, cl.taker, func(g *gift) bool { return cl.answer(g, 0) }):
		c.hangUp(487, "picked up by nobody", "")
	default:
		c.finish(200, byUs, "picked up by another call")
	}
}
