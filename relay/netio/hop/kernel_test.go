package hop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestDestinationOnTheLinkIsReadyWhenItsNeighbourAnswers(t *testing.T) {
	w := newWorld(t)
	table := w.open()
	for _, dst := range []string{"198.18.0.2", "2001:db8::2"} {
		w.becomes(table, dst, "is unresolved before anybody sent there", in(Unresolved))
		w.send(dst)
		h, _ := w.becomes(table, dst, "is ready", in(Ready))
		want := Hop{Ready, int32(w.device.Attrs().Index), 1500, macOf(w.device), macOf(w.other)}
		if h != want {
			t.Errorf("%s: %+v; want %+v", dst, h, want)
		}
	}
}

func TestGatewayOfEitherFamily(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.neighbour(w.device, "2001:db8::2", unix.NUD_PERMANENT, mac3)
	w.via("198.19.0.0/16", "198.18.0.2")
	w.via("2001:db8:1::/48", "2001:db8::2")
	w.route("198.19.128.0/17", func(r *netlink.Route) {
		r.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("2001:db8::2")}
	})
	table := w.open()
	w.becomes(table, "198.19.0.1", "goes to the gateway", to(mac2))
	w.becomes(table, "2001:db8:1::1", "goes to the IPv6 gateway", to(mac3))
	w.becomes(table, "198.19.128.1", "goes to the IPv6 gateway", to(mac3))
}

func TestChangeOfRouteIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	table := w.open()
	_, r := w.becomes(table, "198.19.0.1", "goes to the first gateway", to(mac2))
	before := table.Generation(r)
	w.via("198.19.0.0/16", "198.18.0.3")
	w.becomes(table, "198.19.0.1", "goes to the second gateway", to(mac3))
	if g := table.Generation(r); g == before || g == 0 {
		t.Errorf("generation %d -> %d", before, g)
	}
	w.route("198.19.0.0/16", func(r *netlink.Route) { r.Gw, r.MTU = net.ParseIP("198.18.0.3"), 1400 })
	w.becomes(table, "198.19.0.1", "has the route's MTU", func(h Hop) bool { return h.State == Ready && h.MTU == 1400 })
	w.route("198.19.0.0/16", func(r *netlink.Route) { r.Type, r.LinkIndex = unix.RTN_BLACKHOLE, 0 })
	w.becomes(table, "198.19.0.1", "is unreachable", in(Unresolved))
}

func TestChangeOfNeighbourIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	table := w.open()
	w.becomes(table, "198.18.0.2", "has its link address", to(mac2))
	w.neighbour(w.device, "198.18.0.2", unix.NUD_REACHABLE, [6]byte{2, 0, 0, 0, 0, 9})
	w.becomes(table, "198.18.0.2", "has another link address", to([6]byte{2, 0, 0, 0, 0, 9}))
	w.check("delete neighbour", w.near.NeighDel(&netlink.Neigh{LinkIndex: w.device.Attrs().Index, IP: net.ParseIP("198.18.0.2")}))
	w.becomes(table, "198.18.0.2", "is unresolved", in(Unresolved))
}

func TestLinkGoesDownAndUp(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	table := w.open()
	w.becomes(table, "198.19.0.1", "is ready", in(Ready))
	w.check("set the peer down", w.far.LinkSetDown(w.other))
	w.becomes(table, "198.19.0.1", "is unresolved without carrier", in(Unresolved))
	w.up(w.far, w.other)
	w.becomes(table, "198.19.0.1", "is ready again", to(mac2))
	w.check("set down", w.near.LinkSetDown(w.device))
	w.becomes(table, "198.19.0.1", "is unresolved on a device that is down", in(Unresolved))
	w.up(w.near, w.device)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	w.becomes(table, "198.19.0.1", "is ready after the route came back", to(mac2))
}

func TestDeviceChangesItsAddressAndMTU(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	table := w.open()
	w.becomes(table, "198.18.0.2", "is ready", in(Ready))
	mac := [6]byte{2, 0, 0, 0, 0, 77}
	w.check("set address", w.near.LinkSetHardwareAddr(w.device, mac[:]))
	w.check("set MTU", w.near.LinkSetMTU(w.device, 1300))
	w.gateways() // the kernel forgot the neighbours of the old address
	w.becomes(table, "198.18.0.2", "leaves with the new address and MTU", func(h Hop) bool {
		return h.State == Ready && h.SrcMAC == mac && h.MTU == 1300
	})
}

// add makes the devices of which this kernel has the kind, and fails when it has none of them.
func (w *world) add(kinds ...netlink.Link) (made []netlink.Link) {
	w.t.Helper()
	for i, l := range kinds {
		l.Attrs().Name = fmt.Sprintf("td-%d%c", os.Getpid(), 'd'+i)
		err := w.near.LinkAdd(l)
		if errors.Is(err, unix.EOPNOTSUPP) {
			w.t.Logf("this kernel has no device of type %s", l.Type())
			continue
		}
		w.check("add "+l.Type(), err)
		found, err := w.near.LinkByName(l.Attrs().Name)
		w.check("find "+l.Type(), err)
		w.up(w.near, found)
		made = append(made, found)
	}
	if len(made) == 0 {
		leaveOut(w.t, "this kernel has none of the devices that the test needs")
	}
	return made
}

