package load

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

// Of struct xdp_md and enum xdp_action, linux/bpf.h.
const (
	mdData, mdEnd = 0, 4
	xdpPass       = 2
)

// underXDP attaches a program to the relay's device: a relay that costs next to nothing.
func underXDP(t testing.TB, place *rig.Place, code asm.Instructions) {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "relay", Type: ebpf.XDP, License: "GPL", Instructions: code})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { program.Close() })
	err = place.InRelay(func() error {
		l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: place.RelayDevice().Index, Flags: link.XDPDriverMode})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drop takes IPv4 UDP away.
func drop() asm.Instructions {
	return ifUDP(asm.Mov.Imm(asm.R0, 1), asm.Return())
}

// bounce sends IPv4 UDP back to where it came from: MACs, addresses and ports exchanged, no checksum changes.
func bounce() asm.Instructions {
	var code asm.Instructions
	for _, at := range []struct {
		one, other int16
		size       asm.Size
	}{{0, 6, asm.Word}, {4, 10, asm.Half}, {26, 30, asm.Word}, {34, 36, asm.Half}} {
		code = append(code,
			asm.LoadMem(asm.R3, asm.R2, at.one, at.size), asm.LoadMem(asm.R4, asm.R2, at.other, at.size),
			asm.StoreMem(asm.R2, at.other, asm.R3, at.size), asm.StoreMem(asm.R2, at.one, asm.R4, at.size))
	}
	return ifUDP(append(code, asm.Mov.Imm(asm.R0, 3), asm.Return())...)
}

// ifUDP does then for IPv4 UDP, with the frame in R2, and leaves everything else to the kernel.
func ifUDP(then ...asm.Instruction) asm.Instructions {
	return append(append(asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, mdData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, mdEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, head4),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atEtherType, asm.Half),
		asm.JNE.Imm(asm.R5, etherTypeIP4Raw, "pass"),
		asm.LoadMem(asm.R5, asm.R2, atProtocol4, asm.Byte),
		asm.JNE.Imm(asm.R5, protocolUDP, "pass"),
	}, then...), asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"), asm.Return())
}

// newEcho returns a load whose packets are expected back where they came from.
func newEcho(t testing.TB, place *rig.Place, streams int, mode Mode) *Load {
	t.Helper()
	calls, err := Make(streams, mode, "", family(place.PeerAddresses(), netip.Addr.Is4))
	if err != nil {
		t.Fatal(err)
	}
	relays := family(place.RelayAddresses(), netip.Addr.Is4)
	for i := range calls {
		for j := range 2 {
			side := calls[i].leg(j)
			side.Relay = netip.AddrPortFrom(relays[i%len(relays)], side.Peer.Port())
			side.RelayKey = side.PeerKey
		}
	}
	l, err := New(place, calls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range l.streams {
		s := &l.streams[i]
		s.to = s.from
		if s.open, err = newContext(s.to.Suite, s.to.RelayKey); err != nil {
			t.Fatal(err)
		}
	}
	l.heard = ears(l.streams)
	return l
}

func family(all []netip.Addr, is func(netip.Addr) bool) (some []netip.Addr) {
	for _, a := range all {
		if is(a) {
			some = append(some, a)
		}
	}
	return some
}

// BenchmarkCeiling tells what the rig itself can do: generator alone as fast as it can, the relay's device dropping; and
// generator and sink together, the relay's device sending everything back. One operation is one packet.
func BenchmarkCeiling(b *testing.B) {
	const most = 500_000 // packets of one run
	for _, relay := range []struct {
		name string
		code asm.Instructions
	}{{"drop", drop()}, {"bounce", bounce()}} {
		b.Run(relay.name, func(b *testing.B) {
			place := build(b)
			underXDP(b, place, relay.code)
			l := newEcho(b, place, 2000, RTP)
			b.ReportAllocs()
			var sent, delivered uint64
			var wall float64
			b.ResetTimer()
			for left := b.N; left > 0; left -= most {
				b.StopTimer()
				if err := l.volley.prepare(l.streams, l.every, min(left, most)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				r, _, err := l.shoot(b.Context(), 1e9, false)
				if err != nil {
					b.Fatal(err)
				}
				sent, delivered, wall = sent+r.Sent, delivered+r.Delivered, wall+r.Wall.Seconds()
			}
			b.ReportMetric(float64(sent)/wall, "sent/s")
			b.ReportMetric(float64(delivered)/wall, "delivered/s")
		})
	}
}

func TestABouncedStreamComesBackWhole(t *testing.T) {
	for _, mode := range []Mode{RTP, SRTP, Both} {
		t.Run(string(mode), func(t *testing.T) {
			place := build(t)
			underXDP(t, place, bounce())
			l := newEcho(t, place, 100, mode)
			if err := l.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := run(t, l, 5000, 5000)
			if r.Delivered == 0 || r.Delivered+r.Lost != r.Sent || r.Corrupt+r.Forged+r.Stray+r.Duplicated != 0 {
				t.Errorf("%+v", r)
			}
			if r.Delays.TotalCount() != int64(r.Delivered-r.Untimed) || r.Delay.P50 <= 0 || r.Delay.Max < r.Delay.P999 {
				t.Errorf("delays %+v", r.Delay)
			}
		})
	}
}

func TestTheGeneratorNeverOverrunsTheRingOfThePair(t *testing.T) {
	place := build(t)
	underXDP(t, place, drop())
	l := newEcho(t, place, 100, RTP)
	const count = 20_000
	if err := l.volley.prepare(l.streams, l.every, count); err != nil {
		t.Fatal(err)
	}
	before, err := place.WireDrops()
	if err != nil {
		t.Fatal(err)
	}
	l.Before = func() error { return keep(place.RelayCPU(), 300*time.Millisecond) }
	r, _, err := l.shoot(t.Context(), 1e9, true) // all at once
	if err != nil {
		t.Fatal(err)
	}
	after, err := place.WireDrops()
	if err != nil || after.ToRelay != before.ToRelay || r.Sent != count || r.Starved == 0 || r.Arrived != 0 {
		t.Errorf("%d dropped by the ring of the relay's device, %v; %+v", after.ToRelay-before.ToRelay, err, r)
	}
}

// keep lets nothing else run on a CPU for a while, which begins before it returns.
func keep(cpu int, d time.Duration) error {
	began := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		var set unix.CPUSet
		set.Set(cpu)
		first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		began <- errors.Join(unix.SchedSetaffinity(0, &set), unix.SchedSetAttr(0, &first, 0))
		for end := time.Now().Add(d); time.Now().Before(end); {
		}
	}()
	return <-began
}
