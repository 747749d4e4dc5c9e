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

// uac is one request of ours on its way, with the repetition that a challenge asks for. It belongs to the call's goroutine.
type uac struct {
	c         *call
	l         *leg
	way       guard.Egress
	req       *sip.Request // kept for a repetition; nil where no challenge can be answered
	proof     proof
	on        func(*sip.Response, error)
	tx        guard.ClientTx // nil: nothing was sent
	cancelled bool
	done      bool // a final response or an error came
}

// send hands a request of a leg to the stack. What comes back returns through the mailbox: on gets each response, and at the
// end an error if there was no final one. A challenge is answered here and never seen by on, as long as it can be answered.
func (c *call) send(l *leg, e *guard.Egress, req *sip.Request, on func(*sip.Response, error)) *uac {
	u := &uac{c: c, l: l, way: *e, on: on}
	if c.v.selves[l.trunk.Name] != nil {
		u.req = req
	}
	if req.IsInvite() {
		l.proof = nil
	}
	c.waiting++
	u.launch(req)
	return u
}

// launch starts the transaction.
func (u *uac) launch(req *sip.Request) {
	tx, err := u.c.b.o.Stack.Request(context.Background(), req, u.way, func(res *sip.Response, err error) {
		u.c.postOwn(func() { u.event(res, err) })
	})
	if err != nil {
		u.c.postOwn(func() { u.event(nil, err) })
		return
	}
	u.tx = tx
}

// event is a response or the end.
func (u *uac) event(res *sip.Response, err error) {
	if res != nil {
		unpack(res) //nolint:errcheck // a response cannot be refused: what is not understood of it is not used
	}
	if err != nil && u.done {
		return // the end of a transaction that had its final answer
	}
	if !u.done && err == nil && challenged(res) && u.prove(res) {
		return
	}
	if !u.done && (err != nil || res.StatusCode >= 200) {
		u.done, u.req = true, nil
		u.c.waiting--
	}
	u.on(res, err)
}

// prove repeats the request with the answer to a challenge: the next CSeq number, the same Call-ID and tags (RFC 3261
// section 22.2). False: it cannot be answered, and the failure is the request's.
func (u *uac) prove(res *sip.Response) bool {
	if u.req == nil || u.cancelled {
		return false
	}
	if err := u.proof.add(u.c.v, u.l.trunk, u.req, res); err != nil {
		u.c.log.Warn("the peer does not take who we are", "trunk", u.l.trunk.Name, "method", string(u.req.Method), "why", err)
		return false
	}
	u.req.CSeq().SeqNo = u.l.d.next()
	if u.req.IsInvite() {
		u.l.proof = u.proof.headers()
	}
	u.launch(u.req)
	return true
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
