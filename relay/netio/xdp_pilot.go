package netio

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/nic"
)

// pilot polls a device for its ring. An AF_XDP socket learns which NAPI to poll from the driver only (since Linux 6.13), and many
// drivers, those of virtual devices among them, do not tell; a UDP socket learns it from the first datagram that the device
// brings. So the ring of a device with one queue is left out of the program's map at first: the program passes everything to the kernel, the
// worker's funnel sockets serve it, and the one that has learnt the device's NAPI polls for the ring from then on.
type pilot struct {
	ring   *ring // nil: there is no pilot, or none yet; worker only, once the engine is open
	waits  *ring // is not in the program's map yet
	napis  []nic.NAPI
	fd     int     // of a funnel's socket that knows the NAPI
	peeked [1]byte // a datagram's first byte, which stays where it is
}

// openPilot makes the funnel's sockets of the first worker learn and poll the device, where there is one device with one queue, and
// the kernel tells which NAPIs it has. false: it cannot be.
func (e *xdp) openPilot(o *Options) (bool, error) {
	if len(e.devices) != 1 || e.devices[0].Queues != 1 {
		return false, nil
	}
	d := e.devices[0]
	napis, err := nic.NAPIs(d.Index)
	if err != nil || len(napis) == 0 {
		return false, nil // an older kernel: the device delivers by its own clock
	}
	q := e.queues[0]
	if err := q.startPolling(o.RcvBuf); err != nil {
		return false, fmt.Errorf("queue %d: %w", q.number, err)
	}
	if err := d.program.Leave(d.rings[0].queue); err != nil {
		return false, err
	}
	q.pilot.napis, q.pilot.waits = napis, d.rings[0]
	return true, nil
}

// learn looks whether a socket that has just received something knows the device's NAPI. What another device or this machine brought
// first has taught it something else, once and for all: then nobody polls, and the ring is used all the same.
func (q *xdpQueue) learn() {
	p := &q.pilot
	for i := range q.inputs {
		id, err := unix.GetsockoptInt(q.inputs[i].fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
		if err == nil && slices.ContainsFunc(p.napis, func(n nic.NAPI) bool { return n.ID == uint32(id) }) {
			p.fd, p.ring = q.inputs[i].fd, p.waits
			q.pace = makePace(q.xdp.poll)
			break
		}
	}
	r := p.waits
	p.waits = nil
	d := q.xdp.devices[r.device]
	if p.ring == nil {
		q.xdp.log.Warn("the first packet came from another device: this one cannot be polled until the relay starts anew", "device", d.Name)
	}
	if err := d.program.Enter(r.queue, r.fd); err != nil { // the funnel goes on serving it
		q.xdp.log.Warn("no AF_XDP on this device", "device", d.Name, "error", err)
	}
}

// steer makes the kernel look at the device. It tells whether the socket has something of its own, in which case it did not.
func (p *pilot) steer() (readable bool) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(p.fd), uintptr(unsafe.Pointer(&p.peeked)), uintptr(len(p.peeked)),
		unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
	return errno == 0
}
