package guard

import (
	"bytes"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"runtime"
	"time"
)

const (
	datagramMax   = 65535                 // bytes of a UDP payload; one more in the buffer shows a larger one
	deskDepth     = 1024                  // datagrams waiting for one worker: about 100 ms of its work
	desksMax      = 4                     // workers of one listener
	receiveBuffer = 4 << 20               // bytes asked of the kernel: a burst of some thousand messages
	retryAfter    = 50 * time.Millisecond // pause after a failed read or accept, so that a lasting failure does not spin
)

// link is a way back to one peer: a socket and an address, or a stream. send does not block on the peer.
type link interface {
	send(b []byte) error
}

// datagram is one UDP message on its way to a worker.
type datagram struct {
	raw []byte
	src netip.AddrPort
}

// serveDatagrams starts the reader and the workers of a UDP listener. One goroutine reads and filters, so that it drains
// the kernel at the speed of a scan; the parsing is done by workers, and all messages of one Call-ID by the same one in
// their order.
func (l *listener) serveDatagrams() {
	n := min(desksMax, max(2, runtime.GOMAXPROCS(0)))
	l.hearUnreachable()
	l.udp.SetReadBuffer(receiveBuffer) // best effort: net.core.rmem_max may cap it
	for range n {
		desk := make(chan datagram, deskDepth)
		l.desks = append(l.desks, desk)
		l.stack.goes(func() {
			for d := range desk {
				l.receive(d.raw, d.src, l.replyTo(d.src), nil)
			}
		})
	}
	if !l.stack.goes(l.readDatagrams) {
		l.closeDesks() // the stack was closed meanwhile
	}
}

func (l *listener) readDatagrams() {
	defer l.closeDesks()
	buf := make([]byte, datagramMax+1)
	for {
		n, src, err := l.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || l.stack.isClosed() {
				return
			}
			if ofAnother(err) { // of a datagram that we sent
				l.unreachables()
				continue
			}
			l.stack.log.Warn("sip: reading datagrams", "listener", l.Name, "error", err)
			l.stack.pause(retryAfter)
			continue
		}
		l.stack.counters.received.Add(1)
		src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
		if out := l.desk(buf[:n], src); out != Delivered {
			l.count(out)
		}
	}
}

func (l *listener) closeDesks() {
	for _, d := range l.desks {
		close(d)
	}
}

// desk judges one datagram and hands a copy to the worker of its Call-ID.
func (l *listener) desk(b []byte, src netip.AddrPort) Outcome {
	if len(b) > l.stack.opt.Limits.Message {
		return TooLarge
	}
	if l.charge(src.Addr()) > 0 {
		return OverRate
	}
	if b = bytes.TrimLeft(b, "\r\n\x00"); len(b) == 0 {
		return Keepalive
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return BadHeader
	}
	g, out := inspect(b[:end+4])
	if out != Delivered {
		return out
	}
	d := datagram{raw: bytes.Clone(b), src: src}
	select {
	case l.desks[maphash.Bytes(l.stack.seed, g.callID)%uint64(len(l.desks))] <- d:
		return Delivered
	default:
		return Overload
	}
}

// postbox sends datagrams to one address from a listener's socket.
type postbox struct {
	l  *listener
	to netip.AddrPort
}

func (l *listener) replyTo(to netip.AddrPort) link { return postbox{l, to} }

// pause waits, but not beyond the end of the stack.
func (s *Stack) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.closed:
	}
}
