package netio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrPortTaken is wrapped by Bind when another socket, ours or a stranger's, holds the port.
var ErrPortTaken = errors.New("the port is held by another socket")

// ErrClosed is wrapped by Recv after the engine was closed.
var ErrClosed = errors.New("the engine is closed")

const (
	portCount = 1 << 16 // entries of the port table of one address

	// defaultRcvBuf is the receive buffer of one port in bytes; the kernel doubles it for its own overhead. That holds
	// some 150 voice packets, three seconds of a call, and is the most that a flood of one port can pin.
	defaultRcvBuf = 64 << 10

	maxAddresses = 256 // each costs a port table of 1 MB
	maxWorkers   = 256 // more than any machine this runs on; beyond is a mistake in the configuration
)

// Options are what OpenSockets needs to know.
type Options struct {
	Addresses []netip.Addr // local media addresses; the index is the slot of Local
	Workers   int          // number of queues
	RcvBuf    int          // receive buffer of one socket in bytes; 0 means the engine's default
	Registry  *Registry    // names every descriptor; nil means one of the engine's own
	UDP       []bool       // by slot: what leaves by this address takes the UDP socket, whatever the engine; nil: none
	Log       *slog.Logger // what an operator should know: buffers, routes lost; nil: nothing is logged
}

// sockets is the engine with one UDP socket per bound port and one epoll set per queue. It needs no privilege.
//
// The sockets are unconnected (a media source may move) and without SO_REUSEADDR, so that a port somebody else holds
// is an error and not a split stream.
type sockets struct {
	addresses  []netip.Addr
	rcvBuf     int
	registry   *Registry
	ports      [][]port // by slot and port number
	queues     []*socketQueue
	generation uint32 // of the last Bind; control side only
}

// port is the state of one bound port.
type port struct {
	socket atomic.Uint64 // generation<<32 | descriptor; 0 when not bound. Control side writes, queues read
	drops  uint32        // SO_RXQ_OVFL count seen last. The receiving queue's while bound, else the control side's
	queue  uint32        // who receives; control side only
}

// OpenSockets opens the engine with one socket per bound port. It binds nothing yet. Addresses must be unicast and not
// link-local: a link-local address needs an interface with it, and no peer outside the link could send to it.
func OpenSockets(o Options) (Engine, error) {
	if err := checkOptions(&o); err != nil {
		return nil, fmt.Errorf("open sockets engine: %w", err)
	}
	e := &sockets{rcvBuf: o.RcvBuf, registry: o.Registry}
	if e.rcvBuf == 0 {
		e.rcvBuf = defaultRcvBuf
	}
	if e.registry == nil {
		e.registry = NewRegistry(nil)
	}
	for _, a := range o.Addresses {
		e.addresses = append(e.addresses, a.Unmap())
		e.ports = append(e.ports, make([]port, portCount))
	}
	for i := range o.Workers {
		q, err := openSocketQueue(e, i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open sockets engine: %w", err), e.Close())
		}
		e.queues = append(e.queues, q)
	}
	return e, nil
}

func checkOptions(o *Options) error {
	if len(o.Addresses) == 0 || len(o.Addresses) > maxAddresses {
		return fmt.Errorf("%d local addresses: need 1 to %d", len(o.Addresses), maxAddresses)
	}
	if o.Workers < 1 || o.Workers > maxWorkers {
		return fmt.Errorf("%d workers: need 1 to %d", o.Workers, maxWorkers)
	}
	if o.RcvBuf < 0 {
		return fmt.Errorf("receive buffer of %d bytes: need 0 (default) or more", o.RcvBuf)
	}
	seen := make(map[netip.Addr]bool, len(o.Addresses))
	for _, a := range o.Addresses {
		a = a.Unmap()
		switch {
		case !a.IsValid():
			return errors.New("a local address is empty")
		case a.IsLinkLocalUnicast() || a.Zone() != "":
			return fmt.Errorf("local address %s is link-local: media needs an address that peers can route to", a)
		case a.IsMulticast() || a.IsUnspecified():
			return fmt.Errorf("local address %s is not the address of one interface: name the address itself", a)
		case seen[a]:
			return fmt.Errorf("local address %s is listed twice", a)
		}
		seen[a] = true
	}
	return nil
}

// Name implements Engine.
func (e *sockets) Name() string { return "sockets" }

// Queue implements Engine.
func (e *sockets) Queue(i int) Queue { return e.queues[i] }

