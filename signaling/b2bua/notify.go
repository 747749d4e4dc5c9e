package b2bua

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// contentFrag is the body of a NOTIFY about a REFER: the beginning of a response (RFC 3515 section 2.4.5).
const contentFrag = "message/sipfrag;version=2.0"

// notify tells who sent a REFER how it goes. Its text is ours: a peer's names hosts.
func (c *call) notify(x *transfer, code int) {
	l := x.by
	if x.quiet || l.ended || code == x.told {
		return
	}
	x.told = code
	state := "active;expires=" + strconv.Itoa(int(leaseOfRefer.Seconds()))
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	c.sendNOTIFY(x, state, fmt.Sprintf("SIP/2.0 %d %s\r\n", code, reasonPhrase(code)))
}

func (c *call) sendNOTIFY(x *transfer, state, frag string) {
	l := x.by
	req, err := l.d.request(sip.NOTIFY, l.d.next())
	if err != nil {
		c.log.Warn("NOTIFY not sent", "leg", l.name, "error", err)
		return
	}
	event := eventRefer
	if x.named {
		event += ";id=" + strconv.FormatUint(uint64(x.id), 10)
	}
	c.addContact(req, l.trunk.Policy.Listener)
	req.AppendHeader(sip.NewHeader("Event", event))
	req.AppendHeader(sip.NewHeader("Subscription-State", state))
	ct := sip.ContentTypeHeader(contentFrag)
	req.AppendHeader(&ct)
	req.SetBody([]byte(frag))
	c.send(l, c.way(l), req, func(res *sip.Response, err error) {
		if err != nil || res.StatusCode >= 300 {
			x.quiet = true // nobody listens: the transfer goes on all the same
		}
	})
}

// referOn tells the other side of a REFER: it does what is asked, and we pass on how it goes. Who does not know REFER has it
// done for him.
func (c *call) referOn(l, o *leg, in *guard.Inbound, to target) {
	req, err := o.d.request(sip.REFER, o.d.next())
	if err != nil {
		c.decide(in, 500, nil)
		return
	}
	ours, theirs := c.b.host(o.trunk.Policy.Listener), bracket(o.trunk.Host)
	if d := o.trunk.Policy.Domain; d != "" {
		ours, theirs = bracket(d), bracket(d)
	}
	var who sip.Uri
	if _, err := sip.ParseAddressValue(l.d.Remote, &who, nil); err != nil {
		c.decide(in, 500, nil)
		return
	}
	c.addContact(req, o.trunk.Policy.Listener)
	req.AppendHeader(sip.NewHeader("Refer-To", nameAddr("", sipURI(to.number, theirs)+phoneParam(to.number))))
	req.AppendHeader(sip.NewHeader("Referred-By", nameAddr("", sipURI(number(&who), ours))))
	x := c.beginTransfer(l, o, in)
	x.on = true
	c.send(o, c.way(o), req, func(res *sip.Response, err error) {
		switch {
		case err == nil && res.StatusCode < 200:
		case c.xfer != x && (err != nil || res.StatusCode >= 300):
			c.decide(in, 487, nil)
		case err == nil && res.StatusCode < 300: // its last NOTIFY may have come first (RFC 3515 section 2.4.4)
			c.decide(in, 202, func(res *sip.Response) { c.addContact(res, in.Listener) })
		case err == nil && (res.StatusCode == 405 || res.StatusCode == 501 || res.StatusCode == 420):
			c.endTransfer(x)
			l.refers--
			c.consume(l, o, in, to)
		default:
			c.endTransfer(x)
			code := 408
			if err == nil {
				code = passedCode(res.StatusCode)
			}
			c.decide(in, code, nil)
			if code == 408 || code == 481 { // the dialog is gone (RFC 5057 section 5.1)
				c.hangUp(code, "dialog lost", o.String())
			}
		}
	})
}

// notified is a NOTIFY: how a REFER goes that we passed on. Any other is about nothing that we asked for (RFC 6665 section
// 4.1.3).
func (c *call) notified(l *leg, in *guard.Inbound) {
	x := c.xfer
	code, ok := fragCode(in.Req)
	switch {
	case x == nil || !x.on || x.keep != l || !eventIs(in.Req, eventRefer):
		c.decide(in, 481, nil)
		return
	case !ok:
		c.decide(in, 400, nil)
		return
	}
	c.decide(in, 200, nil)
	c.notify(x, passedCode(code))
	if code >= 200 {
		c.endTransfer(x)
	}
}

// subscribed is a SUBSCRIBE: the subscription of a REFER is renewed or given up (RFC 3515 section 2.4.4). There is no other.
func (c *call) subscribed(l *leg, in *guard.Inbound) {
	x := c.xfer
	switch {
	case !eventIs(in.Req, eventRefer):
		c.decide(in, 489, func(res *sip.Response) { res.AppendHeader(sip.NewHeader("Allow-Events", eventRefer)) })
		return
	case x == nil || x.by != l:
		c.decide(in, 481, nil)
		return
	}
	expires := int(leaseOfRefer.Seconds())
	for _, v := range values(in.Req, "Expires") {
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31); err == nil {
			expires = min(expires, int(n))
		}
	}
	c.decide(in, 200, func(res *sip.Response) {
		c.addContact(res, in.Listener)
		res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(expires)))
	})
	state := "active;expires=" + strconv.Itoa(expires)
	if expires == 0 {
		state = "terminated;reason=timeout"
	}
	c.sendNOTIFY(x, state, fmt.Sprintf("SIP/2.0 %d %s\r\n", max(x.told, 100), reasonPhrase(max(x.told, 100))))
	x.quiet = x.quiet || expires == 0
}

// eventIs compares the package in Event, parameters aside.
func eventIs(m sip.Message, name string) bool {
	for _, v := range named(m, "Event") {
		v, _, _ = strings.Cut(v, ";")
		return strings.EqualFold(strings.TrimSpace(v), name)
	}
	return false
}

// fragCode is the status in a body of message/sipfrag.
func fragCode(req *sip.Request) (int, bool) {
	first, _, _ := strings.Cut(string(req.Body()), "\n")
	f := strings.Fields(first)
	if len(f) < 2 || f[0] != "SIP/2.0" {
		return 0, false
	}
	n, err := strconv.Atoi(f[1])
	return n, err == nil && n >= 100 && n < 700
}
