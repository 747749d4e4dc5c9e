package xsk

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
)

const (
	pass     = 2 // XDP_PASS
	redirect = 4 // XDP_REDIRECT
)

// ourMAC has bytes beyond 127 where a comparison of signed numbers would go wrong.
var ourMAC = frame.MAC{2, 0, 0, 0x90, 0, 0x81}

// packet makes a good frame to a port, with a payload of 8 bytes.
func packet(to netip.Addr, port uint16) []byte {
	from := peer4
	if to.Is6() {
		from = peer6
	}
	var t frame.Template
	t.Set(&frame.Flow{
		SrcMAC: frame.MAC{2, 0, 0, 0, 0, 2}, DstMAC: ourMAC, Src: from.As16(), Dst: to.As16(), SrcPort: 4000, DstPort: port,
	})
	b := append(make([]byte, t.Len()), "payload!"...)
	t.Put(b)
	return b
}

// tagged puts a VLAN tag into a frame.
func tagged(b []byte, tci uint16) []byte {
	b = append(make([]byte, frame.TagSize), b...)
	frame.Tag(b, 0)
	binary.BigEndian.PutUint16(b[14:], tci)
	return b
}

// changed returns a copy of b with one byte, or two in network order, at that place set.
func changed(b []byte, at int, v ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], v)
	return b
}

func TestOnlyDatagramsToLeasedPortsOfOurAddressesAreRedirected(t *testing.T) {
	p := newProgram(t, newTables(t))
	v4, v6 := packet(ours4, leased), packet(ours6, leased)
	for _, c := range []struct {
		name  string
		frame []byte
		want  uint32
	}{
		{"IPv4", v4, redirect},
		{"IPv6", v6, redirect},
		{"IPv4 in our VLAN", tagged(v4, ourVLAN), redirect},
		{"IPv6 in our VLAN, with a priority", tagged(v6, 5<<13|ourVLAN), redirect},
		{"with a priority and no VLAN", tagged(v4, 5<<13), redirect},
		{"in a stranger's VLAN", tagged(v4, 8), pass},
		{"in two VLANs", tagged(tagged(v4, ourVLAN), ourVLAN), pass},
		{"padded as short frames are", append(slices.Clone(v4), make([]byte, 18)...), redirect},
		{"IPv4 to a port that is not leased", packet(ours4, leased+1), pass},
		{"IPv6 to a port that is not leased", packet(ours6, leased-1), pass},
		{"IPv4 to a stranger's address", packet(peer4, leased), pass},
		{"IPv6 to a stranger's address", packet(peer6, leased), pass},
		{"to another machine", changed(v4, 5, 9), pass},
		{"to another machine, by the last bit", changed(v6, 3, 1), pass},
		{"to all stations", changed(v4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), pass},
		{"from 0.0.0.0", changed(v4, 26, 0), pass},
		{"from loopback", changed(v4, 26, 127), pass},
		{"from a group", changed(v4, 26, 224), pass},
		{"from broadcast", changed(v4, 26, 255), pass},
		{"from the last of the networks", changed(v4, 26, 223), redirect},
		{"IPv6 from a group", changed(v6, 22, 0xff), pass},
		{"IPv6 from loopback", changed(v6, 22, make([]byte, 15)...), pass},
		{"IPv6 from a site whose first word is 0", changed(v6, 22, 0, 0, 0, 0, 0, 1), redirect},
		{"to a group", changed(v6, 0, 0x33), pass},
		{"ARP", changed(v4, 12, 0x08, 0x06), pass},
		{"MPLS", changed(v4, 12, 0x88, 0x47), pass},
		{"IPv4 with options", changed(v4, 14, 0x46), pass},
		{"IPv5", changed(v4, 14, 0x55), pass},
		{"IPv4, first fragment", changed(v4, 20, 0x20, 0x00), pass},
		{"IPv4, last fragment", changed(v4, 20, 0x00, 0x01), pass},
		{"IPv4 that may be fragmented", changed(v4, 20, 0x00, 0x00), redirect},
		{"ICMP", changed(v4, 23, 1), pass},
		{"TCP", changed(v4, 23, 6), pass},
		{"IPv4 longer than the frame: the reader drops it", changed(v4, 16, 0, 200), redirect},
		{"IPv4 shorter than its headers", changed(v4, 16, 0, 27), pass},
		{"IPv6 of another version", changed(v6, 14, 0x50), pass},
		{"IPv6 with a traffic class", changed(v6, 14, 0x6f), redirect},
		{"IPv6 with an extension header", changed(v6, 20, 0), pass},
		{"IPv6 fragment", changed(v6, 20, 44), pass},
		{"neighbour discovery", changed(v6, 20, 58), pass},
		{"IPv6 longer than the frame: the reader drops it", changed(v6, 18, 0, 200), redirect},
		{"jumbogram", changed(v6, 18, 0, 0), pass},
		{"UDP over IPv4 longer than its packet", changed(v4, 38, 0, 17), pass},
		{"UDP over IPv4 shorter than its header", changed(v4, 38, 0, 7), pass},
		{"UDP over IPv6 longer than its packet", changed(v6, 58, 0, 17), pass},
		{"UDP shorter than its packet", changed(v6, 58, 0, 9), redirect},
		{"as long as fits", append(slices.Clone(v4), make([]byte, Longest-len(v4))...), redirect},
		{"longer", append(slices.Clone(v4), make([]byte, Longest-len(v4)+1)...), pass},
		{"cut off in the UDP header", v4[:41], pass},
		{"cut off in the tag", tagged(v4, ourVLAN)[:17], pass},
	} {
		got, err := p.verdict(c.frame)
		must(t, err)
		if got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
		if twin(c.frame) != c.want {
			t.Errorf("%s: the twin says %d, want %d", c.name, twin(c.frame), c.want)
		}
	}
}

