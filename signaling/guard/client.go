package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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
	return s.send(l.prepare(req, newBranch()), l, to, on)
}

// Ack sends the ACK of a 2xx, for which there is no transaction, under a branch of its own (RFC 3261 section 13.2.2.4);
// call it again for each retransmission of the 2xx.
func (s *Stack) Ack(req *sip.Request, e Egress) error {
	l, to, err := s.way(context.Background(), e)
	if err != nil {
		return fmt.Errorf("ack to %s: %w", e.Dest, err)
	}
	raw, err := encodeRequest(l.prepare(req, newBranch()))
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

// send makes the transaction of a prepared request and starts it.
func (s *Stack) send(req *sip.Request, l *listener, to link, on ClientHandler) (*clientTx, error) {
	raw, err := encodeRequest(req)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", req.Method, err)
	}
	key, err := sip.ClientTxKeyMake(req)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", req.Method, err)
	}
	origin := skeleton(req)
	c := &clientTx{stack: s, l: l, to: to, on: on, key: key, callID: req.CallID().Value(), origin: origin, invite: req.IsInvite()}
	c.raw.Store(&raw)
	c.tx = sip.NewClientTx(key, origin, c, s.txLog)
	c.tx.OnTerminate(c.ended)
	c.tx.OnRetransmission(c.repeated)
	s.clients.put(c)
	if conn, ok := to.(*stream); ok {
		conn.attach(c)
	}
	c.order.Lock() // a response that overtakes the end of Init waits for its timers to exist
	err = c.tx.Init()
	c.mu.Lock()
	c.started = true
	switch {
	case err == nil:
		err = c.err
	case c.unsent != nil:
		err = c.unsent // without the machine's words around it
	}
	c.mu.Unlock()
	c.order.Unlock()
	if err == nil && s.isClosed() {
		err = ErrClosed
	}
	if err != nil {
		c.Terminate()
		if !errors.Is(err, ErrTransport) {
			err = fmt.Errorf("%w: %w", ErrTransport, err)
		}
		return nil, fmt.Errorf("request %s: %w", req.Method, err)
	}
	return c, nil
}

// clientTx is sipgo's client transaction with its channel always drained and nothing behind it that can block. It is also
// the connection that the transaction writes to.
type clientTx struct {
	stack  *Stack
	l      *listener
	to     link
	on     ClientHandler
	tx     *sip.ClientTx
	key    string
	callID string
	origin *sip.Request // skeleton of what was sent
	invite bool
	raw    atomic.Pointer[[]byte] // the request as sent; nil once it need not be repeated
	ackRaw atomic.Pointer[[]byte] // the ACK to a failure

	order  sync.Mutex    // responses one after the other
	repeat *sip.Response // a further 2xx that the machine let through; under order

	mu          sync.Mutex
	started     bool  // Request has returned or is about to; a failure before is its error, not an event
	unsent      error // why nothing was sent; written before started
	provisional bool
	final       int
	muted       bool // Terminate was called, or the error was reported
	err         error
	cancel      *sip.Request // asked for, not sent yet
	canceled    bool
	cancelTimer *time.Timer
}

// receive runs the state machine for one response, and passes on what it lets through. The machine hands a response over
// an unbuffered channel under its own lock, so it runs beside us for as long as that takes and not longer.
func (c *clientTx) receive(res *sip.Response) Outcome {
	c.order.Lock()
	defer c.order.Unlock()
	if c.failedAgain(res) {
		return Absorbed
	}
	first := c.settle(res)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.tx.Receive(res)
	}()
	out := Absorbed
	select {
	case r := <-c.tx.Responses():
		out = c.deliver(r)
		<-ran
	case <-ran:
		if c.repeat != nil || first { // first: a timer was faster, but had to leave the word to this response
			c.repeat = nil
			out = c.deliver(res)
		}
	}
	if !c.invite && res.StatusCode >= 200 {
		c.tx.Terminate() // a retransmission needs no state to be dropped
	}
	return out
}

// settle notes a first final response before the machine sees it: on a stream the machine may end the transaction at
// once, and that must not look like a failure.
func (c *clientTx) settle(res *sip.Response) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final != 0 || c.muted || res.StatusCode < 200 {
		return false
	}
	c.final, c.cancel = res.StatusCode, nil
	if c.cancelTimer != nil {
		c.cancelTimer.Stop()
	}
	return true
}

// failedAgain acknowledges a retransmitted failure. The machine would wait for 4 s under its lock before it did.
func (c *clientTx) failedAgain(res *sip.Response) bool {
	c.mu.Lock()
	again := c.invite && c.final >= 300 && res.StatusCode >= 200
	c.mu.Unlock()
	if again {
		if ack := c.ackRaw.Load(); ack != nil {
			c.to.send(*ack)
		}
	}
	return again
}

// deliver notes what a response changes and calls the handler.
func (c *clientTx) deliver(res *sip.Response) Outcome {
	c.mu.Lock()
	if c.invite || res.StatusCode >= 200 {
		c.raw.Store(nil) // timer A is over
	}
	var cancel *sip.Request
	if res.StatusCode < 200 {
		c.provisional = true
		cancel, c.cancel = c.cancel, nil
	}
	muted := c.muted
	c.mu.Unlock()
	if res.StatusCode >= 200 {
		c.detach()
	}
	if cancel != nil {
		c.sendCancel(cancel)
	}
	if muted {
		return Absorbed
	}
	c.on(res, nil)
	return Delivered
}

// repeated takes a further 2xx to an INVITE: a retransmission, or another branch of a fork (RFC 6026 section 7.2). It runs
// inside receive.
func (c *clientTx) repeated(res *sip.Response) { c.repeat = res }

// ended is called by the machine, under its lock, when the transaction is over.
func (c *clientTx) ended(_ string, why error) {
	c.stack.clients.drop(c)
	c.detach()
	if errors.Is(why, sip.ErrTransactionTimeout) {
		why = ErrTimeout
	}
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
	if c.cancelTimer != nil {
		c.cancelTimer.Stop()
	}
	c.mu.Unlock()
	if tell {
		defer c.l.recovered("a failed request", c.l.local) // this may be a timer's goroutine
		c.on(nil, fmt.Errorf("request %s: %w", c.origin.Method, why))
	}
}

// fail ends the transaction for a reason of the transport.
func (c *clientTx) fail(why error) {
	c.report(why)
	c.tx.Terminate()
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
	c.tx.Terminate()
}

// Done is closed when the transaction is over.
func (c *clientTx) Done() <-chan struct{} { return c.tx.Done() }

// Err tells why there was no final response.
func (c *clientTx) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// WriteMsg sends the request as it was encoded, or the ACK that the machine made for a failure.
func (c *clientTx) WriteMsg(msg sip.Message) error {
	req, ok := msg.(*sip.Request)
	if !ok {
		return nil
	}
	if req == c.origin {
		raw := c.raw.Load()
		if raw == nil {
			return nil
		}
		err := c.to.send(*raw)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.started {
			c.unsent = err
		}
		return err
	}
	raw, err := encodeRequest(req)
	if err != nil {
		return err
	}
	c.ackRaw.Store(&raw)
	return c.to.send(raw)
}

func (c *clientTx) LocalAddr() net.Addr    { return net.TCPAddrFromAddrPort(c.l.local) }
func (c *clientTx) Ref(int) int            { return 1 } // a socket of ours does not live by counting
func (c *clientTx) TryClose() (int, error) { return 1, nil }
func (c *clientTx) Close() error           { return nil }
