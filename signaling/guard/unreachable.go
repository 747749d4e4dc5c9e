package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/emiago/sipgo/sip"
)

// A gateway on UDP that is dead says so by ICMP: its host, or the last router before it, answers that nobody is there. A socket
// that sends to many hears of it only if it asks to (ip(7), IP_RECVERR): the kernel then queues each such error with the
// beginning of the datagram that it is about. Without it a dead gateway costs each call the whole time in which it might have answered.
//
// Anybody can write an ICMP message, and the addresses of trunks are no secret. So what is quoted must show the branch of a
// request of ours, which only who saw the request can know (newBranch), and must have been sent there; Linux and RFC 1812 section
// 4.3.2.3 quote enough for that. What quotes less changes nothing, as if it had not come. Only a request that begins something is
// ended so (RFC 3261 section 18.4), and only while nothing was heard: in a dialog a peer that restarts within a second is worth
// the repetitions.

// Bounds of the errors.
const (
	sendTries  = 4   // of a datagram that met the error of another one
	errorsOnce = 64  // errors read in one go: who sends more of them must not keep the reader from messages
	quoteMax   = 600 // bytes read of a quoted datagram: RFC 1812 wants an ICMP message of at most 576
)

// ErrUnreachable says that ICMP told that nobody takes datagrams at the address. It comes with ErrTransport.
var ErrUnreachable = errors.New("the network says that nobody is there (ICMP)")

// reported lists the errors by which ICMP shows at a socket, in whatever is called next (icmp(7)).
var reported = []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENOPROTOOPT,
	syscall.ENONET, syscall.EACCES, syscall.EPROTO, syscall.EOPNOTSUPP, syscall.EMSGSIZE}

// ofAnother reports an error that may be of a datagram sent before.
func ofAnother(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && slices.Contains(reported, no)
}

// hearUnreachable asks the kernel for ICMP errors. Without them the timers do, so a kernel that refuses is no reason to fail.
func (l *listener) hearUnreachable() {
	raw, err := l.udp.SyscallConn()
	if err != nil {
		return
	}
	level, option := syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR
	if l.local.Addr().Is4() {
		level, option = syscall.IPPROTO_IP, syscall.IP_RECVERR
	}
	raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), level, option, 1) })
	if err != nil {
		l.stack.log.Info("sip: no ICMP errors", "listener", l.Name, "error", err)
	}
}

// send writes a datagram. The kernel tells the error of an earlier one, perhaps to somebody else, in the place of ours: then it is
// written again.
func (p postbox) send(b []byte) error {
	var err error
	for range sendTries {
		if _, err = p.l.udp.WriteToUDPAddrPort(b, p.to); err == nil || !ofAnother(err) {
			return err
		}
		p.l.collect()
	}
	if errors.Is(err, syscall.ECONNREFUSED) { // never of a datagram on its way out: it is lost like any other may be
		return nil
	}
	return err
}

// collect reads the errors in a goroutine of its own: who sends may hold what their handling needs.
func (l *listener) collect() {
	if !l.collecting.Swap(true) && !l.stack.goes(func() {
		l.collecting.Store(false)
		l.unreachables()
	}) {
		l.collecting.Store(false)
	}
}

// unreachables reads the errors that are queued.
func (l *listener) unreachables() {
	raw, err := l.udp.SyscallConn()
	if err != nil {
		return
	}
	quote, control := make([]byte, quoteMax), make([]byte, 256)
	for range errorsOnce {
		n, told, err := 0, 0, error(nil)
		var from syscall.Sockaddr
		if shut := raw.Control(func(fd uintptr) {
			n, told, _, from, err = syscall.Recvmsg(int(fd), quote, control, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
		}); shut != nil || err != nil {
			return
		}
		if means(control[:told]) {
			l.unreachable(quote[:n], addrOf(from))
		}
	}
}

// The kernel's struct sock_extended_err (linux/errqueue.h): error, origin, type, code.
const (
	errorBytes            = 16
	fromICMP, fromICMP6   = 2, 3
	destinationV4         = 3 // type: destination unreachable (RFC 792)
	destinationV6         = 1 // the same (RFC 4443 section 3.1)
	fragmentationNeededV4 = 4 // code: it only was too long
)

// means reports control messages that tell of a destination that cannot be reached.
func means(control []byte) bool {
	list, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(m syscall.SocketControlMessage) bool {
		v4 := m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_RECVERR
		v6 := m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < errorBytes || binary.NativeEndian.Uint32(m.Data) == 0 {
			return false
		}
		switch origin, kind, code := m.Data[4], m.Data[5], m.Data[6]; origin {
		case fromICMP:
			return kind == destinationV4 && code != fragmentationNeededV4
		case fromICMP6:
			return kind == destinationV6
		}
		return false
	})
}

func addrOf(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// unreachable ends the request that a quoted datagram is, if it was sent there and begins something.
func (l *listener) unreachable(quote []byte, to netip.AddrPort) {
	key, ok := quoted(quote)
	if !ok {
		return
	}
	c := l.stack.clients.get(key)
	if c == nil || c.l != l {
		return
	}
	if box, ok := c.to.(postbox); !ok || box.to.Addr().Unmap() != to.Addr() || box.to.Port() != to.Port() {
		return
	}
	c.lost()
}

// quoted finds the transaction of a request of which only the beginning is there.
func quoted(quote []byte) (clientKey, bool) {
	method, rest, ok := bytes.Cut(quote, []byte(" "))
	_, rest, found := bytes.Cut(rest, []byte("branch="))
	end := bytes.IndexAny(rest, ";,\r\n \t")
	if !ok || !found || end < 0 { // one that is cut off proves nothing
		return clientKey{}, false
	}
	key := clientKey{string(rest[:end]), sip.RequestMethod(method)}
	return key, unique(key.branch)
}

// lost ends a request that nobody took.
func (c *clientTx) lost() {
	c.order.Lock() // a response that is being taken counts more
	defer c.order.Unlock()
	c.mu.Lock()
	lost := c.begins && c.state == calling
	c.mu.Unlock()
	if lost {
		c.l.countUnreachable()
		c.end(fmt.Errorf("%w: %w", ErrTransport, ErrUnreachable))
	}
}
