package guard

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// The client transaction of RFC 3261 section 17.1, with the Accepted state of RFC 6026 section 7.2, as one state and one timer.
// sipgo's own passes each response through a goroutine and a channel, and keeps a request, its timers and a function for each
// state for 32 s.

// clientState is how far a request has come.
type clientState uint8

const (
	calling    clientState = iota // Calling, or Trying: nothing has come
	proceeding                    // a provisional response has come
	accepted                      // an INVITE has its 2xx: more of them may come, by other branches of a fork
	completed                     // an INVITE failed: its ACK is sent again for each repetition
	ended
)

// begin starts the timers of a request that is on its way. c.mu is held.
func (c *clientTx) begin() {
	now := time.Now()
	c.until = now.Add(sip.Timer_B) // B, or F: both are 64*T1
	if c.l.udp != nil {
		c.interval = sip.T1 // A, or E
		c.again = now.Add(c.interval)
	}
	c.timer = time.AfterFunc(c.due(now), c.tick)
}

// due is the time until the next thing that happens by itself. c.mu is held.
func (c *clientTx) due(now time.Time) time.Duration {
	if !c.again.IsZero() && c.again.Before(c.until) {
		return c.again.Sub(now)
	}
	return c.until.Sub(now)
}

// tick is the timer: the end, or a repetition.
func (c *clientTx) tick() {
	defer c.l.recovered("a request's timer", c.l.local)
	c.mu.Lock()
	now := time.Now()
	waits := c.state == calling || c.state == proceeding && !c.invite
	switch {
	case c.state == ended || c.state == proceeding && c.invite: // a response was faster
		c.mu.Unlock()
		return
	case !now.Before(c.until):
		c.mu.Unlock()
		if waits {
			c.end(ErrTimeout)
		} else {
			c.end(nil)
		}
		return
	case !waits || c.again.IsZero() || now.Before(c.again):
		c.timer.Reset(c.due(now))
		c.mu.Unlock()
		return
	}
	c.lengthen()
	c.again = now.Add(c.interval)
	c.timer.Reset(c.due(now))
	raw := c.raw
	c.mu.Unlock()
	if err := c.to.send(raw); err != nil {
		c.end(fmt.Errorf("%w: %w", ErrTransport, err))
	}
}

// lengthen is timer A, which doubles, or E, which doubles up to T2 and is T2 once somebody is there.
func (c *clientTx) lengthen() {
	c.interval *= 2
	if !c.invite && (c.interval > sip.T2 || c.state == proceeding) {
		c.interval = sip.T2
	}
}

// advance takes the transaction one response further, and tells what is to be done with it. c.mu is held.
func (c *clientTx) advance(code int) (next step) {
	switch waits := c.state == calling || c.state == proceeding; {
	case c.muted || c.state == ended:
		return step{}
	case waits && code < 200:
		c.state, c.provisional = proceeding, true
		if c.invite {
			c.timer.Stop() // how long it may ring is for whoever asked to say
			c.raw = nil
		}
		next.cancel, c.cancel = c.cancel, nil
		next.deliver = true
		return next
	case waits:
		c.final, c.raw, c.cancel = code, nil, nil
		if c.cancelTimer != nil {
			c.cancelTimer.Stop()
		}
		return c.answered(code)
	case c.state == accepted:
		return step{deliver: success(code)}
	case c.state == completed:
		return step{again: code >= 200}
	}
	return step{}
}

// answered is a first final response. c.mu is held.
func (c *clientTx) answered(code int) step {
	switch {
	case !c.invite: // a repetition needs no state to be dropped
		return step{deliver: true, end: true}
	case success(code):
		c.state, c.origin = accepted, nil
		c.rest(sip.Timer_M)
		return step{deliver: true}
	}
	c.state = completed
	if c.l.udp == nil {
		return step{deliver: true, acknowledge: true, end: true} // timer D is nothing on a stream
	}
	c.rest(sip.Timer_D)
	return step{deliver: true, acknowledge: true}
}

// rest keeps a transaction that has its answer for repetitions. c.mu is held.
func (c *clientTx) rest(d time.Duration) {
	c.again, c.until = time.Time{}, time.Now().Add(d)
	c.timer.Reset(d)
}

// step is what a response leads to.
type step struct {
	deliver     bool         // to the handler
	acknowledge bool         // a failure: the ACK is made and sent
	again       bool         // a repeated failure: the ACK is sent again
	end         bool         // nothing more is expected
	cancel      *sip.Request // asked for before anything had come
}

// ackOf builds the ACK of a failure: the INVITE's Request-URI, Via, From, Call-ID, CSeq number and Route, and the response's To
// (RFC 3261 section 17.1.1.3).
func ackOf(origin *sip.Request, res *sip.Response) *sip.Request {
	req := skeleton(origin)
	req.Method = sip.ACK
	req.CSeq().MethodName = sip.ACK
	req.ReplaceHeader(sip.HeaderClone(res.To()))
	hops := sip.MaxForwardsHeader(maxForwards)
	req.AppendHeader(&hops)
	req.SetBody(nil)
	return req
}

const maxForwards = 70 // RFC 3261 section 8.1.1.6
