package load

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestTheClockIsTheProgramsClock(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	var before, after unix.Timespec
	for range 100 {
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before); err != nil {
			t.Fatal(err)
		}
		now := c.now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &after); err != nil {
			t.Fatal(err)
		}
		const slack = int64(20 * time.Microsecond) // of the comparison in newClock on a machine that is taken away now and then
		if now < before.Nano()-slack || now > after.Nano()+slack {
			t.Fatalf("%d is not between %d and %d", now, before.Nano(), after.Nano())
		}
	}
}

func TestTheScheduleIsAbsoluteAndPacketsLeaveInTheGroupsOfAModeratedCard(t *testing.T) {
	const every, start, tick = 10_000, 5000, int(Moderation)
	s := shot{v: &volley{count: 100}, every: every, start: start}
	for _, c := range []struct{ now, want int }{
		{0, 0}, {start - 1, 0}, {start, 1}, {start + tick - 1, 1}, {start + tick, 6}, {start + 2*tick - 1, 6}, {start + 2*tick, 11}, {start + 100*tick, 100},
	} {
		if got := s.due(int64(c.now)); got != c.want {
			t.Errorf("at %d: %d due, want %d", c.now, got, c.want)
		}
	}
	for k, want := range map[int]int{0: 0, 1: tick, 5: tick, 6: 2 * tick} {
		if got := s.scheduled(k); got != int64(want) {
			t.Errorf("packet %d is due after %d ns, want %d", k, got, want)
		}
	}
}

// fakeXSK has rings in plain memory: the test is the kernel.
func fakeXSK() *xsk {
	x := &xsk{fd: -1, memory: make([]byte, frames*chunk)}
	plain := func(n int, size uintptr) ring {
		memory := make([]uint64, uintptr(n)*size/8)
		return ring{producer: new(uint32), consumer: new(uint32), mask: uint32(n - 1), entries: unsafe.Pointer(&memory[0])}
	}
	x.fill, x.completed = plain(receivers, 8), plain(senders, 8)
	x.rx, x.tx = plain(receivers, 16), plain(senders, 16)
	for i := range uint32(senders) {
		x.free = append(x.free, receivers+i)
	}
	return x
}

// arrive puts a packet into the receive ring, as the kernel does.
func (x *xsk) arrive(at uint64, frame []byte) {
	d := x.rx.descriptor(*x.rx.producer)
	d.Addr, d.Len = uint64(*x.rx.producer%receivers)*chunk+256, uint32(len(frame))
	binary.NativeEndian.PutUint64(x.memory[d.Addr-stampBytes:], at)
	copy(x.memory[d.Addr:], frame)
	*x.rx.producer++
}

func smallLog(n int) *log {
	return &log{bytes: make(arena, n*stride), at: make([]int64, n), length: make([]uint16, n)}
}

func TestWhatArrivesIsLoggedWithItsTime(t *testing.T) {
	x, l := fakeXSK(), smallLog(3)
	for i := range 5 {
		x.arrive(uint64(100+i), []byte{byte(i), 1, 2})
	}
	if n := x.receive(2, l); n != 2 || l.n != 2 {
		t.Fatalf("received %d, logged %d", n, l.n)
	}
	if n := x.receive(10, l); n != 3 || l.n != 3 || l.missed != 2 {
		t.Fatalf("received %d, logged %d, missed %d", n, l.n, l.missed)
	}
	for i := range 3 {
		if l.at[i] != int64(100+i) || l.frame(i)[0] != byte(i) || len(l.frame(i)) != 3 {
			t.Errorf("entry %d: at %d, %v", i, l.at[i], l.frame(i))
		}
	}
	if *x.fill.producer != 5 || *x.rx.consumer != 5 {
		t.Errorf("gave %d frames back, %d entries", *x.fill.producer, *x.rx.consumer)
	}
	if n := x.receive(10, l); n != 0 {
		t.Errorf("received %d of nothing", n)
	}
}

func TestAFrameThatIsTooLongIsNoFrame(t *testing.T) {
	l := smallLog(1)
	l.add(1, make([]byte, stride+1))
	if l.frame(0) != nil {
		t.Error("half a frame is shown as a whole one")
	}
}

