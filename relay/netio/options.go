package netio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

const (
	maxAddresses = 256 // each costs a port table of 1 MB or more
	maxWorkers   = 255 // more than any machine this runs on; beyond is a mistake in the configuration

	maxPoll = 10 * time.Millisecond // half of the time between two packets of a call
)

// Options are what opening an engine needs to know.
type Options struct {
	Addresses []netip.Addr // local media addresses; the index is the slot of Local
	Workers   int          // number of queues
	RcvBuf    int          // receive buffer of one socket in bytes; 0 means the engine's default
	Registry  *Registry    // names every descriptor; nil means one of the engine's own
	UDP       []bool       // by slot: what leaves by this address takes the UDP socket, whatever the engine; nil: none
	Log       *slog.Logger // what an operator should know: buffers, routes lost; nil: nothing is logged
	XDP       XDPOptions   // what only the engine xdp looks at

	// Poll is how far apart a worker with steady traffic looks for packets at most, by the clock, instead of being woken for each group
	// of them; 0: it is woken. The engines funnel and xdp make the device deliver what it has (busy polling, SO_BUSY_POLL of socket(7)).
	Poll time.Duration
}

// XDPOptions choose between ways that the engine xdp has. The zero value is a good choice.
type XDPOptions struct {
	// Native refuses what is slower than the funnel, or not proven to be faster: devices whose driver does not run the
	// program, virtual devices, more workers than queues.
	Native bool
}

// check refuses what no engine can do, and fills in what may be left out.
func (o *Options) check() error {
	if len(o.Addresses) == 0 || len(o.Addresses) > maxAddresses {
		return fmt.Errorf("%d local addresses: need 1 to %d", len(o.Addresses), maxAddresses)
	}
	if o.Workers < 1 || o.Workers > maxWorkers {
		return fmt.Errorf("%d workers: need 1 to %d", o.Workers, maxWorkers)
	}
	if o.RcvBuf < 0 {
		return fmt.Errorf("receive buffer of %d bytes: need 0 (default) or more", o.RcvBuf)
	}
	if o.Poll != 0 && (o.Poll < shortestNap || o.Poll > maxPoll) {
		return fmt.Errorf("polling every %v: need 0 (never), or %v to %v", o.Poll, shortestNap, maxPoll)
	}
	if len(o.UDP) > len(o.Addresses) {
		return fmt.Errorf("send by UDP is said for %d addresses, there are %d addresses", len(o.UDP), len(o.Addresses))
	}
	addresses := make([]netip.Addr, 0, len(o.Addresses))
	seen := make(map[netip.Addr]bool, len(o.Addresses))
	for _, a := range o.Addresses {
		a = a.Unmap()
		switch {
		case !a.IsValid():
			return errors.New("a local address is empty")
		case a.IsLinkLocalUnicast() || a.Zone() != "":
			return fmt.Errorf("local address %s is link-local: media needs an address that peers can route to", a)
		case a.IsMulticast() || a.IsUnspecified():
			return fmt.Errorf("local address %s is not the address of one interface: name the address itself", a)
		case seen[a]:
			return fmt.Errorf("local address %s is listed twice", a)
		}
		seen[a] = true
		addresses = append(addresses, a)
	}
	o.Addresses = addresses
	udp := make([]bool, len(addresses))
	copy(udp, o.UDP)
	o.UDP = udp
	if o.Registry == nil {
		o.Registry = NewRegistry(nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