func TestFramesLeaveByTheDeviceOfTheRouteNotByTheOneBelow(t *testing.T) {
	w := newWorld(t)
	below := netlink.LinkAttrs{ParentIndex: w.device.Attrs().Index}
	table := w.open()
	for i, l := range w.add(
		&netlink.Vlan{LinkAttrs: below, VlanId: 42},
		&netlink.Macvlan{LinkAttrs: below, Mode: netlink.MACVLAN_MODE_BRIDGE},
		netlink.NewLinkBond(netlink.LinkAttrs{}),
	) {
		w.address(w.near, l, fmt.Sprintf("198.18.%d.1/24", 40+i))
		dst := fmt.Sprintf("198.18.%d.2", 40+i)
		if l.Type() == "bond" { // without a device below it has no link
			w.becomes(table, dst, "is unresolved", in(Unresolved))
			continue
		}
		w.neighbour(l, dst, unix.NUD_PERMANENT, mac2)
		w.becomes(table, dst, "leaves by the "+l.Type(), func(h Hop) bool {
			return h == Hop{Ready, int32(l.Attrs().Index), 1500, macOf(l), mac2}
		})
	}
}

func TestDevicesWithoutLinkAddressesHaveNoFrames(t *testing.T) {
	w := newWorld(t)
	table := w.open()
	for i, l := range w.add(
		&netlink.Dummy{},
		&netlink.Ifb{},
		&netlink.Tuntap{Mode: netlink.TUNTAP_MODE_TUN},
		&netlink.Wireguard{},
	) {
		w.address(w.near, l, fmt.Sprintf("198.18.%d.1/24", 50+i))
		w.becomes(table, fmt.Sprintf("198.18.%d.2", 50+i), "is behind a "+l.Type(), in(Device))
	}
}

func TestThisMachineAndEverybodyAreLocal(t *testing.T) {
	w := newWorld(t)
	table := w.open()
	for _, dst := range []string{"198.18.0.1", "127.0.0.1", "198.18.0.255", "255.255.255.255", "239.0.0.1", "2001:db8::1", "ff02::1"} {
		w.becomes(table, dst, "is local", in(Local))
	}
	w.becomes(table, "198.18.0.3", "is not local", in(Unresolved))
	w.address(w.near, w.device, "198.18.0.3/24")
	w.becomes(table, "198.18.0.3", "is local after it became an address of ours", in(Local))
}

func TestSourceAddressDecidesWithPolicyRouting(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.address(w.near, w.device, "198.18.0.11/24")
	w.via("198.19.0.0/16", "198.18.0.2")
	w.route("198.19.0.0/16", func(r *netlink.Route) { r.Gw, r.Table = net.ParseIP("198.18.0.3"), 100 })
	table := w.open()
	w.becomesFrom(table, 0, "198.19.0.1", "goes to the first gateway", to(mac2))
	w.becomesFrom(table, 2, "198.19.0.1", "goes to the first gateway without a rule", to(mac2))
	rule := netlink.NewRule()
	rule.Src, rule.Table = &net.IPNet{IP: net.IPv4(198, 18, 0, 11).To4(), Mask: net.CIDRMask(32, 32)}, 100
	w.check("add rule", w.near.RuleAdd(rule))
	w.becomesFrom(table, 2, "198.19.0.1", "goes to the second gateway by the rule", to(mac3))
	w.becomesFrom(table, 0, "198.19.0.1", "still goes to the first gateway", to(mac2))
}

func TestSourceThatIsNoAddressOfOursIsUnresolvedUntilItIs(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	table := w.open()
	w.becomesFrom(table, 2, "198.18.0.2", "is unresolved", in(Unresolved))
	w.address(w.near, w.device, "198.18.0.11/24")
	w.becomesFrom(table, 2, "198.18.0.2", "is ready", to(mac2))
}

func TestRouteOverSeveralGatewaysGivesOneOfThem(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	index := w.device.Attrs().Index
	w.route("198.19.0.0/16", func(r *netlink.Route) {
		r.LinkIndex = 0
		r.MultiPath = []*netlink.NexthopInfo{
			{LinkIndex: index, Gw: net.ParseIP("198.18.0.2")}, {LinkIndex: index, Gw: net.ParseIP("198.18.0.3")},
		}
	})
	table := w.open()
	w.becomes(table, "198.19.0.1", "goes to one of the gateways", func(h Hop) bool { return to(mac2)(h) || to(mac3)(h) })
}

