package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// A transfer has three parties (RFC 5589): who asks for it sends a REFER and hears by NOTIFYs how it goes (this file), who is
// asked places the new call (referred.go), and the target of an attended one takes it in place of another (replaces.go).

const (
	eventRefer  = "refer"
	contentFrag = "message/sipfrag;version=2.0"

	// newsMost is how many NOTIFYs of a transfer may wait to be read: a status of each class, and room to spare. Beyond, the
	// sender hears 500 and sends again.
	newsMost = 16

	// lastWord is how long after the end of its call a transfer may still be told how it went: the BYE of a transfer that came
	// about overtakes the NOTIFY (RFC 5057 section 4.3: the subscription outlives the call).
	lastWord = 5 * time.Second
)

// news is what one NOTIFY says of a transfer.
type news struct {
	code int  // status of the new call so far
	over bool // there will be no other NOTIFY
}

// Transfer asks the far end to call a number by way of a proxy instead of us (blind transfer: RFC 5589 section 6). It returns
// when the far end has told that the new call was answered; this one goes on until either side hangs up. The error is a
// *Refused if the far end refuses the REFER, or tells of a failure: its method is REFER, or INVITE.
func (c *Call) Transfer(ctx context.Context, number string, proxy netip.AddrPort) error {
	to := sip.Uri{Scheme: "sip", User: number, Host: proxy.Addr().String(), Port: int(proxy.Port())}
	return c.refer(ctx, "<"+to.String()+">")
}

// TransferTo asks the far end to take our place in another call of this phone's (attended transfer: RFC 5589 section 7).
// Otherwise it is as Transfer; it is the target of the transfer who hangs up the other call.
func (c *Call) TransferTo(ctx context.Context, other *Call) error {
	other.d.mu.Lock()
	target := *other.d.target.Clone()
	other.d.mu.Unlock()
	theirs, _ := other.d.remote.Params.Get("tag")
	r := replaced{callID: other.d.id.callID, toTag: theirs, fromTag: other.d.id.tag}
	target.Headers = nil
	return c.refer(ctx, "<"+target.String()+"?Replaces="+r.escaped()+">")
}

// refer sends a REFER and follows what comes of it.
func (c *Call) refer(ctx context.Context, to string) error {
	told, err := c.p.subscribe(c.d.id)
	if err != nil {
		return fmt.Errorf("phone: REFER: %w", err)
	}
	defer c.p.unsubscribe(c.d.id)
	req := c.p.request(c.d, sip.REFER, 0)
	req.AppendHeader(&sip.ContactHeader{Address: c.p.contact()})
	req.AppendHeader(sip.NewHeader("Refer-To", to))
	req.AppendHeader(sip.NewHeader("Referred-By", "<"+c.p.Contact()+">"))
	if _, err := c.p.do(ctx, req); err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	if err := c.follow(ctx, told); err != nil {
		return fmt.Errorf("phone: transfer to %s: %w", to, err)
	}
	return nil
}

// follow waits for the NOTIFY that says how a transfer went.
func (c *Call) follow(ctx context.Context, told <-chan news) error {
	over := c.done
	var late <-chan time.Time
	for {
		select {
		case n := <-told:
			switch {
			case n.code >= 200 && n.code < 300:
				return nil
			case n.code >= 300:
				return &Refused{string(sip.INVITE), n.code, reason(n.code)}
			case n.over:
				return fmt.Errorf("its last NOTIFY says %d, which is no end", n.code)
			}
		case <-over:
			over = nil
			patience := time.NewTimer(lastWord)
			defer patience.Stop()
			late = patience.C
		case <-late:
			return ErrEnded
		case <-c.p.done:
			return net.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe files who waits for the NOTIFYs of a dialog.
func (p *Phone) subscribe(id dialogID) (<-chan news, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.transfers[id] != nil {
		return nil, errors.New("another transfer of this call is in progress")
	}
	told := make(chan news, newsMost)
	p.transfers[id] = told
	return told, nil
}

func (p *Phone) unsubscribe(id dialogID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.transfers, id)
}

// notified takes a NOTIFY: how a transfer of ours goes (RFC 3515 section 2.4.5). There is no other subscription.
func (p *Phone) notified(req *sip.Request, tx *sip.ServerTx, id dialogID) {
	p.mu.Lock()
	told := p.transfers[id]
	p.mu.Unlock()
	n, ok := newsOf(req)
	switch {
	case told == nil || !strings.EqualFold(token(req, "Event"), eventRefer):
		p.respond(tx, req, 481, "")
	case !ok:
		p.respond(tx, req, 400, "")
	default:
		select {
		case told <- n:
			p.respond(tx, req, 200, "")
		default:
			p.respond(tx, req, 500, "")
		}
	}
}

// newsOf reads the status line in the body of a NOTIFY.
func newsOf(req *sip.Request) (n news, ok bool) {
	line, _, _ := strings.Cut(string(req.Body()), "\n")
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "SIP/2.0" {
		return news{}, false
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil || code < 100 || code > 699 {
		return news{}, false
	}
	return news{code, strings.EqualFold(token(req, "Subscription-State"), "terminated")}, true
}

// token is the value of a header without its parameters; "" without one.
func token(m sip.Message, name string) string {
	list := m.GetHeaders(name)
	if len(list) == 0 {
		return ""
	}
	value, _, _ := strings.Cut(list[0].Value(), ";")
	return strings.TrimSpace(value)
}
