package netio

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/hop"
	"tandem/relay/netio/steer"
)

// funnel is the engine that receives the datagrams of all ports by one UDP socket per worker and address family, and sends
// ready-made frames by one packet socket per worker. A port has a packet every 20 ms, so a socket per port never has two
// to give; a funnel's socket has those of all calls, and one system call takes 64.
//
// What must not or cannot be a frame leaves by a UDP socket of its port, which is opened when the first such packet comes.
// Nothing is received by it.
type funnel struct {
	portSockets
	title   string // the engine's name
	udp     []bool // by slot: never frames
	slots   slotTable
	exits   [][]exit       // by slot and port number; memory that is mapped, not the Go heap
	unmap   []func() error // gives the memory of exits back
	steer   *steer.Steer
	hops    *hop.Table
	queues  []*funnelQueue
	leave   []egress      // devices that frames leave by otherwise than by the packet socket; none here, see xdp
	poll    time.Duration // the longest nap of a worker; 0: it never polls
	granted int           // receive buffer of the smallest of the queues' sockets, in bytes
}

// portRcvBuf is the receive buffer of a port's own socket: as small as the kernel makes one. Nothing comes to it.
const portRcvBuf = 1

// OpenFunnel opens the engine whose queues share one socket for all their ports, in the network namespace of the calling
// thread. It needs Linux 5.9 and the capabilities that MissingCapabilities lists, until it returns; what it does later it
// does without (DropCapabilities). Before it returns it has sent a datagram to itself by every queue's socket: an engine
// that is open works.
func OpenFunnel(o Options) (Engine, error) {
	e, err := openFunnel("funnel", &o)
	if err == nil && o.Poll > 0 {
		err = e.startPolling(&o)
	}
	if err != nil {
		return nil, err // not e, which may be a nil pointer and no nil interface
	}
	return e, nil
}

// openFunnel opens the engine of that name, or the part of it that is a funnel. It checks and completes the options.
func openFunnel(name string, o *Options) (*funnel, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open %s engine: %w", name, err)
	}
	if missing := MissingCapabilities(); len(missing) > 0 {
		return nil, fmt.Errorf("open %s engine: the process lacks %s: grant them (AmbientCapabilities= of the service)",
			name, strings.Join(missing, ", "))
	}
	if o.RcvBuf == 0 {
		o.RcvBuf = defaultFunnelRcvBuf
	}
	e := &funnel{
		portSockets: portSockets{addresses: o.Addresses, registry: o.Registry, rcvBuf: portRcvBuf},
		title:       name,
		udp:         o.UDP,
		poll:        o.Poll,
		slots:       makeSlotTable(o.Addresses),
	}
	if err := e.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s engine: %w", name, err), e.Close())
	}
	return e, nil
}

func (e *funnel) open(o *Options) error {
	for range o.Addresses {
		exits, unmap, err := mapPrivate[exit](portCount)
		if err != nil {
			return fmt.Errorf("port table: %w", err)
		}
		e.exits, e.unmap = append(e.exits, exits), append(e.unmap, unmap)
	}
	var err error
	if e.hops, err = hop.Open(hop.Options{Addresses: o.Addresses, UDP: o.UDP, Log: o.Log}); err != nil {
		return err
	}
	if e.steer, err = steer.Load(steer.Options{Addresses: o.Addresses, Workers: o.Workers}); err != nil {
		return err
	}
	for i := range o.Workers {
		q, err := openFunnelQueue(e, i, o.Workers, o.RcvBuf)
		if err != nil {
			return err
		}
		e.queues = append(e.queues, q)
	}
	e.reportRcvBuf(o)
	if err := e.steer.Attach(); err != nil {
		return err
	}
	return e.probe()
}

// Name implements Engine.
func (e *funnel) Name() string { return e.title }

// Queue implements Engine.
func (e *funnel) Queue(i int) Queue { return e.queues[i] }

