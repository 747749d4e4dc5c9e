package b2bua

import (
	"errors"
	"slices"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/route"
)

// maxForks is how many surplus 2xx of one INVITE get a BYE (Lync: MaxEarlyDialogs); beyond it somebody plays.
const maxForks = 20

// replied takes one response to the INVITE of an attempt, or its end without one.
func (c *call) replied(at *attempt, res *sip.Response, err error) {
	if err == nil {
		if !at.heard {
			at.heard = true
			at.turn.trunk.AddressWorked(at.addr)
		}
		switch {
		case res.StatusCode < 200, res.StatusCode == 408: // a 408 may tell of a callee far behind the peer
		case res.StatusCode == 503 && at.turn.more(at):
			at.turn.trunk.AddressFailed(at.addr, c.b.o.Now()) // one server of several: the others may well
		default:
			c.b.report(c.log, at.leg.trunk, res)
		}
		c.heardFrom(at.leg, res)
	}
	switch {
	case err != nil:
		c.settle(at)
		c.unanswered(at, err)
	case res.StatusCode == 100:
		// It proves that somebody is there, not that anybody will ring: the failover timer goes on.
	case res.StatusCode < 200:
		c.rings(at, res)
	case res.StatusCode < 300:
		c.accepted(at, res)
	default:
		c.settle(at)
		c.refused(at, res)
	}
}

// current reports whether the attempt is the one whose answers still go to the caller.
func (c *call) current(at *attempt) bool {
	return c.try == at && c.phase < Answered
}

// unanswered is an attempt that ended by a timer or the transport: at once the next address has its turn.
func (c *call) unanswered(at *attempt, err error) {
	if !c.current(at) {
		return
	}
	code := 504
	if errors.Is(err, guard.ErrTransport) {
		code, at.lost = 503, true // RFC 3261 section 8.1.3.1
	}
	if at.lost || !at.alive() {
		at.turn.trunk.AddressFailed(at.addr, c.b.o.Now())
	}
	c.failed(at, code, err.Error())
	c.nextAddress(at.turn)
}

// rings passes an 18x on, with its SDP if it has one (early media).
func (c *call) rings(at *attempt, res *sip.Response) {
	if !c.current(at) {
		return
	}
	f := c.branch(at, res)
	if f == nil && len(at.forks) > 0 {
		return
	}
	at.leg.learn(res)
	reliably := f != nil && !prackOff(&at.leg.trunk.Policy) && requires(res, optionRel)
	if reliably && !c.prack(at.leg, &f.rseq, res) {
		return
	}
	c.timers.stop(at.timer)
	if c.phase < Ringing {
		c.phase = Ringing
		c.rec.Ring = c.b.o.Now()
		c.publish()
	}
	if res.StatusCode == 199 {
		c.forkGone(at, res)
		return
	}
	var body []byte
	if hasSDP(res) {
		if f != nil {
			f.answer, f.settled = string(res.Body()), f.settled || reliably
		}
		var err error
		if body, err = c.connect(at, res.Body(), false); err != nil {
			// Early media is a courtesy: the call goes on without it, and fails at the 200 if it must.
			c.log.Info("early media not used", "trunk", at.leg.trunk.Name, "why", err)
		}
	}
	if f != nil && body != nil {
		f.heard = at.leg.d.Media.Received
	}
	if c.owesAnswer() && !c.rel.on {
		body = nil // an offer goes in a reliable response or in the 200 (RFC 3261 section 13.2.1)
	}
	c.progress(provisional{res.StatusCode, body, reliably})
}

