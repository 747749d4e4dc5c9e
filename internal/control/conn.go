package control

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Peer is who speaks on a connection: the kernel's word, then the peer's own. A peer that did not say hello has no Client,
// no Owner and no Events.
type Peer struct {
	UID, GID uint32
	PID      int32
	Client   string
	Owner    string
	Events   bool
}

// Conn is one connection of a server. One goroutine reads a request, calls the handler, and reads the next: a call costs
// no switch between goroutines. Only when a handler calls Async does another one go on reading beside it. Answers wait until
// there is nothing more to read at once, and leave together.
type Conn struct {
	s      *Server
	nc     transport
	peer   Peer // the kernel's part; never changes
	log    *slog.Logger
	hello  atomic.Pointer[Hello] // what the peer said last; nil before
	in     *lines                // of the goroutine that reads
	out    *outbox
	events chan []byte    // lines; a full queue drops
	slots  chan struct{}  // one for every call that runs
	lanes  sync.WaitGroup // goroutines that read or answer

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
}

func newConn(s *Server, nc transport, p Peer) *Conn {
	c := &Conn{
		s: s, nc: nc, peer: p,
		log:    s.o.Log.With("uid", p.UID, "pid", p.PID),
		out:    newOutbox(nc, s.o.stall),
		events: make(chan []byte, s.o.EventQueue),
		slots:  make(chan struct{}, s.o.MaxInFlight),
	}
	c.in = newLines(reading{c}, s.o.maxLine)
	c.ctx, c.cancel = context.WithCancel(s.closing)
	return c
}

// serve answers the connection until its peer stops sending, takes no more answers, or hangUp. A peer that only stopped
// sending (socat at the end of its input) still gets the answers to what it asked.
func (c *Conn) serve() {
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.tell()
	}()
	c.lanes.Go(c.read)
	c.lanes.Wait()
	c.flush()
	c.hangUp()
	<-told
}

// hangUp ends the connection at once, from anywhere. The connection goes before its context: what a handler answers because
// it was told to stop is not an answer to the peer.
func (c *Conn) hangUp() {
	c.nc.Close()
	c.cancel()
}

// reading reads from the connection, and first sends the answers: it may take long.
type reading struct{ c *Conn }

func (r reading) Read(b []byte) (int, error) {
	if err := r.c.flush(); err != nil {
		return 0, err
	}
	return r.c.nc.Read(b)
}

// read takes requests, one a line, and calls the handler for each, until the end or until another goroutine took its place.
func (c *Conn) read() {
	var room []byte // of the request that runs
	for {
		line, err := c.in.next()
		switch {
		case err == errLineTooLong:
			c.answer(nil, nil, Errorf(CodeInvalid, "the line has more than %d bytes and was skipped", c.s.o.maxLine))
			continue
		case err != nil:
			return
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		req, bad := parseRequest(line, room)
		if room = req.room; cap(room) > keepBuffer {
			room = nil
		}
		switch {
		case bad != nil:
			c.answer(req.id, nil, bad)
			continue
		case req.id == nil: // a notification: JSON-RPC forbids an answer, and nothing here is worth doing unanswered
			c.log.Debug("control: notification ignored", "method", req.method)
			continue
		}
		if !c.enter() {
			return
		}
		if reads := c.run(req); !reads {
			return
		}
	}
}

// enter takes a slot, or sends the answers and waits for one. false: the connection ended.
func (c *Conn) enter() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
		c.flush()
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// call is the context of one call, and its turn to read: who has the turn reads the next request.
type call struct {
	context.Context
	c      *Conn
	passed atomic.Bool
}

// callKey finds a call in a context made from it.
type callKey struct{}

func (t *call) Value(key any) any {
	if key == (callKey{}) {
		return t
	}
	return t.Context.Value(key)
}

// Async lets the next call of the same connection start before this one returned. A handler calls it, with the ctx it was
// given, once the order no longer matters and it is going to wait for something. Elsewhere it does nothing.
func Async(ctx context.Context) {
	if t, ok := ctx.Value(callKey{}).(*call); ok && t.passed.CompareAndSwap(false, true) {
		t.c.lanes.Go(t.c.read)
	}
}

// run calls the handler and answers. reads: the turn is still with this goroutine.
func (c *Conn) run(req request) (reads bool) {
	if c.log.Enabled(c.ctx, slog.LevelDebug) {
		c.log.Debug("control: call", "method", req.method, "params", string(Redact(orEmpty(req.params))))
	}
	t := &call{Context: c.ctx, c: c}
	result, err := c.handle(t, req)
	reads = t.passed.CompareAndSwap(false, true)
	if err != nil {
		c.answer(req.id, nil, onWire(err))
	} else {
		c.answer(req.id, result, nil)
	}
	if !reads {
		c.flush() // the one that reads may be waiting in its read
	}
	<-c.slots
	return reads
}

func orEmpty(params json.RawMessage) json.RawMessage {
	if params == nil {
		return json.RawMessage("{}")
	}
	return params
}

// handle calls the handler and outlives it.
func (c *Conn) handle(ctx context.Context, req request) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.s.panics.Add(1)
			c.log.Error("control: handler panicked", "method", req.method, "panic", r, "stack", string(debug.Stack()))
			err = Errorf(CodeInternal, "%s failed inside the server; its log has the details", clip(req.method))
		}
	}()
	return c.s.o.Handler.Handle(ctx, c, req.method, req.params)
}

// answer queues one answer, and waits while too many are. Whoever writes keeps that wait short: it writes or hangs up.
func (c *Conn) answer(id json.RawMessage, result any, e *Error) {
	full := c.out.add(func(b []byte) []byte { return appendAnswer(b, id, result, e, c.s.o.maxLine) })
	if full {
		c.flush()
	}
}

// Notify queues one event and never waits. false: the queue is full or the connection gone, and the event is dropped;
// the caller counts.
func (c *Conn) Notify(method string, params any) bool {
	if len(c.events) == cap(c.events) || c.ctx.Err() != nil {
		return false
	}
	line, err := appendEvent(nil, method, params)
	if err != nil {
		return false
	}
	select {
	case c.events <- line:
		return true
	default:
		return false
	}
}

// tell sends events behind the answers that wait, some at a time: an answer that comes later is not held up by a queue.
func (c *Conn) tell() {
	for {
		select {
		case line := <-c.events:
			c.out.add(func(b []byte) []byte { return c.gather(append(b, line...)) })
			c.flush()
		case <-c.ctx.Done():
			return
		}
	}
}

// gather appends more events, up to what is sent at once.
func (c *Conn) gather(b []byte) []byte {
	for len(b) < writeBuffer {
		select {
		case line := <-c.events:
			b = append(b, line...)
		default:
			return b
		}
	}
	return b
}

// flush sends what waits, or ends the connection.
func (c *Conn) flush() error {
	err := c.out.flush()
	if err != nil {
		c.lost(err)
	}
	return err
}

// lost ends a connection whose peer does not take what we send.
func (c *Conn) lost(err error) {
	if c.ctx.Err() == nil {
		c.log.Warn("control: connection lost: its peer does not read", "client", c.Peer().Client, "error", err)
	}
	c.hangUp()
}

// SetHello remembers what the peer said. From then on Peer tells it.
func (c *Conn) SetHello(h Hello) { c.hello.Store(&h) }

// Peer tells who speaks.
func (c *Conn) Peer() Peer {
	p := c.peer
	if h := c.hello.Load(); h != nil {
		p.Client, p.Owner, p.Events = h.Client, h.Owner, h.Events
	}
	return p
}
