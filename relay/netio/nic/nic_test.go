package nic

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enterNamespace puts the test's thread into a network namespace of its own, which ends with it.
func enterNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		leaveOut(t, "a network namespace needs CAP_SYS_ADMIN")
	}
}

func addAddress(t *testing.T, device, prefix string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(device)
	must(t, err)
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	must(t, netlink.AddrAdd(link, a))
	return link
}

func TestDevicesAreFoundByTheirAddresses(t *testing.T) {
	enterNamespace(t)
	for _, pair := range []struct {
		name, peer string
		queues     int
	}{{"td-b", "td-b-far", 3}, {"td-a", "td-a-far", 1}} {
		must(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: pair.name, TxQLen: -1, NumRxQueues: pair.queues, NumTxQueues: pair.queues, MTU: 1400}, PeerName: pair.peer,
		}))
	}
	a := addAddress(t, "td-a", "198.18.1.1/24")
	addAddress(t, "td-b", "198.18.2.1/24")
	addAddress(t, "td-b", "2001:2::1/64")
	addAddress(t, "lo", "127.0.0.1/8")
	must(t, netlink.LinkSetUp(a))
	var addresses []netip.Addr
	for _, text := range []string{"198.18.2.1", "127.0.0.1", "198.18.1.1", "192.0.2.1", "2001:2::1"} {
		addresses = append(addresses, netip.MustParseAddr(text))
	}
	found, err := Find(addresses)
	must(t, err)
	var names []string
	for _, d := range found {
		names = append(names, d.Name)
	}
	if !slices.Equal(names, []string{"lo", "td-a", "td-b"}) {
		t.Fatalf("found %v", names)
	}
	lo, first, second := found[0], found[1], found[2]
	if !lo.Loopback || lo.Ethernet || first.Loopback || !first.Ethernet {
		t.Errorf("lo %+v, td-a %+v", lo, first)
	}
	if first.Kind != "veth" || first.Driver != "veth" || first.Queues != 1 || second.Queues != 3 || first.MTU != 1400 || !first.Virtual() {
		t.Errorf("td-a %+v, td-b %+v", first, second)
	}
	if first.MAC != [6]byte(a.Attrs().HardwareAddr) || first.MAC == second.MAC {
		t.Errorf("td-a has %x, td-b %x", first.MAC, second.MAC)
	}
	if !first.Up || second.Up {
		t.Errorf("up: td-a %v, td-b %v", first.Up, second.Up)
	}
	if !slices.Equal(second.Addresses, []netip.Addr{addresses[0], addresses[4]}) {
		t.Errorf("td-b has %v", second.Addresses)
	}
	if text := said(Examine(&second, Needs{Workers: 4, Longest: 1300}, os.DirFS("/")), true); !strings.Contains(text, "td-b: is down") ||
		!strings.Contains(text, "3 receive queues for 4 workers") || !strings.Contains(text, "over 1300 bytes") {
		t.Errorf("said:\n%s", text)
	}
}

// TestAddressesOfAVLANAreFoundOnTheDeviceBelow needs no kernel with VLANs: it is about the list of links.
func TestAddressesOfAVLANAreFoundOnTheDeviceBelow(t *testing.T) {
	links := []netlink.Link{
		&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "eth0", Index: 2, EncapType: "ether", MTU: 1500}},
		&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "eth0.7", Index: 5, ParentIndex: 2}, VlanId: 7},
		&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "eth0.8", Index: 6, ParentIndex: 2}, VlanId: 8, VlanProtocol: netlink.VLAN_PROTOCOL_8021AD},
		&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "loop", Index: 9, ParentIndex: 9}},
	}
	if l := below(links, 5); l == nil || l.Attrs().Name != "eth0" {
		t.Errorf("below eth0.7 is %v", l)
	}
	if below(links, 77) != nil || below(links, 9) != nil {
		t.Error("below a device that is not there, or on itself, is nothing")
	}
	d := describe(links[0], links)
	if !slices.Equal(d.VLANs, []VLAN{{5, 7}}) || d.Kind != "device" || d.Virtual() || d.Queues != 1 {
		t.Errorf("%+v", d)
	}
}

func TestAListThatChangedMeanwhileIsAskedForAgain(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name        string
		interrupted int // times
		then        error
		asked       int
		want        error
	}{
		{"of one piece", 0, nil, 1, nil},
		{"changed for a while", 5, nil, 6, nil},
		{"changes all the time", listTries, nil, listTries, netlink.ErrDumpInterrupted},
		{"another error", 2, broken, 3, broken},
	} {
		asked := 0
		got, err := whole(func() ([]int, error) {
			if asked++; asked <= c.interrupted {
				return []int{-1}, fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
			}
			return []int{asked}, c.then
		})
		if asked != c.asked || !errors.Is(err, c.want) || err == nil && got[0] != asked {
			t.Errorf("%s: asked %d times: %v, %v", c.name, asked, got, err)
		}
	}
}

// TestDevicesAreFoundWhileOthersComeAndGo needs the kernel's list to be too long for one message, as where many containers are.
func TestDevicesAreFoundWhileOthersComeAndGo(t *testing.T) {
	enterNamespace(t)
	veth := func(name string) *netlink.Veth {
		return &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, TxQLen: -1}, PeerName: name + "-far"}
	}
	for i := range 60 {
		must(t, netlink.LinkAdd(veth(fmt.Sprintf("td-%d", i))))
	}
	addAddress(t, "td-7", "198.18.1.1/24")
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	coming, err := netlink.NewHandleAt(here)
	must(t, err)
	defer coming.Close()
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for passing := veth("td-passing"); err == nil && !stop.Load(); {
			if err = coming.LinkAdd(passing); err == nil {
				err = coming.LinkDel(passing)
			}
		}
		done <- err
	}()
	for range 20 {
		found, err := Find([]netip.Addr{netip.MustParseAddr("198.18.1.1")})
		if err != nil || len(found) != 1 || found[0].Name != "td-7" {
			t.Errorf("%v, %v", found, err)
			break
		}
	}
	stop.Store(true)
	must(t, <-done)
}
