package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/relay/netio/hop"
	"tandem/relay/verdict"
)

func TestNetworkThatSendsByUDPNeverSendsFrames(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{UDP: []bool{true}}) // the second address is not told
		peers := [2]*net.UDPConn{p.peer(t, far4), p.peer(t, far6)}
		l4, l6 := bindPorts(t, e, 0, 0, 1)[0], bindPorts(t, e, 0, 1, 1)[0]
		bounceUntil(t, e, peers[1], l6, k.best)
		if ways := sentBy(e, func() { bounce(t, e, peers[0], l4, "by UDP") }); ways != [Ways]uint64{SocketConfigured: 1} {
			t.Errorf("sent %v, want one by SocketConfigured", ways)
		}
	})
}

func TestPacketsToThisMachineTakeTheSocket(t *testing.T) {
	onEachKind(t, func(t *testing.T, _ *place, k kind) {
		e := k.open(t, Options{})
		for _, f := range placeFamilies {
			bounceUntil(t, e, openPeer(t, f.near), bindPorts(t, e, 0, f.slot, 1)[0], SocketLocal)
		}
	})
}

func TestPacketsLongerThanTheMTUTakeTheSocketAndArrive(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		const mtu = 1280
		must(t, p.near.LinkSetMTU(link(t, p.near, nearDevice), mtu))
		e := k.open(t, Options{})
		for _, f := range placeFamilies {
			l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
			bounceUntil(t, e, peer, l, k.best)
			headers := 28
			if f.far.Is6() {
				headers = 48
			}
			for length, way := range map[int]Way{mtu - headers: k.best, mtu - headers + 1: SocketTooLong, 1400: SocketTooLong} {
				write(t, peer, e.address(l), "ask for more")
				var b Batch
				recv(t, e.Queue(0), &b)
				echo(&b)
				text := strings.Repeat("x", length)
				b.Packets[0].Data = append(b.Packets[0].Data[:0], text...)
				if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[way] != 1 {
					t.Errorf("%s, %d bytes: sent %v, want one by %v", f.name, length, ways, way)
				}
				if got, _ := read(t, peer); got != text {
					t.Errorf("%s: %d bytes arrived, want %d", f.name, len(got), length)
				}
			}
		}
	})
}

// TestStackedDevicesSendTheirOwnFrames has a VLAN on both sides where the kernel can do that, and a macvlan on the near one.
func TestStackedDevicesSendTheirOwnFrames(t *testing.T) {
	p := newPlace(t)
	addresses := []netip.Addr{near4}
	var devices []string
	for i, kind := range []string{"td-macvlan", "td-vlan"} {
		near, far := netip.AddrFrom4([4]byte{198, 18, byte(20 + i), 1}), netip.AddrFrom4([4]byte{198, 18, byte(20 + i), 2})
		above := func(parent int) netlink.Link {
			attributes := netlink.LinkAttrs{Name: kind, ParentIndex: parent, TxQLen: -1}
			if kind == "td-vlan" {
				return &netlink.Vlan{VlanId: 7, LinkAttrs: attributes}
			}
			return &netlink.Macvlan{Mode: netlink.MACVLAN_MODE_BRIDGE, LinkAttrs: attributes}
		}
		device := above(link(t, p.near, nearDevice).Attrs().Index)
		if err := p.near.LinkAdd(device); errors.Is(err, unix.EOPNOTSUPP) {
			t.Logf("this kernel has no %s", kind)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		must(t, p.near.LinkSetUp(device))
		addAddress(t, p.near, kind, near)
		onFar := farDevice
		if kind == "td-vlan" {
			onFar = kind
			device := above(link(t, p.far, farDevice).Attrs().Index)
			must(t, p.far.LinkAdd(device))
			must(t, p.far.LinkSetUp(device))
		}
		addAddress(t, p.far, onFar, far)
		addresses, devices = append(addresses, near, far), append(devices, kind)
	}
	if len(devices) == 0 {
		leaveOut(t, "this kernel has no stacked devices")
	}
	for i, device := range devices {
		e := openFunnelTest(t, Options{Addresses: []netip.Addr{near4, addresses[1+2*i]}})
		l := bindPorts(t, e, 0, 1, 1)[0]
		bounceUntil(t, e, p.peer(t, addresses[2+2*i]), l, Frame)
		if x := e.exit(l); int(x.ifindex) != link(t, p.near, device).Attrs().Index {
			t.Errorf("frames leave by device %d, want %s's own", x.ifindex, device)
		}
		bounceUntil(t, e, p.peer(t, far4), bindPorts(t, e, 0, 0, 1)[0], Frame) // the network below, beside it
		must(t, e.Close())
	}
}

func TestPacketsThatAnIPsecPolicyMatchesTakeTheSocket(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		bounceUntil(t, e, peer, l, k.best)
		xfrm, err := netlink.NewHandle(unix.NETLINK_XFRM)
		must(t, err)
		defer xfrm.Close()
		policy := &netlink.XfrmPolicy{
			Src: &net.IPNet{IP: near4.AsSlice(), Mask: net.CIDRMask(32, 32)}, Dst: &net.IPNet{IP: far4.AsSlice(), Mask: net.CIDRMask(32, 32)},
			Dir: netlink.XFRM_DIR_OUT,
			// Optional: without an association, which nobody negotiates here, packets go as they are.
			Tmpls: []netlink.XfrmPolicyTmpl{{Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT, Optional: 1}},
		}
		must(t, xfrm.XfrmPolicyAdd(policy))
		bounceUntil(t, e, peer, l, SocketPolicy)
		must(t, xfrm.XfrmPolicyDel(policy))
		bounceUntil(t, e, peer, l, k.best)
	})
}

