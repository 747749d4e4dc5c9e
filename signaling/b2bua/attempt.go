package b2bua

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// attempt is one INVITE towards one address of one trunk: a dialog of its own, with a Call-ID and a tag of its own.
type attempt struct {
	leg      *leg
	turn     *turn
	addr     netip.AddrPort
	proposed Media // what our offer says; each answer is read against it
	uac      *uac
	index    int       // of its entry in the record's Tried
	timer    *deadline // silence: next address; no 18x: next trunk
	heard    bool      // any response came
	lost     bool      // the transport failed
	accepted bool      // its 2xx came first: this is the call

	forks     []*fork  // its early dialogs
	cur       *fork    // the one that leg speaks in; nil: none yet
	dismissed []string // tags of further 2xx that got their ACK and BYE
}

// alive reports that the address has answered something; a challenge that was met counts.
func (at *attempt) alive() bool { return at.heard || at.uac != nil && at.uac.proof != proof{} }

// start sends the INVITE to the turn's first address. False: nothing was sent, and no other address would change that.
func (c *call) start(t *turn) bool {
	tr, now := t.trunk, c.b.o.Now()
	at := &attempt{leg: &leg{name: legB, trunk: tr}, turn: t, addr: t.addrs[0], index: len(c.rec.Tried)}
	c.rec.Tried = append(c.rec.Tried, TrunkTry{Trunk: tr.Name, Route: t.hop.Route, Address: at.addr.String(), Start: now})
	if err := c.prepareMedia(at); err != nil {
		code := 503
		if refused, _ := refusalOf(err); refused == 488 {
			code = refused
		}
		c.failed(at, code, err.Error())
		if relayAway(err) {
			c.queue = nil // no other trunk would help, and the caller waits
		}
		return false
	}
	tag := c.b.newTag()
	d := &at.leg.d
	d.Trunk, d.LocalTag, d.CallID, d.Peer, d.Server = tr.Name, tag, c.b.newCallID(), at.addr, t.server
	req, err := c.buildINVITE(at)
	if err != nil {
		c.failed(at, 500, err.Error())
		return false
	}
	c.b.learn(tag, c, at.leg)
	c.try = at
	c.attempts = append(c.attempts, at)
	c.rec.CallIDB = d.CallID
	e := c.v.egress(tr, at.addr, t.server)
	at.leg.egress = &e
	at.timer = c.timers.after(t.share(now), func() { c.tooSlow(at) })
	tr.Tried()
	at.uac = c.send(at.leg, at.leg.egress, req, func(res *sip.Response, err error) { c.replied(at, res, err) })
	c.away()
	c.log.Debug("INVITE sent", "trunk", tr.Name, "address", at.addr, "call_id_b", d.CallID)
	c.publish()
	return true
}

// prepareMedia sees that a port of the trunk's network is leased for leg b, and proposes the media for it.
func (c *call) prepareMedia(at *attempt) error {
	tr := at.turn.trunk
	if c.bypasses(at) {
		c.closeSession()
		at.leg.d.Media = Media{Pass: true}
		return nil
	}
	c.a.d.Media.Pass = false
	if c.session != nil && c.session.networks[1] != tr.Policy.Network {
		c.closeSession()
	}
	if !c.mayHear(c.a.d.Media.Remote.Addr()) {
		return refuse(488, "no media address of the family that was offered")
	}
	if c.session == nil {
		if err := c.openSession(tr); err != nil {
			return err
		}
	} else if c.session.applied[1].Remote != "" {
		if err := c.silence(); err != nil {
			return err
		}
	}
	fresh := Media{Local: c.leaseB.Local, RTCP: c.leaseB.RTCP, Origin: c.b.origin()}
	next, err := c.b.terms(at.leg).proposeFirst(fresh, &c.a.d.Media, !at.turn.plain)
	at.leg.d.Media = next
	return err
}

// mayHear reports whether the caller's media network has an address of the family of its peer's. What is not known yet is no
// reason to refuse. An offer that cannot be served is its maker's affair: a 503 would tell a peer that we are out of order.
func (c *call) mayHear(peer netip.Addr) bool {
	list := c.b.o.Config.Media.Networks[c.a.trunk.Policy.Network].Addresses
	return !peer.IsValid() || len(list) == 0 || slices.ContainsFunc(list, func(a netip.Addr) bool {
		return a.Unmap().Is4() == peer.Unmap().Is4()
	})
}