func TestSendFramesComeBackFromTheKernel(t *testing.T) {
	x := fakeXSK()
	for range 3 { // three times round
		for i := range senders {
			if !x.put([]byte{byte(i)}) {
				t.Fatalf("frame %d: none free", i)
			}
		}
		if x.put([]byte{0}) {
			t.Fatal("a frame that was not there")
		}
		for range senders {
			*x.completed.address(*x.completed.producer) = x.tx.descriptor(*x.completed.producer).Addr
			*x.completed.producer++
		}
		x.reap()
		if len(x.free) != senders {
			t.Fatalf("%d frames are free", len(x.free))
		}
	}
}

func TestTheTimedPartAllocatesNothing(t *testing.T) {
	x, l := fakeXSK(), smallLog(10)
	frame := make([]byte, maxFrame)
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	s := shot{x: x, v: &volley{count: 1 << 30}, every: 1000, clock: c}
	n := testing.AllocsPerRun(1000, func() {
		s.due(s.clock.now())
		x.put(frame)
		*x.completed.address(*x.completed.producer) = x.tx.descriptor(*x.completed.producer).Addr
		*x.completed.producer++
		x.reap()
		x.arrive(1, frame)
		x.receive(gulp, l) // the log is full from the 11th on
	})
	if n != 0 {
		t.Errorf("%v allocations a turn", n)
	}
}

func TestAVolleyFindsItsPackets(t *testing.T) {
	v := volley{count: 7, order: []uint32{2, 0}, place: []int32{1, -1, 0}, first: []uint32{10, 20, 30}, sentAt: []int64{1, 1, 1, 1, 1, 1, 0}}
	for _, c := range []struct {
		id, number uint32
		k          int
		ok         bool
	}{
		{2, 30, 0, true}, {0, 10, 1, true}, {2, 31, 2, true}, {0, 12, 5, true},
		{2, 33, 6, false},          // not sent
		{0, 13, 7, false},          // beyond the end
		{0, 9, 0, false},           // of an earlier run
		{1, 20, 0, false},          // a stream that does not speak
		{2, 0x8000_0000, 0, false}, // far away
	} {
		if k, ok := v.index(c.id, c.number); ok != c.ok || ok && k != c.k {
			t.Errorf("stream %d number %d: %d, %v", c.id, c.number, k, ok)
		}
	}
}

func TestARunThatDoesNotFitIsRefusedBeforeItBegins(t *testing.T) {
	s := pair(t, "")
	var v volley
	err := v.prepare([]stream{*s}, []uint32{0}, maxMemory/stride)
	if err == nil || !strings.Contains(err.Error(), "a shorter run or a lower rate") {
		t.Errorf("prepare: %v", err)
	}
}

func TestWhoSetTheLimitIsTold(t *testing.T) {
	good := Result{Rate: 1000}
	for _, c := range []struct {
		name string
		shot shot
		r    Result
		lost losses
		want string
	}{
		{"nobody", shot{v: &volley{}}, good, losses{}, ""},
		{"device", shot{v: &volley{}}, good, losses{ring: 3}, "ring of the load's device overflowed: 3"},
		{"socket", shot{v: &volley{}}, good, losses{socket: 4}, "socket overflowed: 4"},
		{"log", shot{v: &volley{log: log{missed: 5}}}, good, losses{}, "log was full: 5"},
		{"generator", shot{v: &volley{}}, Result{Rate: 900}, losses{}, "sent 900 packets/s of 1000"},
		{"send", shot{v: &volley{}, sent: 9, sendErr: unix.ENETDOWN}, good, losses{}, "after 9 packets: network is down"},
	} {
		if got := limit(&c.shot, 1000, &c.r, c.lost); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if got := (&Result{Rate: 100_000, Late: Quantiles{Max: time.Millisecond}}).Disturbed(); got != "" {
		t.Errorf("100 packets late: %q", got)
	}
	if got := (&Result{Rate: 100_000, Late: Quantiles{Max: 2 * time.Millisecond}}).Disturbed(); !strings.Contains(got, "stood still for 2ms") {
		t.Errorf("200 packets late: %q", got)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, name := range []string{"", DefaultSuite, "AEAD_AES_128_GCM"} {
		b.Run("suite="+name, func(b *testing.B) {
			s := pair(b, name)
			frame, scratch := make([]byte, stride), make([]byte, stride)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.write(frame, scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