// connect takes a peer's answer to our offer: both legs' media are agreed, the relay is told, and the body for the caller
// returned.
func (c *call) connect(at *attempt, answer []byte, final bool) ([]byte, error) {
	ctx := c.b.patience()
	b := at.leg
	if at.proposed.Pass {
		nb, err := at.proposed.passedBody(answer)
		if err != nil {
			return nil, err
		}
		return c.cross(c.a, b, c.a.d.Media, nb), nil
	}
	nb, err := c.b.terms(b).answered(ctx, at.proposed, answer)
	if err == nil {
		err = nb.offeredOnly(&c.a.d.Media)
	}
	if err != nil {
		return nil, err
	}
	switch s := c.a.open; {
	case c.owesAnswer():
		return c.offerBack(at, nb, final)
	case s != nil && s.late: // its answer came in a PRACK: there is nothing left to exchange
		if err := c.apply(&c.a.d.Media, &nb, b, final); err != nil {
			return nil, err
		}
		b.d.Media = nb
		return nil, nil
	}
	na := c.a.d.Media
	na.Ours = na.Theirs.Answer(nb.Theirs)
	body, err := answerFrom(&na, &nb)
	if err != nil {
		return nil, err
	}
	if err := c.apply(&na, &nb, b, final); err != nil {
		return nil, err
	}
	c.a.d.Media, b.d.Media = na, nb
	return body, nil
}

// accepted is a 2xx: the first of the attempt that counts makes the call, any other is told that it came too late (RFC 3261
// section 13.2.2.4).
func (c *call) accepted(at *attempt, res *sip.Response) {
	switch {
	case at.accepted && toTag(res) == at.leg.d.RemoteTag:
		c.acknowledge(at.leg, cseq(res)) // our ACK was lost
	case at.accepted || !c.current(at):
		c.dismiss(at, res)
	default:
		c.answer(at, res)
	}
}

// answer joins the two legs: ACK to B, media, 200 to A.
func (c *call) answer(at *attempt, res *sip.Response) {
	l := at.leg
	c.timers.stop(at.timer)
	f := c.branch(at, res)
	if f == nil {
		l.d.RemoteSeq, l.d.Media = 0, at.proposed // a dialog of its own
	}
	settled := f != nil && f.settles(l, res)
	l.d.established(res)
	l.learn(res)
	c.timerAgreed(l, res)
	l.d.Confirmed, l.egress = true, nil
	at.accepted, at.forks, at.cur = true, nil, nil
	c.peer = l
	c.acknowledge(l, cseq(res))
	before := c.a.d.Media.Sent
	told, err := c.join2xx(at, res, settled)
	if err != nil {
		c.unusable(at, err)
		return
	}
	c.timers.stop(c.ring)
	c.phase = Answered
	c.rec.Answer = c.b.o.Now()
	c.noteFax(&c.a.d.Media, &l.d.Media)
	t := c.tried(at.index)
	t.Code, t.End = res.StatusCode, c.rec.Answer
	c.rec.To, c.rec.CallIDB, c.rec.Cause = l.trunk.Name, l.d.CallID, 0
	l.trunk.Connected()
	c.b.attempt(l.trunk.Name, res.StatusCode)
	c.b.answered(c.since(c.rec.Answer))
	c.a.d.Confirmed = c.promised == nil
	c.publish()
	if c.from != nil {
		c.fetch()
		return
	}
	if c.promised != nil {
		c.keepPromise(before, told, idleTries)
		return
	}
	c.acceptCaller(before, told)
}

// acceptCaller sends the caller its 200.
func (c *call) acceptCaller(before string, told []byte) {
	c.whenProved(func() {
		c.accept(c.a, told)
		c.catchUp(before, told)
	})
}

// join2xx is the media of the answer: what the 2xx says, or the 18x before it, or what was exchanged already.
func (c *call) join2xx(at *attempt, res *sip.Response, settled bool) ([]byte, error) {
	l := at.leg
	switch {
	case !settled && hasSDP(res):
		return c.connect(at, res.Body(), true)
	case !settled:
		return c.connect(at, []byte(l.d.Media.Received), true) // some send it in the 18x only
	case !l.d.Media.Pass:
		if err := c.apply(&c.a.d.Media, &l.d.Media, l, true); err != nil {
			return nil, err
		}
	}
	switch {
	case c.owesAnswer():
		return []byte(c.a.open.offer), nil
	case c.rel.done || c.from != nil:
		return nil, nil // the caller has it
	}
	return []byte(c.a.d.Media.Sent), nil
}

