package b2bua

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/sdp"
	"tandem/signaling/trunk"
)

// Bounds of transfers.
const (
	transfersMost = 8                // transfers behind each other: beyond it two parties send each other back and forth
	referMargin   = 10 * time.Second // a transfer is given up so long after the new call should have been
	leaseOfRefer  = 3 * time.Minute  // of the subscription that a REFER makes, where nothing else bounds it
)

// transfer is a REFER at work, in the call that got it (RFC 3515, RFC 5589).
type transfer struct {
	by    *leg   // who asked, and hears how it goes
	keep  *leg   // who goes on
	id    uint32 // of the subscription: CSeq of the REFER
	named bool   // the id is told: it is not the first of the dialog
	told  int    // status of the latest NOTIFY
	quiet bool   // no NOTIFY is wanted (RFC 4488), or nobody takes it
	on    bool   // told to the other side, which does it
	to    *call  // the new call; nil: another call of ours is joined
	claim *claim // on that other call, until it is answered; nil: none
	end   *deadline
}

// origin is where a call that a transfer began comes from.
type origin struct {
	c *call
	x *transfer
}

// referred is a REFER: who sent it wants the other side to talk to somebody else.
func (c *call) referred(l *leg, in *guard.Inbound) {
	o := c.other(l)
	to, err := referTo(in.Req)
	switch {
	case c.phase == Over || l.ended || o == nil || o.ended:
		c.decide(in, 481, nil)
	case c.phase != Answered:
		c.decide(in, 403, nil)
	case c.xfer != nil:
		c.decide(in, 491, nil)
	case err != nil:
		c.log.Info("transfer refused", "leg", l.name, "why", err)
		c.decide(in, 400, nil)
	case c.depth >= transfersMost:
		c.log.Warn("transfer refused: too many behind each other", "leg", l.name)
		c.decide(in, 403, nil)
	case o.trunk.Policy.Refer == config.ReferForward && to.replaces == nil:
		c.referOn(l, o, in, to)
	default:
		c.consume(l, o, in, to)
	}
}

// consume does what a REFER asks for: the new call is ours.
func (c *call) consume(l, o *leg, in *guard.Inbound, to target) {
	if c.b.draining.Load() {
		c.decide(in, 503, retryAfter(c.b.soon()))
		return
	}
	x := c.beginTransfer(l, o, in)
	c.decide(in, 202, func(res *sip.Response) {
		c.addContact(res, in.Listener)
		if x.quiet {
			res.AppendHeader(sip.NewHeader("Refer-Sub", "false"))
		}
	})
	c.notify(x, 100)
	c.log.Info("transfer", "by", l.String(), "replaces", to.replaces != nil)
	if to.replaces != nil && c.consult(x, in, to) {
		return
	}
	if code := c.dial(x, in, to); code != 0 {
		c.transferFailed(x, code)
	}
}

// beginTransfer notes a REFER.
func (c *call) beginTransfer(l, o *leg, in *guard.Inbound) *transfer {
	x := &transfer{by: l, keep: o, id: cseq(in.Req), named: l.refers > 0, quiet: hasToken(in.Req, "Refer-Sub", "false")}
	l.refers++
	c.xfer = x
	wait := c.v.cfg.SIP.Limits.RingTimeout
	if wait <= 0 {
		wait = leaseOfRefer
	}
	x.end = c.timers.after(wait+referMargin, func() { c.transferFailed(x, 408) })
	return x
}

