package netio

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkForward moves packets from port to port over loopback: Recv, and Send with the whole way through the kernel's
// loopback device. An operation is one packet. The occupancies are packets a system call.
func BenchmarkForward(b *testing.B) {
	const payload = 182 // bytes: G.711, 20 ms, RTP header and SRTP tag
	for _, ports := range []int{1, 64, 2000} {
		b.Run(fmt.Sprintf("ports=%d", ports), func(b *testing.B) {
			c := newCarousel(b, loopbacks(b)[0], ports, BatchSize, strings.Repeat("x", payload))
			before, recvs := c.q.Stats(), 0
			cpu := processTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			for moved := 0; moved < b.N; recvs++ {
				moved += c.turn(b)
			}
			cpu = processTime(b) - cpu
			after := c.q.Stats()
			packets := float64(after.RecvPackets - before.RecvPackets)
			b.ReportMetric(float64(cpu)/packets, "cpu-ns/packet")
			b.ReportMetric(packets/float64(recvs), "packets/batch")
			b.ReportMetric(packets/float64(after.RecvCalls-before.RecvCalls), "packets/recvmmsg")
			b.ReportMetric(packets/float64(after.SendCalls-before.SendCalls), "packets/sendmmsg")
		})
	}
}

// processTime returns the CPU time the process has used, in nanoseconds: on a shared machine it says more than the clock.
func processTime(b *testing.B) int64 {
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
		b.Fatal(err)
	}
	return used.Nano()
}

// BenchmarkSend sends full batches to a port that drops them: what the way out costs without anything coming back.
func BenchmarkSend(b *testing.B) {
	e := openTest(b, Options{Addresses: loopbacks(b)[:1], RcvBuf: 1})
	l := bindPorts(b, e, 0, 0, 1)[0]
	dst := AddrFrom(e.address(l))
	payload := make([]byte, 182)
	var batch Batch
	for i := range batch.Packets {
		batch.Packets[i] = Packet{Data: payload, Out: l, Dst: dst}
	}
	batch.N = BatchSize
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += BatchSize {
		e.Queue(0).Send(&batch)
	}
}

// BenchmarkRecvNothing looks for packets when there are none: what a poll of an idle queue costs.
func BenchmarkRecvNothing(b *testing.B) {
	e := openTest(b, Options{Addresses: loopbacks(b)[:1]})
	bindPorts(b, e, 0, 0, 64)
	var batch Batch
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := e.Queue(0).Recv(&batch, 0); err != nil {
			b.Fatal(err)
		}
	}
}
