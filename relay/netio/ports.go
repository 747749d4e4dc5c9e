package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrPortTaken is wrapped by Bind when another socket, ours or a stranger's, holds the port.
var ErrPortTaken = errors.New("the port is held by another socket")

const portCount = 1 << 16 // entries of the port table of one address

// portSocket is the socket bound to a port: generation<<32 | descriptor, or 0 when none is. The generation tells the
// sockets of successive leases apart, whose descriptors may have the same number. Control side writes, queues read.
type portSocket struct{ atomic.Uint64 }

// descriptor returns the socket, or false when none is bound.
func (p *portSocket) descriptor() (int, bool) {
	word := p.Load()
	return int(uint32(word)), word != 0
}

// portSockets opens and closes the sockets of ports. The port tables are the engines', which look into them per packet.
type portSockets struct {
	addresses  []netip.Addr
	registry   *Registry
	rcvBuf     int    // of each socket, in bytes
	generation uint32 // of the last socket stored; control side only
}

func (s *portSockets) address(l Local) netip.AddrPort {
	return netip.AddrPortFrom(s.addresses[l.Slot()], l.Port())
}

func (s *portSockets) name(l Local) string { return "udp/" + s.address(l).String() }

// ipv6 tells the family of a slot's address.
func (s *portSockets) ipv6(slot int) bool { return s.addresses[slot].Is6() }

// openPort returns a socket bound to l, which has none yet according to p. An inherited socket of that name is taken over,
// with what already waits in it.
func (s *portSockets) openPort(p *portSocket, l Local) (int, error) {
	name := s.name(l)
	if p.Load() != 0 {
		return -1, fmt.Errorf("%s: bind: %w", name, ErrPortTaken)
	}
	fd, inherited, err := s.registry.Open(name, func() (int, error) { return openSocket(s.address(l), s.rcvBuf) })
	if err != nil {
		return -1, err
	}
	if inherited {
		if err := adoptSocket(fd, s.address(l), s.rcvBuf); err != nil {
			return -1, errors.Join(fmt.Errorf("%s: inherited socket: %w", name, err), s.registry.Close(name))
		}
	}
	return fd, nil
}

// tryPort is openPort for one that needs to know only whether the port is free. An inherited socket of that name is closed.
func (s *portSockets) tryPort(p *portSocket, l Local) error {
	if p.Load() != 0 {
		return fmt.Errorf("%s: bind: %w", s.name(l), ErrPortTaken)
	}
	if s.registry.Inherits() {
		_ = s.registry.Close(s.name(l)) // an error: there is none of that name
	}
	var at sockaddr
	length := at.put(&Addr{IP: s.addresses[l.Slot()].As16(), Port: l.Port()}, s.ipv6(l.Slot()))
	if errno := tryPort(&at, length); errno != 0 {
		return fmt.Errorf("%s: %w", s.name(l), bindError(errno))
	}
	return nil
}

// store makes fd the socket of p under a generation that none before it had, s.generation, and returns what p held.
func (s *portSockets) store(p *portSocket, fd int) (before uint64) {
	if s.generation++; s.generation == wakeGeneration {
		s.generation++
	}
	return p.Swap(uint64(s.generation)<<32 | uint64(fd))
}

// closePort closes the socket of l, which no queue can be using any more.
func (s *portSockets) closePort(l Local) {
	// The only error is EIO of a file system, which a socket does not have; the port is free either way.
	_ = s.registry.Close(s.name(l))
}

// setDSCP marks what leaves by the socket of p. The two ECN bits beside the code point (RFC 3168) stay 0: we do not mark.
func (s *portSockets) setDSCP(p *portSocket, l Local, dscp uint8) error {
	if err := checkDSCP(dscp); err != nil {
		return err
	}
	fd, bound := p.descriptor()
	if !bound {
		return fmt.Errorf("set DSCP: %s is not bound", s.address(l))
	}
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if s.ipv6(l.Slot()) {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, int(dscp)<<2); err != nil {
		return fmt.Errorf("%s: set DSCP %d: setsockopt: %w", s.name(l), dscp, err)
	}
	return nil
}

func checkDSCP(dscp uint8) error {
	if dscp > 63 {
		return fmt.Errorf("set DSCP %d: the code point is 0 to 63 (RFC 2474)", dscp)
	}
	return nil
}

// check refuses a Bind or SetDSCP of what does not exist.
func (s *portSockets) check(l Local) error {
	if l.Slot() >= len(s.addresses) || l.Port() == 0 {
		return fmt.Errorf("address slot %d, port %d: no such slot or port", l.Slot(), l.Port())
	}
	return nil
}