// RcvBuf returns the receive buffer that the kernel granted each queue's sockets, in bytes.
func (e *funnel) RcvBuf() int { return e.granted }

// Steered returns how many datagrams the kernel gave to the queues' sockets because their port was leased: proof of the
// way they took.
func (e *funnel) Steered() uint64 { return e.steer.Steered() }

// Polled tells whether workers look at their devices by the clock.
func (e *funnel) Polled() bool { return e.poll > 0 }

// Hops returns what is known about the ways out.
func (e *funnel) Hops() hop.Stats { return e.hops.Stats() }

// Bind implements Engine. A port is leased only after a socket could be bound to it: the steering would take the datagrams of
// a stranger's socket. An inherited socket of that name is closed, as the trial needs the port.
func (e *funnel) Bind(queue int, l Local) error {
	if err := e.check(l); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if queue < 0 || queue >= len(e.queues) {
		return fmt.Errorf("bind: queue %d: no such queue", queue)
	}
	x := e.exit(l)
	if err := e.tryPort(&x.socket, l); err != nil {
		return err
	}
	x.dscp.Store(0)
	e.store(&x.socket, noSocket) // the way out before the way in: the first packet may be answered at once
	e.steer.Lease(l.Slot(), l.Port(), queue)
	return nil
}

// Unbind implements Engine. A port that is not bound is left alone. What still waits in the queue's socket for the port is
// counted as unmatched, unless the port is bound again before the queue comes to it.
func (e *funnel) Unbind(l Local) {
	x, word := e.bound(l)
	if word == 0 {
		return
	}
	e.steer.Release(l.Slot(), l.Port()) // before the socket goes: its successor's datagrams are not ours
	e.closeOwn(x.socket.Swap(0))
}

// closeOwn closes a port's own socket, which its word names no longer, once no queue can be about to send by it.
func (e *funnel) closeOwn(word uint64) {
	if fd := uint32(word); fd != noSocket {
		for _, q := range e.queues {
			q.section.awaitQuiet()
		}
		_ = unix.Close(int(fd)) // the only error is EIO of a file system, which a socket does not have
	}
}

// SetDSCP implements Engine.
func (e *funnel) SetDSCP(l Local, dscp uint8) error {
	if err := e.check(l); err != nil {
		return fmt.Errorf("set DSCP: %w", err)
	}
	if err := checkDSCP(dscp); err != nil {
		return err
	}
	x := e.exit(l)
	if x.socket.Load() == 0 {
		return fmt.Errorf("set DSCP: %s is not bound", e.address(l))
	}
	x.dscp.Store(uint32(dscp))
	e.closeOwn(e.store(&x.socket, noSocket)) // another generation: neither headers nor a socket made before are taken any more
	return nil
}

// Close implements Engine. Descriptors are given back in the order that leaves no datagram on the way to one that is gone.
func (e *funnel) Close() error {
	for slot := range e.exits {
		for number := range e.exits[slot] {
			if e.exits[slot][number].socket.Load() != 0 {
				e.Unbind(MakeLocal(slot, uint16(number)))
			}
		}
	}
	var errs []error
	if e.steer != nil {
		errs = append(errs, e.steer.Close())
	}
	for _, q := range e.queues {
		errs = append(errs, q.closeAll())
	}
	if e.hops != nil {
		errs = append(errs, e.hops.Close())
	}
	e.steer, e.hops, e.exits = nil, nil, nil
	for _, unmap := range e.unmap {
		errs = append(errs, unmap())
	}
	e.unmap = nil
	return errors.Join(errs...)
}

func (e *funnel) exit(l Local) *exit { return &e.exits[l.Slot()][l.Port()] }

// bound returns the exit of l and its socket's generation<<32 | descriptor, which is 0 when l is not bound or does not exist.
func (e *funnel) bound(l Local) (*exit, uint64) {
	if l.Slot() >= len(e.exits) {
		return nil, 0
	}
	x := e.exit(l)
	return x, x.socket.Load()
}
