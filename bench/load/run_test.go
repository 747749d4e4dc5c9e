package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// fakeSink has its ring in plain memory: the test is the kernel.
func fakeSink() *sink {
	return &sink{consumer: new(uint64), producer: new(uint64), data: make([]byte, 2*sinkRing)}
}

// arrive puts a packet into the ring, as the kernel does, which maps it twice.
func (s *sink) arrive(at uint64, frame []byte) {
	var record [recordHeader + recordBytes]byte
	binary.NativeEndian.PutUint32(record[:], recordBytes)
	r := record[recordHeader:]
	binary.NativeEndian.PutUint64(r[recordStamp:], at)
	binary.NativeEndian.PutUint64(r[recordLength:], uint64(len(frame)))
	copy(r[recordFrame:], frame)
	for i, b := range record {
		position := (*s.producer + uint64(i)) % sinkRing
		s.data[position], s.data[position+sinkRing] = b, b
	}
	*s.producer += uint64(len(record))
}

func smallLog(n int) *log {
	return &log{bytes: make(arena, n*stride), at: make([]int64, n), untimed: make([]bool, n), length: make([]uint16, n)}
}

func TestWhatArrivesIsLoggedWithItsTime(t *testing.T) {
	s, l := fakeSink(), smallLog(3)
	for i := range 5 {
		s.arrive(uint64(100+i), []byte{byte(i), 1, 2})
	}
	if n := s.receive(l, 101); n != 5 || l.n != 3 || l.missed != 2 {
		t.Fatalf("received %d, logged %d, missed %d", n, l.n, l.missed)
	}
	for i := range 3 {
		if l.at[i] != int64(100+i) || l.frame(i)[0] != byte(i) || len(l.frame(i)) != 3 || l.untimed[i] != (i == 2) {
			t.Errorf("entry %d: at %d, untimed %v, %v", i, l.at[i], l.untimed[i], l.frame(i))
		}
	}
	if *s.consumer != *s.producer {
		t.Errorf("gave %d bytes back of %d", *s.consumer, *s.producer)
	}
	if n := s.receive(l, 0); n != 0 {
		t.Errorf("received %d of nothing", n)
	}
}

func TestARecordThatIsBeingWrittenWaits(t *testing.T) {
	s, l := fakeSink(), smallLog(3)
	s.arrive(1, []byte{1})
	at := *s.producer
	s.arrive(2, []byte{2})
	binary.NativeEndian.PutUint32(s.data[at:], recordBytes|recordBusy)
	if n := s.receive(l, 0); n != 1 || *s.consumer != at {
		t.Errorf("received %d, gave %d bytes back", n, *s.consumer)
	}
	binary.NativeEndian.PutUint32(s.data[at:], recordBytes)
	if n := s.receive(l, 0); n != 1 || l.frame(1)[0] != 2 {
		t.Errorf("received %d", n)
	}
}

func TestARingIsReadAcrossItsEnd(t *testing.T) {
	s := fakeSink()
	for i := range 3 * sinkRing / (recordHeader + recordBytes) {
		l := smallLog(1)
		s.arrive(uint64(i), []byte{byte(i), byte(i >> 8)})
		if n := s.receive(l, 0); n != 1 || l.at[0] != int64(i) || string(l.frame(0)) != string([]byte{byte(i), byte(i >> 8)}) {
			t.Fatalf("record %d: %d, at %d, %v", i, n, l.at[0], l.frame(0))
		}
	}
}

func TestAFrameThatIsTooLongIsNoFrame(t *testing.T) {
	l := smallLog(2)
	l.add(1, false, make([]byte, stride), stride+1)
	l.add(1, false, make([]byte, stride), 1<<16) // a length that 16 bits would cut
	if l.frame(0) != nil || l.frame(1) != nil {
		t.Error("half a frame is shown as a whole one")
	}
}

// fakeCard writes packets to nowhere and reads from a file how many the relay took.
type fakeCard struct {
	*card
	t        *testing.T
	counters *os.File
}

