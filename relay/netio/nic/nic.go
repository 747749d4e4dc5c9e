// Package nic tells what a network device is and how it is set up: its queues, its driver, what it does with packets before
// the relay sees them.
//
// The failure it prevents is the slow machine that nobody can explain: all calls on one queue because the device hashes UDP by
// addresses only, packets glued together by GRO or LRO, interrupts on one processor. Examine finds such things and says what to
// do; it changes nothing. What does not live here: addresses, routes and neighbours (package hop), sockets (package xsk).
package nic

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is a network device that has addresses of ours, itself or by a VLAN on it.
type Device struct {
	Name      string
	Index     int
	Kind      string       // of the kernel's links: "device" is hardware, or what a virtual machine takes for it
	Driver    string       // "" when the device does not tell
	MAC       [6]byte      // of an Ethernet
	MTU       int          // bytes of an IP packet
	Queues    int          // receive queues in use, at least 1
	Loopback  bool         // what this machine says to itself
	Ethernet  bool         // its frames have Ethernet headers
	Up        bool         // by configuration
	VLANs     []VLAN       // on it, with addresses of ours or without
	Addresses []netip.Addr // of ours
}

// VLAN is a device that sends and receives through another, with a tag.
type VLAN struct {
	Index int
	ID    uint16
}

// Virtual tells whether the device is the kernel's own making, with no hardware or hypervisor behind it.
func (d *Device) Virtual() bool { return d.Kind != "device" }

// Find returns the devices that have the addresses, in the network namespace of the calling thread, sorted by name. An address
// that no device has is left out: it may come later.
func Find(addresses []netip.Addr) ([]Device, error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list network devices: %w", err)
	}
	owned, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of network devices: %w", err)
	}
	var found []Device
	for _, a := range addresses {
		at := slices.IndexFunc(owned, func(o netlink.Addr) bool {
			b, ok := netip.AddrFromSlice(o.IP)
			return ok && b.Unmap() == a.Unmap()
		})
		if at < 0 {
			continue
		}
		link := below(links, owned[at].LinkIndex)
		if link == nil {
			continue // it went away between the two lists
		}
		i := slices.IndexFunc(found, func(d Device) bool { return d.Index == link.Attrs().Index })
		if i < 0 {
			i = len(found)
			found = append(found, describe(link, links))
		}
		found[i].Addresses = append(found[i].Addresses, a)
	}
	slices.SortFunc(found, func(a, b Device) int { return cmpName(a.Name, b.Name) })
	return found, nil
}

// listTries is how often a list is asked for that has changed while the kernel wrote it down. Where devices come and go all the time,
// as those of containers do, that happens to every sixth.
const listTries = 20

// whole asks for a list until it is of one piece.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range listTries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

func cmpName(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// below returns the device of that index, or for a VLAN the one that its packets go through.
func below(links []netlink.Link, index int) netlink.Link {
	for range links { // each step is another device, whatever the kernel says
		at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == index })
		if at < 0 {
			return nil
		}
		if links[at].Type() != "vlan" {
			return links[at]
		}
		index = links[at].Attrs().ParentIndex
	}
	return nil
}

func describe(link netlink.Link, links []netlink.Link) Device {
	a := link.Attrs()
	d := Device{
		Name: a.Name, Index: a.Index, Kind: link.Type(), MTU: a.MTU, Queues: max(a.NumRxQueues, 1),
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0, Ethernet: a.EncapType == "ether", Up: a.RawFlags&unix.IFF_UP != 0,
	}
	copy(d.MAC[:], a.HardwareAddr)
	if channels, err := channelsOf(d.Name); err == nil {
		d.Queues = max(int(channels.rx+channels.combined), 1)
	}
	d.Driver, _ = driverOf(d.Name) // a device without ethtool has none to tell
	for _, l := range links {
		if v, ok := l.(*netlink.Vlan); ok && v.ParentIndex == d.Index && v.VlanProtocol != netlink.VLAN_PROTOCOL_8021AD {
			d.VLANs = append(d.VLANs, VLAN{Index: v.Index, ID: uint16(v.VlanId)})
		}
	}
	return d
}
