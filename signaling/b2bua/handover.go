package b2bua

import (
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/sdp"
)

// A leg may change its call: a transfer joins the one who stays with somebody else. Legs belong to the goroutine of their
// call, so they are never shared: the giver makes a copy, puts it into the taker's mailbox, and keeps a leg that is over and
// only tells where the other one went.

// idleTries is how often a giver looks again whether a leg is between two requests, and idleWait how long it waits.
const (
	idleTries = 40
	idleWait  = 100 * time.Millisecond
)

// gift is a leg on its way to another call, with its place on its trunk.
type gift struct {
	leg   *leg
	place place
	call  string // whose it was: our id
}

// claim asks a call for the peer of one of its dialogs. got is called once, in the taker's goroutine: with the leg, or with
// the status that says why not.
type claim struct {
	replaces
	trunk string // of who asks
	taker *call
	owner *call // who has the dialog; set before it is asked
	got   func(g *gift, code int)
	late  bool   // it was a call of who asked, given up a moment ago; set before got
	rings func() // told, in the taker's goroutine, that the claim waits for a callee who still rings; nil: it must not wait
}

func (cl *claim) answer(g *gift, code int) bool {
	return cl.taker.postOwn(func() { cl.got(g, code) })
}

// claimDialog passes a claim to the call that has the dialog. False: we have no such dialog.
func (b *B2BUA) claimDialog(cl *claim) bool {
	b.mu.Lock()
	m, ok := b.dialogs[cl.toTag]
	b.mu.Unlock()
	if !ok {
		return false
	}
	cl.owner = m.c
	if m.c == cl.taker || !m.c.postOwn(func() { m.c.yield(m.l, cl, idleTries) }) {
		cl.answer(nil, 481)
	}
	return true
}

// yield gives the peer of a dialog away, and ends that dialog (RFC 3891 section 3). Only the trunk that has the dialog may
// ask, or one of its group: a pool speaks with several addresses, and nobody else has any business with its tags.
func (c *call) yield(l *leg, cl *claim, tries int) {
	keep := c.other(l)
	code := 0
	switch {
	case c.phase == Over || l.ended || l.moved != nil || l.d.CallID != cl.callID || !c.speaks(l, cl.fromTag):
		code = 481
		cl.late = c.givenUp && l == c.a && l.d.CallID == cl.callID && l.d.RemoteTag == cl.fromTag && c.b.kin(l.trunk.Name, cl.trunk)
	case !c.b.kin(l.trunk.Name, cl.trunk):
		code = 403
	case c.promised != nil:
		code = 491
	case l == c.a && c.phase < Answered:
		if code = c.promise(cl); code == 0 {
			return
		}
	case c.ringsAt(l):
		if code = c.pickUp(cl); code == 0 {
			return
		}
	case c.phase != Answered || keep == nil || keep.ended || l != c.a && l != c.peer:
		code = 481
	case cl.early:
		code = 486
	case c.xfer != nil || c.from != nil:
		code = 491
	case !keep.idle() && tries > 0:
		c.timers.after(idleWait, func() { c.yield(l, cl, tries-1) })
		return
	case !keep.idle():
		code = 491
	}
	if code != 0 {
		cl.answer(nil, code)
		return
	}
	if c.give(keep, cl.taker, func(g *gift) bool { return cl.answer(g, 0) }) {
		c.sendBYE(l, nil)
		c.finish(200, byUs, "replaced by another call")
	}
}

// kin reports two trunks that are one, or of one group.
func (b *B2BUA) kin(x, y string) bool {
	if x == y {
		return true
	}
	for _, g := range b.seen.Load().cfg.Groups {
		if slices.Contains(g.Trunks, x) && slices.Contains(g.Trunks, y) {
			return true
		}
	}
	return false
}

// idle reports a leg between two requests.
func (l *leg) idle() bool {
	return l.open == nil && l.update == nil && l.asked == nil && l.bye == nil && len(l.parked) == 0
}

// give moves a leg to another call. False: that call is gone, and nothing happened.
func (c *call) give(keep *leg, taker *call, post func(*gift) bool) bool {
	p := &c.place
	if keep != c.a {
		p = &c.turn.place
	}
	k := *keep
	k.egress, k.unpark, k.timer.next, k.timer.end, k.infos = nil, nil, nil, nil, 0
	g := &gift{leg: &k, place: *p, call: c.id}
	if !c.b.moves(g, taker, post) {
		return false
	}
	*p = place{}
	c.stopTimer(keep)
	keep.ended = true
	keep.moved = func(in *guard.Inbound) { taker.deliver(g.leg, in) }
	return true
}

