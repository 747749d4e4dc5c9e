package phone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ringMost is how long a call that a REFER asked for may ring.
const ringMost = time.Minute

// OnTransfer sets who gets the calls that this phone places because a far end sent a REFER. f runs on a goroutine of its own
// with the call that was transferred, which goes on until either side hangs up, and the new one, in which this phone is
// the caller. Before OnTransfer a REFER gets 603.
func (p *Phone) OnTransfer(f func(old, new *Call)) { p.onTransfer.Store(&f) }

// referral is what a REFER asks for.
type referral struct {
	uri      sip.Uri // without headers
	replaces string  // the value of a Replaces header; "": none
}

// referred takes a REFER inside a call: place the new one, and tell how it goes.
func (c *Call) referred(req *sip.Request, tx *sip.ServerTx) {
	p := c.p
	take := p.onTransfer.Load()
	to, err := referralOf(req)
	switch {
	case take == nil:
		p.respond(tx, req, 603, "")
		return
	case err != nil:
		p.respond(tx, req, 400, "")
		return
	}
	accepted := p.response(req, 202, "")
	accepted.AppendHeader(&sip.ContactHeader{Address: p.contact()})
	p.sent(accepted)
	if tx.Respond(accepted) != nil {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), ringMost) // it ends with the phone at the latest
	defer stop()
	event := fmt.Sprintf("%s;id=%d", eventRefer, req.CSeq().SeqNo)
	if c.notify(ctx, event, 100) != nil {
		return // nobody listens, so nobody wants it
	}
	next, err := p.callTo(ctx, to, c)
	code := 200
	if err != nil {
		code = 503
		if refused, ok := errors.AsType[*Refused](err); ok {
			code = refused.Code
		}
	}
	c.notify(ctx, event, code) // who asked may have hung up already
	if err == nil {
		(*take)(c, next)
	}
}

// referralOf reads the target of a REFER (RFC 3515 section 2.1): one SIP URI.
func referralOf(req *sip.Request) (r referral, err error) {
	list := req.GetHeaders("Refer-To")
	if len(list) != 1 {
		return r, fmt.Errorf("%d Refer-To headers, want one", len(list))
	}
	var params sip.HeaderParams
	if _, err := sip.ParseAddressValue(list[0].Value(), &r.uri, &params); err != nil {
		return r, err
	}
	if !strings.EqualFold(r.uri.Scheme, "sip") || r.uri.User == "" {
		return r, fmt.Errorf("Refer-To leads to a %q URI of user %q, want sip and somebody", r.uri.Scheme, r.uri.User)
	}
	for _, h := range r.uri.Headers {
		if strings.EqualFold(h.K, "Replaces") {
			r.replaces = unescaped(h.V)
		}
	}
	r.uri.Headers = nil
	return r, nil
}

// notify tells who sent a REFER how it goes.
func (c *Call) notify(ctx context.Context, event string, code int) error {
	state := "active;expires=" + fmt.Sprint(int(ringMost.Seconds()))
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	req := c.p.request(c.d, sip.NOTIFY, 0)
	req.AppendHeader(&sip.ContactHeader{Address: c.p.contact()})
	req.AppendHeader(sip.NewHeader("Event", event))
	req.AppendHeader(sip.NewHeader("Subscription-State", state))
	req.AppendHeader(sip.NewHeader("Content-Type", contentFrag))
	req.SetBody(fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", code, reason(code)))
	_, err := c.p.do(ctx, req)
	return err
}

// callTo places the call that a REFER within old asked for. A name instead of an address is left to whom old goes by.
func (p *Phone) callTo(ctx context.Context, to referral, old *Call) (*Call, error) {
	old.d.mu.Lock()
	proxy, err := netip.ParseAddrPort(old.d.dest)
	old.d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if at, err := netip.ParseAddr(to.uri.Host); err == nil {
		port := to.uri.Port
		if port == 0 {
			port = sip.DefaultPort(p.opt.Transport)
		}
		proxy = netip.AddrPortFrom(at, uint16(port))
	}
	by := "<" + old.d.remote.Address.String() + ">"
	extra := []sip.Header{sip.NewHeader("Referred-By", by)}
	if to.replaces != "" {
		extra = append(extra, sip.NewHeader("Replaces", to.replaces))
	}
	return p.call(ctx, to.uri.User, proxy, extra...)
}
