package guard

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

const cancelWait = 32 * time.Second // 64*T1 for the final response after a CANCEL (RFC 3261 section 9.1)

// Cancel is described at ClientTx.
func (c *clientTx) Cancel(extra ...sip.Header) error {
	if !c.invite {
		return fmt.Errorf("cancel of %s: only an INVITE can be cancelled", c.method)
	}
	c.mu.Lock()
	switch {
	case c.final != 0:
		c.mu.Unlock()
		return ErrAnswered
	case c.canceled || c.muted || c.state == ended:
		c.mu.Unlock()
		return nil
	}
	req := cancelOf(c.origin, extra)
	c.canceled = true
	c.cancelTimer = time.AfterFunc(cancelWait, func() { c.fail(ErrTimeout) })
	if !c.provisional {
		c.cancel = req
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	c.sendCancel(req)
	return nil
}

// sendCancel starts the CANCEL's own transaction; its answer changes nothing.
func (c *clientTx) sendCancel(req *sip.Request) {
	if _, err := c.stack.send(req, c.l, c.to, func(*sip.Response, error) {}); err != nil {
		c.stack.log.Debug("sip: CANCEL could not be sent", "error", err)
	}
}

// cancelOf builds the CANCEL of an INVITE: the same Request-URI, Call-ID, To, From, CSeq number, Route and top Via (RFC
// 3261 section 9.1).
func cancelOf(origin *sip.Request, extra []sip.Header) *sip.Request {
	req := skeleton(origin)
	req.Method = sip.CANCEL
	req.CSeq().MethodName = sip.CANCEL
	hops := sip.MaxForwardsHeader(maxForwards)
	req.AppendHeader(&hops)
	for _, h := range extra {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	return req
}
