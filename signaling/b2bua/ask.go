package b2bua

import (
	"time"

	"github.com/emiago/sipgo/sip"
)

// glareTries is how often an offer is repeated after a 491 before the side that made it gets the 491 (it will try again
// by itself).
const glareTries = 3

// asked is an offer of ours to one leg, because of one of the other: a re-INVITE, or an UPDATE where that is what the peer
// knows and the other side used.
type asked struct {
	to     *leg
	from   *leg    // who made the offer
	s      *served // its request; nil: nobody waits, we tell what is so or put back what was agreed
	method sip.RequestMethod
	offer  Media  // what from will have agreed to
	media  Media  // what we proposed to to
	body   []byte // our offer
	tries  int
	uac    *uac
	giveUp *deadline
	again  *deadline     // after a 491
	rseq   uint32        // of the latest reliable provisional response
	done   func(ok bool) // told how it ended; nil: nobody else asks
}

// tell passes an offer on once the ACK is here that may be on its way from the other side.
func (c *call) tell(q *asked) {
	if !c.park(q.to, func() { c.pass(q) }) {
		c.pass(q)
	}
}

// pass sends an offer on unless the other side has one on its way to this one, or just had. Where nobody waits for its
// answer it is tried again a little later.
func (c *call) pass(q *asked) {
	switch o := q.to; {
	case q.s != nil && !q.waits(), c.phase == Over, o.ended:
		c.withdraw(q, 491)
	case !c.busy(o):
		c.passOn(q)
	case q.s != nil:
		c.withdraw(q, 491)
	case q.tries < glareTries:
		q.tries++
		c.timers.after(c.b.glareWait(o.d.UAS), func() { c.pass(q) })
	default:
		c.withdraw(q, 491)
	}
}

// busy reports a leg that may not be sent an offer now: there is one on its way in either direction (RFC 3261 section 14.1,
// RFC 3311 section 5.1).
func (c *call) busy(l *leg) bool {
	if l.asked != nil || l.update != nil {
		return true
	}
	if c.phase < Answered {
		return !c.mayUpdate(l)
	}
	return l.open != nil
}

// passOn sends the offer of one side to the other.
func (c *call) passOn(q *asked) {
	o := q.to
	if o.d.Media.Pass {
		q.media, q.body = o.d.Media, []byte(q.offer.Received)
		c.ask(q)
		return
	}
	next, body, err := c.b.terms(o).proposeAgain(o.d.Media, &q.offer)
	if err != nil {
		code, _ := refusalOf(err)
		c.withdraw(q, code)
		return
	}
	q.media, q.body = next, body
	o.d.Media.Origin = next.Origin // the version counts from what was sent, accepted or not
	c.ask(q)
}

// ask sends the offer, or sends it again after a glare.
func (c *call) ask(q *asked) {
	o := q.to
	if q.method == "" {
		q.method = sip.INVITE
		if o.can.update && (!o.d.Confirmed || q.s != nil && !q.s.in.Req.IsInvite()) {
			q.method = sip.UPDATE
		}
	}
	req, err := o.d.request(q.method, o.d.next())
	if err != nil {
		c.log.Warn("offer not sent", "leg", o.name, "error", err)
		c.withdraw(q, 500)
		return
	}
	c.addOurs(req, o.trunk, o.trunk.Policy.Listener)
	o.timer.ask(req)
	setSDP(req, q.body)
	o.asked = q
	q.tries++
	q.uac = c.send(o, c.way(o), req, func(res *sip.Response, err error) { c.reanswered(q, res, err) })
	q.giveUp = c.timers.after(c.b.t.giveUp(), func() { q.uac.cancel() })
}

// waits reports whether the side that made the offer still waits for its answer.
func (q *asked) waits() bool {
	return q.s != nil && (q.from.open == q.s || q.from.update == q.s) && !q.s.final
}

// withdraw ends an exchange that came to nothing: nothing changed, and who waits hears why.
func (c *call) withdraw(q *asked, code int) {
	c.timers.stop(q.giveUp)
	c.timers.stop(q.again)
	if q.to.asked == q {
		q.to.asked = nil
	}
	if q.waits() {
		c.refuse(q.from, q.s, code, func(res *sip.Response) {
			if code == 500 {
				retryAfter(c.b.soon())(res)
			}
		})
	}
	if q.done != nil {
		q.done(false)
	}
}

