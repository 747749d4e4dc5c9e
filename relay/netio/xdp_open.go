package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/nic"
	"tandem/relay/netio/xsk"
)

// mostEgresses is how many devices and VLANs an exit can name. Frames for more leave by the packet socket.
const mostEgresses = 255

func (e *xdp) open(o *Options, find func([]netip.Addr) ([]nic.Device, error)) error {
	found, err := find(o.Addresses)
	if err != nil {
		return err
	}
	if err := e.choose(found, o); err != nil {
		return err
	}
	raiseLockLimit()
	for i, d := range e.devices {
		if err := e.openDevice(i, d); err != nil {
			return fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	for i, d := range e.devices {
		e.addEgress(i, egress{ifindex: int32(d.Index)})
		for _, v := range d.VLANs {
			e.addEgress(i, egress{ifindex: int32(v.Index), vlan: v.ID})
		}
	}
	e.polled = o.Poll > 0 && e.knowsNAPIs()
	if err := e.openHands(o.Workers); err != nil {
		return err
	}
	for i := range o.Workers {
		q, err := openXDPQueue(e, i)
		if err != nil {
			return err
		}
		e.queues = append(e.queues, q)
	}
	if err := e.prove(); err != nil {
		return err
	}
	if o.Poll > 0 && !e.polled {
		if e.polled, err = e.openPilot(o); err != nil {
			return fmt.Errorf("poll: %w", err)
		}
	}
	e.report(o)
	return nil
}

// choose takes the devices that can have a program. Why another has none is said in the log, or in the error when none is left.
func (e *xdp) choose(found []nic.Device, o *Options) error {
	var refused []string
	for _, d := range found {
		why := ""
		switch {
		case d.Loopback:
			why = "is the loopback device: what this machine says to itself needs no bypass"
		case !d.Ethernet:
			why = "is not an Ethernet"
		case d.Kind != "device" && d.Kind != "veth":
			why = fmt.Sprintf("is a %s: its packets come from other devices' queues, which no AF_XDP socket of its own sees", d.Kind)
		case o.XDP.Native && d.Virtual():
			why = fmt.Sprintf("is a %s, where xdp is used only when it is asked for by name (media.engine: xdp)", d.Kind)
		case o.XDP.Native && d.Queues < o.Workers:
			why = fmt.Sprintf("has %d receive queues for %d workers: raise them (ethtool -L %s combined %d) or lower media.workers",
				d.Queues, o.Workers, d.Name, o.Workers)
		}
		if why == "" {
			e.devices = append(e.devices, &device{Device: d})
			continue
		}
		refused = append(refused, d.Name+" "+why)
		e.log.Info("no AF_XDP on this device", "device", d.Name, "reason", why)
	}
	switch {
	case len(e.devices) == 0 && len(refused) == 0:
		return errors.New("no network device has one of the addresses: bring it up first")
	case len(e.devices) == 0 || o.XDP.Native && len(refused) > 0:
		return fmt.Errorf("no AF_XDP: %s", strings.Join(refused, "; "))
	}
	return nil
}

// openDevice attaches the program first, because some drivers bind sockets only then. Without a socket it passes everything.
func (e *xdp) openDevice(i int, d *device) error {
	slots, leases := e.steer.Tables()
	o := xsk.ProgramOptions{Slots: slots, Leases: leases, MAC: d.MAC, Queues: d.Queues, Frags: d.MTU+ethernetSize > xsk.Longest}
	for _, v := range d.VLANs {
		if len(o.VLANs) < xsk.MostVLANs {
			o.VLANs = append(o.VLANs, v.ID)
		}
	}
	var err error
	if d.program, err = xsk.Load(o); err != nil {
		return err
	}
	if err := d.program.Attach(d.Index, !e.options.Native); errors.Is(err, xsk.ErrTaken) {
		return fmt.Errorf("%w: detach it (ip link set dev %s xdp off) or choose another engine", err, d.Name)
	} else if err != nil {
		return err
	}
	for number := range d.Queues {
		r := &ring{name: fmt.Sprintf("xsk/%s/%d", d.Name, number), device: i, queue: number}
		if err := e.openRing(d, r); err != nil {
			return err
		}
	}
	return nil
}

func (e *xdp) openRing(d *device, r *ring) error {
	var err error
	if r.fd, err = openFresh(e.registry, r.name, xsk.Descriptor); err != nil {
		return err
	}
	d.rings = append(d.rings, r)
	r.socket, err = xsk.Open(r.fd, xsk.Options{
		Ifindex: d.Index, Queue: r.queue, Mode: d.program.Mode(), BusyPoll: e.poll > 0,
	})
	if err != nil {
		return err
	}
	return d.program.Enter(r.queue, r.fd)
}

// addEgress makes frames that leave by that device leave by the rings of device i.
func (e *xdp) addEgress(i int, out egress) {
	if len(e.leave) < mostEgresses {
		out.device = i
		e.leave = append(e.leave, out)
	}
}

// openHands makes a ring from each worker that has queues to each worker.
func (e *xdp) openHands(workers int) error {
	e.hands = make([][]handover, workers)
	for from := range e.hands {
		has := func(d *device) bool { return d.Queues > from }
		if workers == 1 || !slices.ContainsFunc(e.devices, has) {
			continue
		}
		rings, unmap, err := newHandovers(workers)
		if err != nil {
			return fmt.Errorf("rings from worker %d to the others: %w", from, err)
		}
		e.hands[from] = rings
		e.unmap = append(e.unmap, unmap)
	}
	return nil
}

// knowsNAPIs tells whether every ring can poll its device by itself: the kernel has found the queue's NAPI when the socket was bound
// (Linux 6.16, and a driver that names it: virtual devices' do not).
func (e *xdp) knowsNAPIs() bool {
	for _, d := range e.devices {
		for _, r := range d.rings {
			if id, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID); err != nil || id == 0 {
				return false
			}
		}
	}
	return true
}

func openXDPQueue(e *xdp, number int) (*xdpQueue, error) {
	q := &xdpQueue{funnelQueue: e.funnel.queues[number], xdp: e, out: make([][]*ring, len(e.leave))}
	if !e.polled {
		q.pace = pace{}
	}
	for _, d := range e.devices {
		for _, r := range d.rings {
			if r.queue%len(e.funnel.queues) != number {
				continue
			}
			if err := q.watch(r.fd, Local(len(q.rings)), ringGeneration); err != nil {
				return nil, fmt.Errorf("%s: epoll_ctl(ADD): %w", r.name, err)
			}
			q.rings = append(q.rings, r)
		}
	}
	for i := range e.leave {
		for _, r := range q.rings {
			if r.device == e.leave[i].device {
				q.out[i] = append(q.out[i], r)
			}
		}
	}
	for from := range e.hands {
		if from != number && e.hands[from] != nil {
			q.inbox = append(q.inbox, &e.hands[from][number])
		}
	}
	q.outbox = e.hands[number]
	q.told = make([]bool, len(q.outbox))
	q.reported = make([]unix.EpollEvent, len(q.rings)+len(q.events))
	return q, nil
}

// report tells the operator how packets get in and out.
func (e *xdp) report(o *Options) {
	for _, d := range e.devices {
		e.paths = append(e.paths, d.path())
		e.log.Info("AF_XDP", "device", d.Name, "driver", d.Driver, "mode", d.mode(), "queues", d.Queues,
			"pages", d.rings[0].socket.Pages(), "poll", o.Poll, "polled", e.polled)
		if d.mode() == xsk.Generic {
			e.log.Warn("the driver does not run XDP programs: the engine funnel may be faster here", "device", d.Name, "driver", d.Driver)
		}
		if d.Queues < o.Workers {
			e.log.Warn("fewer receive queues than workers: the others get their packets from those that have one",
				"device", d.Name, "queues", d.Queues, "workers", o.Workers)
		}
	}
}