func TestStaleNeighbourIsVerifiedByTheProbe(t *testing.T) {
	w := newWorld(t)
	w.neighbour(w.device, "198.18.0.2", unix.NUD_STALE, macOf(w.other))
	// So many seconds the kernel waits for a sign of life before it asks the neighbour: not the usual 5.
	delay := "/proc/sys/net/ipv4/neigh/" + w.device.Attrs().Name + "/delay_first_probe_time"
	w.check("set delay_first_probe_time", os.WriteFile(delay, []byte("0"), 0))
	k, err := openKernel()
	w.check("open netlink", err)
	table := newTable(Options{Addresses: sources}, k, discard)
	ticks := make(chan time.Time)
	w.start(table, k, ticks, func() {})
	_, r := w.becomes(table, "198.18.0.2", "is ready though stale", to(macOf(w.other)))
	ticks <- time.Time{}
	w.await("the hop is to probe", func() bool { return table.Probe(r) })
	w.send("198.18.0.2")
	w.await("the neighbour is verified", func() bool {
		table.Probe(r)
		s, err := w.state("198.18.0.2")
		return err == nil && s == unix.NUD_REACHABLE
	})
}

// state returns the state of an entry of our neighbour table.
func (w *world) state(addr string) (int, error) {
	list, err := w.near.NeighList(w.device.Attrs().Index, netlink.FAMILY_V4)
	for _, n := range list {
		if n.IP.Equal(net.ParseIP(addr)) {
			return n.State, err
		}
	}
	return 0, err
}

// start runs the goroutines of a table that was not opened with Open; before runs on the resolver's thread.
func (w *world) start(table *Table, k *kernel, ticks <-chan time.Time, before func()) {
	table.kernel, table.resolver.turned = k, w.turned
	table.running.Go(func() { k.followRoutes(table.done) })
	table.running.Go(func() { k.followPolicies(table.done) })
	table.running.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what before made of it
		before()
		table.resolver.run(k.events, ticks, table.done)
	})
	w.t.Cleanup(func() { _ = table.Close() })
}

// startPowerless runs a table whose resolver has no capability, as the relay has none once it is set up.
func (w *world) startPowerless() *Table {
	k, err := openKernel()
	w.check("open netlink", err)
	table := newTable(Options{Addresses: sources}, k, discard)
	w.check("list policies", table.resolver.readPolicies())
	w.start(table, k, nil, func() {
		none := [2]unix.CapUserData{}
		w.check("drop capabilities", unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]))
		if _, _, err := k.policies(); err == nil {
			w.t.Error("the thread still has its capabilities")
		}
	})
	return table
}

func TestNoCapabilityIsNeededAfterOpen(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	table := w.startPowerless()
	w.becomes(table, "198.19.0.1", "goes to the first gateway", to(mac2))
	w.via("198.19.0.0/16", "198.18.0.3")
	w.becomes(table, "198.19.0.1", "goes to the second gateway", to(mac3))
	w.neighbour(w.device, "198.18.0.3", unix.NUD_PERMANENT, mac2)
	w.becomes(table, "198.19.0.1", "has the new link address", to(mac2))
	w.check("set the peer down", w.far.LinkSetDown(w.other))
	w.becomes(table, "198.19.0.1", "is unresolved without carrier", in(Unresolved))
	w.up(w.far, w.other)
	w.becomes(table, "198.19.0.1", "is ready again", in(Ready))
	p := w.policy("198.19.0.0/16")
	w.check("add policy", w.near.XfrmPolicyAdd(p))
	w.becomes(table, "198.19.0.1", "is left to IPsec", in(Policy))
	w.check("delete policy", w.near.XfrmPolicyDel(p))
	w.becomes(table, "198.19.0.1", "is ready without the policy", in(Ready))
}

// flood makes more events than a small buffer holds while the resolver stands still.
func (w *world) flood(change func(i int)) {
	w.t.Helper()
	w.blocked.Lock()
	defer w.blocked.Unlock()
	for i := range 300 {
		change(i)
	}
}

func TestLostRouteEventsLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	table := w.open()
	w.check("shrink the buffer", table.kernel.routeEvents.SetReceiveBufferSize(1, true))
	w.becomes(table, "198.19.0.1", "goes to the first gateway", to(mac2))
	w.flood(func(i int) {
		w.via(netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(i), 0}), 24).String(), "198.18.0.3")
	})
	w.await("the loss is noticed", func() bool { return table.Stats().Resyncs > 0 })
	w.becomes(table, "198.19.0.1", "goes to the second gateway", to(mac3))
}

func TestOpenSaysWhichCapabilityIsMissing(t *testing.T) {
	w := newWorld(t)
	none := [2]unix.CapUserData{}
	w.check("drop capabilities", unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]))
	table, err := Open(Options{Addresses: sources})
	if err == nil {
		_ = table.Close()
		t.Fatal("opened without CAP_NET_ADMIN")
	}
	if want := "open hop table: netlink: subscribe to IPsec policies: CAP_NET_ADMIN is needed"; err.Error() != want {
		t.Errorf("%q; want %q", err, want)
	}
}

func TestOpenRefusesAnUnevenList(t *testing.T) {
	if _, err := Open(Options{Addresses: sources, UDP: []bool{true}}); err == nil {
		t.Error("opened")
	}
}

func TestCloseEndsWhileEventsCome(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		table, err := Open(Options{Addresses: sources})
		w.check("open", err)
		w.gateways()
		w.check("close", table.Close())
	}
}
