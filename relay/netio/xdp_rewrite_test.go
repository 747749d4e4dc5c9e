package netio

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
)

// tap is a packet socket in the far namespace: it sees each frame as it is on the wire, and sends any.
type tap struct {
	fd      int
	ifindex int
}

func (p *place) tap(t testing.TB) *tap {
	t.Helper()
	x := &tap{ifindex: link(t, p.far, farDevice).Attrs().Index}
	var err error
	p.inFar(func() {
		x.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	})
	must(t, err)
	t.Cleanup(func() { unix.Close(x.fd) })
	must(t, unix.Bind(x.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: x.ifindex}))
	must(t, unix.SetsockoptInt(x.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)) // a VLAN tag is beside the frame
	limit := unix.NsecToTimeval(int64(patienceForTests))
	must(t, unix.SetsockoptTimeval(x.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	return x
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)}) }

// next returns the next frame that came from the near device with that UDP source port, and the tag that it had.
func (x *tap) next(t testing.TB, port uint16) (seen []byte, vlan uint16) {
	t.Helper()
	for {
		var b, oob [4096]byte
		n, controls, _, from, err := unix.Recvmsg(x.fd, b[:], oob[:], 0)
		must(t, err)
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		vlan = 0
		messages, err := unix.ParseSocketControlMessage(oob[:controls])
		must(t, err)
		for _, m := range messages {
			// struct tpacket_auxdata: status, len, snaplen (4 bytes each), mac, net, vlan_tci (2 each).
			if m.Header.Type == unix.PACKET_AUXDATA && binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
				vlan = binary.NativeEndian.Uint16(m.Data[16:])
			}
		}
		var d frame.Datagram
		if frame.Parse(b[:n], &d) && d.SrcPort == port {
			return b[:n], vlan
		}
	}
}

func (x *tap) send(t testing.TB, b []byte) {
	t.Helper()
	must(t, unix.Sendto(x.fd, b, 0, &unix.SockaddrLinklayer{Ifindex: x.ifindex}))
}

// onesSum is RFC 1071 two bytes at a time: slow, and plainly right.
func onesSum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			word := uint32(b[i]) << 8
			if i+1 < len(b) {
				word |= uint32(b[i+1])
			}
			sum += word
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// wire builds the frame that must be on the wire, byte by byte from the standards.
func wire(src, dst net.HardwareAddr, from, to netip.AddrPort, dscp uint8, payload string) []byte {
	length := uint16(8 + len(payload))
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, length)
	udp = append(binary.BigEndian.AppendUint16(udp, 0), payload...)
	a, b := from.Addr().AsSlice(), to.Addr().AsSlice()
	sum := ^onesSum(a, b, []byte{0, 17}, binary.BigEndian.AppendUint16(nil, length), udp)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	ethernet := append(append([]byte{}, dst...), src...)
	var ip []byte
	if from.Addr().Is4() {
		ip = append(ip, 0x45, dscp<<2, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0)
		ip = append(append(ip, a...), b...)
		binary.BigEndian.PutUint16(ip[2:], 20+length)
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
		ethernet = append(ethernet, 0x08, 0x00)
	} else {
		ip = append(ip, 0x60|dscp>>2, dscp<<6, 0, 0, 0, 0, 17, 64)
		ip = append(append(ip, a...), b...)
		binary.BigEndian.PutUint16(ip[4:], length)
		ethernet = append(ethernet, 0x86, 0xdd)
	}
	return append(append(ethernet, ip...), udp...)
}

