package guard

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// The client transaction of RFC 3261 section 17.1, with the Accepted state of RFC 6026 section 7.2, as one state, and one timer
// until the final response: afterwards it has a place in a queue (rest.go). sipgo's own passes each response through a goroutine
// and a channel, and keeps a request, its timers and a function for each state for 32 s.

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
	now, f := time.Now(), c.flight
	f.until = now.Add(sip.Timer_B) // B, or F: both are 64*T1
	if c.l.udp != nil {
		f.interval = sip.T1 // A, or E
		f.again = now.Add(f.interval)
	}
	f.timer = time.AfterFunc(f.due(now), c.tick)
}

// due is the time until the next thing that happens by itself.
func (f *flight) due(now time.Time) time.Duration {
	if !f.again.IsZero() && f.again.Before(f.until) {
		return f.again.Sub(now)
	}
	return f.until.Sub(now)
}

// tick is the timer of a request without a final response: the end, or a repetition.
func (c *clientTx) tick() {
	defer c.l.recovered("a request's timer", c.l.local)
	c.mu.Lock()
	now, f := time.Now(), c.flight
	switch {
	case c.state == ended || f == nil || c.state == proceeding && c.invite(): // a response was faster
		c.mu.Unlock()
		return
	case !now.Before(f.until):
		c.mu.Unlock()
		c.end(ErrTimeout)
		return
	case f.again.IsZero() || now.Before(f.again):
		f.timer.Reset(f.due(now))
		c.mu.Unlock()
		return
	}
	c.lengthen()
	f.again = now.Add(f.interval)
	f.timer.Reset(f.due(now))
	c.mu.Unlock()
	if err := c.to.send(f.raw); err != nil {
		c.end(fmt.Errorf("%w: %w", ErrTransport, err))
	}
}

// lengthen is timer A, which doubles, or E, which doubles up to T2 and is T2 once somebody is there.
func (c *clientTx) lengthen() {
	f := c.flight
	f.interval *= 2
	if !c.invite() && (f.interval > sip.T2 || c.state == proceeding) {
		f.interval = sip.T2
	}
}

// advance takes the transaction one response further, and tells what is to be done with it. c.mu is held.
func (c *clientTx) advance(code int) (next step) {
	switch waits := c.state == calling || c.state == proceeding; {
	case c.muted || c.state == ended:
		return step{}
	case waits && code < 200:
		c.state, c.provisional = proceeding, true
		if c.invite() {
			c.flight.timer.Stop() // how long it may ring is for whoever asked to say
		}
		next.cancel, c.flight.waits = c.flight.waits, false
		next.deliver = true
		return next
	case waits:
		c.flight.lands()
		c.final, c.flight = int16(code), nil
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
	case !c.invite(): // a repetition needs no state to be dropped
		return step{deliver: true, end: true}
	case success(code):
		c.state = accepted
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
	c.queue().add(&c.place, c, c.l.stack.age()+d)
}

// queue is where the transaction waits in its state: timers M and D differ where T1 is not 500 ms. c.mu is held.
func (c *clientTx) queue() *queue[clientTx] {
	if c.state == completed {
		return &c.l.stack.clients.settling
	}
	return &c.l.stack.clients.resting
}

// step is what a response leads to.
type step struct {
	deliver     bool // to the handler
	acknowledge bool // a failure: the ACK is made and sent
	again       bool // a repeated failure: the ACK is sent again
	end         bool // nothing more is expected
	cancel      bool // asked for before anything had come
}

// follow builds what belongs to an INVITE that was sent: its ACK after a failure, which has the To of the response (RFC 3261
// section 17.1.1.3), or its CANCEL with extra headers (section 9.1). The Request-URI, the Via, From, Call-ID, Route and the CSeq
// number are the bytes of the INVITE.
func follow(invite []byte, method sip.RequestMethod, to *sip.ToHeader, extra []sip.Header) ([]byte, error) {
	var room [headRoom]byte
	line, rest, ok := cutLine(invite)
	_, target, _ := bytes.Cut(line, []byte(" "))
	b, lines := append(append(room[:0], method...), ' '), 0
	b = append(append(b, target...), "\r\n"...)
	for ok {
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "CSeq":
			number, _, _ := bytes.Cut(value, []byte(" "))
			b = append(append(append(b, "CSeq: "...), number...), ' ')
			b = append(b, method...)
		case "To":
			b = append(b, "To: "...)
			if to == nil {
				b = append(b, value...)
			} else {
				b = appendValue(b, to)
			}
		case "Via", "From", "Call-ID", "Route":
			b = append(b, line...)
		default:
			continue
		}
		b = append(b, "\r\n"...)
		lines++
	}
	b = strconv.AppendInt(append(b, "Max-Forwards: "...), maxForwards, 10)
	b = appendHeaders(append(b, "\r\n"...), extra)
	b = append(b, "Content-Length: 0\r\n"...)
	return seal(b, lines+len(extra)+2, nil)
}

const maxForwards = 70 // RFC 3261 section 8.1.1.6