func TestFramesStopWhileTheLinkIsDownAndComeBack(t *testing.T) {
	p := newPlace(t)
	e := openFunnelTest(t, Options{})
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	bounceUntil(t, e, peer, l, Frame)
	must(t, p.near.LinkSetDown(link(t, p.near, nearDevice)))
	for range 10 { // before the news has arrived and after
		b := Batch{N: 1}
		b.Packets[0] = Packet{Data: []byte("into the void"), Out: l, Dst: addressOf(peer)}
		if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[Frame] != 0 {
			t.Fatalf("sent %v: a frame left by a device that is down", ways)
		}
	}
	must(t, p.near.LinkSetUp(link(t, p.near, nearDevice)))
	bounceUntil(t, e, peer, l, Frame)
}

func TestFramesFollowTheNextHopToItsNewAddress(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		bounceUntil(t, e, peer, l, k.best)
		moved := net.HardwareAddr{0x02, 0, 0, 0, 0x12, 0x34}
		must(t, p.far.LinkSetHardwareAddr(link(t, p.far, farDevice), moved))
		must(t, p.near.NeighSet(&netlink.Neigh{
			LinkIndex: link(t, p.near, nearDevice).Attrs().Index, State: netlink.NUD_REACHABLE, IP: far4.AsSlice(), HardwareAddr: moved,
		}))
		x := e.exit(l)
		eventually(t, "the hop changes", func() bool { return x.seen != e.base().hops.Generation(x.hop) })
		bounceUntil(t, e, peer, l, k.best)
	})
}

func TestDSCPMarksFramesAndDatagramsAlike(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		const expedited = 46 // RFC 3246
		for _, udp := range []bool{false, true} {
			e := k.open(t, Options{UDP: []bool{udp, udp}})
			for _, f := range placeFamilies {
				l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
				raw, err := peer.SyscallConn()
				must(t, err)
				level, option := unix.IPPROTO_IP, unix.IP_RECVTOS
				if f.far.Is6() {
					level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
				}
				must(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }))
				must(t, err)
				for _, dscp := range []uint8{0, expedited, 8} { // the port was used before each
					must(t, e.SetDSCP(l, dscp))
					way := k.best
					if udp {
						way = SocketConfigured
					}
					bounceUntil(t, e, peer, l, way)
					b := Batch{N: 1}
					b.Packets[0] = Packet{Data: []byte("marked"), Out: l, Dst: addressOf(peer)}
					if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[way] != 1 {
						t.Fatalf("%s: sent %v, want one by %v", f.name, ways, way)
					}
					var data, oob [256]byte
					_, n, _, _, err := peer.ReadMsgUDPAddrPort(data[:], oob[:])
					must(t, err)
					messages, err := unix.ParseSocketControlMessage(oob[:n])
					if err != nil || len(messages) != 1 || messages[0].Data[0] != dscp<<2 {
						t.Errorf("%s, by UDP %v: control %v (%v), want traffic class %#x", f.name, udp, messages, err, dscp<<2)
					}
				}
			}
			must(t, e.Close())
		}
	})
}

func TestPortBoundAgainDoesNotSendTheOldCallsHeaders(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		must(t, e.SetDSCP(l, 46))
		bounceUntil(t, e, peer, l, k.best)
		e.Unbind(l)
		must(t, e.Bind(0, l))
		bounceUntil(t, e, peer, l, k.best)
		if x := e.exit(l); x.dscp.Load() != 0 || x.lease != uint32(x.socket.Load()>>32) {
			t.Errorf("DSCP %d, headers of lease %d, want 0 and the lease that is now", x.dscp.Load(), x.lease)
		}
	})
}

