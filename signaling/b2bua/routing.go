package b2bua

import (
	"context"
	"log/slog"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// Q.850 causes of our own refusals: peers behind a gateway know these better than ours codes (RFC 3398 section 8.2.6.1, but
// for 3, which says more than 1 where no route leads).
const (
	causeNoRoute  = 3   // no route to destination
	causeNoAnswer = 19  // no answer from user: it rang
	causeRejected = 21  // call rejected
	causeNoPlace  = 34  // no circuit or channel available
	causeFault    = 41  // temporary failure
	causeExpired  = 102 // recovery on timer expiry
)

// causeOf is the cause for a refusal of ours; 0: none fits.
func causeOf(code int) int {
	switch code {
	case 404:
		return causeNoRoute
	case 403, 603:
		return causeRejected
	case 408, 504:
		return causeExpired
	case 500, 503:
		return causeFault
	}
	return 0
}

// routed asks the routes where the call may go. The whole decision is a log line at debug, its reason one at info and in
// the record.
func (c *call) routed() bool {
	now := c.b.o.Now()
	board := func(name string) (trunk.View, bool) { return c.v.trunks.Look(name, now) }
	p := c.v.routes.Plan(route.Call{Trunk: c.entrance(), Called: c.called, Caller: c.caller}, board, c.b.random)
	r := &c.rec
	r.CalledPlanned, r.CallerPlanned, r.Route, r.Emergency, r.Decision = p.Called, p.Caller, p.Route, p.Emergency, p.Reason()
	for _, s := range p.Skips {
		r.Tried = append(r.Tried, TrunkTry{Trunk: s.Trunk, Why: s.Why, Skipped: true})
	}
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		c.log.Debug("routing", "trunk", c.entrance(), "called", c.called, "caller", c.caller, "steps", inJSON{p.Steps})
	}
	level, code := slog.LevelInfo, 0
	switch {
	case len(p.Hops) == 0:
		code = p.Code
	case c.surplus && !p.Emergency:
		code, r.Decision = 503, "limits.calls is reached"
		c.b.count(DropLimit)
	}
	if p.Emergency || code == 503 {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "routed", "trunk", c.entrance(), "called", p.Called, "emergency", p.Emergency,
		"code", code, "why", r.Decision)
	if code != 0 {
		why := p.Why
		if why == "" {
			why = r.Decision
		}
		c.turnAway(code, causeOf(code), why)
		return false
	}
	c.queue = p.Hops
	return true
}

// entrance is the trunk whose routes the call may take: the one by which it came, and in a transfer that of who asked for it.
func (c *call) entrance() string {
	if c.entry != nil {
		return c.entry.Name
	}
	return c.a.trunk.Name
}

// entered takes the call's place on the trunk by which it came. That is done once the route is known: an emergency call is
// held back by no cap.
func (c *call) entered() bool {
	m := &c.a.d.Media
	tr := c.a.trunk
	ask := trunk.Ask{Bandwidth: bandwidth(m, m.RX.Suite, !v4(tr)), Emergency: c.rec.Emergency}
	p, why, ok := c.takePlace(tr, ask)
	if !ok {
		c.log.Warn("refused: the trunk has no room", "trunk", tr.Name, "why", why)
		c.turnAway(503, causeNoPlace, "trunk "+tr.Name+" takes no more: "+why)
		return false
	}
	c.place = p
	return true
}

// turnAway refuses the call for a reason of ours, told with its Q.850 cause, and after a 503 with a time to come back.
func (c *call) turnAway(code, cause int, why string) {
	c.rec.Cause = cause
	c.reject(code, why, func(res *sip.Response) {
		if cause != 0 {
			res.AppendHeader(reason{protocol: protocolQ850, cause: cause}.header())
		}
		if code == 503 {
			retryAfter(c.b.soon())(res)
		}
	})
}

// place is what a call takes of a trunk: given back once, to the very trunk it was taken from.
type place struct {
	trunk *trunk.Trunk // nil: none is held
	ask   trunk.Ask
}

func (c *call) takePlace(tr *trunk.Trunk, ask trunk.Ask) (p place, why string, ok bool) {
	if why, ok = tr.Take(ask, c.b.o.Now()); !ok {
		return place{}, why, false
	}
	return place{tr, ask}, "", true
}

// give returns the place.
func (p *place) give() {
	if p.trunk != nil {
		p.trunk.Give(p.ask)
		p.trunk = nil
	}
}

// v4 reports a trunk whose listener has an IPv4 address.
func v4(tr *trunk.Trunk) bool { return tr.Listener.Address.Addr().Unmap().Is4() }
