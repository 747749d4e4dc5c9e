package b2bua

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/sdp"
	"tandem/signaling/trunk"
)

// defaultFailover is how long a trunk may take to send an 18x (Lync: EnableFastFailoverTimer of New-CsTrunkConfiguration).
const defaultFailover = 10 * time.Second

// attempt is one INVITE towards one address of one trunk: a dialog of its own, with a Call-ID and a tag of its own.
type attempt struct {
	leg      *leg
	proposed Media // what our offer says; each answer is read against it
	uac      *uac
	index    int              // of its entry in the record's Tried
	addrs    []netip.AddrPort // the trunk's addresses: the first is being tried, the others are left
	plain    bool             // the second one of a trunk with srtp: optional, without SRTP
	timer    *deadline        // no 18x: next trunk
	place    bool             // holds one of the trunk's places
	accepted bool             // its 2xx came first: this is the call

	dismissed []string // tags of further 2xx that got their ACK and BYE
}

// release gives the trunk's place back.
func (at *attempt) release() {
	if at.place {
		at.place = false
		at.leg.trunk.Release()
	}
}

// nextTrunk tries the trunks that are left until one takes an INVITE; with none left the caller hears why the last one
// failed.
func (c *call) nextTrunk() {
	for len(c.queue) > 0 {
		tr := c.queue[0]
		c.queue = c.queue[1:]
		ctx, cancel := c.b.patience()
		addrs, server, err := tr.Targets(ctx)
		cancel()
		switch {
		case err != nil:
			c.skip(tr, err.Error())
			c.last, c.said = 504, nil
		case c.shown && c.session != nil && tr.Policy.Network != c.session.networks[1]:
			c.skip(tr, "its media network differs from that of the early media already sent to the caller")
		case !tr.Acquire():
			c.skip(tr, "all its places are taken")
		default:
			if c.start(tr, addrs, server, !mayBeSecure(&tr.Policy)) {
				return
			}
		}
		if c.phase == Over {
			return
		}
	}
	code := passedCode(c.last)
	if code == 0 {
		code = 503
	}
	c.reject(code, "no trunk took the call", func(res *sip.Response) {
		for _, r := range c.said {
			res.AppendHeader(r.header())
		}
	})
}

// skip notes a trunk that was not asked.
func (c *call) skip(tr *trunk.Trunk, why string) {
	c.rec.Tried = append(c.rec.Tried, TrunkTry{Trunk: tr.Name, Why: why, Skipped: true})
	c.log.Info("trunk skipped", "trunk", tr.Name, "why", why)
}

// start sends the INVITE to the first address. A place of the trunk is held already. False: nothing was sent, the place is
// free again, try the next one.
func (c *call) start(tr *trunk.Trunk, addrs []netip.AddrPort, server string, plain bool) bool {
	at := &attempt{leg: &leg{name: legB, trunk: tr}, addrs: addrs, plain: plain, place: true, index: len(c.rec.Tried)}
	c.rec.Tried = append(c.rec.Tried, TrunkTry{Trunk: tr.Name, Address: addrs[0].String(), Start: c.b.o.Now()})
	if err := c.prepareMedia(at); err != nil {
		c.failed(at, 503, err.Error())
		if relayAway(err) {
			c.queue = nil // no other trunk would help, and the caller waits
		}
		return false
	}
	tag := c.b.newTag()
	at.leg.d.Trunk, at.leg.d.LocalTag, at.leg.d.CallID = tr.Name, tag, c.b.newCallID()
	at.leg.d.Peer, at.leg.d.Server = addrs[0], server
	req, err := c.buildINVITE(at)
	if err != nil {
		c.failed(at, 500, err.Error())
		return false
	}
	c.b.learn(tag, c, at.leg)
	c.try = at
	c.attempts = append(c.attempts, at)
	at.leg.egress = &guard.Egress{Listener: tr.Policy.Listener, Dest: addrs[0], ServerName: server, TLSNames: tr.Policy.TLSNames}
	wait := tr.Policy.Failover.Timeout
	if wait <= 0 {
		wait = defaultFailover
	}
	at.timer = c.timers.after(wait, func() { c.giveUp(at, "no 18x within "+wait.String()) })
	at.uac = c.send(at.leg.egress, req, func(res *sip.Response, err error) { c.replied(at, res, err) })
	c.publish()
	return true
}

// prepareMedia sees that a port of the trunk's network is leased for leg b, and proposes the media for it.
func (c *call) prepareMedia(at *attempt) error {
	tr := at.leg.trunk
	if c.session != nil && c.session.networks[1] != tr.Policy.Network {
		c.closeSession()
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
	next, err := c.b.terms(at.leg).propose(fresh, !at.plain, c.a.d.Media.Theirs)
	at.leg.d.Media = next
	return err
}

// buildINVITE writes the INVITE towards a trunk. From the caller's come the two numbers and the display name; everything
// else is ours or the trunk's.
func (c *call) buildINVITE(at *attempt) (*sip.Request, error) {
	d, tr, in := &at.leg.d, at.leg.trunk, c.a.open.in
	ours, theirs := c.b.host(tr.Policy.Listener), bracket(tr.Host)
	if tr.Policy.Domain != "" {
		ours, theirs = bracket(tr.Policy.Domain), bracket(tr.Policy.Domain)
	}
	from := in.Req.From()
	if isAnonymous(&from.Address) {
		ours = anonymousHost
	}
	target := sipURI(c.called, theirs)
	d.Target = target
	if tr.Policy.Domain == "" && int(tr.Port) != defaultPort(tr.Listener.Transport) {
		d.Target += ":" + strconv.Itoa(int(tr.Port))
	}
	if user, ok := param(in.Req.Recipient.UriParams, "user"); ok && user == "phone" {
		d.Target += ";user=phone"
	}
	d.Local = nameAddr(displayName(from.DisplayName), sipURI(c.caller, ours))
	d.Remote = nameAddr("", target)
	req, err := d.request(sip.INVITE, d.next())
	if err != nil {
		return nil, err
	}
	forwards := sip.MaxForwardsHeader(c.forwards)
	req.ReplaceHeader(&forwards)
	c.addOurs(req, tr.Policy.Listener)
	m := &d.Media
	offer, err := readSDP(c.a.d.Media.Received)
	if err != nil {
		return nil, err
	}
	setSDP(req, m.tell(func() []byte { return sdp.Offer(offer, c.a.d.Media.Audio, m.side(m.Offered...)) }))
	at.proposed = *m
	return req, nil
}

// giveUp leaves a trunk that is too slow: it gets its CANCEL, the next one an INVITE.
func (c *call) giveUp(at *attempt, why string) {
	if c.try != at || c.phase >= Answered {
		return
	}
	at.uac.cancel()
	c.failed(at, 504, why)
	c.nextTrunk()
}

// failed notes why an attempt came to nothing.
func (c *call) failed(at *attempt, code int, why string) {
	c.timers.stop(at.timer)
	at.release()
	c.last, c.said = code, nil
	t := &c.rec.Tried[at.index]
	t.Code, t.Why, t.End = code, why, c.b.o.Now()
	c.b.attempt(at.leg.trunk.Name, code)
	c.log.Info("trunk failed", "trunk", at.leg.trunk.Name, "address", t.Address, "code", code, "why", why)
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