// catchUp tells each side what its 2xx could not: the callee of a hold that began while it rang, the caller of an answer
// that differs from the one which it acknowledged (it ignores any other: RFC 3261 section 13.2.1).
func (c *call) catchUp(before string, told []byte) {
	l := c.peer
	if l.d.Media.Pass || c.owesAnswer() {
		return
	}
	if c.rel.done && told != nil && string(told) != before {
		c.tell(&asked{to: c.a, from: l, offer: l.d.Media})
	}
	if c.behind || l.d.Media.Ours != c.a.d.Media.Theirs {
		c.behind = false
		c.tell(&asked{to: l, from: c.a, offer: c.a.d.Media})
	}
}

// unusable is a 2xx with which no media can flow: both sides are told why.
func (c *call) unusable(at *attempt, err error) {
	code, _ := refusalOf(err)
	why := err.Error()
	if code == 400 {
		code = 502 // it is not the caller's fault
	}
	c.log.Warn("answer not usable", "trunk", at.leg.trunk.Name, "why", why)
	c.failed(at, code, why)
	c.sendBYE(at.leg, reasonSIP(code, ""))
	c.reject(code, why, nil)
}

// dismiss ends a dialog that nobody wants: a fork's second 2xx, or one that crossed our CANCEL.
func (c *call) dismiss(at *attempt, res *sip.Response) {
	l := &leg{name: legB, trunk: at.leg.trunk, d: at.leg.d, proof: at.leg.proof}
	l.d.Media, l.d.Routes = Media{}, nil
	l.d.established(res)
	c.acknowledge(l, cseq(res))
	if !slices.Contains(at.dismissed, l.d.RemoteTag) && len(at.dismissed) < maxForks {
		at.dismissed = append(at.dismissed, l.d.RemoteTag)
		c.sendBYE(l, reasonSIP(487, ""))
	}
	if !at.accepted {
		c.b.unlearn(at.leg.d.LocalTag)
	}
}

// refused is a final failure. The trunk's rules make of it what counts: whether the next trunk is tried and what the caller
// hears. Whether the same trunk is asked once more without SRTP is between us and the peer: its own word decides.
func (c *call) refused(at *attempt, res *sip.Response) {
	if !c.current(at) {
		return
	}
	t, told, cause := at.turn, res.StatusCode, q850(res)
	if !t.plain && t.trunk.Policy.SRTP == config.SRTPOptional && (told == 488 || told == 415 || told == 606) {
		c.failedAs(at, told, 0, cause, "SRTP refused; once more without")
		t.plain = true
		if !c.start(t) && c.phase != Over {
			c.nextTrunk()
		}
		return
	}
	if told == 422 && t.least == 0 && at.leg.timer.raise(res) {
		c.failedAs(at, told, 0, cause, "longer session interval; once more with it")
		t.least = at.leg.timer.least
		if !c.start(t) && c.phase != Over {
			c.nextTrunk()
		}
		return
	}
	code, translated := told, 0
	if told >= 400 {
		if to, _, ok := route.Translate(t.trunk.Policy.Responses, told, cause); ok {
			code, translated = to, told
		}
	}
	c.failedAs(at, code, translated, cause, reasonPhrase(told))
	c.said = reasons(res)
	if told == 503 && code == 503 && t.more(at) { // RFC 3263 section 4.3: as if it could not be reached
		c.nextAddress(t)
		return
	}
	if told == 603 || code == 603 || !t.trunk.FailsOver(code) { // who declined is not called again by another way
		c.refuseCaller(code, res)
		return
	}
	c.nextTrunk()
}

// refuseCaller passes a final failure on. What makes no sense on the other side is translated: a redirection is never
// followed and tells addresses of the other side, a challenge is for us and not for the caller.
func (c *call) refuseCaller(code int, res *sip.Response) {
	c.rejectBy(passedCode(code), byCallee, reasonPhrase(code), func(out *sip.Response) {
		copyReason(res, out)
		copyRetryAfter(res, out)
	})
}

// passedCode is the status that the other side gets for one that was received.
func passedCode(code int) int {
	switch {
	case code >= 300 && code < 400:
		return 480
	case code == 401, code == 407:
		return 403
	case code == 420, code == 421, code == 422: // extensions and timers are between the peer and us
		return 480
	}
	return code
}
