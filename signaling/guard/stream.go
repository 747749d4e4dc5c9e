package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	sendDepth       = 1024             // messages waiting for a peer to read; then it counts as stalled
	writeWithin     = 10 * time.Second // for one message, likewise
	messageWithin   = 20 * time.Second // from the first byte of a message to its last: nobody holds a half one open
	strangerSilence = 30 * time.Second // idle time of a connection whose source is no trunk's
	flushWithin     = time.Second      // for what is queued when a connection is closed for bad framing
	readChunk       = 8 << 10          // first size of a connection's buffer; it grows to message_bytes on need
)

// stream is one TCP or TLS connection in either direction. A reader frames what comes; a writer sends what waits, so that
// a peer that does not read holds up nobody: neither a transaction's lock nor another call.
type stream struct {
	l        *listener
	remote   netip.AddrPort
	inbound  bool
	key      streamKey // of an outbound one
	names    []string  // of the peer's certificate; set before anything is read
	verified bool

	out     chan []byte     // nil in it: tell flushed when this is reached
	flushed chan struct{}   // the reader makes it, before that
	ctx     context.Context // done when the connection is closed
	cancel  context.CancelFunc

	mu      sync.Mutex
	conn    net.Conn // nil while dialling
	err     error    // why it closed
	pending map[*clientTx]struct{}
}

func newStream(l *listener, remote netip.AddrPort) *stream {
	c := &stream{l: l, remote: remote, out: make(chan []byte, sendDepth), pending: map[*clientTx]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// send queues a message; on a connection that is still being opened it waits there.
func (c *stream) send(b []byte) error {
	select {
	case <-c.ctx.Done():
		return c.why()
	default:
	}
	select {
	case c.out <- b:
		return nil
	default:
		c.l.countConn(Stalled)
		c.close(ErrStalled)
		return ErrStalled
	}
}

func (c *stream) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close ends the connection and fails the requests that wait for an answer on it: their peer has gone.
func (c *stream) close(why error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = why
	conn, pending := c.conn, c.pending
	c.pending = nil
	c.cancel() // with the lock: who finds nothing pending finds it closed
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	c.l.stack.streams.drop(c)
	for tx := range pending {
		tx.fail(fmt.Errorf("%w: %w", ErrTransport, why))
	}
}

// attach remembers a request that ends with this connection.
func (c *stream) attach(tx *clientTx) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending != nil {
		c.pending[tx] = struct{}{}
	}
}

func (c *stream) detach(tx *clientTx) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, tx)
}

// use takes conn over; false when the stream was closed meanwhile.
func (c *stream) use(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		conn.Close()
		return false
	}
	c.conn = conn
	return true
}

// write sends what is queued until the connection closes.
func (c *stream) write() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case b := <-c.out:
			if b == nil {
				close(c.flushed)
				return
			}
			c.conn.SetWriteDeadline(time.Now().Add(writeWithin))
			if _, err := c.conn.Write(b); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					c.l.countConn(Stalled)
					err = ErrStalled
				}
				c.close(err)
				return
			}
		}
	}
}

// flush waits until what is queued is sent: who sent whole messages before the stream lost its frame has its answers. Only
// the reader may call it, and closes the connection then.
func (c *stream) flush() {
	c.flushed = make(chan struct{})
	select {
	case c.out <- nil:
	default:
		return
	}
	select {
	case <-c.flushed:
	case <-c.ctx.Done():
	case <-time.After(flushWithin):
	}
}

// read frames messages until the connection ends, and handles them one after the other.
func (c *stream) read() {
	f := framer{limit: c.l.stack.opt.Limits.Message, buf: make([]byte, 0, readChunk)}
	for {
		for {
			msg, pings, out := f.next()
			c.pong(pings)
			if out == Keepalive {
				break // more is needed
			}
			c.l.stack.counters.received.Add(1)
			if out != Delivered {
				c.l.count(out)
				if msg == nil {
					c.l.countConn(BrokenFraming)
					c.flush()
					c.close(errors.New("the stream is not framed as SIP: " + out.String()))
					return
				}
				continue
			}
			for { // back pressure instead of a drop: TCP would not repeat it
				wait := c.l.charge(c.remote.Addr())
				if wait == 0 {
					break
				}
				if c.l.stack.pause(wait); c.ctx.Err() != nil {
					return
				}
			}
			c.l.receive(msg, c.remote, c, c)
		}
		if err := c.fill(&f); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%s closed the connection", c.remote)
			}
			c.close(err)
			return
		}
	}
}

// fill reads once more, under the deadline that fits: a message that has begun, a stranger, or an idle trunk.
func (c *stream) fill(f *framer) error {
	deadline := time.Now().Add(c.l.stack.opt.Limits.Idle)
	if !c.l.stack.opt.Known(c.l.Name, c.remote.Addr()) {
		deadline = time.Now().Add(min(strangerSilence, c.l.stack.opt.Limits.Idle))
	}
	if f.partial() {
		if f.began.IsZero() {
			f.began = time.Now()
		}
		if end := f.began.Add(messageWithin); end.Before(deadline) {
			deadline = end
		}
	}
	c.conn.SetReadDeadline(deadline)
	f.room()
	n, err := c.conn.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.l.countConn(IdleClosed)
	}
	if n > 0 {
		return nil // a lasting error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// pong answers keep-alive pings (RFC 5626 section 4.4.1).
func (c *stream) pong(pings int) {
	if pings > 0 {
		c.send([]byte("\r\n"))
	}
}

// accept admits connections until the listener closes. An error of accept (out of descriptors) is waited out: it must not
// end the listener in silence.
func (l *listener) accept() {
	for {
		conn, err := l.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || l.stack.isClosed() {
				return
			}
			l.countConn(AcceptRetried)
			l.stack.log.Warn("sip: accepting connections", "listener", l.Name, "error", err)
			l.stack.pause(retryAfter)
			continue
		}
		l.admit(conn)
	}
}

// admit lets a connection in if there is room for it.
func (l *listener) admit(conn net.Conn) {
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		conn.Close()
		return
	}
	remote := netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), at.AddrPort().Port())
	known := l.stack.opt.Known(l.Name, remote.Addr())
	if e := l.stack.doors.enter(remote.Addr(), known); e != Accepted {
		l.countConn(e)
		conn.Close()
		return
	}
	l.countConn(Accepted)
	c := newStream(l, remote)
	c.inbound, c.conn = true, conn
	l.stack.streams.add(c)
	if !l.stack.goes(func() {
		defer l.stack.doors.leave(remote.Addr(), known)
		c.serve()
	}) {
		c.close(ErrClosed)
	}
}

// serve shakes hands where that is due, and reads.
func (c *stream) serve() {
	if c.l.TLS != nil && c.l.Transport == "tls" {
		secure := tls.Server(c.conn, c.l.TLS)
		c.conn.SetDeadline(time.Now().Add(c.l.stack.opt.Limits.Handshake))
		if err := secure.Handshake(); err != nil {
			c.l.countConn(HandshakeFailed)
			c.l.stack.log.Info("sip: TLS handshake", "listener", c.l.Name, "source", c.remote, "error", err)
			c.close(err)
			return
		}
		c.conn.SetDeadline(time.Time{})
		c.names, c.verified = identity(secure.ConnectionState(), c.l.TLS)
		if !c.use(secure) {
			return
		}
	}
	c.l.stack.goes(c.write)
	c.read()
}
