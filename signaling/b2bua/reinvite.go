package b2bua

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/sdp"
)

// glareTries is how often an offer is repeated after a 491 before the side that made it gets the 491 (it will try again
// by itself).
const glareTries = 3

// asked is a re-INVITE of ours to one leg, because of an offer of the other.
type asked struct {
	to     *leg
	from   *leg    // who made the offer
	s      *served // its INVITE; nil: nobody waits, we put back what was agreed
	offer  Media   // what from will have agreed to
	media  Media   // what we proposed to to
	body   []byte  // our offer
	tries  int
	uac    *uac
	giveUp *deadline
	again  *deadline // after a 491
}

// reinvited is a re-INVITE. What concerns only the one side is answered at once; what the other must know is passed on.
func (c *call) reinvited(l *leg, in *guard.Inbound) {
	switch {
	case c.phase == Over || l.ended:
		c.decide(in, 481, nil)
		return
	case l.open != nil && !l.open.final: // RFC 3261 section 14.2
		c.decide(in, 500, retryAfter(c.b.soon()))
		return
	case c.phase < Answered, l.asked != nil && !l.asked.uac.done: // after a 491 the peer may go first
		c.decide(in, 491, nil)
		return
	}
	c.settled(l) // an INVITE proves that our 2xx of the one before arrived, ACK or not
	l.open = &served{in: in, seq: cseq(in.Req)}
	c.decide(in, 100, nil)
	next, ok := c.readOffer(l, in.Req)
	if !ok {
		return
	}
	if same(l.d.Media, next) {
		c.answerAlone(l, next)
		return
	}
	q := &asked{to: c.other(l), from: l, s: l.open, offer: next}
	if !c.park(q.to, func() { c.pass(q) }) { // its ACK may be on the way
		c.pass(q)
	}
}

// pass sends an offer on unless the other side has one on its way to this one, or just had.
func (c *call) pass(q *asked) {
	switch o := q.to; {
	case !q.waits():
	case o.open != nil || o.asked != nil || o.ended:
		c.decline(q.from, 491, nil)
	default:
		c.passOn(q)
	}
}

// answerAlone answers an offer that says nothing new to the other side: a refresh, another address, another key.
func (c *call) answerAlone(l *leg, next Media) {
	now := l.d.Media
	next.Ours = next.Theirs.Answer(now.Ours)
	offer, err := readSDP(next.Received)
	if err != nil {
		c.refuseOffer(l, err)
		return
	}
	told, err := readSDP(now.Sent)
	if err != nil {
		c.refuseOffer(l, err)
		return
	}
	body := next.tell(func() []byte { return sdp.Answer(offer, next.Audio, told, now.Slot, next.side(next.TX)) })
	o := c.other(l)
	if err := c.applyBoth(l, &next, o, &o.d.Media); err != nil {
		c.refuseOffer(l, err)
		return
	}
	l.d.Media = next
	c.renewed(l, body)
}

// renewed sends the 200 to a re-INVITE. The target it brought is the target from now on.
func (c *call) renewed(l *leg, body []byte) {
	if l.d.retarget(l.open.in.Req) {
		l.egress = nil
	}
	c.accept(l, body)
}

// applyBoth is apply for two legs in any order.
func (c *call) applyBoth(l *leg, m *Media, o *leg, om *Media) error {
	if l == c.a {
		return c.apply(m, om, o, true)
	}
	return c.apply(om, m, l, true)
}

// passOn sends the offer of one side to the other.
func (c *call) passOn(q *asked) {
	o := q.to
	next, err := c.b.terms(o).propose(o.d.Media, o.d.Media.Secure, q.offer.Theirs)
	if err != nil {
		c.withdraw(q, 500)
		return
	}
	offer, err := readSDP(q.offer.Received)
	if err != nil {
		c.withdraw(q, 500)
		return
	}
	before, err := readSDP(o.d.Media.Sent)
	if err != nil {
		c.withdraw(q, 500)
		return
	}
	q.body = next.tell(func() []byte {
		return sdp.Update(offer, q.offer.Audio, next.side(next.Offered...), before, next.Slot)
	})
	q.media = next
	o.d.Media.Origin = next.Origin // the version counts from what was sent, accepted or not
	c.ask(q)
}

