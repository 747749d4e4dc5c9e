package b2bua

import (
	"context"
	"slices"
	"sync/atomic"

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
	invite    bool
	way       guard.Egress
	req       *sip.Request // kept for a repetition; nil where no challenge can be answered
	proof     proof
	on        func(*sip.Response, error)
	tx        guard.ClientTx // nil: nothing was sent
	cancelled bool
	done      bool // a final response or an error came
	ear       *ear // of the transaction that it has now
}

// ear is all that a transaction holds of a call. An INVITE's lives for half a minute after its answer, and most calls that
// fail do not live half as long: the call takes the ear away from it at its end.
type ear struct{ u atomic.Pointer[uac] }

// hear is the stack's handler.
func (e *ear) hear(res *sip.Response, err error) {
	if u := e.u.Load(); u != nil {
		u.c.postOwn(func() { u.event(res, err) })
	}
}

// deafen lets nothing through any more.
func (u *uac) deafen() { u.ear.u.Store(nil) }

// send hands a request of a leg to the stack. What comes back returns through the mailbox: on gets each response, and at the
// end an error if there was no final one. A challenge is answered here and never seen by on, as long as it can be answered.
func (c *call) send(l *leg, e *guard.Egress, req *sip.Request, on func(*sip.Response, error)) *uac {
	u := &uac{c: c, l: l, invite: req.IsInvite(), way: *e, on: on}
	if c.v.selves[l.trunk.Name] != nil {
		u.req = req
	}
	if req.IsInvite() {
		l.proof = nil
		c.invites = append(slices.DeleteFunc(c.invites, (*uac).forgotten), u)
	}
	c.waiting++
	u.launch(req)
	return u
}

// launch starts the transaction.
func (u *uac) launch(req *sip.Request) {
	if u.ear != nil {
		u.deafen()
	}
	u.ear = &ear{}
	u.ear.u.Store(u)
	tx, err := u.c.b.o.Stack.Request(context.Background(), req, u.way, u.ear.hear)
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
	if u.done && !(u.invite && res != nil && res.StatusCode < 300) { // only a 2xx to an INVITE may come again
		u.deafen()
	}
	u.on(res, err)
}

// forgotten reports a request whose transaction is over: nothing more can come.
func (u *uac) forgotten() bool {
	if u.tx == nil || u.ear.u.Load() == nil {
		return u.done
	}
	select {
	case <-u.tx.Done():
		return u.done
	default:
		return false
	}
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
