package netio

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
)

// prove lets each device receive a packet that the kernel makes for its first queue (BPF_PROG_RUN with live frames, Linux 5.18),
// through program, map and socket as one from the wire would. An older kernel cannot, and the log says so.
func (e *xdp) prove() error {
	for i, d := range e.devices {
		l, free, err := e.proofPort(i)
		if err == nil {
			err = e.proveDevice(d, l)
			free()
		}
		if errors.Is(err, errNotTried) {
			e.log.Info("AF_XDP is not proven at start", "device", d.Name, "reason", err)
		} else if err != nil {
			return fmt.Errorf("start-up proof: device %s: %w", d.Name, err)
		}
	}
	for _, q := range e.queues {
		q.stats = QueueStats{} // the proof was no traffic
	}
	return nil
}

var errNotTried = errors.New("it cannot be tried")

// proofPort finds a port of the device's first address that nobody has. It stays reserved until free is called.
func (e *xdp) proofPort(device int) (l Local, free func(), err error) {
	a := e.devices[device].Addresses[0]
	fd, at, err := openProbe(a)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return 0, nil, fmt.Errorf("%w: %s: %w", errNotTried, a, err) // an IPv6 address whose uniqueness is being tried
	}
	if err != nil {
		return 0, nil, err
	}
	own := a.As16()
	slot, _ := e.slots.find(&own)
	return MakeLocal(slot, at.Port()), func() { unix.Close(fd) }, nil
}

// proveDevice receives one packet as the worker that has the device's first queue.
func (e *xdp) proveDevice(d *device, l Local) error {
	q := e.queues[0]
	e.steer.Lease(l.Slot(), l.Port(), q.number)
	defer e.steer.Release(l.Slot(), l.Port())
	text := "tandem proof of " + d.Name
	var t frame.Template
	own := e.slots.addresses[l.Slot()]
	t.Set(&frame.Flow{Src: own, Dst: own, SrcPort: l.Port(), DstPort: l.Port()})
	packet := make([]byte, t.Len()+len(text))
	copy(packet[t.Len():], text)
	t.Put(packet)
	var b Batch
	for rest := (patience{wait: probePatience}); rest.left() > 0; {
		if err := d.program.Inject(d.Index, packet); err != nil {
			return fmt.Errorf("%w: %w", errNotTried, err)
		}
		if err := q.Recv(&b, probeAgain); err != nil {
			return err
		}
		for i := range b.Packets[:b.N] {
			if p := &b.Packets[i]; p.In == l && string(p.Data) == text {
				return nil
			}
		}
	}
	return fmt.Errorf("a packet that the program was to redirect did not come in within %v", probePatience)
}