// TestWhatTheKernelSaysToAFrameDecidesAboutThatPacketOnly gives every answer of sendmmsg to the second frame of three.
func TestWhatTheKernelSaysToAFrameDecidesAboutThatPacketOnly(t *testing.T) {
	p := newPlace(t)
	e := openFunnelTest(t, Options{})
	q := e.queues[0]
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	tests := []struct {
		errno   unix.Errno
		verdict verdict.Verdict
		ways    [Ways]uint64
	}{
		{unix.EINTR, verdict.Forward, [Ways]uint64{Frame: 3}},
		{unix.ENOBUFS, verdict.SendFailed, [Ways]uint64{Frame: 2}},
		{unix.EAGAIN, verdict.SendFailed, [Ways]uint64{Frame: 2}},
		{unix.EPERM, verdict.SendFailed, [Ways]uint64{Frame: 2}},
		{unix.ENXIO, verdict.Forward, [Ways]uint64{Frame: 2, SocketUnresolved: 1}},
		{unix.ENETDOWN, verdict.Forward, [Ways]uint64{Frame: 2, SocketUnresolved: 1}},
		{unix.EMSGSIZE, verdict.Forward, [Ways]uint64{Frame: 2, SocketTooLong: 1}},
	}
	for _, test := range tests {
		bounceUntil(t, e, peer, l, Frame)
		calls := 0
		q.calls.send = func(fd int, from []mmsghdr) (int, unix.Errno) {
			switch calls++; calls {
			case 1:
				return sendMessages(fd, from[:1])
			case 2:
				return 0, test.errno
			}
			return sendMessages(fd, from)
		}
		b := Batch{N: 3}
		for i := range b.Packets[:b.N] {
			b.Packets[i] = Packet{Data: fmt.Appendf(nil, "packet %d", i), Out: l, Dst: addressOf(peer)}
		}
		ways := sentBy(e, func() { q.Send(&b) })
		q.calls.send = sendMessages
		if ways != test.ways || b.Packets[0].Verdict != verdict.Forward || b.Packets[1].Verdict != test.verdict ||
			b.Packets[2].Verdict != verdict.Forward {
			t.Errorf("%v: sent %v, verdicts %v %v %v", test.errno, ways, b.Packets[0].Verdict, b.Packets[1].Verdict, b.Packets[2].Verdict)
		}
		arrived := map[string]bool{}
		for n := ways[Frame] + ways[SocketUnresolved] + ways[SocketTooLong]; n > 0; n-- {
			text, _ := read(t, peer)
			arrived[text] = true
		}
		if arrived["packet 1"] != (test.verdict == verdict.Forward) || !arrived["packet 0"] || !arrived["packet 2"] {
			t.Errorf("%v: %v arrived", test.errno, arrived)
		}
	}
}

func TestPacketsThatWereNotReceivedHereAreSentToo(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		bounceUntil(t, e, peer, l, k.best)
		var b Batch
		texts := make([]string, BatchSize)
		for i := range texts {
			texts[i] = fmt.Sprintf("made by the worker itself, number %d", i)
			b.Packets[i] = Packet{Data: []byte(texts[i]), Out: l, Dst: addressOf(peer)}
		}
		b.N = BatchSize
		if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[k.best] != BatchSize {
			t.Errorf("sent %v, want %d frames", ways, BatchSize)
		}
		for _, want := range texts {
			if got, _ := read(t, peer); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

// nft changes or tells the packet filter of the near namespace.
func nft(t *testing.T, arguments ...string) string {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		leaveOut(t, "nft is not installed: apt-get install nftables")
	}
	out, err := exec.Command("nft", arguments...).CombinedOutput() // in the namespace of this thread
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", arguments, err, out)
	}
	return string(out)
}

func TestPacketFilterSeesWhatComesIn(t *testing.T) {
	p := newPlace(t)
	e := openFunnelTest(t, Options{})
	l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
	nft(t, "add table inet td; add chain inet td input { type filter hook input priority 0; };"+
		fmt.Sprintf("add rule inet td input udp dport %d counter", l.Port()))
	for range 3 {
		bounce(t, e, peer, l, "seen by the filter")
	}
	if rules := nft(t, "list", "table", "inet", "td"); !strings.Contains(rules, "counter packets 3 ") {
		t.Errorf("the filter's counter does not say 3 packets:\n%s", rules)
	}
}

func TestEveryStateOfAHopHasItsWay(t *testing.T) {
	want := map[hop.State]Way{
		hop.Unresolved: SocketUnresolved, hop.Ready: Frame, hop.Local: SocketLocal, hop.Device: SocketDevice,
		hop.Policy: SocketPolicy, hop.Configured: SocketConfigured,
	}
	for state := range hop.States {
		if way, ok := want[state]; !ok || wayOf(state) != way {
			t.Errorf("%v: %v, want %v", state, wayOf(state), way)
		}
	}
}
