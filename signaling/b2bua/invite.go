package b2bua

import (
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// defaultRing is Timer C's least (RFC 3261 section 16.6, item 11: more than 3 minutes), for a config that leaves it open.
const defaultRing = 3 * time.Minute

// served is an INVITE of a peer: the first one or one inside the dialog.
type served struct {
	in    *guard.Inbound
	seq   uint32
	final bool          // a final response was sent
	res   *sip.Response // the 2xx, until its ACK
	every time.Duration // between its retransmissions
	again *deadline
	end   *deadline

	before   *Media // what was agreed until it was answered; nil: it was not, or agreed nothing
	late     bool   // it brought no offer: ours is in the answer, and the peer's answer in the ACK or the PRACK
	agreed   bool   // that answer came
	offer    string // ours to a caller, once it was made
	proposed Media  // ours inside a dialog
}

// invited is the first thing a call does: judge the INVITE, and try the first trunk.
func (c *call) invited(in *guard.Inbound) {
	c.firstSeq = c.a.open.seq
	if !c.understood(in) || c.replacing(in.Req) || !c.routed() || !c.faxRouted() || !c.entered() {
		c.away()
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

// understood reads the request: dialog, numbers, offer.
func (c *call) understood(in *guard.Inbound) bool {
	req := in.Req
	d, err := dialogUAS(req, c.id)
	if err != nil {
		c.log.Info("refused: bad INVITE", "error", err)
		c.reject(400, "", nil)
		return false
	}
	d.Trunk, d.Peer, d.Server = c.a.trunk.Name, in.Source, ""
	d.Media.Origin = c.b.origin()
	c.a.d = d
	c.rec.CallIDA = d.CallID
	c.called, c.caller = number(&req.Recipient), number(&req.From().Address)
	c.rec.Called, c.rec.Caller = c.called, c.caller
	c.forwards = maxForwards
	if h := req.MaxForwards(); h != nil {
		if c.forwards = int(h.Val()) - 1; c.forwards < 0 {
			c.reject(483, "", nil)
			return false
		}
	}
	if c.brought, err = unpack(req); err != nil {
		c.reject(415, err.Error(), func(res *sip.Response) { res.AppendHeader(sip.NewHeader("Accept", contentSDP)) })
		return false
	}
	c.a.learn(req)
	if !c.private(req) || !c.agreeReliable(req) || !c.timerAllows(c.a, c.a.open) {
		return false
	}
	if len(req.Body()) == 0 {
		c.a.open.late = true
		c.a.d.Media = lateMedia(c.a.d.Media)
		return true
	}
	next, ok := c.readOffer(c.a, c.a.open, req)
	if !ok {
		return false
	}
	c.a.d.Media = next
	return true
}

// readOffer reads the offer of a request; one that cannot be accepted is answered and false returned.
func (c *call) readOffer(l *leg, s *served, req *sip.Request) (Media, bool) {
	if ct := req.ContentType(); ct == nil || !isSDP(ct.Value()) {
		c.rejectServed(l, s, 415, "the body is no SDP", func(res *sip.Response) { res.AppendHeader(sip.NewHeader("Accept", contentSDP)) })
		return Media{}, false
	}
	back := c.aside() // a c= line may name a host
	next, err := c.b.terms(l).readOffer(c.b.patience(), l.d.Media, req.Body())
	back()
	if err != nil {
		c.refuseOffer(l, s, err)
		return Media{}, false
	}
	return next, true
}

// isSDP reports the media type application/sdp, parameters aside.
func isSDP(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(t), contentSDP)
}

// refuseOffer answers a request whose offer cannot be taken. The Warning says why, unless the fault is
// ours (RFC 3261 section 20.43).
func (c *call) refuseOffer(l *leg, s *served, err error) {
	code, text := refusalOf(err)
	c.log.Info("offer refused", "leg", l.name, "code", code, "why", err)
	c.rejectServed(l, s, code, err.Error(), func(res *sip.Response) {
		if text != "" {
			agent := c.b.host(l.trunk.Policy.Listener)
			res.AppendHeader(sip.NewHeader("Warning", fmt.Sprintf("399 %s %s", agent, quote(text))))
		}
	})
}

// rejectServed ends the call if s was its first INVITE, else only what s asked for. why is for the record.
func (c *call) rejectServed(l *leg, s *served, code int, why string, with func(*sip.Response)) {
	if s != c.a.open || l.d.Confirmed {
		c.refuse(l, s, code, with)
		return
	}
	c.reject(code, why, with)
}

// reject answers the caller's INVITE with a failure and ends the call.
func (c *call) reject(code int, why string, with func(*sip.Response)) {
	c.rejectBy(code, byUs, why, with)
}

// rejectBy does so when a peer is the reason.
func (c *call) rejectBy(code int, by, why string, with func(*sip.Response)) {
	c.decline(c.a, code, with)
	c.finish(code, by, why)
}

// ringTimeout is Timer C: nobody answered in all that time.
func (c *call) ringTimeout() {
	if c.phase >= Answered {
		return
	}
	cause := causeExpired
	if c.phase == Ringing {
		cause = causeNoAnswer
	}
	c.abandonAll("ring timeout")
	c.turnAway(408, cause, "ring timeout")
}