// twin is the program in Go, made of what reads the packets that the program lets through.
func twin(b []byte) uint32 {
	var d frame.Datagram
	if len(b) > Longest || !frame.Parse(whole(b), &d) || [6]byte(b) != ourMAC || noWireBrings(d.Src) || d.VLAN != 0 && d.VLAN != ourVLAN || d.DstPort != leased ||
		d.Dst != ours4.As16() && d.Dst != ours6.As16() {
		return pass
	}
	return redirect
}

// whole returns b with as many zero bytes behind it as any IP header can ask for, if no header is cut off: the program does not
// compare that length.
func whole(b []byte) []byte {
	at := 14
	if len(b) >= 18 && b[12] == 0x81 && b[13] == 0 {
		at += frame.TagSize
	}
	if headers := at + 20 + 8; len(b) < headers || b[at]>>4 == 6 && len(b) < headers+20 {
		return b
	}
	return append(slices.Clone(b), make([]byte, 1<<16)...)
}

// noWireBrings tells whether a source is none that a packet from elsewhere can have.
func noWireBrings(source [16]byte) bool {
	a := netip.AddrFrom16(source)
	if a.Is4In6() {
		first := a.Unmap().As4()[0]
		return first == 0 || first == 127 || first >= 224
	}
	return a.IsMulticast() || [8]byte(source[:8]) == [8]byte{}
}

func FuzzTheProgramDecidesAsItsTwin(f *testing.F) {
	v4, v6 := packet(ours4, leased), packet(ours6, leased)
	for _, seed := range [][]byte{v4, v6, tagged(v4, ourVLAN), tagged(v6, 0), tagged(v4, 9), v4[:30], changed(v6, 58, 0, 9), append(v4, 1, 2, 3)} {
		f.Add(seed)
	}
	p := newProgram(f, newTables(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 14 || len(b) > 3000 {
			return // the kernel does not run programs on those
		}
		got, err := p.verdict(b)
		if err != nil {
			t.Fatal(err)
		}
		if want := twin(b); got != want {
			t.Errorf("verdict %d, the twin says %d: %x", got, want, b)
		}
	})
}

