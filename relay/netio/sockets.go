package netio

import (
	"errors"
	"fmt"
	"time"
)

// defaultRcvBuf is the receive buffer of one port in bytes; the kernel doubles it for its own overhead. That holds
// some 150 voice packets, three seconds of a call, and is the most that a flood of one port can pin.
const defaultRcvBuf = 64 << 10

// sockets is the engine with one UDP socket per bound port and one epoll set per queue. It needs no privilege.
//
// The sockets are unconnected (a media source may move) and without SO_REUSEADDR, so that a port somebody else holds
// is an error and not a split stream.
type sockets struct {
	portSockets
	poll   time.Duration // the longest nap of a worker; 0: it is always woken
	ports  [][]port      // by slot and port number
	queues []*socketQueue
}

// port is the state of one bound port.
type port struct {
	socket portSocket
	drops  uint32 // SO_RXQ_OVFL count seen last. The receiving queue's while bound, else the control side's
	queue  uint32 // who receives; control side only
}

// OpenSockets opens the engine with one socket per bound port. It binds nothing yet. Addresses must be unicast and not
// link-local: a link-local address needs an interface with it, and no peer outside the link could send to it.
func OpenSockets(o Options) (Engine, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open sockets engine: %w", err)
	}
	if o.RcvBuf == 0 {
		o.RcvBuf = defaultRcvBuf
	}
	e := &sockets{portSockets: portSockets{addresses: o.Addresses, registry: o.Registry, rcvBuf: o.RcvBuf}, poll: o.Poll}
	for range o.Addresses {
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

// Name implements Engine.
func (e *sockets) Name() string { return "sockets" }

// Queue implements Engine.
func (e *sockets) Queue(i int) Queue { return e.queues[i] }

// RcvBuf returns the receive buffer asked for each port, in bytes. The kernel may grant less (net.core.rmem_max).
func (e *sockets) RcvBuf() int { return e.rcvBuf }

// Bind implements Engine. An inherited socket of that name is taken over, with what already waits in it.
func (e *sockets) Bind(queue int, l Local) error {
	if err := e.check(l); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if queue < 0 || queue >= len(e.queues) {
		return fmt.Errorf("bind: queue %d: no such queue", queue)
	}
	p := e.port(l)
	fd, err := e.openPort(&p.socket, l)
	if err != nil {
		return err
	}
	drops, err := socketDrops(fd) // an inherited socket may have dropped datagrams in its former life
	if err != nil {
		return errors.Join(fmt.Errorf("%s: getsockopt(SO_MEMINFO): %w", e.name(l), err), e.registry.Close(e.name(l)))
	}
	p.drops, p.queue = drops, uint32(queue)
	// The table before the epoll set: an event must find its port.
	e.store(&p.socket, fd)
	if err := e.queues[queue].watch(fd, l, e.generation); err != nil {
		e.Unbind(l)
		return fmt.Errorf("%s: epoll_ctl(ADD): %w", e.name(l), err)
	}
	return nil
}

// Unbind implements Engine. A port that is not bound is left alone.
//
// A queue may hold an event of this port, and may be about to use the descriptor, whose number the kernel gives to the
// next one who opens a file. So the port first leaves the table, then every queue leaves the calls it is in, and only
// then is the descriptor closed: an event that comes later finds another generation in the table and is ignored.
func (e *sockets) Unbind(l Local) {
	if l.Slot() >= len(e.ports) {
		return
	}
	p := e.port(l)
	socket := p.socket.Swap(0)
	if socket == 0 {
		return
	}
	fd := int(uint32(socket))
	for _, q := range e.queues {
		q.section.awaitQuiet()
	}
	q := e.queues[p.queue]
	q.unwatch(fd)
	if drops, err := socketDrops(fd); err == nil {
		q.closedDrops.Add(uint64(drops - p.drops))
	}
	e.closePort(l)
}

// SetDSCP implements Engine.
func (e *sockets) SetDSCP(l Local, dscp uint8) error {
	if err := e.check(l); err != nil {
		return fmt.Errorf("set DSCP: %w", err)
	}
	return e.setDSCP(&e.port(l).socket, l, dscp)
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
		errs = append(errs, q.closeWaiting())
	}
	return errors.Join(errs...)
}

func (e *sockets) port(l Local) *port { return &e.ports[l.Slot()][l.Port()] }

// descriptor returns the socket bound to l, or false when none is.
func (e *sockets) descriptor(l Local) (int, bool) {
	if l.Slot() >= len(e.ports) {
		return -1, false
	}
	return e.port(l).socket.descriptor()
}