func newFakeCard(t *testing.T) fakeCard {
	t.Helper()
	null, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := os.Create(filepath.Join(t.TempDir(), "dev"))
	if err != nil {
		t.Fatal(err)
	}
	c := fakeCard{&card{fd: null, counters: int(counters.Fd()), device: []byte("td-1-l:"), text: make([]byte, 4096)}, t, counters}
	c.took(0)
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Close(null), counters.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// took sets the counter: so many packets left the pair's ring since the card began.
func (c fakeCard) took(n int) {
	c.t.Helper()
	text := fmt.Sprintf(netDev, 1000+n)
	if _, err := c.counters.WriteAt([]byte(text), 0); err != nil {
		c.t.Fatal(err)
	}
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       8    7    6    5     4          3         2      11      12   13   14   15    16      17         18
td-1-l:      21      22   23   24   25    26         27        28      29 %7d   30   31   32    33      34         35
  gate:       1       1    1    1    1     1          1         1       1       1    1    1    1     1       1          1
`

func someFrames(n int) *volley {
	v := &volley{frames: make(arena, n*stride), count: n, length: make([]uint8, n), sentAt: make([]int64, n), untimed: make([]bool, n)}
	for i := range n {
		v.length[i] = maxFrame
	}
	return v
}

func TestWhatLeftIsReadFromTheDevicesLine(t *testing.T) {
	text := fmt.Sprintf(netDev, 4711)
	if sent, dropped, err := sentBy([]byte("td-1-l:"), []byte(text)); sent != 4711 || dropped != 31 || err != nil {
		t.Errorf("sent %d, dropped %d, %v", sent, dropped, err)
	}
	for text, want := range map[string]string{
		"":                                      "no line",
		fmt.Sprintf(netDev, 1)[:50]:             "no line",
		"td-1-l: 1 2 3":                         "or cut",
		"td-1-l: 1 2 3 x 5 6 7 8 9 10 11 12 13": "no number",
		"td-1-l: 1 2 3 4 5 6 7 8 9 10 11 12":    "or cut",
		"td-1-l: 1 2 3 4 5 6 7 8 9 10 11 \n eth0": "no number",
	} {
		if _, _, err := sentBy([]byte("td-1-l:"), []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTheCardGivesNoMoreThanTheRingOfThePairTakes(t *testing.T) {
	c, v := newFakeCard(t), someFrames(3*wireRoom)
	for k := range v.count {
		if !c.put(k) {
			t.Fatalf("packet %d: no room", k)
		}
	}
	push := func(limit, want int, blocked bool) {
		t.Helper()
		if err := c.push(v, limit); err != nil || int(c.head) != want || c.blocked != blocked {
			t.Errorf("pushed up to %d, blocked %v, %v; want %d, %v", c.head, c.blocked, err, want, blocked)
		}
	}
	push(salvo, salvo, false)
	push(v.count, wireRoom, true)
	push(v.count, wireRoom, true)
	c.took(10)
	push(5, wireRoom+5, false)
	push(v.count, wireRoom+10, true)
	c.took(wireRoom + 10 + 3) // and three of the kernel's own
	push(v.count, 2*wireRoom+10, true)
	c.took(2*wireRoom + 10 + 3)
	push(v.count, v.count, false)
}

func TestACardWhoseRingIsFullDropsTheNext(t *testing.T) {
	clock := int64(1)
	c, v := newFakeCard(t), someFrames(cardRing+wireRoom+salvo+7)
	s := shot{card: c.card, v: v, now: func() int64 { return clock }}
	s.add(cardRing+2, clock)
	if s.overrun != 2 || s.starved != 0 || s.sent != cardRing+2 {
		t.Errorf("the generator was late: overrun %d, starved %d, sent %d", s.overrun, s.starved, s.sent)
	}
	for !c.blocked {
		s.push(clock)
	}
	s.add(wireRoom+2, clock)
	if s.overrun != 2 || s.starved != 2 {
		t.Errorf("the relay takes none: overrun %d, starved %d", s.overrun, s.starved)
	}
	c.took(wireRoom)
	s.push(clock)
	s.add(salvo+3, clock)
	if s.overrun != 2 || s.starved != 5 {
		t.Errorf("the relay took some, too late: overrun %d, starved %d", s.overrun, s.starved)
	}
}

func TestAPacketThatWaitedForTheRelayWasSentWhenItWasDue(t *testing.T) {
	const tick = int64(timed) / 2
	var clock int64
	c, v := newFakeCard(t), someFrames(2*wireRoom)
	s := shot{card: c.card, v: v, now: func() int64 { return clock }}
	turn := func(d int64) { // one that takes so long before it pushes
		clock += d
		s.push(clock)
	}
	expect := func(k int, sentAt int64, untimed bool) {
		t.Helper()
		if int(c.head) <= k || v.sentAt[k] != sentAt || v.untimed[k] != untimed {
			t.Errorf("packet %d of %d: sent at %d, untimed %v; want %d, %v", k, c.head, v.sentAt[k], v.untimed[k], sentAt, untimed)
		}
	}
	s.add(1, clock)
	turn(tick)
	expect(0, tick, false) // it had not to wait
	added := clock
	s.add(wireRoom, clock)
	for !c.blocked {
		turn(1)
	}
	late := clock
	s.add(2, clock) // while the relay takes nothing: all the same
	c.took(1)
	turn(tick)
	expect(wireRoom, added, false) // it waited for the relay
	c.took(2)
	turn(3 * tick)
	expect(wireRoom+1, late, true) // and this one for the generator, too
	c.took(wireRoom)
	turn(1)
	expect(wireRoom+2, late, true)
	s.add(1, clock)
	turn(1)
	expect(wireRoom+3, clock, false)
}

func TestAPacketThatTheGeneratorWasInterruptedInSendingIsNotTimed(t *testing.T) {
	var clock int64
	c, v := newFakeCard(t), someFrames(2)
	s := shot{card: c.card, v: v, now: func() int64 { clock += 2 * int64(timed); return clock }}
	s.add(1, 0)
	s.push(1)
	if v.sentAt[0] != 1 || !v.untimed[0] {
		t.Errorf("sent at %d, untimed %v", v.sentAt[0], v.untimed[0])
	}
}

func TestWhatCameWhileNobodyLookedIsNotTimedHoweverManyTurnsItTakes(t *testing.T) {
	const behind, gap = 3*gulp + 5, 5 * int64(timed)
	clock := int64(1000)
	k, v := fakeSink(), someFrames(1)
	v.log = *smallLog(2*behind + 1)
	s := shot{sink: k, pump: -1, v: v, now: func() int64 { return clock }, looked: clock}
	k.arrive(uint64(clock), nil)
	s.receive()
	clock += gap
	for range behind {
		k.arrive(uint64(clock), nil)
	}
	for s.receive() > 0 {
		clock += int64(timed) / 10
	}
	k.arrive(uint64(clock), nil)
	s.receive()
	for i := range v.log.n {
		if between := i > 0 && i <= behind; v.log.untimed[i] != between {
			t.Fatalf("packet %d of %d: untimed %v", i, v.log.n, v.log.untimed[i])
		}
	}
	if v.log.n != behind+2 {
		t.Errorf("%d packets", v.log.n)
	}
}

func TestTheTimedPartAllocatesNothing(t *testing.T) {
	l, v := smallLog(10), someFrames(1)
	v.log = *l
	k, c := fakeSink(), newFakeCard(t)
	frame := make([]byte, maxFrame)
	clock, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	s := shot{card: c.card, sink: k, pump: -1, v: v, now: clock.now, every: 1000}
	n := testing.AllocsPerRun(1000, func() {
		s.due(s.now())
		s.sent = 0
		s.add(1, s.now())
		c.taken = 0 // look each time
		s.push(s.now())
		c.pushed = c.taken
		k.arrive(1, frame)
		s.receive() // the log is full from the 11th on
	})
	if n != 0 || s.sendErr != nil || c.head != 1001 {
		t.Errorf("%v allocations a turn, %d packets, %v", n, c.head, s.sendErr)
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
		{"sink", shot{v: &volley{}}, good, losses{sink: 4}, "ring overflowed: 4"},
		{"pair", shot{v: &volley{}}, good, losses{wire: 6}, "6 packets did not get into the ring"},
		{"late generator", shot{v: &volley{}, overrun: 7}, good, losses{}, "so late that its ring of 4096 overflowed: 7"},
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
