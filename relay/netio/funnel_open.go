package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/xsk"
)

const (
	// defaultFunnelRcvBuf is the receive buffer of one funnel socket in bytes; the kernel doubles it for its own
	// overhead. It is shared by all calls of a worker: some 25,000 voice packets, a tenth of a second at 250,000 a
	// second, longer than a worker is ever held up.
	defaultFunnelRcvBuf = 16 << 20

	// frameSndBuf is the send buffer of the packet socket in bytes: several batches, although a batch is normally with
	// the device before the call returns.
	frameSndBuf = 8 << 20

	// probePatience is how long it may take until a datagram from this machine to itself arrives, and probeAgain how long
	// one is waited for before the next is sent.
	probePatience = time.Second
	probeAgain    = 20 * time.Millisecond
)

// openSockets opens the sockets of the queue: one per address family in use, and the packet socket.
func (q *funnelQueue) openSockets(rcvBuf int) error {
	for _, ipv6 := range []bool{false, true} {
		if q.engine.anySlot(ipv6) {
			if err := q.openInput(ipv6, rcvBuf); err != nil {
				return err
			}
		}
	}
	var err error
	q.packet, err = openFresh(q.registry, q.packetName(), openPacketSocket)
	return err
}

// anySlot tells whether an address of that family is in use.
func (e *funnel) anySlot(ipv6 bool) bool {
	for slot := range e.addresses {
		if e.ipv6(slot) == ipv6 {
			return true
		}
	}
	return false
}

// openInput opens the socket of a family and makes it the one that the family's datagrams are steered to.
func (q *funnelQueue) openInput(ipv6 bool, rcvBuf int) error {
	input := funnelInput{name: fmt.Sprintf("funnel/%d/ipv4", q.number)}
	if ipv6 {
		input.name = fmt.Sprintf("funnel/%d/ipv6", q.number)
	}
	var err error
	input.fd, err = openFresh(q.registry, input.name, func() (int, error) { return openFunnelSocket(ipv6, rcvBuf) })
	if err != nil {
		return err
	}
	q.inputs = append(q.inputs, input)
	got, err := unix.GetsockoptInt(input.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("%s: getsockopt(SO_RCVBUF): %w", input.name, err)
	}
	got /= 2 // the kernel reports what it doubled
	if e := q.engine; e.granted == 0 || got < e.granted {
		e.granted = got
	}
	if err := q.watch(input.fd, Local(q.number), inputGeneration); err != nil {
		return fmt.Errorf("%s: epoll_ctl(ADD): %w", input.name, err)
	}
	return q.engine.steer.Socket(q.number, ipv6, input.fd)
}

// openFunnelSocket returns a UDP socket that nobody reaches by its own address: a steered one need not have the address
// of what it receives. It is bound because only a bound socket can be steered to, and freely (IP_FREEBIND) because in a
// new network namespace even the loopback address may be missing.
func openFunnelSocket(ipv6 bool, rcvBuf int) (int, error) {
	family, level := unix.AF_INET, unix.IPPROTO_IP
	freebind, original := unix.IP_FREEBIND, unix.IP_RECVORIGDSTADDR
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if ipv6 {
		family, level = unix.AF_INET6, unix.IPPROTO_IPV6
		freebind, original = unix.IPV6_FREEBIND, unix.IPV6_RECVORIGDSTADDR
		address = netip.IPv6Loopback()
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt(FREEBIND)", unix.SetsockoptInt(fd, level, freebind, 1)),
		os.NewSyscallError("setsockopt(RECVORIGDSTADDR)", unix.SetsockoptInt(fd, level, original, 1)),
	)
	if err == nil {
		err = bindSocket(fd, netip.AddrPortFrom(address, 0), rcvBuf)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// openPacketSocket returns a socket that sends frames past the queueing discipline and receives none: its protocol is 0.
// It is bound to no device, a frame names its own: a route that moves to another device then needs no privilege.
func openPacketSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt(PACKET_QDISC_BYPASS)", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)),
		os.NewSyscallError("setsockopt(SO_SNDBUFFORCE)", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, frameSndBuf)),
	)
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// startPolling makes the queues' sockets poll the device that their datagrams come from. A socket learns its device from the first
// datagram, once and for all, and the probe's was nobody's: the sockets are opened anew.
func (e *funnel) startPolling(o *Options) error {
	for _, q := range e.queues {
		if err := q.startPolling(o.RcvBuf); err != nil {
			return errors.Join(fmt.Errorf("open %s engine: queue %d: %w", e.title, q.number, err), e.Close())
		}
	}
	return nil
}

