package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ClientHandler takes what becomes of a request, in order: each response with a nil error, a retransmitted or forked 2xx
// to an INVITE as well; or, once and last, a nil response with an error when the transaction ends without a final
// response (it wraps ErrTimeout, ErrTransport or ErrClosed). Nothing comes after Terminate. It must not block; it may
// call the methods of its ClientTx.
type ClientHandler func(*sip.Response, error)

// ClientTx is a request on its way.
type ClientTx interface {
	// Cancel asks the peer to give up an INVITE, with extra headers if given (Reason). It is sent at once if a provisional
	// response has come, else when one comes (RFC 3261 section 9.1). ErrAnswered: there is a final response already.
	Cancel(extra ...sip.Header) error
	Terminate()            // forget it; the handler is not called any more
	Done() <-chan struct{} // closed at the end of the transaction, for an INVITE some 32 s after its final response
	Err() error            // why it ended without a final response; nil before, and after a final response
}

// Request sends a request from a listener and calls on for what comes back. Guard puts its own Via (in place of any
// other), Max-Forwards, User-Agent and Content-Length where they are missing; req itself is not changed and may be used
// again at once. A connection that has to be opened first is opened in the background, so its failure comes to on. ctx is
// asked before anything is sent and not afterwards. An error returned means that nothing was sent and on is never called.
func (s *Stack) Request(ctx context.Context, req *sip.Request, e Egress, on ClientHandler) (ClientTx, error) {
	if req.IsAck() || req.CSeq() == nil || req.CallID() == nil || req.From() == nil || req.To() == nil {
		return nil, fmt.Errorf("request %s: To, From, Call-ID and CSeq are needed; ACK goes by Ack", req.Method)
	}
	l, to, err := s.way(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("request %s to %s: %w", req.Method, e.Dest, err)
	}
	c, err := s.send(req, newBranch(), l, to, on)
	if err != nil {
		return nil, err // and not a nil pointer in it
	}
	return c, nil
}

// Ack sends the ACK of a 2xx, for which there is no transaction, under a branch of its own (RFC 3261 section 13.2.2.4);
// call it again for each retransmission of the 2xx.
func (s *Stack) Ack(req *sip.Request, e Egress) error {
	l, to, err := s.way(context.Background(), e)
	if err != nil {
		return fmt.Errorf("ack to %s: %w", e.Dest, err)
	}
	raw, err := l.encodeRequest(req, newBranch())
	if err != nil {
		return fmt.Errorf("ack to %s: %w", e.Dest, err)
	}
	if err := to.send(raw); err != nil {
		return fmt.Errorf("ack to %s: %w: %w", e.Dest, ErrTransport, err)
	}
	return nil
}

// way finds the socket or the connection for an egress.
func (s *Stack) way(ctx context.Context, e Egress) (*listener, link, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if s.isClosed() {
		return nil, nil, ErrClosed
	}
	l := s.listeners[e.Listener]
	if l == nil {
		return nil, nil, fmt.Errorf("there is no listener %q", e.Listener)
	}
	if !e.Dest.IsValid() || e.Dest.Port() == 0 {
		return nil, nil, fmt.Errorf("%s is no address to send to", e.Dest)
	}
	if l.udp != nil {
		return l, l.replyTo(e.Dest), nil
	}
	c, err := l.stream(e)
	return l, c, err
}

// send makes the transaction of a request and starts it.
func (s *Stack) send(req *sip.Request, branch string, l *listener, to link, on ClientHandler) (*clientTx, error) {
	raw, err := l.encodeRequest(req, branch)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", req.Method, err)
	}
	c := &clientTx{l: l, to: to, on: on, key: clientKey{branch, req.Method}, callID: req.CallID().Value(), begins: !req.To().Params.Has("tag")}
	if err := c.start(raw); err != nil {
		return nil, err
	}
	return c, nil
}

// start sends the request and begins its timers. After an error there is no transaction.
func (c *clientTx) start(raw []byte) error {
	s := c.l.stack
	c.flight = &flight{raw: raw}
	s.clients.put(c)
	if conn, ok := c.to.(*stream); ok {
		conn.attach(c)
	}
	c.order.Lock() // a response that overtakes us waits for the timers to exist
	unsent := c.to.send(raw)
	c.mu.Lock()
	c.started = true
	err := unsent
	if err == nil {
		err = c.err
	}
	switch {
	case err != nil:
		c.muted = true
	case c.state != ended:
		c.begin()
	}
	c.mu.Unlock()
	c.order.Unlock()
	if err == nil && s.isClosed() {
		err = ErrClosed
	}
	if err == nil {
		return nil
	}
	c.Terminate()
	if !errors.Is(err, ErrTransport) {
		err = fmt.Errorf("%w: %w", ErrTransport, err)
	}
	return fmt.Errorf("request %s: %w", c.key.method, err)
}

