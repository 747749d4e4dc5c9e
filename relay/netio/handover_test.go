package netio

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// newTestHandover makes one ring.
func newTestHandover(t testing.TB) *handover {
	t.Helper()
	rings, unmap, err := newHandovers(1)
	must(t, err)
	t.Cleanup(func() { must(t, unmap()) })
	return &rings[0]
}

func TestWhatIsHandedOverComesOutAsItWentInAndInOrder(t *testing.T) {
	h := newTestHandover(t)
	from := Addr{IP: [16]byte{15: 9}, Port: 4000}
	sent, taken := 0, 0
	for round := range 50 { // lengths and fillings that go round the ring several times
		for range round {
			data := make([]byte, sent%MaxDatagram)
			if len(data) > 0 {
				data[0] = byte(sent)
			}
			if !h.put(MakeLocal(1, uint16(sent)), &from, data) {
				t.Fatalf("no room for packet %d", sent)
			}
			sent++
		}
		if p := h.take(); p != nil {
			t.Fatal("a packet was there before it was published")
		}
		h.publish()
		for p := h.take(); p != nil; p = h.take() {
			data := p.data()
			if p.in != MakeLocal(1, uint16(taken)) || p.src != from || len(data) != taken%MaxDatagram || len(data) > 0 && data[0] != byte(taken) {
				t.Fatalf("packet %d came out as %+v, %d bytes", taken, p.in, len(data))
			}
			if cap(data)-len(data) < Tailroom {
				t.Fatalf("packet %d has %d bytes behind it", taken, cap(data)-len(data))
			}
			taken++
		}
		h.done()
	}
	if sent != taken || sent < 4*handoverDepth {
		t.Errorf("%d in, %d out", sent, taken)
	}
}

func TestAFullHandoverRefusesAndKeepsWhatIsTaken(t *testing.T) {
	h := newTestHandover(t)
	src := Addr{}
	put := func() bool { return h.put(1, &src, []byte{byte(h.wrote)}) }
	for range handoverDepth {
		if !put() {
			t.Fatal("no room")
		}
	}
	h.publish()
	first := h.take()
	if put() {
		t.Error("a packet that is being worked on was written over")
	}
	if first.data()[0] != 0 {
		t.Errorf("the first packet is %d", first.data()[0])
	}
	h.done()
	if !put() || put() {
		t.Error("one place was given back: there is room for exactly one")
	}
}

// TestHandoverBetweenRunningThreads is for the race detector: every packet comes out once, whole and in order, though the consumer
// sleeps whenever there is nothing.
func TestHandoverBetweenRunningThreads(t *testing.T) {
	const packets = 200_000
	h := newTestHandover(t)
	var bell doorbell
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(t, err)
	defer unix.Close(event)
	var group sync.WaitGroup
	group.Go(func() {
		one := [8]byte{1}
		var data [64]byte
		for n := uint64(0); n < packets; {
			batch := uint64(0)
			for ; batch < n%BatchSize+1 && n < packets; batch++ {
				binary.LittleEndian.PutUint64(data[:], n)
				binary.LittleEndian.PutUint64(data[56:], n)
				if !h.put(Local(n), &Addr{Port: uint16(n)}, data[:]) {
					runtime.Gosched()
					break
				}
				n++
			}
			h.publish()
			bell.ring(event, &one)
		}
	})
	slept := 0
	for next := uint64(0); next < packets; {
		for bell.answered(); ; next++ {
			p := h.take()
			if p == nil {
				break
			}
			a, b := binary.LittleEndian.Uint64(p.data()), binary.LittleEndian.Uint64(p.data()[56:])
			if a != next || b != next || p.in != Local(next) || p.src.Port != uint16(next) {
				t.Fatalf("packet %d came out as %d, %d, %d from %d", next, a, b, p.in, p.src.Port)
			}
		}
		h.done()
		if next < packets && bell.fallAsleep() {
			slept++
			wait := []unix.PollFd{{Fd: int32(event), Events: unix.POLLIN}}
			if n, err := unix.Poll(wait, int(patienceForTests.Milliseconds())); n == 0 || err != nil && err != unix.EINTR {
				t.Fatalf("nobody rang for packet %d: %d, %v", next, n, err)
			}
			var count [8]byte
			_, _ = unix.Read(event, count[:])
			bell.awake()
		}
	}
	group.Wait()
	t.Logf("slept %d times", slept)
}

// BenchmarkHandover moves packets of a voice call through a ring, both ends on one thread: the two copies of indices and the one of
// bytes, without what the caches of two processors add.
func BenchmarkHandover(b *testing.B) {
	for _, size := range []int{182, 1200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			h := newTestHandover(b)
			data, src := make([]byte, size), Addr{}
			b.ReportAllocs()
			for n := 0; n < b.N; n += BatchSize {
				for range BatchSize {
					h.put(1, &src, data)
				}
				h.publish()
				for h.take() != nil {
				}
				h.done()
			}
		})
	}
}

// BenchmarkHandoverBetweenThreads has a thread at each end. An operation is one packet from one to the other.
func BenchmarkHandoverBetweenThreads(b *testing.B) {
	h := newTestHandover(b)
	data, src := make([]byte, 182), Addr{}
	var group sync.WaitGroup
	group.Go(func() {
		for n := 0; n < b.N; {
			for i := 0; i < BatchSize && n < b.N; i++ {
				if !h.put(1, &src, data) {
					runtime.Gosched()
					break
				}
				n++
			}
			h.publish()
		}
	})
	for n := 0; n < b.N; {
		for p := h.take(); p != nil; p = h.take() {
			n++
		}
		h.done()
		runtime.Gosched()
	}
	group.Wait()
}
