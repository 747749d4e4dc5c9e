package hop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestGatewaysWithOneLinkLocalAddressOnTwoLinksAreTwo: fe80::1 is what many routers call themselves on each of their links.
func TestGatewaysWithOneLinkLocalAddressOnTwoLinksAreTwo(t *testing.T) {
	w := newWorld(t)
	name := fmt.Sprintf("td-%dc", os.Getpid())
	w.check("add veth", w.near.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "2"}))
	second, err := w.near.LinkByName(name)
	w.check("find the second device", err)
	peer, err := w.near.LinkByName(name + "2")
	w.check("find its peer", err)
	w.up(w.near, peer)
	w.up(w.near, second)
	w.neighbour(w.device, "fe80::1", unix.NUD_PERMANENT, mac2)
	w.neighbour(second, "fe80::1", unix.NUD_PERMANENT, mac3)
	w.via("2001:db8:1::/48", "fe80::1")
	w.route("2001:db8:2::/48", func(r *netlink.Route) { r.Gw, r.LinkIndex = net.ParseIP("fe80::1"), second.Attrs().Index })
	table := w.open()
	first, _ := w.becomes(table, "2001:db8:1::1", "goes to the gateway of the first link", to(mac2))
	other, _ := w.becomes(table, "2001:db8:2::1", "goes to that of the second", to(mac3))
	if first.Ifindex != int32(w.device.Attrs().Index) || other.Ifindex != int32(second.Attrs().Index) {
		t.Errorf("by devices %d and %d", first.Ifindex, other.Ifindex)
	}
}

// TestALinkLocalDestinationIsNotGuessed: without a device it names nobody, whatever neighbours of that name there are.
func TestALinkLocalDestinationIsNotGuessed(t *testing.T) {
	w := newWorld(t)
	w.neighbour(w.device, "fe80::2", unix.NUD_PERMANENT, mac2)
	w.neighbour(w.device, "2001:db8::2", unix.NUD_PERMANENT, mac3)
	table := w.open()
	ip := netip.MustParseAddr("fe80::2").As16()
	w.becomes(table, "fe80::2", "is entered", func(Hop) bool { return true })
	w.becomes(table, "2001:db8::2", "is looked up after it", to(mac3))
	var h Hop
	if r, ok := table.Find(1, &ip); !ok || table.Read(r, &h) == 0 || h.State != Unresolved {
		t.Errorf("frames to fe80::2 would leave: %+v", h)
	}
}
