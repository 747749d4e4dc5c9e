package netio

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkPlaceForward moves packets of 64 ports over a veth pair: Recv, and Send with the whole way through the device to
// the receiver's socket. An operation is one packet. cpu-ns/packet is the time of Recv and Send alone; ns/op has the
// generator and the kernel's way in with it, which runs within the generator's system calls here.
func BenchmarkPlaceForward(b *testing.B) {
	const payload = 182 // bytes: G.711, 20 ms, RTP header and SRTP tag
	for _, way := range []struct {
		name string
		kind kind
		udp  bool
	}{{"xdp", kinds[1], false}, {"frame", kinds[0], false}, {"udp", kinds[0], true}} {
		for _, f := range placeFamilies {
			b.Run(fmt.Sprintf("%s/%s", way.name, f.name), func(b *testing.B) { forwardInPlace(b, newExchange(b, way.kind, way.udp, f.slot, payload)) })
		}
	}
}

func forwardInPlace(b *testing.B, x *exchange) {
	before := x.e.Queue(0).Stats()
	b.ReportAllocs()
	b.ResetTimer()
	moved, cpu := 0, int64(0)
	for ; moved < b.N; moved += BatchSize {
		x.generate(b)
		start := threadTime(b)
		x.turn(b)
		cpu += threadTime(b) - start
	}
	b.StopTimer()
	after := x.e.Queue(0).Stats()
	packets := float64(after.RecvPackets - before.RecvPackets)
	b.ReportMetric(float64(cpu)/packets, "cpu-ns/packet")
	b.ReportMetric(packets/float64(after.RecvCalls-before.RecvCalls), "packets/receive")
	b.ReportMetric(packets/float64(after.SendCalls-before.SendCalls), "packets/send")
}

// threadTime returns the CPU time that the calling thread, which is locked, has used, in nanoseconds.
func threadTime(b *testing.B) int64 {
	var used unix.Timespec
	must(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used))
	return used.Nano()
}

// BenchmarkFunnelBind binds and unbinds a port: what a leg costs the control side, the kernel's work included.
func BenchmarkFunnelBind(b *testing.B) {
	newPlace(b)
	e := openFunnelTest(b, Options{})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		l := MakeLocal(0, uint16(20000+i%10000))
		must(b, e.Bind(0, l))
		e.Unbind(l)
	}
}
