package netio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"tandem/relay/netio/nic"
	"tandem/relay/netio/xsk"
)

// xdp is the engine that takes packets from the devices' queues by AF_XDP, rewrites their headers where they lie, and sends them
// from there. It is a funnel with a faster way in and a faster way out: what the devices' programs pass to the kernel (fragments,
// IP options, extension headers, a VLAN that they do not know, a device without a socket) comes by the funnel's sockets, and what
// cannot leave by a ring leaves by the funnel's frames and sockets.
//
// Queue q of each device belongs to worker q modulo the number of workers. A device's queue is chosen by the device, a port's
// worker by the lease: handover.go joins the two.
type xdp struct {
	*funnel
	log     *slog.Logger
	options XDPOptions
	polled  bool // workers nap and poll their rings, as soon as they can
	devices []*device
	paths   []string // of the devices, for people
	queues  []*xdpQueue
	hands   [][]handover   // by producer, nil for one that has no queue, and consumer
	unmap   []func() error // gives their memory back
}

// Polled tells whether workers look at their devices by the clock.
func (e *xdp) Polled() bool { return e.polled }

// device is a network device with its program.
type device struct {
	nic.Device
	program *xsk.Program
	rings   []*ring // by queue
}

// ring is one AF_XDP socket in the engine.
type ring struct {
	name   string // of its descriptor
	fd     int
	device int // index in xdp.devices
	queue  int // of the device
	socket *xsk.Socket
	placed int  // worker only: packets since the last kick
	gone   bool // worker only: the device is, and its queue with it
}

// OpenXDP opens the engine that bypasses the kernel's network code on the devices that have the addresses, in the network
// namespace of the calling thread. It needs Linux 5.10 and the capabilities that MissingCapabilities lists, until it returns:
// what it does later it does without (DropCapabilities), because it never attaches again, and changes only maps of its own. A
// device that goes down and comes back keeps its program; one that is removed and comes back is served by the funnel until the
// next start.
//
// Before it returns, each queue of each device has delivered a packet, where the kernel lets that be tried: an engine that is
// open works. If a device has an XDP program of somebody else's, the error wraps xsk.ErrTaken.
func OpenXDP(o Options) (Engine, error) {
	e, err := openXDP(o, nic.Find)
	if err != nil {
		return nil, err // not e, which is a nil pointer and no nil interface
	}
	return e, nil
}

// openXDP opens the engine on the devices that find says have the addresses.
func openXDP(o Options, find func([]netip.Addr) ([]nic.Device, error)) (*xdp, error) {
	f, err := openFunnel("xdp", &o)
	if err != nil {
		return nil, err
	}
	e := &xdp{funnel: f, log: o.Log, options: o.XDP}
	if err := e.open(&o, find); err != nil {
		return nil, errors.Join(fmt.Errorf("open xdp engine: %w", err), e.Close())
	}
	return e, nil
}

// Queue implements Engine.
func (e *xdp) Queue(i int) Queue { return e.queues[i] }

// Paths describes each device in a line: its name, how packets get from it and back. Any goroutine may call it.
func (e *xdp) Paths() []string { return e.paths }

// path is the device's line.
func (d *device) path() string {
	var by []string
	for m := range xsk.Generic + 1 {
		n := 0
		for _, r := range d.rings {
			if r.socket.Mode() == m {
				n++
			}
		}
		if n > 0 {
			by = append(by, fmt.Sprintf("%s on %d", m, n))
		}
	}
	return fmt.Sprintf("%s: %s of %d queues, %s pages", d.Name, strings.Join(by, " and "), d.Queues, d.rings[0].socket.Pages())
}

// mode is the worst that one of its queues has.
func (d *device) mode() xsk.Mode {
	worst := xsk.ZeroCopy
	for _, r := range d.rings {
		worst = max(worst, r.socket.Mode())
	}
	return worst
}

// Close implements Engine. The programs go first: from then on all packets come by the funnel, which is closed last.
func (e *xdp) Close() error {
	var errs []error
	for _, d := range e.devices {
		if d.program != nil {
			errs = append(errs, d.program.Close())
		}
	}
	for _, d := range e.devices {
		for _, r := range d.rings {
			errs = append(errs, e.closeRing(r))
		}
	}
	e.devices = nil
	errs = append(errs, e.funnel.Close())
	for _, unmap := range e.unmap {
		errs = append(errs, unmap())
	}
	e.unmap, e.hands = nil, nil
	return errors.Join(errs...)
}

func (e *xdp) closeRing(r *ring) error {
	for _, q := range e.funnel.queues {
		q.unwatch(r.fd) // of whichever watches it
	}
	var err error
	if r.socket != nil {
		err = r.socket.Close()
		r.socket = nil
	}
	return errors.Join(err, e.registry.Close(r.name))
}