func (q *funnelQueue) startPolling(rcvBuf int) error {
	old := q.inputs
	q.inputs = nil
	for i := range old {
		q.unwatch(old[i].fd)
		if err := q.registry.Close(old[i].name); err != nil {
			return err
		}
	}
	for _, ipv6 := range []bool{false, true} {
		if !q.engine.anySlot(ipv6) {
			continue
		}
		if err := q.openInput(ipv6, rcvBuf); err != nil {
			return err
		}
		if err := xsk.BusyPoll(q.inputs[len(q.inputs)-1].fd); err != nil {
			return err
		}
	}
	return nil
}

// reportRcvBuf tells the operator about the one buffer that all calls of a worker share.
func (e *funnel) reportRcvBuf(o *Options) {
	if e.granted < o.RcvBuf {
		o.Log.Warn("the funnel's receive buffer is smaller than asked, bursts may be lost: "+
			"raise net.core.rmem_max to that size", "asked_bytes", o.RcvBuf, "granted_bytes", e.granted)
		return
	}
	o.Log.Info("funnel receive buffer", "granted_bytes", e.granted, "sockets", len(e.queues)*len(e.queues[0].inputs))
}

// probe proves that the way in works: for each family in use and each queue it leases a free port, sends a datagram to it
// and sees it arrive.
func (e *funnel) probe() error {
	for _, ipv6 := range []bool{false, true} {
		if !e.anySlot(ipv6) {
			continue
		}
		if err := e.probeFamily(ipv6); err != nil {
			return fmt.Errorf("start-up probe: %w", err)
		}
	}
	for _, q := range e.queues {
		q.stats = QueueStats{} // the probe was no traffic
	}
	return nil
}

// probeFamily probes the family's first address that this machine has.
func (e *funnel) probeFamily(ipv6 bool) error {
	var errs []error
	for slot, a := range e.addresses {
		if e.ipv6(slot) != ipv6 {
			continue
		}
		port, at, err := openProbe(a)
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("%s: %w", a, err)) // it may come later; another will do
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		defer unix.Close(port)
		sender, from, err := openProbe(a)
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		defer unix.Close(sender)
		for _, q := range e.queues {
			if err := q.probe(sender, AddrFrom(from), MakeLocal(slot, at.Port())); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no address can be probed: %w", errors.Join(errs...))
}

// openProbe opens a UDP socket on a port that the kernel chooses.
func openProbe(a netip.Addr) (int, netip.AddrPort, error) {
	fd, err := openSocket(netip.AddrPortFrom(a, 0), portRcvBuf)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	at, err := boundAddress(fd)
	if err != nil {
		return -1, netip.AddrPort{}, errors.Join(os.NewSyscallError("getsockname", err), unix.Close(fd))
	}
	return fd, at, nil
}

// probe sends datagrams to port l, which is leased to the queue meanwhile, until one is received. The first may be lost: the
// kernel enters the route of a fresh IPv6 address a moment after the address.
func (q *funnelQueue) probe(sender int, from Addr, l Local) error {
	e, text := q.engine, fmt.Sprintf("tandem funnel probe of queue %d", q.number)
	at := e.address(l)
	e.steer.Lease(l.Slot(), l.Port(), q.number)
	defer e.steer.Release(l.Slot(), l.Port())
	var b Batch
	for rest := (patience{wait: probePatience}); rest.left() > 0; {
		if err := unix.Sendto(sender, []byte(text), unix.MSG_DONTWAIT, bindAddress(at)); err != nil {
			return fmt.Errorf("queue %d: send to %s from this machine: %w", q.number, at, err)
		}
		if err := q.Recv(&b, probeAgain); err != nil {
			return err
		}
		for i := range b.Packets[:b.N] {
			if p := &b.Packets[i]; p.In == l && p.Src == from && string(p.Data) == text {
				return nil
			}
		}
	}
	return fmt.Errorf("queue %d: datagrams from this machine to %s did not come in within %v (%d steered): "+
		"is the device lo up? does a packet filter drop them?", q.number, at, probePatience, e.steer.Steered())
}