// dial begins the new call: it enters by the trunk of who asked for it, and its caller is who stays. The result is 0, or the
// status that says why there is none.
func (c *call) dial(x *transfer, in *guard.Inbound, to target) int {
	v := c.b.seen.Load()
	entry, ok := v.trunks.ByName(x.by.trunk.Name)
	if !ok {
		return 403
	}
	if c.forwards < 1 {
		return 483
	}
	invite, err := c.inviteOf(x, in, to)
	if err != nil {
		c.log.Warn("no call for a transfer", "error", err)
		return 400
	}
	id := c.b.newTag()
	n := newCall(c.b, v, id)
	n.from, n.entry, n.depth, n.forwards = &origin{c, x}, entry, c.depth+1, c.forwards-1
	n.called, n.caller = to.number, number(&invite.From().Address)
	n.rec.From, n.rec.Source, n.rec.TransferOf, n.rec.Called, n.rec.Caller = entry.Name, in.Source.String(), c.id, n.called, n.caller
	body, audio := x.keep.d.Media.spoken()
	n.a = &leg{name: legA, trunk: x.keep.trunk, ended: true,
		open: &served{in: &guard.Inbound{Req: invite, Listener: in.Listener, Source: in.Source}, late: true}}
	n.a.d = Dialog{Trunk: x.keep.trunk.Name, UAS: true, LocalTag: id, CallID: x.keep.d.CallID, Peer: x.keep.d.Peer,
		Media: Media{Received: body, Audio: audio, Origin: c.b.origin(), Theirs: sdp.Sendrecv}}
	n.begins(n.dialled)
	if int(c.b.active.Add(1)) > c.b.limit() || !c.b.enter(n) {
		c.b.active.Add(-1)
		c.b.count(DropLimit)
		return 503
	}
	n.counted = true
	x.to = n
	c.b.employ(n)
	return 0
}

// inviteOf is the INVITE that the one who stays would have sent, so that all that is made of an INVITE can be made of it.
func (c *call) inviteOf(x *transfer, in *guard.Inbound, to target) (*sip.Request, error) {
	d := x.keep.d
	d.LocalTag, d.RemoteTag = c.b.token(), ""
	d.Local, d.Remote, d.Routes = x.keep.d.Remote, nameAddr("", plainURI(&to.uri)), nil
	d.Target = plainURI(&to.uri)
	req, err := d.request(sip.INVITE, 1)
	if err != nil {
		return nil, err
	}
	for _, v := range named(in.Req, "Referred-By") {
		req.AppendHeader(sip.NewHeader("Referred-By", v))
	}
	if r := to.replaces; r != nil {
		req.AppendHeader(sip.NewHeader("Replaces", r.header()))
	}
	return req, nil
}

// dialled is the first thing that a call of a transfer does.
func (c *call) dialled() {
	if !c.routed() {
		return
	}
	if why, ok := c.entry.Pace(trunk.Ask{Emergency: c.rec.Emergency}, c.b.o.Now()); !ok {
		c.turnAway(503, causeNoPlace, "trunk "+c.entry.Name+" asks for too many: "+why)
		return
	}
	wait := c.v.cfg.SIP.Limits.RingTimeout
	if wait <= 0 {
		wait = defaultRing
	}
	c.ring = c.timers.after(wait, c.ringTimeout)
	c.publish()
	c.nextTrunk()
}

// report tells the call of the REFER how the new one goes.
func (o *origin) report(code int) {
	o.c.postOwn(func() {
		switch {
		case o.c.xfer != o.x:
		case code < 200:
			o.c.notify(o.x, code)
		default:
			o.c.transferFailed(o.x, code)
		}
	})
}

// fetch asks for the leg of who stays: the new call was answered.
func (c *call) fetch() {
	o := c.from
	if !o.c.postOwn(func() { o.c.release(o.x, c, idleTries) }) {
		c.hangUp(503, "transfer came to nothing", "")
		return
	}
	c.ring = c.timers.after(c.b.t.giveUp(), func() {
		if c.from != nil {
			c.hangUp(408, "transfer came to nothing", "")
		}
	})
}

// release gives the one who stays to the new call, and ends the old one with who asked for it.
func (c *call) release(x *transfer, to *call, tries int) {
	gone := c.xfer != x || c.phase != Answered || x.keep.ended
	switch {
	case !gone && !x.keep.idle() && tries > 0:
		c.timers.after(idleWait, func() { c.release(x, to, tries-1) })
		return
	case gone, !x.keep.idle(), !c.give(x.keep, to, func(g *gift) bool { return to.postOwn(func() { to.moveIn(g) }) }):
		to.postOwn(func() { to.moveIn(nil) })
		if !gone {
			c.transferFailed(x, 491)
		}
		return
	}
	c.notify(x, 200)
	c.endTransfer(x)
	c.sendBYE(x.by, nil)
	c.finish(200, c.sideOf(x.by), "transferred")
}

