package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
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

// transport is what a Conn needs of a net.Conn.
type transport interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// Conn is one connection of a server. One goroutine reads, one writes, and every call has its own.
type Conn struct {
	s       *Server
	nc      transport
	peer    Peer // the kernel's part; never changes
	log     *slog.Logger
	hello   atomic.Pointer[Hello] // what the peer said last; nil before
	answers chan []byte           // lines; closed when no call is left
	events  chan []byte           // lines; a full queue drops
	slots   chan struct{}         // one for every call that waits or runs
	calls   sync.WaitGroup

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
}

func newConn(s *Server, nc transport, p Peer) *Conn {
	c := &Conn{
		s: s, nc: nc, peer: p,
		log:     s.o.Log.With("uid", p.UID, "pid", p.PID),
		answers: make(chan []byte, s.o.MaxInFlight),
		events:  make(chan []byte, s.o.EventQueue),
		slots:   make(chan struct{}, s.o.MaxInFlight),
	}
	c.ctx, c.cancel = context.WithCancel(s.closing)
	return c
}

// serve answers the connection until its peer stops sending, takes no more answers, or hangUp. A peer that only stopped
// sending (socat at the end of its input) still gets the answers to what it asked.
func (c *Conn) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	c.read()
	c.calls.Wait()
	close(c.answers)
	<-written
	c.hangUp()
}

// hangUp ends the connection at once, from anywhere.
func (c *Conn) hangUp() {
	c.cancel()
	c.nc.Close()
}

// read takes requests, one a line, and starts each when the one before it lets it.
func (c *Conn) read() {
	in := newLines(c.nc, c.s.o.maxLine)
	turn := make(chan struct{})
	close(turn)
	for {
		line, err := in.next()
		switch {
		case err == errLineTooLong:
			c.answer(nil, nil, Errorf(CodeInvalid, "the line has more than %d bytes and was skipped", c.s.o.maxLine))
			continue
		case err != nil:
			return
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		req, bad := parseRequest(line)
		switch {
		case bad != nil:
			c.answer(req.id, nil, bad)
			continue
		case req.id == nil: // a notification: JSON-RPC forbids an answer, and nothing here is worth doing unanswered
			c.log.Debug("control: notification ignored", "method", req.method)
			continue
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		next := make(chan struct{})
		c.calls.Add(1)
		go c.run(req, turn, next)
		turn = next
	}
}

// asyncKey finds the function that passes the turn on in a call's context.
type asyncKey struct{}

// Async lets the next call of the same connection start before this one returned. A handler calls it, with the ctx it was
// given, once the order no longer matters and it is going to wait for something. Elsewhere it does nothing.
func Async(ctx context.Context) {
	if pass, ok := ctx.Value(asyncKey{}).(func()); ok {
		pass()
	}
}

// run waits for its turn, calls the handler, answers, and passes the turn on at the latest then.
func (c *Conn) run(req request, turn <-chan struct{}, next chan<- struct{}) {
	defer c.calls.Done()
	defer func() { <-c.slots }()
	pass := sync.OnceFunc(func() { close(next) })
	defer pass()
	select {
	case <-turn:
	case <-c.ctx.Done():
		return
	}
	if c.log.Enabled(c.ctx, slog.LevelDebug) {
		c.log.Debug("control: call", "method", req.method, "params", string(Redact(orEmpty(req.params))))
	}
	result, err := c.handle(context.WithValue(c.ctx, asyncKey{}, pass), req)
	if err != nil {
		c.answer(req.id, nil, onWire(err))
		return
	}
	c.answer(req.id, result, nil)
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

// answer queues one answer and waits while the queue is full. The writer keeps that wait short: it writes or hangs up.
func (c *Conn) answer(id json.RawMessage, result any, e *Error) {
	select {
	case c.answers <- encodeAnswer(id, result, e, c.s.o.maxLine):
	case <-c.ctx.Done():
	}
}

// Notify queues one event and never waits. false: the queue is full or the connection gone, and the event is dropped;
// the caller counts.
func (c *Conn) Notify(method string, params any) bool {
	line, err := encodeEvent(method, params)
	if err != nil || c.ctx.Err() != nil {
		return false
	}
	select {
	case c.events <- line:
		return true
	default:
		return false
	}
}

// write sends lines, answers before events, and gathers those that are ready into one write.
func (c *Conn) write() {
	w := bufio.NewWriterSize(deadlined{c.nc, c.s.o.stall}, readBuffer)
	for {
		line, open := c.nextLine(w)
		if !open {
			w.Flush() // the peer asked for nothing more; if it is gone, it misses nothing
			return
		}
		if _, err := w.Write(line); err != nil {
			c.lost(err)
			return
		}
	}
}

// nextLine waits for a line to send, with nothing held back while it waits. false: there will be none.
func (c *Conn) nextLine(w *bufio.Writer) (line []byte, open bool) {
	select {
	case line, open = <-c.answers:
		return line, open
	default:
	}
	select {
	case line = <-c.events:
		return line, true
	default:
	}
	if err := w.Flush(); err != nil {
		c.lost(err)
		return nil, false
	}
	select {
	case line, open = <-c.answers:
		return line, open
	case line = <-c.events:
		return line, true
	case <-c.ctx.Done():
		return nil, false
	}
}

// lost ends a connection whose peer does not take what we send.
func (c *Conn) lost(err error) {
	if c.ctx.Err() == nil {
		c.log.Warn("control: connection lost: its peer does not read", "client", c.Peer().Client, "error", err)
	}
	c.hangUp()
}

// deadlined gives every write its time and no more.
type deadlined struct {
	nc    transport
	stall time.Duration
}

func (d deadlined) Write(b []byte) (int, error) {
	if err := d.nc.SetWriteDeadline(time.Now().Add(d.stall)); err != nil {
		return 0, err
	}
	return d.nc.Write(b)
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
