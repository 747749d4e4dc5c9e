package b2bua

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// Who consults somebody before a transfer need not wait for the answer: a REFER may name a call of its sender that still
// rings (RFC 5589 section 7.6, semi-attended transfer). The callee is promised to the transfer and given to it once it
// answers; until then the call rings on as it was. The one who asked may leave it (CANCEL, BYE): the callee rings for the
// transfer then, through every trunk that is left, and stops when the transfer is given up.
//
// An INVITE with Replaces may not do so: an early dialog is replaced only at the end that initiated it (RFC 3891 section 3).

// promise keeps a claim on the callee until it answers. The result is 0, or the status that says why not.
func (c *call) promise(cl *claim) int {
	switch {
	case cl.rings == nil || c.turn == nil: // no REFER, or a call that rings nowhere
		return 481
	case c.from != nil || c.xfer != nil:
		return 491
	}
	c.promised = cl
	c.log.Info("the callee is promised to a transfer", "by", cl.trunk)
	cl.taker.postOwn(cl.rings)
	return 0
}

// unpromise takes a claim back: its transfer is over. A callee whose caller has left rings for nobody then.
func (c *call) unpromise(cl *claim) {
	if c.promised != cl {
		return
	}
	c.promised = nil
	if c.phase < Answered && c.a.ended {
		c.abandonAll("transfer given up")
		c.reject(487, "transfer given up", nil)
	}
}

// departed is a caller who gives up a call that is promised, by CANCEL or BYE: its INVITE gets its answer, and the callee rings on.
// False: it is not promised.
func (c *call) departed(by *sip.Request) bool {
	s := c.a.open
	if c.promised == nil || s == nil || s.final {
		return false
	}
	c.decide(s.in, 487, nil) // after a CANCEL the stack did
	s.final, c.a.ended = true, true
	c.rec.Cause = q850(by)
	return true
}

// keepPromise gives the callee, who answered, to the transfer. If that is gone, the call is the caller's as any other.
func (c *call) keepPromise(before string, told []byte, tries int) {
	switch cl, l := c.promised, c.peer; {
	case c.phase == Over || l.ended:
	case cl == nil && c.a.ended:
		c.unanswer(487, byUs, "transfer given up")
	case cl == nil:
		c.a.d.Confirmed = true
		c.acceptCaller(before, told)
	case !l.idle() && tries > 0:
		c.timers.after(idleWait, func() { c.keepPromise(before, told, tries-1) })
	case l.idle() && c.give(l, cl.taker, func(g *gift) bool { return cl.answer(g, 0) }):
		c.promised = nil
		c.waiting++ // until nothing is awaited any more: where our ACK is lost, the 200 comes again to this call
		c.decline(c.a, 487, func(res *sip.Response) {
			for _, r := range reasonSIP(completedElsewhere, "Call completed elsewhere") {
				res.AppendHeader(r.header())
			}
		})
		c.a.ended = true
		c.rec.Answer = time.Time{} // the caller never was connected
		c.finish(487, byUs, "transferred while it rang")
	default:
		c.promised = nil
		cl.answer(nil, 491)
		c.keepPromise(before, told, 0)
	}
}

// breakPromise tells a transfer that the callee it was promised will not come, and returns the status with which the call
// itself ends: of one that was left, its caller has the answer.
func (c *call) breakPromise(code int) int {
	cl := c.promised
	if cl == nil {
		return code
	}
	c.promised = nil
	cl.answer(nil, max(code, 400))
	if c.a.ended {
		return 487
	}
	return code
}

// consult claims the other side of a call that a REFER names. False: it is no call of ours. A phone may send the REFER and at once
// the CANCEL, which is faster where it has a shorter way: the callee is called anew then (RFC 5589 section 7.7).
func (c *call) consult(x *transfer, in *guard.Inbound, to target) bool {
	cl := &claim{replaces: *to.replaces, trunk: x.by.trunk.Name, taker: c}
	cl.got = func(g *gift, code int) {
		x.claim = nil
		if to.replaces = nil; cl.late && c.xfer == x && c.phase == Answered {
			if code = c.dial(x, in, to); code == 0 {
				return
			}
		}
		c.join(x, g, code, idleTries)
	}
	cl.rings = func() {
		if c.xfer == x {
			c.notify(x, 180)
		}
	}
	x.claim = cl
	if !c.b.claimDialog(cl) {
		x.claim = nil
		return false
	}
	return true
}
