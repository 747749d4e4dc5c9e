package b2bua

import (
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// defaultFailover is how long a trunk may take to send an 18x (Lync: EnableFastFailoverTimer of New-CsTrunkConfiguration).
const defaultFailover = 10 * time.Second

// maxAddresses of a trunk are tried in one turn. Those that refuse at once cost no time; of those that are silent maxSilent get an
// equal part of it: of ten seconds two and a half, which is three INVITEs over UDP.
const (
	maxAddresses = 16
	maxSilent    = 4
)

// turn is a trunk's turn to take the call. It holds one place of the trunk for as long as it takes: an INVITE to one address
// after another, a second one without SRTP, and at last the call itself.
type turn struct {
	hop    route.Hop
	trunk  *trunk.Trunk
	place  place
	addrs  []netip.AddrPort // the first is being tried, the others are left
	server string           // name for TLS
	least  time.Duration    // Min-SE of a 422: the INVITE is repeated with it, once
	plain  bool             // no SRTP in the offer: the trunk has none, the peer refused it (srtp: optional), or the call begins with a fax
	wait   time.Duration    // how long the trunk may take to send an 18x
	until  time.Time        // and when that is over
	silent int              // addresses that used up their part of it
}

// nextTrunk gives the next trunk its turn until one takes an INVITE; with none left the caller hears why the last one
// failed.
func (c *call) nextTrunk() {
	c.endTurn()
	for len(c.queue) > 0 {
		hop := c.queue[0]
		c.queue = c.queue[1:]
		if c.begin(hop) {
			return
		}
		c.endTurn()
		if c.phase == Over {
			return
		}
	}
	code := passedCode(c.last)
	if code == 0 {
		code = 503
	}
	if c.rec.Cause == 0 && len(c.said) == 0 {
		c.turnAway(code, causeOf(code), "no trunk took the call")
		return
	}
	c.reject(code, "no trunk took the call", func(res *sip.Response) {
		for _, r := range c.said {
			res.AppendHeader(r.header())
		}
		if code == 503 {
			retryAfter(c.b.soon())(res)
		}
	})
}

func (c *call) endTurn() {
	if c.turn != nil {
		c.turn.place.give()
		c.turn = nil
	}
}

// begin starts a trunk's turn. False: it takes no INVITE, and the next one has its turn.
func (c *call) begin(hop route.Hop) bool {
	tr, ok := c.v.trunks.ByName(hop.Trunk)
	if !ok {
		c.skip(hop, "there is no such trunk")
		return false
	}
	if c.shown && c.session != nil && tr.Policy.Network != c.session.networks[1] {
		c.skip(hop, "its media network differs from that of the early media already sent to the caller")
		return false
	}
	addrs, server, err := c.targets(tr)
	if err != nil {
		c.skip(hop, err.Error())
		c.last, c.said, c.rec.Cause = 504, nil, 0
		return false
	}
	p, why, ok := c.takePlace(tr, c.asks(tr))
	if !ok {
		c.skip(hop, why)
		return false
	}
	t := &turn{
		hop: hop, trunk: tr, place: p, server: server, plain: !mayBeSecure(&tr.Policy) || c.a.d.Media.Fax,
		addrs: addrs[:min(len(addrs), maxAddresses)], wait: tr.Policy.Failover.Timeout,
	}
	if t.wait <= 0 {
		t.wait = defaultFailover
	}
	t.until = c.b.o.Now().Add(t.wait)
	c.turn = t
	c.called, c.caller = hop.Called, hop.Caller
	c.rec.CalledSent, c.rec.CallerSent = hop.Called, hop.Caller
	return c.start(t)
}

// targets are a trunk's addresses. A name server may take its time, and the call is no burden meanwhile.
func (c *call) targets(tr *trunk.Trunk) (addrs []netip.AddrPort, server string, err error) {
	defer c.aside()()
	return tr.Targets(c.b.patience())
}

// asks is what the call needs of a trunk towards which it leaves.
func (c *call) asks(tr *trunk.Trunk) trunk.Ask {
	m, suite := &c.a.d.Media, ""
	if mayBeSecure(&tr.Policy) && len(tr.Policy.Suites) > 0 {
		suite = tr.Policy.Suites[0]
	}
	return trunk.Ask{Bandwidth: bandwidth(m, suite, !v4(tr)), Emergency: c.rec.Emergency}
}

// skip notes a trunk that was not asked.
func (c *call) skip(hop route.Hop, why string) {
	c.rec.Tried = append(c.rec.Tried, TrunkTry{Trunk: hop.Trunk, Route: hop.Route, Why: why, Skipped: true})
	c.log.Info("trunk skipped", "trunk", hop.Trunk, "why", why)
}

// more tells whether other addresses are left after that of the attempt, which is the one being tried.
func (t *turn) more(at *attempt) bool { return len(t.addrs) > 1 && t.addrs[0] == at.addr }

// nextAddress goes on with the trunk's next address, or with the next trunk. DNS gave several so that one may be dead.
func (c *call) nextAddress(t *turn) {
	if t.addrs = t.addrs[1:]; len(t.addrs) > 0 && c.start(t) {
		return
	}
	if c.phase != Over {
		c.nextTrunk()
	}
}

// share is the part of the turn that its first address gets while it says nothing at all.
func (t *turn) share(now time.Time) time.Duration {
	if !t.until.After(now) { // it rang, and then it died: the next address has a time of its own
		t.until, t.silent = now.Add(t.wait), 0
	}
	return t.until.Sub(now) / time.Duration(min(len(t.addrs), max(1, maxSilent-t.silent)))
}

// tooSlow leaves an address that was silent, or a trunk that does not ring: it gets its CANCEL, the next one an INVITE. A
// 100 proves that somebody is there, so that the other addresses are not needed; it does not prove that anybody will ring.
func (c *call) tooSlow(at *attempt) {
	if !c.current(at) {
		return
	}
	t := at.turn
	left := t.until.Sub(c.b.o.Now())
	if at.alive() && left > 0 {
		at.timer = c.timers.after(left, func() { c.tooSlow(at) })
		return
	}
	at.uac.cancel()
	if left <= 0 {
		if !at.alive() {
			t.trunk.AddressFailed(at.addr, c.b.o.Now())
		}
		c.failed(at, 504, "no 18x within "+t.wait.String())
		c.nextTrunk()
		return
	}
	t.trunk.AddressFailed(at.addr, c.b.o.Now())
	t.silent++
	c.failed(at, 504, "no answer from this address; the next one gets its turn")
	c.nextAddress(t)
}