// Bind implements Engine. An inherited socket of that name is taken over, with what already waits in it.
func (e *sockets) Bind(queue int, l Local) error {
	if queue < 0 || queue >= len(e.queues) || l.Slot() >= len(e.addresses) || l.Port() == 0 {
		return fmt.Errorf("bind: queue %d, address slot %d, port %d: no such queue, slot or port", queue, l.Slot(), l.Port())
	}
	p, name := e.port(l), e.name(l)
	if p.socket.Load() != 0 {
		return fmt.Errorf("%s: bind: %w", name, ErrPortTaken)
	}
	fd, inherited, err := e.registry.Open(name, func() (int, error) { return openSocket(e.address(l), e.rcvBuf) })
	if err != nil {
		return err
	}
	if inherited {
		if err := adoptSocket(fd, e.address(l), e.rcvBuf); err != nil {
			return errors.Join(fmt.Errorf("%s: inherited socket: %w", name, err), e.registry.Close(name))
		}
	}
	drops, err := socketDrops(fd) // an inherited socket may have dropped datagrams in its former life
	if err != nil {
		return errors.Join(fmt.Errorf("%s: getsockopt(SO_MEMINFO): %w", name, err), e.registry.Close(name))
	}
	if e.generation++; e.generation == wakeGeneration {
		e.generation++
	}
	p.drops, p.queue = drops, uint32(queue)
	// The table before the epoll set: an event must find its port.
	p.socket.Store(uint64(e.generation)<<32 | uint64(fd))
	if err := e.queues[queue].watch(fd, l, e.generation); err != nil {
		e.Unbind(l)
		return fmt.Errorf("%s: epoll_ctl(ADD): %w", name, err)
	}
	return nil
}

// Unbind implements Engine. A port that is not bound is left alone.
//
// A queue may hold an event of this port, and may be about to use the descriptor, whose number the kernel gives to the
// next one who opens a file. So the port first leaves the table, then every queue leaves the calls it is in, and only
// then is the descriptor closed: an event that comes later finds another generation in the table and is ignored.
func (e *sockets) Unbind(l Local) {
	if l.Slot() >= len(e.addresses) {
		return
	}
	p := e.port(l)
	socket := p.socket.Swap(0)
	if socket == 0 {
		return
	}
	fd := int(uint32(socket))
	for _, q := range e.queues {
		q.awaitQuiet()
	}
	q := e.queues[p.queue]
	q.unwatch(fd)
	if drops, err := socketDrops(fd); err == nil {
		q.closedDrops.Add(uint64(drops - p.drops))
	}
	// The only error is EIO of a file system, which a socket does not have; the port is free either way.
	_ = e.registry.Close(e.name(l))
}

// SetDSCP implements Engine. The two ECN bits beside the code point (RFC 3168) stay 0: we do not mark.
func (e *sockets) SetDSCP(l Local, dscp uint8) error {
	if dscp > 63 {
		return fmt.Errorf("set DSCP %d: the code point is 0 to 63 (RFC 2474)", dscp)
	}
	if l.Slot() >= len(e.addresses) || e.port(l).socket.Load() == 0 {
		return fmt.Errorf("set DSCP: address slot %d, port %d: not bound", l.Slot(), l.Port())
	}
	fd := int(uint32(e.port(l).socket.Load()))
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if e.address(l).Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, int(dscp)<<2); err != nil {
		return fmt.Errorf("%s: set DSCP %d: setsockopt: %w", e.name(l), dscp, err)
	}
	return nil
}

// Close implements Engine.
func (e *sockets) Close() error {
	for slot := range e.ports {
		for number := range e.ports[slot] {
			if e.ports[slot][number].socket.Load() != 0 {
				e.Unbind(MakeLocal(slot, uint16(number)))
			}
		}
	}
	var errs []error
	for _, q := range e.queues {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}

func (e *sockets) port(l Local) *port { return &e.ports[l.Slot()][l.Port()] }

func (e *sockets) address(l Local) netip.AddrPort {
	return netip.AddrPortFrom(e.addresses[l.Slot()], l.Port())
}

func (e *sockets) name(l Local) string { return "udp/" + e.address(l).String() }

// descriptor returns the socket bound to l, or false when none is.
func (e *sockets) descriptor(l Local) (int, bool) {
	if l.Slot() >= len(e.ports) {
		return -1, false
	}
	socket := e.port(l).socket.Load()
	return int(uint32(socket)), socket != 0
}
