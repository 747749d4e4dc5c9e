package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

const (
	pumpPort     = 9                      // discard (RFC 863): no peer's port
	pumpPatience = 200 * time.Millisecond // for one datagram over the pair; the first waits for ARP
	pumpAttempts = 10
	pumpBudget   = 32 // packets of a poll at most; a turn makes two (busy_poll_stop of net/core/dev.c)
)

// A pump is a socket whose receive call makes the kernel look at the load's device: busy polling (networking/napi.rst of
// the kernel). While the sink pumps, the device asks for no attention, so that the relay's sends wake nobody up: such a
// wake-up costs the sender more than the packet, and no wire would send that bill to a relay. A UDP socket knows which
// device to look at from the first datagram that it receives.
type pump int

// openPump must be called before the program that catches all datagrams is attached.
func openPump(place *rig.Place) (p pump, err error) {
	at := place.PeerAddresses()[0]
	p = -1
	err = place.InLoad(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		p = pump(fd)
		wait := unix.NsecToTimeval(int64(pumpPatience))
		return errors.Join(
			unix.Bind(fd, &unix.SockaddrInet4{Addr: at.As4(), Port: pumpPort}),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	})
	if err == nil {
		err = p.prime(place, netip.AddrPortFrom(at, pumpPort))
	}
	if err == nil {
		err = p.arm()
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("load: busy polling of %s: %w", place.LoadDevice().Name, err), p.close())
	}
	return p, nil
}

// prime sends datagrams to the pump until one arrives.
func (p pump) prime(place *rig.Place, at netip.AddrPort) error {
	for range pumpAttempts {
		err := place.InRelay(func() error {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			_, err = c.Write([]byte{0})
			return errors.Join(err, c.Close())
		})
		if err != nil {
			return err
		}
		if _, err = unix.Read(int(p), make([]byte, 1)); err == nil {
			return nil
		} else if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return fmt.Errorf("no datagram came over the veth pair to %s in %d attempts", at, pumpAttempts)
}

func (p pump) arm() error {
	id, err := unix.GetsockoptInt(int(p), unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
	if err != nil || id == 0 {
		return fmt.Errorf("the device's NAPI is not known (%d, %v): a kernel with CONFIG_NET_RX_BUSY_POLL is needed", id, err)
	}
	for _, o := range []struct{ option, value int }{
		{unix.SO_BUSY_POLL, 1}, // microseconds; a call that does not wait makes one turn whatever the number
		{unix.SO_PREFER_BUSY_POLL, 1},
		{unix.SO_BUSY_POLL_BUDGET, pumpBudget},
	} {
		if err := unix.SetsockoptInt(int(p), unix.SOL_SOCKET, o.option, o.value); err != nil {
			return fmt.Errorf("socket option %d: %w", o.option, err)
		}
	}
	return nil
}

// turn lets the kernel receive what is in the device's ring.
func (p pump) turn() {
	unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(p), 0, 0, unix.MSG_DONTWAIT, 0, 0) // EAGAIN: nothing is ever for this socket
}

func (p pump) close() error {
	if p < 0 {
		return nil
	}
	return unix.Close(int(p))
}
