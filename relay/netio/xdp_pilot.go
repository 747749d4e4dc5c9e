package netio

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/nic"
)

// pilot polls a device for its ring. An AF_XDP socket learns which NAPI to poll from the driver only (since Linux 6.13), and many
// drivers, those of virtual devices among them, do not tell; a UDP socket learns it from the first datagram that the device
// brings. So when traffic has become steady, the ring of a device with one queue is taken out of the program's map for a moment: the
// program passes everything to the kernel, the worker's funnel sockets serve it, and the one that has learnt the device's NAPI polls for the
// ring from then on. What a packet filter drops meanwhile is lost, hence a moment.
type pilot struct {
	ring   *ring // nil: there is none to poll for
	device *device
	fd     int        // of the funnel's socket that knows the NAPI; 0: none does
	tries  int        // left
	until  int64      // end of the try that runs, on the clock of Now; 0: none runs
	next   int64      // no try before, on the same clock
	napis  []nic.NAPI // of the device, since the try began
}

const (
	pilotTries = 3
	pilotTry   = 10 * time.Millisecond // half of the time between two packets of a call
	pilotPause = time.Second           // from one try to the next
)

// openPilot makes the funnel's sockets of the first worker ready to poll, where there is one device with one queue, and the kernel tells which
// NAPIs a device has (Linux 6.13). false: it cannot be.
func (e *xdp) openPilot(o *Options) (bool, error) {
	if len(e.devices) != 1 || e.devices[0].Queues != 1 {
		return false, nil
	}
	d, q := e.devices[0], e.queues[0]
	if _, err := nic.NAPIs(d.Index); err != nil {
		if !errors.Is(err, nic.ErrNoNAPI) {
			e.log.Warn("this device cannot be polled", "device", d.Name, "error", err)
		}
		return false, nil
	}
	if err := q.startPolling(o.RcvBuf); err != nil {
		return false, fmt.Errorf("queue %d: %w", q.number, err)
	}
	q.pilot = pilot{ring: d.rings[0], device: d, tries: pilotTries}
	q.pace = makePace(e.poll)
	return true, nil
}

// missing tells whether there is a ring to poll for, and nobody who can.
func (p *pilot) missing() bool { return p.ring != nil && p.fd == 0 }

// trying tells whether the device's packets come by the funnel's sockets now, so that one of them may learn.
func (p *pilot) trying() bool { return p.until != 0 }

// teach begins a try, unless one runs or ran just now.
func (q *xdpQueue) teach() {
	p, now := &q.pilot, Now()
	if p.trying() || now < p.next {
		return
	}
	var err error
	if p.napis, err = nic.NAPIs(p.device.Index); err == nil && len(p.napis) == 0 { // anew: a device that was down has others
		err = errors.New("it has no NAPI")
	}
	if err == nil {
		err = p.device.program.Leave(p.ring.queue)
	}
	if err != nil {
		q.unpolled(err)
		return
	}
	p.tries--
	p.until, p.next = now+int64(pilotTry), now+int64(pilotPause)
}

// learn ends the try that runs when a socket knows the device's NAPI, or when its time is over.
func (q *xdpQueue) learn() {
	p := &q.pilot
	for i := range q.inputs {
		id, err := unix.GetsockoptInt(q.inputs[i].fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
		if err == nil && slices.ContainsFunc(p.napis, func(n nic.NAPI) bool { return n.ID == uint32(id) }) {
			p.fd = q.inputs[i].fd
		}
	}
	if p.fd == 0 && Now() < p.until {
		return
	}
	p.until = 0
	q.readable, q.looks = true, q.looks&^1 // what the sockets still have comes before what the ring will have
	if err := p.device.program.Enter(p.ring.queue, p.ring.fd); err != nil {
		q.unpolled(err) // and the funnel goes on
	} else if p.fd == 0 && p.tries == 0 {
		q.unpolled(errors.New("no socket has learnt its NAPI"))
	}
}

// unpolled gives up: the worker is woken by the device.
func (q *xdpQueue) unpolled(err error) {
	q.xdp.log.Warn("this device cannot be polled: it delivers every few media.poll; leave media.poll out, or start anew when packets come from the network",
		"device", q.pilot.device.Name, "error", err)
	q.pilot.ring, q.pilot.fd, q.pace = nil, 0, pace{}
}
