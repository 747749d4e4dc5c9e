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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sourcegraph/jsonrpc2"
)

// DialOptions say how a client introduces itself and who hears events. The zero value does neither.
type DialOptions struct {
	Hello   *Hello                       // said first; Dial fails if it is refused
	OnEvent func(method string, e Event) // one event at a time, in order, on a goroutine of its own: it may call
	Log     *slog.Logger                 // default: nothing is logged
}

const clientEvents = 1024 // events that wait for OnEvent; more are dropped and counted

// Client is one connection to a control socket. It is safe for concurrent use, and final once it is lost: Link makes a
// new one.
type Client struct {
	Methods
	rpc    *jsonrpc2.Conn
	wire   *wire
	log    *slog.Logger
	hello  HelloResult
	events chan event
	lost   atomic.Uint64
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
	c := &Client{wire: newWire(nc), log: o.Log, events: make(chan event, clientEvents)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.Methods = Methods{c.Call}
	c.rpc = jsonrpc2.NewConn(context.Background(), c.wire, listener{c}, jsonrpc2.SetLogger(printer{c.log}))
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

// Call sends one request and waits for its answer. params nil sends none; result nil drops it. The relay's own errors are
// *Error; one that the connection's end caused is ErrClosed with the cause; the context's are its own.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	err := c.rpc.Call(ctx, method, params, result)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*jsonrpc2.Error](err); ok {
		return &Error{Code: int(e.Code), Message: e.Message}
	}
	if errors.Is(err, jsonrpc2.ErrClosed) || errors.Is(err, errWrite) {
		<-c.Done() // whoever cannot write or was cut off learns the cause from the reader, at once
		return fmt.Errorf("%s: %w", method, c.Err())
	}
	return fmt.Errorf("%s: %w", method, err)
}

// Greeting is the answer to the hello that Dial said.
func (c *Client) Greeting() HelloResult { return c.hello }

// Lost counts the events that OnEvent was too slow for.
func (c *Client) Lost() uint64 { return c.lost.Load() }

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.rpc.DisconnectNotify() }

// Err is nil while the connection lives, then ErrClosed with what ended it: a refusal is an *Error within.
func (c *Client) Err() error {
	select {
	case <-c.Done():
		return c.wire.cause()
	default:
		return nil
	}
}

// Close ends the connection. Calls that wait return ErrClosed.
func (c *Client) Close() error {
	c.wire.fail(errors.New("closed by its owner"))
	if err := c.rpc.Close(); err != nil && !errors.Is(err, jsonrpc2.ErrClosed) {
		return err
	}
	return nil
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

// listener takes what the server sends unasked. It runs between two reads, so it never waits.
type listener struct{ c *Client }

// Handle queues an event. A call, which no server of ours makes, is answered that it went to the wrong side.
func (l listener) Handle(ctx context.Context, rpc *jsonrpc2.Conn, req *jsonrpc2.Request) {
	if !req.Notif {
		rpc.ReplyWithError(ctx, req.ID, &jsonrpc2.Error{Code: CodeNoMethod, Message: "a controller answers no calls"})
		return
	}
	e := event{method: req.Method}
	if req.Params != nil {
		if err := json.Unmarshal(*req.Params, &e.body); err != nil {
			l.c.log.Warn("control: event not understood", "method", req.Method, "error", err)
			return
		}
	}
	select {
	case l.c.events <- e:
	default:
		l.c.lost.Add(1)
	}
}

// printer is the library's log, at debug: what it says of an end, Err says too.
type printer struct{ log *slog.Logger }

func (p printer) Printf(format string, v ...any) {
	p.log.Debug("control: " + string(bytes.TrimSpace(fmt.Appendf(nil, format, v...))))
}

// errWrite marks a failure to send: nothing of the request arrived, or the connection is over.
var errWrite = errors.New("write")

// wire is the jsonrpc2.ObjectStream of a client: one object a line, bounded both ways. It remembers why it ended.
type wire struct {
	nc net.Conn
	in *lines

	mu  sync.Mutex // of what follows, and of writing
	err error
}

func newWire(nc net.Conn) *wire { return &wire{nc: nc, in: newLines(nc, MaxLine)} }

// ReadObject reads the next object. Its errors are final: the other side is a server of ours, not a person.
func (w *wire) ReadObject(v any) error {
	for {
		line, err := w.in.next()
		switch {
		case err != nil:
			w.fail(err)
			return err
		case len(bytes.TrimSpace(line)) == 0:
			continue
		case bytes.HasPrefix(line, []byte(nullAnswer)):
			err = nullError(line)
		default:
			err = json.Unmarshal(line, v)
		}
		if err != nil {
			w.fail(err)
		}
		return err
	}
}

// nullError is the error of an answer to no request: a refusal, or a line of ours that was not understood.
func nullError(line []byte) error {
	var answer struct {
		Error *Error `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	if answer.Error == nil {
		return errors.New("an answer without id and without error")
	}
	return answer.Error
}

// WriteObject sends one object. The library calls it once at a time.
func (w *wire) WriteObject(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if line = append(line, '\n'); len(line) > MaxLine {
		return fmt.Errorf("the request has %d bytes, more than the %d of a line: send less at once", len(line), MaxLine)
	}
	w.nc.SetWriteDeadline(time.Now().Add(writeStall))
	_, err = w.nc.Write(line)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
		// The other side hung up. Its last words may still be unread: the reader finds them, then the end.
	default:
		w.fail(err)
		w.nc.Close() // half a line may be out: nothing can follow it
	}
	return fmt.Errorf("%w: %w", errWrite, err)
}

// Close ends both directions.
func (w *wire) Close() error { return w.nc.Close() }

// fail remembers the first cause of the end.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if err == io.EOF {
		err = errors.New("the other side hung up")
	}
	w.err = fmt.Errorf("%w: %w", ErrClosed, err)
}

func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		return ErrClosed
	}
	return w.err
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
