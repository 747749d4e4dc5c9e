package b2bua

import (
	"context"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// Stack is the guarded SIP stack as a call sees it; *guard.Stack is one. No method blocks.
type Stack interface {
	Request(context.Context, *sip.Request, guard.Egress, guard.ClientHandler) (guard.ClientTx, error)
	Ack(*sip.Request, guard.Egress) error
	Contact(listener string) string
}

// uac is one request of ours on its way. It belongs to the call's goroutine.
type uac struct {
	c         *call
	on        func(*sip.Response, error)
	tx        guard.ClientTx // nil: nothing was sent
	cancelled bool
	done      bool // a final response or an error came
}

// send hands a request to the stack. What comes back returns through the mailbox: on gets each response, and at the end an
// error if there was no final one.
func (c *call) send(e *guard.Egress, req *sip.Request, on func(*sip.Response, error)) *uac {
	u := &uac{c: c, on: on}
	c.waiting++
	tx, err := c.b.o.Stack.Request(context.Background(), req, *e, func(res *sip.Response, err error) {
		c.postOwn(func() { u.event(res, err) })
	})
	if err != nil {
		c.postOwn(func() { u.event(nil, err) })
		return u
	}
	u.tx = tx
	return u
}

// event is a response or the end.
func (u *uac) event(res *sip.Response, err error) {
	if err != nil && u.done {
		return // the end of a transaction that had its final answer
	}
	if !u.done && (err != nil || res.StatusCode >= 200) {
		u.done = true
		u.c.waiting--
	}
	u.on(res, err)
}

// cancel sends a CANCEL, now or after the first provisional response (RFC 3261 section 9.1).
func (u *uac) cancel(extra ...sip.Header) {
	if u == nil || u.tx == nil || u.done || u.cancelled {
		return
	}
	u.cancelled = true
	if err := u.tx.Cancel(extra...); err != nil {
		u.c.log.Debug("CANCEL not sent", "error", err)
	}
}