func TestAQueueWithoutASocketPassesEverything(t *testing.T) {
	s := newTables(t)
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), MAC: ourMAC, Queues: 1})
	must(t, err)
	defer p.Close()
	if got, err := p.verdict(packet(ours4, leased)); err != nil || got != pass {
		t.Errorf("verdict %d, %v", got, err)
	}
}

func TestWithoutALinkAddressOnlyFramesToGroupsArePassed(t *testing.T) {
	s := newTables(t)
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), Queues: 1})
	must(t, err)
	defer p.Close()
	fd, err := Descriptor()
	must(t, err)
	defer unix.Close(fd)
	must(t, p.Enter(0, fd))
	b := packet(ours4, leased)
	for first, want := range map[byte]uint32{0: redirect, 2: redirect, 1: pass, 0xff: pass} {
		if got, err := p.verdict(changed(b, 0, first)); err != nil || got != want {
			t.Errorf("to %#x..: verdict %d, %v; want %d", first, got, err, want)
		}
	}
}

func TestALeaseIsSeenAtOnce(t *testing.T) {
	s := newTables(t)
	p := newProgram(t, s)
	ports := make([]byte, 1<<16)
	must(t, s.leases.Put(uint32(0), ports))
	if got, err := p.verdict(packet(ours4, leased)); err != nil || got != pass {
		t.Errorf("after the release: verdict %d, %v", got, err)
	}
	ports[leased] = 255
	must(t, s.leases.Put(uint32(0), ports))
	if got, err := p.verdict(packet(ours4, leased)); err != nil || got != redirect {
		t.Errorf("leased to the last worker there can be: verdict %d, %v", got, err)
	}
}

func TestLoadRefusesWhatCannotBe(t *testing.T) {
	s := newTables(t)
	for _, o := range []ProgramOptions{
		{Slots: s.slots.FD(), Leases: s.leases.FD()},
		{Slots: s.slots.FD(), Leases: s.leases.FD(), Queues: 1, VLANs: make([]uint16, MostVLANs+1)},
		{Slots: -1, Leases: s.leases.FD(), Queues: 1},
	} {
		if p, err := Load(o); err == nil || !strings.Contains(err.Error(), "load the XDP program") {
			t.Errorf("%+v: %v, %v", o, p, err)
		}
	}
	many := make([]uint16, MostVLANs)
	for i := range many {
		many[i] = uint16(100 + i)
	}
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), Queues: 1, VLANs: many, Frags: true})
	must(t, err)
	must(t, p.Close())
}

func TestSocketsThatAreForbiddenAreToldFromOtherFaults(t *testing.T) {
	forbidden, other := explainFamily(unix.EAFNOSUPPORT), explainFamily(unix.EMFILE)
	if !errors.Is(forbidden, unix.EAFNOSUPPORT) || !strings.Contains(forbidden.Error(), "RestrictAddressFamilies=") {
		t.Errorf("forbidden: %v", forbidden)
	}
	if other != unix.EMFILE {
		t.Errorf("too many files: %v", other)
	}
}

// BenchmarkProgram runs the program on one packet; an operation is 1,000 of them, the kernel's own time.
func BenchmarkProgram(b *testing.B) {
	p := newProgram(b, newTables(b))
	for name, data := range map[string][]byte{"IPv4": packet(ours4, leased), "IPv6": packet(ours6, leased), "pass": packet(ours4, 1)} {
		b.Run(name, func(b *testing.B) {
			_, took, err := p.program.Benchmark(data, b.N, nil)
			must(b, err)
			b.ReportMetric(float64(took.Nanoseconds()), "kernel-ns/packet")
		})
	}
}
