package netio

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// openSocket returns a non-blocking UDP socket bound to a.
func openSocket(a netip.AddrPort, rcvBuf int) (int, error) {
	family := unix.AF_INET
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, bindError(err)
	}
	if err := bindSocket(fd, a, rcvBuf); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// bindSocket sets the options before the bind: from then on datagrams may come.
func bindSocket(fd int, a netip.AddrPort, rcvBuf int) error {
	if a.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("setsockopt(IPV6_V6ONLY): %w", err)
		}
	}
	if err := setReceiveOptions(fd, rcvBuf); err != nil {
		return err
	}
	if err := unix.Bind(fd, bindAddress(a)); err != nil {
		return bindError(err)
	}
	return nil
}

// bindError says what kept a socket from being bound.
func bindError(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("bind: %w", ErrPortTaken)
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("socket: %w: raise the limit of open files (LimitNOFILE= of the service)", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("bind: %w: no interface of this machine has it", err)
	}
	return fmt.Errorf("bind: %w", err)
}

// adoptSocket checks that an inherited descriptor is the UDP socket that its name promises, and gives it our options.
func adoptSocket(fd int, a netip.AddrPort, rcvBuf int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("descriptor %d: getsockopt(SO_TYPE): %w", fd, err)
	}
	bound, err := boundAddress(fd)
	if err != nil {
		return fmt.Errorf("descriptor %d: getsockname: %w", fd, err)
	}
	if kind != unix.SOCK_DGRAM || bound != a {
		return fmt.Errorf("descriptor %d is a socket of type %d bound to %s, want a datagram socket on %s", fd, kind, bound, a)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("descriptor %d: set non-blocking: %w", fd, err)
	}
	return setReceiveOptions(fd, rcvBuf)
}

func setReceiveOptions(fd, rcvBuf int) error {
	// FORCE may exceed net.core.rmem_max but needs CAP_NET_ADMIN; without it the kernel takes what it allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rcvBuf) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvBuf); err != nil {
			return fmt.Errorf("setsockopt(SO_RCVBUF, %d): %w", rcvBuf, err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
		return fmt.Errorf("setsockopt(SO_RXQ_OVFL): %w", err)
	}
	return nil
}
