package b2bua

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// arrived is a request of a peer inside a dialog, as it leaves the mailbox. What overtook the ACK of our 2xx waits for it.
func (c *call) arrived(l *leg, in *guard.Inbound) {
	req := in.Req
	if l.moved != nil {
		l.moved(in)
		return
	}
	if !c.fromPeer(l, in) {
		c.b.count(DropForeign)
		c.log.Warn("request from a foreign source", "leg", l.name, "trunk", l.trunk.Name, "method", string(req.Method), "source", in.Source)
		c.decide(in, 403, nil)
		return
	}
	if !l.d.owns(req) {
		c.decide(in, 481, nil)
		return
	}
	if _, err := unpack(req); err != nil {
		c.decide(in, 415, nil)
		return
	}
	if req.IsAck() {
		c.acked(l, in)
		return
	}
	if seq := cseq(req); seq <= l.d.RemoteSeq { // RFC 3261 section 12.2.2; repetitions are the stack's affair
		c.decide(in, 500, nil)
		return
	}
	l.d.RemoteSeq = cseq(req)
	if (req.IsInvite() || req.Method == sip.BYE) && c.park(l, func() { c.take(l, in) }) {
		return
	}
	c.take(l, in)
}

// fromPeer reports whether a request comes from where the dialog's trunk is: the address that the dialog began with, the
// one that our own requests go to, or any source of the trunk, in the config of the call or in that of today. A pool may
// send from each of its members; for anybody else the tags would be the only secret.
func (c *call) fromPeer(l *leg, in *guard.Inbound) bool {
	src := in.Source.Addr().Unmap()
	if src == l.d.Peer.Addr().Unmap() || l.egress != nil && src == l.egress.Dest.Addr().Unmap() {
		return true
	}
	for _, p := range l.trunk.Policy.Sources {
		if p.Contains(src) {
			return true
		}
	}
	for _, v := range []*view{c.v, c.b.seen.Load()} {
		if tr, _ := v.trunks.Identify(in.Listener, src, proven(in)); tr != nil && tr.Name == l.trunk.Name {
			return true
		}
	}
	return false
}

// take handles a request whose turn it is.
func (c *call) take(l *leg, in *guard.Inbound) {
	if in.Req.Method != sip.BYE && slices.Contains(c.former, l) { // a transfer took it out of the call
		c.decide(in, 481, nil)
		return
	}
	switch in.Req.Method {
	case sip.INVITE:
		c.reinvited(l, in)
	case sip.PRACK:
		c.pracked(l, in)
	case sip.REFER:
		c.referred(l, in)
	case sip.NOTIFY:
		c.notified(l, in)
	case sip.SUBSCRIBE:
		c.subscribed(l, in)
	case sip.INFO:
		c.informed(l, in)
	case sip.UPDATE:
		c.updated(l, in)
	case sip.BYE:
		c.byed(l, in)
	case sip.OPTIONS:
		c.decide(in, 200, c.b.capabilities)
	default:
		c.decide(in, 405, func(res *sip.Response) { res.AppendHeader(allowHeader) })
	}
}

// decide answers a request inside a dialog that changes nothing; an ACK gets no answer.
func (c *call) decide(in *guard.Inbound, code int, with func(*sip.Response)) {
	if in.Req.IsAck() {
		return
	}
	if err := c.respond(in, code, with); err != nil {
		c.log.Debug("response not sent", "code", code, "error", err)
	}
}

// cancelled is a CANCEL that ended an INVITE of a peer; the stack has answered both.
func (c *call) cancelled(l *leg, cancel *sip.Request, seq uint32) {
	if l.open == nil || l.open.seq != seq {
		return
	}
	if l != c.a || seq != c.firstSeq {
		c.withdrawn(l)
		return
	}
	why := reasons(cancel)
	if c.departed(cancel) {
		return
	}
	if c.phase >= Answered { // our 200 came too late: the stack had sent the 487
		c.settled(l)
		l.ended, c.missed = true, 487
		c.sendBYE(c.peer, why)
		c.rec.Cause = q850(cancel)
		c.finish(487, byCaller, "CANCEL")
		return
	}
	c.givenUp = true
	c.abandonAll("the caller gave up", why...)
	c.rec.Cause = q850(cancel)
	c.rejectBy(487, byCaller, "CANCEL", nil)
}

// cancelledEarly is a CANCEL that came before its INVITE: the INVITE is still to be answered.
func (c *call) cancelledEarly(cancel *sip.Request) {
	if c.phase < Answered {
		c.cancelled(c.a, cancel, c.firstSeq)
	}
}

// way finds where the requests of a dialog go: its first route or its target. An address stands for itself; the name of
// the trunk's peer is known to the trunk; any other name is asked of DNS, and without an answer the request goes where the
// dialog's first message came from or went to. So does everything towards a trunk that learns media addresses
// (pin: learn): its peer is behind a NAT, and its Contact is an address of the inside.
func (c *call) way(l *leg) *guard.Egress {
	if l.egress != nil {
		return l.egress
	}
	tr := l.trunk
	way := c.v.egress(tr, l.d.Peer, l.d.Server)
	e := &way
	l.egress = e
	ctx := c.b.patience()
	if e.ServerName == "" && tr.Listener.Transport == config.TLSTransport { // the dialog was begun by the peer
		if _, server, err := tr.Targets(ctx); err == nil {
			e.ServerName = server
		}
	}
	host, port := l.d.hop()
	if host == "" || natted(tr) && len(l.d.Routes) == 0 {
		return e
	}
	if sameHost(host, tr.Host) {
		if list, _, err := tr.Targets(ctx); err == nil {
			e.Dest = nearest(list, l.d.Peer.Addr(), port)
		}
		return e
	}
	if port == 0 {
		port = uint16(defaultPort(tr.Listener.Transport))
	}
	if addr, ok := literal(host); ok {
		e.Dest = netip.AddrPortFrom(addr, port)
		return e
	}
	addr, err := c.b.lookup(ctx, host, tr.Listener.Address.Addr().Is4())
	if err != nil {
		c.log.Info("name not resolved, using the address the dialog began with", "host", clip(host, opaqueText), "address", l.d.Peer, "error", err)
		return e
	}
	e.Dest = netip.AddrPortFrom(addr, port)
	return e
}

// nearest picks the one of a peer's addresses with which the dialog began, as each may be a machine of its own; else the
// first. Port 0 means the one where calls to the peer go.
func nearest(list []netip.AddrPort, peer netip.Addr, port uint16) netip.AddrPort {
	pick := list[0]
	for _, a := range list {
		if a.Addr() == peer.Unmap() {
			pick = a
			break
		}
	}
	if port != 0 {
		pick = netip.AddrPortFrom(pick.Addr(), port)
	}
	return pick
}

// lookup resolves a name to an address of one family; an address stands for itself.
func (b *B2BUA) lookup(ctx context.Context, host string, v4 bool) (netip.Addr, error) {
	if a, ok := literal(host); ok {
		return a, nil
	}
	list, err := b.o.Resolver.LookupHost(ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range list {
		if a = a.Unmap(); a.Is4() == v4 {
			return a, nil
		}
	}
	return netip.Addr{}, errNoAddress
}

// natted reports a trunk whose peer is behind a NAT.
func natted(tr *trunk.Trunk) bool { return tr.Policy.Pin == config.PinLearn }

// sameHost compares two host names.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
