package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// DialOptions say how a client introduces itself and who hears events. The zero value does neither.
type DialOptions struct {
	Hello   *Hello                       // said first; Dial fails if it is refused
	OnEvent func(method string, e Event) // one event at a time, in order, on a goroutine of its own: it may call
	Log     *slog.Logger                 // default: nothing is logged
}

const clientEvents = 1024 // events that wait for OnEvent; more are dropped and counted

// Client is one connection to a control socket. It is safe for concurrent use, and final once it is lost: Link makes a
// new one. Calls of several goroutines travel together: what gathers while one of them writes is one more write.
type Client struct {
	Methods
	nc     net.Conn
	in     *lines // of the goroutine that reads
	out    *outbox
	log    *slog.Logger
	hello  HelloResult
	events chan event
	lost   atomic.Uint64
	done   chan struct{} // closed at the end
	spare  sync.Pool     // of *waiter that wait for nothing

	mu      sync.Mutex
	last    uint64             // id of the latest call
	waiters map[uint64]*waiter // calls without an answer, by id
	ended   bool               // no answer comes any more
	cause   error              // the first that was found
}

// waiter is one call that waits for its answer.
type waiter struct {
	result any        // to be filled by the goroutine that reads
	done   chan error // one for each call
}

// read fills in the result, or only sees that it is well-formed.
func (w *waiter) read(result []byte) error {
	if w.result != nil {
		return decodeAnswer(result, w.result)
	}
	if s := (scanner{text: result}); !s.skip() || !s.ended() {
		return syntax(result)
	}
	return nil
}

type event struct {
	method string
	body   Event
}

// Dial connects to the socket at path and says hello if the options have one. ctx bounds both, not the life of the client.
func Dial(ctx context.Context, path string, o DialOptions) (*Client, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, explainDial(path, err)
	}
	c := &Client{
		nc: nc, in: newLines(nc, MaxLine), out: newOutbox(nc, writeStall), log: o.Log,
		events: make(chan event, clientEvents), done: make(chan struct{}), waiters: map[uint64]*waiter{},
	}
	c.spare.New = func() any { return &waiter{done: make(chan error, 1)} }
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.Methods = Methods{c.Call}
	go c.read()
	if o.OnEvent != nil {
		go c.deliver(o.OnEvent)
	}
	if o.Hello != nil {
		if c.hello, err = c.Hello(ctx, *o.Hello); err != nil {
			c.Close()
			return nil, fmt.Errorf("control socket %s: hello: %w", path, err)
		}
	}
	return c, nil
}

// explainDial says what the reader of an error can do about it.
func explainDial(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("control socket %s: nobody listens there: start tandem, or name its socket: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("control socket %s: you may not open it: join its group or become its owner: %w", path, err)
	}
	return fmt.Errorf("control socket %s: %w", path, err)
}

// Call sends one request and waits for its answer. params nil sends none; result nil drops it; what result points to is
// replaced. The relay's own errors are *Error; one that the connection's end caused is ErrClosed with the cause; the
// context's are its own.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	w := c.spare.Get().(*waiter)
	w.result = result
	id, err := c.send(w, method, params)
	if err == nil {
		err = c.wait(ctx, w, id)
	}
	w.result = nil
	c.spare.Put(w)
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	return fmt.Errorf("%s: %w", method, err)
}

// send sends a request for w. With an error w waits for nothing.
func (c *Client) send(w *waiter, method string, params any) (id uint64, err error) {
	if id, err = c.register(w); err != nil {
		return 0, err
	}
	c.out.add(func(b []byte) []byte {
		var line []byte
		line, err = appendRequest(b, id, method, params)
		if size := len(line) - len(b); err == nil && size > MaxLine {
			err = fmt.Errorf("the request has %d bytes, more than the %d of a line: send less at once", size, MaxLine)
		}
		if err != nil {
			return line[:len(b)] // none of it
		}
		return line
	})
	if err != nil {
		c.forget(id)
		return 0, err
	}
	runtime.Gosched() // who is about to call as well does so first, and shares the write
	c.flush()
	return id, nil
}

// register makes an id and has the answer to it given to w.
func (c *Client) register(w *waiter) (id uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, c.cause
	}
	c.last++
	c.waiters[c.last] = w
	return c.last, nil
}

// wait waits for the answer.
func (c *Client) wait(ctx context.Context, w *waiter, id uint64) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	if c.forget(id) != nil {
		return ctx.Err()
	}
	return <-w.done // the goroutine that reads has taken it up already
}

// forget ends the wait for an answer. nil: somebody else ends it at this moment.
func (c *Client) forget(id uint64) *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiters[id]
	delete(c.waiters, id)
	return w
}

// flush sends what waits. A failure ends the connection, and so every call.
func (c *Client) flush() {
	err := c.out.flush()
	switch {
	case err == nil:
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
		// The other side hung up. Its last words may still be unread: the reader finds them, then the end.
	default:
		c.fail(err)
		c.nc.Close() // half a line may be out: nothing can follow it
	}
}

// Greeting is the answer to the hello that Dial said.
func (c *Client) Greeting() HelloResult { return c.hello }

// Lost counts the events that OnEvent was too slow for.
func (c *Client) Lost() uint64 { return c.lost.Load() }

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection lives, then ErrClosed with what ended it: a refusal is an *Error within.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		return nil
	}
	return c.cause
}

// Close ends the connection. Calls that wait return ErrClosed.
func (c *Client) Close() error {
	c.fail(errors.New("closed by its owner"))
	err := c.nc.Close()
	<-c.done // the reader saw it
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// fail remembers the first cause of the end.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if err == io.EOF {
		err = errors.New("the other side hung up")
	}
	c.cause = fmt.Errorf("%w: %w", ErrClosed, err)
}

// read takes what the server sends until the end, then ends every call.
func (c *Client) read() {
	for {
		line, err := c.in.next()
		if err == nil && len(bytes.TrimSpace(line)) > 0 {
			err = c.take(line)
		}
		if err != nil { // final: the other side is a server of ours, not a person
			c.fail(err)
			break
		}
	}
	c.nc.Close()
	c.mu.Lock()
	c.ended = true
	cause, waiters := c.cause, c.waiters
	c.waiters = nil
	c.mu.Unlock()
	close(c.done)
	for _, w := range waiters {
		w.done <- cause
	}
}

// deliver hands events to their listener until the connection ends.
func (c *Client) deliver(f func(string, Event)) {
	for {
		select {
		case e := <-c.events:
			f(e.method, e.body)
		case <-c.Done():
			return
		}
	}
}

// Raw makes one call on a connection of its own, for a person at a terminal. params empty sends none.
func Raw(ctx context.Context, path, method string, params json.RawMessage) (json.RawMessage, error) {
	c, err := Dial(ctx, path, DialOptions{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var args any
	if len(params) > 0 {
		args = params
	}
	var result json.RawMessage
	err = c.Call(ctx, method, args, &result)
	return result, err
}
