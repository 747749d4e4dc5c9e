package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

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

// Sources of the proof begin with addresses that documentation has and no network (RFC 5737, RFC 3849).
var nobody4, nobody6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")

// nobody returns an address that is not ours: our own would be taken for forged.
func (e *xdp) nobody(ipv6 bool) netip.Addr {
	a := nobody4
	if ipv6 {
		a = nobody6
	}
	for slices.Contains(e.addresses, a) {
		a = a.Next()
	}
	return a
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
	own, from := e.slots.addresses[l.Slot()], e.nobody(e.ipv6(l.Slot()))
	t.Set(&frame.Flow{DstMAC: d.MAC, Src: from.As16(), Dst: own, SrcPort: l.Port(), DstPort: l.Port()})
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