// reanswered takes what becomes of our offer.
func (c *call) reanswered(q *asked, res *sip.Response, err error) {
	switch {
	case err != nil:
		if q.to.asked == q {
			c.withdraw(q, 408)
			c.hangUp(408, q.name()+" not answered", q.to.String()+": "+err.Error()) // RFC 3261 section 12.2.1.2
		}
	case res.StatusCode < 200:
		if q.method == sip.INVITE && res.StatusCode > 100 && q.to.asked == q {
			c.prack(q.to, &q.rseq, res)
		}
	case res.StatusCode < 300:
		first := q.to.asked == q
		if first && q.to.d.retarget(res) {
			q.to.egress = nil
		}
		if q.method == sip.INVITE {
			c.acknowledge(q.to, cseq(res)) // after a challenge it is not the number we began with
		}
		if first {
			c.timers.stop(q.giveUp)
			q.to.asked = nil
			q.to.learn(res)
			c.timerAgreed(q.to, res)
			c.agree(q, res)
		}
	case q.to.asked != q: // given up meanwhile
	case res.StatusCode == 491 && q.tries < glareTries && (q.s == nil || q.waits()):
		c.timers.stop(q.giveUp)
		q.again = c.timers.after(c.b.glareWait(q.to.d.UAS), func() { c.retry(q) })
	case res.StatusCode == 422 && q.tries < glareTries && q.to.timer.raise(res):
		c.timers.stop(q.giveUp)
		c.ask(q)
	case (res.StatusCode == 405 || res.StatusCode == 501) && q.method == sip.UPDATE && q.to.d.Confirmed:
		q.to.can.update, q.method = false, sip.INVITE
		c.timers.stop(q.giveUp)
		c.ask(q)
	case res.StatusCode == 408, res.StatusCode == 481: // the dialog is gone (RFC 5057 section 5.1)
		c.withdraw(q, res.StatusCode)
		c.hangUp(res.StatusCode, "dialog lost", q.to.String())
	case res.StatusCode == 487:
		c.withdraw(q, 480) // to our CANCEL
	default:
		c.withdraw(q, passedCode(res.StatusCode))
	}
}

// retry repeats an offer after a glare.
func (c *call) retry(q *asked) {
	if q.to.asked != q || q.s != nil && !q.waits() || q.to.open != nil { // the last: its own offer came first
		c.withdraw(q, 491)
		return
	}
	if q.to.d.Media.Origin != q.media.Origin { // that side was told something else meanwhile
		c.passOn(q)
		return
	}
	c.ask(q)
}

// answerTo reads the answer to our offer.
func (c *call) answerTo(q *asked, res *sip.Response) (Media, error) {
	if q.media.Pass {
		return q.media.passedBody(res.Body())
	}
	ctx := c.b.patience()
	om, err := c.b.terms(q.to).answered(ctx, q.media, res.Body())
	if err == nil {
		err = om.offeredOnly(&q.offer)
	}
	return om, err
}

// agree completes a passed offer: both legs change together.
func (c *call) agree(q *asked, res *sip.Response) {
	o := q.to
	if c.phase == Over || o.ended {
		return
	}
	om, err := c.answerTo(q, res)
	if err != nil {
		c.log.Warn("answer to a re-INVITE not usable", "leg", o.name, "why", err)
		c.withdraw(q, 488)
		c.putBack(q)
		return
	}
	if toTag(res) != o.d.RemoteTag || q.waits() && fromTag(q.s.in.Req) != q.from.d.RemoteTag { // another fork speaks now
		c.withdraw(q, 500)
		return
	}
	if o == c.opposite(q.from) && q.media.Pass {
		c.agreePassed(q, om)
		return
	}
	if o != c.opposite(q.from) || c.session == nil { // another trunk has its turn
		c.withdraw(q, 500)
		return
	}
	if q.s != nil && !q.waits() { // who asked took it back, too late for us to stop it: put back what was agreed
		o.d.Media = om
		c.passOn(&asked{to: o, from: q.from, offer: q.from.d.Media, done: q.done})
		return
	}
	m := q.offer
	if q.s == nil {
		m = q.from.d.Media
	}
	m.Ours = m.Theirs.Answer(om.Theirs)
	var body []byte
	if q.s != nil {
		if body, err = answerFrom(&m, &om); err != nil {
			c.withdraw(q, 500)
			return
		}
	}
	if err := c.applyBoth(q.from, &m, o, &om); err != nil {
		c.log.Warn("media not changed", "error", err)
		c.withdraw(q, 500)
		c.putBack(q)
		return
	}
	before := q.from.d.Media
	q.from.d.Media, o.d.Media = m, om
	if q.s != nil {
		q.s.before = &before
		c.renewed(q.from, q.s, body)
	}
	if q.done != nil {
		q.done(true)
	}
}

// name is what the offer was sent as.
func (q *asked) name() string {
	if q.method == sip.UPDATE {
		return "UPDATE"
	}
	return "re-INVITE"
}

// glareWait is the pause after a 491 (RFC 3261 section 14.1), in units of 10 ms: 2.1 to 4 s for the owner of the Call-ID,
// which we are as UAC, 0 to 2 s for the other.
func (b *B2BUA) glareWait(uas bool) time.Duration {
	if uas {
		return time.Duration(b.random(200)) * b.t.Glare
	}
	return time.Duration(210+b.random(191)) * b.t.Glare
}