// TestEveryRewrittenFrameIsRightToTheByte sends from an ordinary socket, whose checksums a virtual device leaves unfinished.
func TestEveryRewrittenFrameIsRightToTheByte(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	q, x := e.Queue(0), p.tap(t)
	near, far := link(t, p.near, nearDevice).Attrs().HardwareAddr, link(t, p.far, farDevice).Attrs().HardwareAddr
	for _, f := range placeFamilies {
		l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
		must(t, e.SetDSCP(l, 46))
		bounceUntil(t, e, peer, l, XDP)
		for drained := ""; drained != "drained"; { // what the tap saw until now
			bounce(t, e, peer, l, "drained")
			seen, _ := x.next(t, l.Port())
			for !bytes.HasSuffix(seen, []byte("drained")) {
				seen, _ = x.next(t, l.Port())
			}
			drained = "drained"
		}
		for _, length := range []int{0, 1, 2, 3, 12, 17, 63, 64, 65, 172, 182, 500, 1399, 1400} {
			text := strings.Repeat("\xff\x00\xfe", length)[:length]
			for _, grown := range []string{"", "ten bytes!"} { // as SRTP's tag does
				write(t, peer, e.address(l), text)
				var b Batch
				recv(t, q, &b)
				echo(&b)
				b.Packets[0].Data = append(b.Packets[0].Data, grown...)
				if ways := sentBy(e, func() { q.Send(&b) }); ways[XDP] != 1 {
					t.Fatalf("%s, %d bytes: sent %v", f.name, length, ways)
				}
				want := wire(near, far, e.address(l), addressOf(peer).AddrPort(), 46, text+grown)
				if got, vlan := x.next(t, l.Port()); !bytes.Equal(got, want) || vlan != 0 {
					t.Errorf("%s, %d bytes: frame\n%x\nwant\n%x", f.name, length, got, want)
				}
				if got, from := read(t, peer); got != text+grown || from != e.address(l) {
					t.Errorf("%s, %d bytes: the peer read %q from %v", f.name, length, got, from)
				}
			}
		}
	}
}

// TestVLANTagsAreTakenOffAndPutOn has frames with a tag on the wire, whether or not the kernel can make VLAN devices: the engine's
// devices are those below.
func TestVLANTagsAreTakenOffAndPutOn(t *testing.T) {
	const ours, strange = 7, 8
	p := newPlace(t)
	e := openXDPOn(t, Options{}, withVLAN(ours))
	x := p.tap(t)
	nearLink, farLink := link(t, p.near, nearDevice).Attrs(), link(t, p.far, farDevice).Attrs()
	for _, f := range placeFamilies {
		l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
		bounceUntil(t, e, peer, l, XDP)
		from, to := addressOf(peer).AddrPort(), e.address(l)
		in := wire(farLink.HardwareAddr, nearLink.HardwareAddr, from, to, 0, "tagged")
		out := wire(nearLink.HardwareAddr, farLink.HardwareAddr, to, from, 0, "tagged")
		tag := func(b []byte, vlan byte) []byte {
			return append(append(append([]byte{}, b[:12]...), 0x81, 0, 0, vlan), b[12:]...)
		}
		var b Batch
		x.send(t, tag(in, strange)) // no device takes it: the kernel drops it
		for _, vlan := range []byte{ours, 0} {
			x.send(t, tag(in, vlan))
			recv(t, e.Queue(0), &b)
			if pkt := &b.Packets[0]; b.N != 1 || pkt.In != l || string(pkt.Data) != "tagged" || pkt.Src != addressOf(peer) {
				t.Fatalf("%s: received %d packets, the first %q", f.name, b.N, pkt.Data)
			}
		}
		// From here on what leaves by the device leaves by a VLAN on it.
		echo(&b)
		e.leave[0].vlan = ours
		if ways := sentBy(e, func() { e.Queue(0).Send(&b) }); ways[XDP] != 1 {
			t.Fatalf("%s: sent %v", f.name, ways)
		}
		e.leave[0].vlan = 0
		got, vlan := x.next(t, l.Port())
		for !bytes.HasSuffix(got, []byte("tagged")) {
			got, vlan = x.next(t, l.Port())
		}
		if vlan == ours {
			got = tag(got, ours) // the kernel keeps a tag beside the frame
		}
		if !bytes.Equal(got, tag(out, ours)) {
			t.Errorf("%s: frame\n%x\nwant\n%x", f.name, got, tag(out, ours))
		}
	}
	if s := e.Queue(0).Stats(); s.Unmatched != 0 {
		t.Errorf("%+v", s)
	}
}

// TestWhatIsNotPlainMediaReachesTheKernelWhileMediaFlows asks everything of the kernel that it has to do for the machine, and of the
// funnel what the program leaves to it.
func TestWhatIsNotPlainMediaReachesTheKernelWhileMediaFlows(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	for _, f := range placeFamilies {
		l, peer := bindPorts(t, e, 0, f.slot, 1)[0], p.peer(t, f.far)
		bounceUntil(t, e, peer, l, XDP)
		media := func() { bounce(t, e, peer, l, "media") }
		for _, c := range []struct {
			name string
			do   func()
		}{
			{"ARP and neighbour discovery", func() { p.forget(t, f.near) }},
			{"echo", func() { p.ping(t, f.far, f.near) }},
			{"TCP", func() { p.dial(t, f.far, f.near) }},
			{"UDP of others", func() {
				other := openPeer(t, f.near)
				write(t, peer, addressOf(other).AddrPort(), "not media")
				if text, _ := read(t, other); text != "not media" {
					t.Errorf("read %q", text)
				}
			}},
			{"fragments", func() { fragmented(t, e, p.peer(t, f.far), l) }},
			{"options and extension headers", func() { optioned(t, e, p, f.far, l) }},
		} {
			media()
			c.do() // on this thread, which is in the near namespace
			media()
			if t.Failed() {
				t.Fatalf("it failed with %s of %s", c.name, f.name)
			}
		}
	}
}

