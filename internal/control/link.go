package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	firstRetry = 100 * time.Millisecond // after a loss: a relay that restarts is back within some of these
	lastRetry  = 5 * time.Second        // the pause doubles up to this
	helloLimit = 5 * time.Second        // for connecting and the hello: a relay that answers no hello is as good as gone
)

// LinkOptions name the socket, the introduction, and who is told. Path is required; every function may be nil.
type LinkOptions struct {
	Path    string
	Hello   Hello
	OnUp    func(c *Client, r HelloResult) // after every hello. Another Boot than before: the relay lost its sessions
	OnDown  func(err error)                // after a connection that was announced by OnUp is lost
	OnEvent func(method string, e Event)   // as DialOptions.OnEvent
	Log     *slog.Logger                   // default: nothing is logged
}

// Link keeps a connection to a control socket alive: it connects, says hello, and does so again, with growing pauses,
// whenever the connection is lost. OnUp and OnDown are called alternately, one at a time, on a goroutine of their own:
// they may take their time and make calls. A connection that came and went while one of them ran is not announced.
type Link struct {
	Methods
	o      LinkOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{} // there is news

	mu      sync.Mutex
	client  *Client       // nil while down
	changed chan struct{} // closed, and made anew, when client changes
	news    news
}

// news is what OnUp and OnDown were not told yet: a loss, then a new connection. Either may be absent.
type news struct {
	down error
	up   *Client
}

// NewLink starts connecting in the background and returns at once.
func NewLink(o LinkOptions) *Link {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Link{o: o, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	l.Methods = Methods{l.Call}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.done.Go(l.keep)
	l.done.Go(l.tell)
	return l
}

// keep connects, waits for the loss, and starts over.
func (l *Link) keep() {
	pause := firstRetry
	for l.ctx.Err() == nil {
		c, err := l.dial()
		if err == nil {
			pause = firstRetry
			l.setUp(c)
			select {
			case <-c.Done():
			case <-l.ctx.Done():
				c.Close()
			}
			l.setDown(c.Err())
		} else {
			l.o.Log.Warn("control: no connection", "socket", l.o.Path, "error", err, "retry_in", pause)
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
		}
		pause = min(2*pause, lastRetry)
	}
}

func (l *Link) dial() (*Client, error) {
	ctx, cancel := context.WithTimeout(l.ctx, helloLimit)
	defer cancel()
	return Dial(ctx, l.o.Path, DialOptions{Hello: &l.o.Hello, OnEvent: l.o.OnEvent, Log: l.o.Log})
}

// setUp lets calls through and has OnUp called.
func (l *Link) setUp(c *Client) {
	l.mu.Lock()
	l.change(c)
	l.news.up = c
	l.mu.Unlock()
	l.o.Log.Info("control: connected", "socket", l.o.Path, "boot", c.hello.Boot, "version", c.hello.Version)
	l.nudge()
}

// setDown makes calls wait again and has OnDown called, unless the connection was never announced.
func (l *Link) setDown(err error) {
	l.mu.Lock()
	l.change(nil)
	if l.news.up != nil {
		l.news.up = nil
	} else {
		l.news.down = err
	}
	l.mu.Unlock()
	if l.ctx.Err() == nil {
		l.o.Log.Warn("control: connection lost", "socket", l.o.Path, "error", err)
	}
	l.nudge()
}

// change replaces the connection and wakes who waits for that; mu is held.
func (l *Link) change(c *Client) {
	l.client = c
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tell calls OnDown and OnUp.
func (l *Link) tell() {
	for {
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
		l.mu.Lock()
		n := l.news
		l.news = news{}
		l.mu.Unlock()
		if n.down != nil && l.o.OnDown != nil {
			l.o.OnDown(n.down)
		}
		if n.up != nil && l.o.OnUp != nil {
			l.o.OnUp(n.up, n.up.hello)
		}
	}
}

// Call waits for the connection until ctx ends, then calls. A call whose connection was lost before the answer is made
// again on the next one: every method is idempotent by session and generation.
func (l *Link) Call(ctx context.Context, method string, params, result any) error {
	var c *Client
	for {
		var err error
		if c, err = l.next(ctx, c); err != nil {
			return fmt.Errorf("%s: control socket %s: %w", method, l.o.Path, err)
		}
		if err = c.Call(ctx, method, params, result); !errors.Is(err, ErrClosed) {
			return err
		}
	}
}

// next waits for a connection other than the one that just failed.
func (l *Link) next(ctx context.Context, failed *Client) (*Client, error) {
	for {
		l.mu.Lock()
		c, changed := l.client, l.changed
		l.mu.Unlock()
		if c != nil && c != failed {
			return c, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// Up tells whether a connection stands.
func (l *Link) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client != nil
}

// Close ends the connection and the attempts to get one, and waits for a callback that runs: it is not to be called from
// one. Calls that wait return ErrClosed.
func (l *Link) Close() error {
	l.cancel()
	l.done.Wait()
	return nil
}