// buildINVITE writes the INVITE towards a trunk: the numbers of its hop, the caller's display name, and for the rest what is
// ours or the trunk's.
func (c *call) buildINVITE(at *attempt) (*sip.Request, error) {
	d, tr, in := &at.leg.d, at.turn.trunk, c.a.open.in
	ours, theirs := c.b.host(tr.Policy.Listener), bracket(tr.Host)
	if tr.Policy.Domain != "" {
		ours, theirs = bracket(tr.Policy.Domain), bracket(tr.Policy.Domain)
	}
	from := in.Req.From()
	if isAnonymous(&from.Address) {
		ours = anonymousHost
	}
	called := sipURI(c.called, theirs)
	target := called
	if tr.Policy.Domain == "" && int(tr.Port) != defaultPort(tr.Listener.Transport) {
		target += ":" + strconv.Itoa(int(tr.Port))
	}
	phone := phoneParam(c.called)
	if user, ok := param(in.Req.Recipient.UriParams, "user"); ok && user == "phone" {
		phone = userPhone
	}
	d.Target = target + phone
	d.Local = c.shownFrom(at, nameAddr(displayName(from.DisplayName), sipURI(c.caller, ours)+phoneParam(c.caller)))
	d.Remote = nameAddr("", called+phoneParam(c.called))
	req, err := d.request(sip.INVITE, d.next())
	if err != nil {
		return nil, err
	}
	forwards := sip.MaxForwardsHeader(c.forwards)
	req.ReplaceHeader(&forwards)
	c.addOurs(req, tr, tr.Policy.Listener)
	if tr.Policy.Prack == config.PrackRequired {
		req.AppendHeader(sip.NewHeader("Require", optionRel))
	}
	if c.from != nil { // of a call that is not ours; one of ours is joined without any INVITE
		for _, v := range values(in.Req, "Replaces") {
			req.AppendHeader(sip.NewHeader("Replaces", v))
		}
	}
	at.leg.timer.least = at.turn.least
	at.leg.timer.begin(req, &tr.Policy)
	m := &d.Media
	offer, err := c.a.d.Media.heard()
	if err != nil {
		return nil, err
	}
	if m.Pass {
		m.Sent = string(offer.Bytes())
		setSDP(req, []byte(m.Sent))
		at.proposed = *m
		return req, nil
	}
	setSDP(req, m.tell(func() []byte { return sdp.Offer(offer, c.a.d.Media.Audio, m.side(m.Offered...)) }))
	at.proposed = *m
	c.addTold(at, req)
	return req, nil
}

// failed notes why an attempt came to nothing.
func (c *call) failed(at *attempt, code int, why string) {
	c.failedAs(at, code, 0, 0, why)
}

// failedAs does so for an answer of the peer: told is its code where a rule of the trunk made another one of it, else 0.
func (c *call) failedAs(at *attempt, code, told, cause int, why string) {
	c.timers.stop(at.timer)
	c.last, c.said, c.rec.Cause = code, nil, cause
	t := c.tried(at.index)
	t.Code, t.Translated, t.Cause, t.Why, t.End = code, told, cause, why, c.b.o.Now()
	metric := code
	if told != 0 {
		metric = told
	}
	c.b.attempt(t.Trunk, metric)
	switch {
	case at.uac == nil: // nothing was sent
	case at.lost:
		at.turn.trunk.Failed(0, why)
		c.noteFailure(at.turn, code, cause)
	default:
		at.turn.trunk.Failed(metric, why)
		c.noteFailure(at.turn, code, cause)
	}
	c.log.Info("trunk failed", "trunk", t.Trunk, "address", t.Address, "code", code, "translated", told, "cause", cause, "why", why)
	if c.try == at {
		c.try = nil
	}
}

// abandonAll cancels what is in progress, because the caller gave up or the time is over.
func (c *call) abandonAll(why string, told ...reason) {
	at := c.try
	if at == nil {
		return
	}
	var headers []sip.Header
	for _, r := range told {
		headers = append(headers, r.header())
	}
	at.uac.cancel(headers...)
	c.failed(at, 487, why)
}

// settle forgets an attempt whose transaction is over.
func (c *call) settle(at *attempt) {
	for i, x := range c.attempts {
		if x == at {
			c.attempts = append(c.attempts[:i], c.attempts[i+1:]...)
			break
		}
	}
	if !at.accepted {
		c.b.unlearn(at.leg.d.LocalTag)
	}
}

func defaultPort(transport string) int {
	if transport == config.TLSTransport {
		return 5061
	}
	return 5060
}
