package b2bua

import (
	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// Who ended a call, in its record.
const (
	byCaller = "caller"
	byCallee = "callee"
	byUs     = "tandem"
)

// goodbye is a BYE that waits for an ACK.
type goodbye struct{ why []reason }

// byed is a BYE of a peer. The other side gets one with the same Reason.
func (c *call) byed(l *leg, in *guard.Inbound) {
	if l != c.a && !l.d.Confirmed { // whoever was called has nothing to end before its answer (RFC 3261 section 15)
		c.decide(in, 481, nil)
		return
	}
	c.decide(in, 200, nil)
	if l.ended {
		return // it crossed ours
	}
	l.ended = true
	c.endServed(l)
	if x := c.xfer; x != nil && x.by == l && !x.on {
		return // he has what he wanted: who stays waits for the new call
	}
	if c.departed(in.Req) {
		return
	}
	if c.phase < Answered { // a BYE inside the early dialog (RFC 3261 section 15.1.1): as good as a CANCEL
		c.givenUp = true
		c.abandonAll("the caller hung up", reasons(in.Req)...)
		c.rec.Cause = q850(in.Req)
		c.rejectBy(487, byCaller, "BYE before the answer", nil)
		return
	}
	by := byCaller
	if l != c.a {
		by = byCallee
	}
	why := reasons(in.Req)
	c.rec.Cause = q850(in.Req)
	if o := c.other(l); o != nil {
		c.sendBYE(o, why)
	}
	c.finish(200, by, "BYE")
}

// hangUp ends both sides, for a reason of ours. The peers hear the text; detail is for the record alone, as it may name the
// other side.
func (c *call) hangUp(code int, text, detail string) {
	why := text
	if detail != "" {
		why += ": " + detail
	}
	switch {
	case c.phase == Over:
		return
	case c.phase < Answered:
		c.abandonAll(why)
		c.turnAway(code, causeOf(code), why)
		return
	}
	for _, l := range []*leg{c.a, c.peer} {
		c.sendBYE(l, reasonSIP(code, text))
	}
	c.finish(code, byUs, why)
}

// sendBYE ends one leg. Towards the caller it waits until our 2xx is acknowledged or will never be: before that a UAS may
// not send one (RFC 3261 section 15).
func (c *call) sendBYE(l *leg, why []reason) {
	if l == nil || l.ended {
		return
	}
	if l.open != nil && l.open.res != nil {
		l.bye = &goodbye{why}
		return
	}
	if c.unheard(l) {
		l.ended, c.missed = true, 480
		c.decline(l, 480, nil)
		return
	}
	l.ended, l.bye = true, nil
	c.endServed(l)
	req, err := l.d.request(sip.BYE, l.d.next())
	if err != nil {
		c.log.Warn("BYE not sent", "leg", l.name, "error", err)
		return
	}
	for _, r := range why {
		req.AppendHeader(r.header())
	}
	c.send(l, c.way(l), req, func(res *sip.Response, err error) {
		if err != nil {
			c.log.Info("BYE not answered", "leg", l.name, "error", err)
		}
	})
}

// unheard reports the caller's leg while its 200 still waits for a PRACK, or for who takes over.
func (c *call) unheard(l *leg) bool {
	return l == c.a && l.open != nil && !l.open.final && l.open.seq == c.firstSeq
}

// endServed ends what is open on a leg whose dialog is over: its re-INVITE gets 487 (RFC 3261 section 15.1.2), ours is
// forgotten.
func (c *call) endServed(l *leg) {
	c.refuse(l, l.update, 487, nil)
	c.stopTimer(l)
	if s := l.open; s != nil && l.d.Confirmed {
		if !s.final {
			if c.unheard(l) {
				c.missed = 487
			}
			c.decline(l, 487, nil)
		} else {
			c.settled(l)
		}
	}
	if l.asked != nil {
		c.timers.stop(l.asked.giveUp)
		l.asked.uac.cancel()
		l.asked = nil
	}
	l.bye = nil
	c.unparkAll(l) // it gets its answers now
}
