package guard

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	sendDepth       = 1024             // messages waiting for a peer to read; then it counts as stalled
	writeWithin     = 10 * time.Second // for one message, likewise
	messageWithin   = 20 * time.Second // from the first byte of a message to its last: nobody holds a half one open
	strangerSilence = 30 * time.Second // idle time of a connection whose source is no trunk's
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

	out    chan []byte
	ctx    context.Context // done when the connection is closed
	cancel context.CancelFunc

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
		tx.fail(errors.Join(ErrTransport, why))
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

// framer cuts a byte stream into messages (RFC 3261 section 18.3). Each byte is looked at once, however it arrives.
type framer struct {
	limit int
	buf   []byte
	off   int       // where the next message begins
	seen  int       // bytes after off that hold no end of a head
	whole int       // bytes of the message at off once its head was judged, else 0
	as    Outcome   // what its head was judged to be
	began time.Time // when the message at off began; zero between messages
}

// next returns one whole message that may be parsed. Keepalive means that more bytes are needed; any other outcome comes
// with the message if only that one is bad, and with nil if the boundary is lost. pings counts the CRLF CRLF before it.
func (f *framer) next() (msg []byte, pings int, out Outcome) {
	pings = f.skipCRLF()
	b := f.buf[f.off:]
	if f.whole == 0 {
		from := max(0, f.seen-3)
		i := bytes.Index(b[from:], []byte("\r\n\r\n"))
		if i < 0 {
			if f.seen = len(b); len(b) > f.limit {
				return nil, pings, TooLarge
			}
			return nil, pings, Keepalive
		}
		if f.whole, f.as = judgeHead(b[:from+i+4]); f.whole == 0 {
			return nil, pings, f.as
		}
		if f.whole > f.limit {
			return nil, pings, TooLarge
		}
	}
	if len(b) < f.whole {
		return nil, pings, Keepalive
	}
	msg, out = b[:f.whole], f.as
	f.off += f.whole
	f.seen, f.whole, f.began = 0, 0, time.Time{}
	return msg, pings, out
}

// skipCRLF passes what may stand before a first line, and counts the pings in it.
func (f *framer) skipCRLF() int {
	if f.whole != 0 {
		return 0
	}
	n := 0
	for b := f.buf[f.off:]; len(b) >= 2 && b[0] == '\r' && b[1] == '\n'; b = b[2:] {
		n++
	}
	if n > 0 {
		f.off, f.seen, f.began = f.off+2*n, 0, time.Time{}
	}
	return n / 2
}

// judgeHead inspects a head and returns the size of its message, 0 where that cannot be told for certain.
func judgeHead(head []byte) (int, Outcome) {
	g, out := inspect(head)
	switch out {
	case Delivered:
		if g.length < 0 {
			return 0, BadLength // a stream needs it (RFC 3261 section 20.14)
		}
	case TooManyHeaders, TooManyParams, Smuggled:
		if g = lengthOf(head); g.length < 0 {
			return 0, out
		}
	default:
		return 0, out
	}
	return len(head) + g.length, out
}

// lengthOf reads the framing of a head that is refused for something else, and -1 where it is not certain.
func lengthOf(head []byte) glance {
	g := glance{length: -1}
	_, rest, ok := cutLine(head)
	for ok {
		var line []byte
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		name, value, fine := cutHeader(line)
		if fine && g.note(name, value) != Delivered {
			return glance{length: -1}
		}
	}
	if !ok {
		g.length = -1
	}
	return g
}

// partial reports that a message has begun and is not whole.
func (f *framer) partial() bool { return len(f.buf) > f.off }

// room makes space for the next read: what is left moves to the front, and the buffer grows up to the limit.
func (f *framer) room() {
	f.buf = slices.Delete(f.buf, 0, f.off)
	f.off = 0
	if len(f.buf) == cap(f.buf) {
		f.buf = slices.Grow(f.buf, len(f.buf))
	}
	if len(f.buf) == 0 && cap(f.buf) > 8*readChunk {
		f.buf = make([]byte, 0, readChunk)
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