// moves posts a gift and enters its dialog as the taker's, in one: what comes for it finds the taker, and comes behind it.
func (b *B2BUA) moves(g *gift, taker *call, post func(*gift) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !post(g) {
		return false
	}
	b.dialogs[g.leg.d.LocalTag] = member{taker, g.leg}
	return true
}

// turnDown ends a leg that nobody wants any more.
func (c *call) turnDown(g *gift) {
	c.sendBYE(g.leg, reasonSIP(487, ""))
	g.place.give()
	c.b.unlearnOf(g.leg.d.LocalTag, c)
}

// anew is a leg's media in another session of the relay: another port, and keys that were never used there. What its peer
// can is known; where it is and what it seals with is not, until it has answered (RFC 3711 section 3.2.3: another
// destination is another cryptographic context). Who was in the middle of a fax goes on as audio, of what telephony always has:
// the one to whom it comes knows nothing of the fax.
func (m Media) anew(at Media) Media {
	m.Received, m.Audio = m.spoken()
	m.Secure, m.Fax, m.Sealed = m.keyed(), false, false
	m.Local, m.RTCP, m.Pass = at.Local, at.RTCP, false
	m.TX, m.RX, m.Offered = Crypto{}, Crypto{}, nil
	m.Remote, m.RemoteCt = at.Remote, at.RemoteCt
	m.Theirs = sdp.Sendrecv
	return m
}

// resume starts a leg's session timer in its new call.
func (c *call) resume(l *leg) {
	if l.timer.every > 0 {
		c.startTimer(l)
	}
}

// replacing takes an INVITE with Replaces: the caller takes the place of a dialog of ours, and talks to its peer (RFC 3891
// section 3). False: it is an ordinary one.
func (c *call) replacing(req *sip.Request) bool {
	list := values(req, "Replaces")
	if len(list) == 0 {
		return false
	}
	r, err := parseReplaces(list[0])
	switch {
	case len(list) > 1 || err != nil:
		c.reject(400, "Replaces cannot be read", nil)
		return true
	case c.owesAnswer():
		c.reject(488, "Replaces without an offer", nil)
		return true
	}
	c.rec.Decision = "takes the place of another call"
	if !c.entered() {
		return true
	}
	c.ring = c.timers.after(c.b.t.giveUp(), func() { c.reject(408, "the call to be replaced does not answer", nil) })
	cl := &claim{replaces: r, trunk: c.a.trunk.Name, taker: c, got: c.replaced}
	if !c.b.claimDialog(cl) {
		c.reject(481, "Replaces names no call of ours", nil)
	}
	return true
}

// replaced joins the caller with the leg that was taken over: its offer goes there, the answer comes back as the 200.
func (c *call) replaced(g *gift, code int) {
	switch {
	case g == nil:
		if c.phase != Over {
			c.reject(code, "the call cannot be replaced", nil)
		}
		return
	case c.phase == Over:
		c.turnDown(g)
		return
	}
	k := g.leg
	k.name = legB
	c.peer, c.turn = k, &turn{trunk: k.trunk, place: g.place}
	c.timers.stop(c.ring)
	if err := c.openSession(k.trunk); err != nil {
		c.sendBYE(k, reasonSIP(503, ""))
		c.reject(503, err.Error(), nil)
		return
	}
	k.d.Media = k.d.Media.anew(Media{Local: c.leaseB.Local, RTCP: c.leaseB.RTCP})
	c.phase, c.a.d.Confirmed = Answered, true
	c.rec.Answer, c.rec.To, c.rec.CallIDB = c.b.o.Now(), k.trunk.Name, k.d.CallID
	c.resume(k)
	c.publish()
	c.tell(&asked{to: k, from: c.a, s: c.a.open, offer: c.a.d.Media, done: func(ok bool) {
		if !ok && c.phase != Over {
			c.a.ended = true // it was refused
			c.rec.Answer = time.Time{}
			c.hangUp(488, "the other side does not take part", "")
		}
	}})
}