// ask sends the re-INVITE, or sends it again after a glare.
func (c *call) ask(q *asked) {
	o := q.to
	req, err := o.d.request(sip.INVITE, o.d.next())
	if err != nil {
		c.log.Warn("re-INVITE not sent", "leg", o.name, "error", err)
		c.withdraw(q, 500)
		return
	}
	c.addOurs(req, o.trunk.Policy.Listener)
	setSDP(req, q.body)
	o.asked = q
	q.tries++
	q.uac = c.send(o, c.way(o), req, func(res *sip.Response, err error) { c.reanswered(q, res, err) })
	q.giveUp = c.timers.after(c.b.t.giveUp(), func() { q.uac.cancel() })
}

// waits reports whether the side that made the offer still waits for its answer.
func (q *asked) waits() bool { return q.s != nil && q.from.open == q.s && !q.s.final }

// withdraw ends an exchange that came to nothing: nothing changed, and who waits hears why.
func (c *call) withdraw(q *asked, code int) {
	c.timers.stop(q.giveUp)
	c.timers.stop(q.again)
	if q.to.asked == q {
		q.to.asked = nil
	}
	if q.waits() {
		c.decline(q.from, code, nil)
	}
}

// reanswered takes what becomes of our re-INVITE.
func (c *call) reanswered(q *asked, res *sip.Response, err error) {
	switch {
	case err != nil:
		if q.to.asked == q {
			c.withdraw(q, 408)
			c.hangUp(408, "re-INVITE not answered", q.to.String()+": "+err.Error()) // RFC 3261 section 12.2.1.2
		}
	case res.StatusCode < 200:
	case res.StatusCode < 300:
		first := q.to.asked == q
		if first && q.to.d.retarget(res) {
			q.to.egress = nil
		}
		c.acknowledge(q.to, cseq(res)) // after a challenge it is not the number we began with
		if first {
			c.timers.stop(q.giveUp)
			q.to.asked = nil
			c.agree(q, res)
		}
	case q.to.asked != q: // given up meanwhile
	case res.StatusCode == 491 && q.tries < glareTries && (q.s == nil || q.waits()):
		c.timers.stop(q.giveUp)
		q.again = c.timers.after(c.b.glareWait(q.to.d.UAS), func() { c.retry(q) })
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

// agree completes a passed offer: both legs change together.
func (c *call) agree(q *asked, res *sip.Response) {
	o := q.to
	if c.phase == Over || o.ended {
		return
	}
	ctx, cancel := c.b.patience()
	defer cancel()
	om, err := c.b.terms(o).answered(ctx, q.media, res.Body())
	if err != nil {
		c.log.Warn("answer to a re-INVITE not usable", "leg", o.name, "why", err)
		c.withdraw(q, 488)
		return
	}
	if q.s != nil && !q.waits() { // who asked took it back, too late for us to stop it: put back what was agreed
		o.d.Media = om
		c.passOn(&asked{to: o, from: q.from, offer: q.from.d.Media})
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
		return
	}
	q.from.d.Media, o.d.Media = m, om
	if q.s != nil {
		c.renewed(q.from, body)
	}
}

// withdrawn is a CANCEL for a re-INVITE: what it set in motion on the other side is cancelled as well.
func (c *call) withdrawn(l *leg) {
	s := l.open
	s.final = true
	c.settled(l)
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
	if s == nil || s.final {
		return
	}
	s.final = true
	c.decide(s.in, code, with)
}

// glareWait is the pause after a 491 (RFC 3261 section 14.1), in units of 10 ms: 2.1 to 4 s for the owner of the Call-ID,
// which we are as UAC, 0 to 2 s for the other.
func (b *B2BUA) glareWait(uas bool) time.Duration {
	if uas {
		return time.Duration(b.random(200)) * b.t.Glare
	}
	return time.Duration(210+b.random(191)) * b.t.Glare
}

// answerFrom writes the answer to one leg's offer from the other leg's answer.
func answerFrom(m, other *Media) ([]byte, error) {
	offer, err := readSDP(m.Received)
	if err != nil {
		return nil, err
	}
	answer, err := readSDP(other.Received)
	if err != nil {
		return nil, err
	}
	return m.tell(func() []byte { return sdp.Answer(offer, m.Audio, answer, other.Audio, m.side(m.TX)) }), nil
}

func readSDP(body string) (*sdp.Session, error) { return sdp.Read([]byte(body)) }