// forget makes the far end ask for the near one's link address again.
func (p *place) forget(t testing.TB, near netip.Addr) {
	t.Helper()
	must(t, p.far.NeighDel(&netlink.Neigh{LinkIndex: link(t, p.far, farDevice).Attrs().Index, IP: near.AsSlice()}))
}

// ping sends an ICMP echo request from the far end and waits for the reply.
func (p *place) ping(t testing.TB, from, to netip.Addr) {
	t.Helper()
	family, protocol, request, reply := unix.AF_INET, unix.IPPROTO_ICMP, byte(8), byte(0)
	if to.Is6() {
		family, protocol, request, reply = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128, 129
	}
	var fd int
	var err error
	p.inFar(func() { fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol) })
	must(t, err)
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(patienceForTests))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	message := []byte{request, 0, 0, 0, 0x54, 0x44, 0, 1, 'p', 'i', 'n', 'g'}
	binary.BigEndian.PutUint16(message[2:], ^onesSum(message)) // for IPv6 the kernel does it
	must(t, unix.Sendto(fd, message, 0, bindAddress(netip.AddrPortFrom(to, 0))))
	for {
		var b [256]byte
		n, _, err := unix.Recvfrom(fd, b[:], 0)
		must(t, err)
		icmp := b[:n]
		if !to.Is6() {
			icmp = b[20:n] // a raw IPv4 socket sees the IP header
		}
		if icmp[0] == reply && bytes.Equal(icmp[4:], message[4:]) {
			return
		}
	}
}

// dial connects from the far end to a listener at the near one and says something.
func (p *place) dial(t testing.TB, from, to netip.Addr) {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
	must(t, err)
	defer listener.Close()
	var conn net.Conn
	p.inFar(func() { conn, err = net.DialTimeout("tcp", listener.Addr().String(), patienceForTests) })
	must(t, err)
	defer conn.Close()
	accepted, err := listener.Accept()
	must(t, err)
	defer accepted.Close()
	_, err = conn.Write([]byte("signalling"))
	must(t, err)
	var b [64]byte
	if n, err := accepted.Read(b[:]); err != nil || string(b[:n]) != "signalling" {
		t.Errorf("read %q, %v", b[:n], err)
	}
}

// fragmented sends a datagram to a leased port that does not fit one packet: the kernel joins it, the funnel receives it.
func fragmented(t testing.TB, e *xdp, peer *net.UDPConn, l Local) {
	t.Helper()
	text := strings.Repeat("long", 450)
	before := e.Steered()
	write(t, peer, e.address(l), text)
	var b Batch
	recv(t, e.Queue(0), &b)
	if b.N != 1 || string(b.Packets[0].Data) != text || e.Steered() == before {
		t.Errorf("%d packets, the first of %d bytes, %d by the funnel", b.N, len(b.Packets[0].Data), e.Steered()-before)
	}
	echo(&b)
	e.Queue(0).Send(&b)
	if got, _ := read(t, peer); got != text {
		t.Errorf("%d bytes came back", len(got))
	}
}

// optioned sends media with an IP option, or behind an extension header.
func optioned(t testing.TB, e *xdp, p *place, far netip.Addr, l Local) {
	t.Helper()
	peer := p.peer(t, far)
	raw, err := peer.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		if far.Is4() {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, "\x01\x01\x01\x00") // no operation, end
		} else {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00") // padding
		}
	}))
	must(t, err)
	before := e.Steered()
	write(t, peer, e.address(l), "with options")
	var b Batch
	recv(t, e.Queue(0), &b)
	if b.N != 1 || string(b.Packets[0].Data) != "with options" || b.Packets[0].Src != addressOf(peer) || e.Steered() == before {
		t.Errorf("%d packets, the first %q, %d by the funnel", b.N, b.Packets[0].Data, e.Steered()-before)
	}
}