// moveIn takes the leg of who stays, and tells it with whom it talks from now on.
func (c *call) moveIn(g *gift) {
	c.timers.stop(c.ring)
	switch {
	case c.phase == Over:
		if g != nil {
			c.turnDown(g)
		}
		return
	case g == nil:
		c.hangUp(487, "transfer came to nothing", "")
		return
	}
	c.from = nil
	k := g.leg
	k.name, k.d.Media = legA, k.d.Media.anew(c.a.d.Media)
	c.a, c.place, c.firstSeq = k, g.place, 0
	c.rec.CallIDA = k.d.CallID
	c.resume(k)
	c.publish()
	c.tell(&asked{to: k, from: c.peer, offer: c.peer.d.Media, done: func(ok bool) {
		if !ok && c.phase != Over {
			c.hangUp(488, "transfer not taken part in", k.String())
		}
	}})
}

// join takes the other side of another call of who asked: two who do not know each other talk from now on.
func (c *call) join(x *transfer, g *gift, code, tries int) {
	switch {
	case g == nil:
		if c.xfer == x {
			c.transferFailed(x, code)
		}
		return
	case c.xfer != x || c.phase != Answered || x.keep.ended:
		c.turnDown(g)
		return
	case !x.keep.idle() && tries > 0:
		c.timers.after(idleWait, func() { c.join(x, g, code, tries-1) })
		return
	case !x.keep.idle():
		c.turnDown(g)
		c.transferFailed(x, 491)
		return
	}
	k := g.leg
	c.noteMedia(c.closeSession())
	c.rec.Joined = append(c.rec.Joined, Join{Call: g.call, Left: c.sideOf(x.by), Trunk: k.trunk.Name, At: c.b.o.Now()})
	c.depth++
	if c.former = append(c.former, x.by); x.by == c.a {
		c.place.give()
		k.name, c.a, c.place, c.firstSeq = legA, k, g.place, 0
	} else {
		c.turn.place.give()
		k.name, c.peer, c.turn.place = legB, k, g.place
	}
	for _, l := range []*leg{c.a, c.peer} {
		l.d.Media = l.d.Media.anew(Media{})
	}
	c.resume(k)
	if err := c.openSession(c.peer.trunk); err != nil {
		c.joined(x, false)
		return
	}
	c.peer.d.Media.Local, c.peer.d.Media.RTCP = c.leaseB.Local, c.leaseB.RTCP
	c.tell(&asked{to: x.keep, from: k, offer: k.d.Media, done: func(ok bool) {
		if !ok {
			c.joined(x, false)
			return
		}
		c.tell(&asked{to: k, from: x.keep, offer: x.keep.d.Media, done: func(ok bool) { c.joined(x, ok) }})
	}})
}

// joined ends a transfer between two calls of ours. There is nothing to go back to if it failed.
func (c *call) joined(x *transfer, ok bool) {
	if c.phase == Over {
		return
	}
	code := 200
	if !ok {
		code = 503
	}
	c.notify(x, code)
	c.endTransfer(x)
	c.sendBYE(x.by, nil)
	if !ok {
		c.hangUp(488, "transfer not taken part in", "")
		return
	}
	c.publish()
}

// transferFailed tells who asked that it came to nothing: the call goes on as it was, unless he hung up meanwhile.
func (c *call) transferFailed(x *transfer, code int) {
	if c.xfer != x || c.phase == Over {
		return
	}
	c.log.Info("transfer failed", "code", code)
	c.notify(x, passedCode(code))
	c.endTransfer(x)
	if x.by.ended {
		c.hangUp(code, "transfer failed", fmt.Sprintf("%s hung up before it was done", x.by))
	}
}

// endTransfer forgets a REFER; a new call that nobody waits for any more ends.
func (c *call) endTransfer(x *transfer) {
	c.timers.stop(x.end)
	if c.xfer == x {
		c.xfer = nil
	}
	if cl := x.claim; cl != nil {
		x.claim = nil
		cl.owner.postOwn(func() { cl.owner.unpromise(cl) })
	}
	if n := x.to; n != nil {
		n.postOwn(func() {
			if n.from != nil {
				n.hangUp(487, "transfer given up", "")
			}
		})
	}
}

// sideOf is who a leg is in the record.
func (c *call) sideOf(l *leg) string {
	if l == c.a {
		return byCaller
	}
	return byCallee
}
