package guard

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

const cancelWait = 32 * time.Second // 64*T1 for the final response after a CANCEL (RFC 3261 section 9.1)

// Cancel is described at ClientTx.
func (c *clientTx) Cancel(extra ...sip.Header) error {
	if !c.invite() {
		return fmt.Errorf("cancel of %s: only an INVITE can be cancelled", c.key.method)
	}
	c.mu.Lock()
	f := c.flight
	switch {
	case c.final != 0:
		c.mu.Unlock()
		return ErrAnswered
	case c.canceled || c.muted || c.state == ended:
		c.mu.Unlock()
		return nil
	}
	c.canceled = true
	f.cancelTimer = time.AfterFunc(cancelWait, func() { c.fail(ErrTimeout) })
	f.extra, f.waits = extra, !c.provisional
	now := c.provisional
	c.mu.Unlock()
	if now {
		c.sendCancel(f)
	}
	return nil
}

// sendCancel starts the CANCEL's own transaction; its answer changes nothing.
func (c *clientTx) sendCancel(f *flight) {
	raw, err := follow(f.raw, sip.CANCEL, nil, f.extra)
	if err == nil {
		cancel := &clientTx{l: c.l, to: c.to, on: func(*sip.Response, error) {}, key: clientKey{c.key.branch, sip.CANCEL}, callID: c.callID, begins: c.begins}
		err = cancel.start(raw)
	}
	if err != nil {
		c.l.stack.log.Debug("sip: CANCEL could not be sent", "error", err)
	}
}