// clientTx is a client transaction (client_state.go) with what is wanted of it. What only a request without a final response
// needs is in flight: the rest may live for 32 s.
type clientTx struct {
	l      *listener
	to     link
	key    clientKey
	callID string
	begins bool // it is inside no dialog yet

	// Under mu, but for the place, which is the queue's.
	started     bool // Request has returned or is about to; a failure before is its error, not an event
	provisional bool
	muted       bool // Terminate was called, or the error was reported
	canceled    bool
	state       clientState
	final       int16
	mu          sync.Mutex
	flight      *flight       // nil after the final response
	done        chan struct{} // closed at the end; nil: nobody has asked for it
	err         error
	place       place[clientTx]

	order  sync.Mutex    // responses one after the other
	on     ClientHandler // under order; nil once nothing is told any more
	ackRaw []byte        // the ACK to a failure; under order
}

// flight is a request without a final response; under the lock of its transaction.
type flight struct {
	raw         []byte        // as sent; not changed
	timer       *time.Timer   // of the next repetition or the end; nil before the request was sent
	interval    time.Duration // between repetitions
	again       time.Time     // of the next repetition; zero: none
	until       time.Time     // when it is given up
	waits       bool          // a CANCEL was asked for, and not sent yet
	extra       []sip.Header  // of that CANCEL
	cancelTimer *time.Timer
}

// lands stops the timers.
func (f *flight) lands() {
	if f.timer != nil {
		f.timer.Stop()
	}
	if f.cancelTimer != nil {
		f.cancelTimer.Stop()
	}
}

func (c *clientTx) invite() bool { return c.key.method == sip.INVITE }

// receive takes one response.
func (c *clientTx) receive(res *sip.Response) Outcome {
	c.order.Lock()
	defer c.order.Unlock()
	c.mu.Lock()
	was := c.flight
	next := c.advance(res.StatusCode)
	c.mu.Unlock()
	if next.acknowledge {
		raw, err := follow(was.raw, sip.ACK, res.To(), nil)
		if err != nil {
			c.l.stack.log.Debug("sip: the ACK of a failure could not be built", "error", err)
		}
		c.ackRaw = raw
	}
	if (next.acknowledge || next.again) && c.ackRaw != nil {
		c.to.send(c.ackRaw)
	}
	if res.StatusCode >= 200 {
		c.detach()
	}
	if next.cancel {
		c.sendCancel(was)
	}
	if next.end { // whatever becomes of the handler: no timer would end it any more
		defer c.end(nil)
	}
	if next.acknowledge { // of a failure nothing more is told, and who was told need not be kept
		defer func() { c.on = nil }()
	}
	if !next.deliver {
		return Absorbed
	}
	c.on(res, nil)
	return Delivered
}

// end is the end of the transaction; why is nil where it had its answer.
func (c *clientTx) end(why error) {
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return
	}
	c.queue().remove(&c.place)
	c.state = ended
	if c.flight != nil {
		c.flight.lands()
	}
	done := c.done
	c.mu.Unlock()
	if done != nil {
		close(done)
	}
	c.l.stack.clients.drop(c)
	c.detach()
	c.report(why)
}

// report tells the handler of a failure, unless there was a final response or nobody listens.
func (c *clientTx) report(why error) {
	c.mu.Lock()
	failed := c.final == 0 && !c.muted
	tell := failed && c.started
	if failed {
		if !errors.Is(why, ErrTimeout) && !errors.Is(why, ErrClosed) && !errors.Is(why, ErrTransport) {
			why = fmt.Errorf("%w: %w", ErrTransport, why)
		}
		c.muted, c.err = true, why
	}
	if c.flight != nil && c.flight.cancelTimer != nil {
		c.flight.cancelTimer.Stop()
	}
	c.mu.Unlock()
	if tell {
		defer c.l.recovered("a failed request", c.l.local) // this may be a timer's goroutine
		c.on(nil, fmt.Errorf("request %s: %w", c.key.method, why))
	}
}

// fail ends the transaction for a reason of the transport.
func (c *clientTx) fail(why error) {
	c.report(why)
	c.end(nil)
}

func (c *clientTx) detach() {
	if conn, ok := c.to.(*stream); ok {
		conn.detach(c)
	}
}

// Terminate forgets the transaction; see ClientTx.
func (c *clientTx) Terminate() {
	c.mu.Lock()
	c.muted = true
	c.mu.Unlock()
	c.end(nil)
}

// Done is closed when the transaction is over.
func (c *clientTx) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.state == ended {
			close(c.done)
		}
	}
	return c.done
}

// Err tells why there was no final response.
func (c *clientTx) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
