package rig

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is one end of the pair.
type Device struct {
	Name  string
	Index int // in its namespace
	MAC   net.HardwareAddr
}

// join connects the namespaces by a veth pair with one queue each way, gives both sides their addresses and sets them up.
// Neighbours are found by ARP and ND, as on any link.
func join(load, relay *side) error {
	err := load.warden.run(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.NumTxQueues, attrs.NumRxQueues = load.device.Name, 1, 1
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: relay.device.Name, PeerNamespace: netlink.NsFd(relay.warden.namespace),
			PeerNumTxQueues: 1, PeerNumRxQueues: 1,
		})
	})
	if err != nil {
		return fmt.Errorf("rig: make veth pair %s, %s: %w", load.device.Name, relay.device.Name, err)
	}
	for _, s := range []*side{load, relay} {
		if err := s.warden.run(s.furnish); err != nil {
			return fmt.Errorf("rig: namespace %s: %w", s.name, err)
		}
	}
	return nil
}

// furnish runs inside the namespace.
func (s *side) furnish() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	device, err := netlink.LinkByName(s.device.Name)
	if err != nil {
		return err
	}
	s.device.Index, s.device.MAC = device.Attrs().Index, device.Attrs().HardwareAddr
	for _, a := range s.addrs {
		// IFA_F_NODAD: nobody else is on this link, and an address that is still being tried cannot be bound.
		at := netlink.Addr{IPNet: network(a.AsSlice()), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(device, &at); err != nil {
			return fmt.Errorf("add address %s to %s: %w", at.IPNet, s.device.Name, err)
		}
	}
	if s.queued {
		queue := &netlink.GenericQdisc{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			QdiscType:  "pfifo",
		}
		if err := netlink.QdiscAdd(queue); err != nil {
			return fmt.Errorf("give %s a queue: %w", s.device.Name, err)
		}
	}
	for _, link := range []netlink.Link{lo, device} {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
		}
	}
	return setOffloads(s.device.Name)
}

// unplug removes the pair and its NAPI threads before the namespaces go: the kernel would do that in its own time.
func (s *side) unplug() error {
	if s.device.Index == 0 {
		return nil
	}
	return s.warden.run(func() error {
		device, err := netlink.LinkByIndex(s.device.Index)
		if err != nil {
			return fmt.Errorf("rig: remove %s: %w", s.device.Name, err)
		}
		return netlink.LinkDel(device)
	})
}

// network returns the address with the prefix of its family.
func network(ip net.IP) *net.IPNet {
	if len(ip) == net.IPv4len {
		return &net.IPNet{IP: ip, Mask: net.CIDRMask(prefix4, 8*net.IPv4len)}
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(prefix6, 8*net.IPv6len)}
}

// WireDrops is what the pair lost because the receiving side's ring was full.
type WireDrops struct {
	ToRelay uint64 // the relay's side did not keep up
	ToLoad  uint64 // the load's side did not keep up: the rig's fault
}

// WireDrops returns the counters since Build.
func (p *Place) WireDrops() (d WireDrops, err error) {
	for _, of := range []struct {
		s    *side
		into *uint64
	}{{p.load, &d.ToRelay}, {p.relay, &d.ToLoad}} {
		err := of.s.warden.run(func() error {
			link, err := netlink.LinkByIndex(of.s.device.Index)
			if err != nil {
				return err
			}
			if link.Attrs().Statistics == nil {
				return os.ErrNotExist
			}
			*of.into = link.Attrs().Statistics.TxDropped
			return nil
		})
		if err != nil {
			return d, fmt.Errorf("rig: counters of %s: %w", of.s.device.Name, err)
		}
	}
	return d, nil
}
