package xsk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
)

// onLoopback opens a socket on queue 0 of a loopback device: what it sends it receives.
func onLoopback(t testing.TB) (*Socket, *Program) {
	t.Helper()
	s := newTables(t)
	enterNamespace(t)
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), MAC: ourMAC, Queues: 1})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	must(t, p.Attach(loopback, true))
	if p.Mode() != Generic {
		t.Fatalf("mode %v, want generic", p.Mode())
	}
	fd, err := Descriptor()
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	x, err := Open(fd, Options{Ifindex: loopback, Mode: p.Mode()})
	must(t, err)
	t.Cleanup(func() { must(t, x.Close()) })
	must(t, p.Enter(0, fd))
	return x, p
}

// everyFrame counts the frames by where they are and fails unless each is in exactly one place.
func (s *Socket) everyFrame(t *testing.T) {
	t.Helper()
	inBatches, sending := 0, 0
	for _, at := range s.place {
		switch at {
		case inBatch:
			inBatches++
		case onItsWay:
			sending++
		}
	}
	if sum := len(s.free) + s.lent + inBatches + sending; sum != frames || sending != s.sending {
		t.Fatalf("%d frames: %d free, %d lent, %d in a batch, %d to be sent (%d counted)", sum, len(s.free), s.lent, inBatches, sending, s.sending)
	}
	seen := make(map[uint64]bool)
	for _, frame := range s.free {
		if seen[frame] || frame%FrameSize != 0 || s.place[frame/FrameSize] != ours {
			t.Fatalf("frame %#x is free and somewhere else", frame)
		}
		seen[frame] = true
	}
}

// TestEveryFrameIsInOnePlace receives, sends in place, sends copies, gives back and lets rings fill, in any order.
func TestEveryFrameIsInOnePlace(t *testing.T) {
	x, p := onLoopback(t)
	random := rand.New(rand.NewPCG(1, 2))
	received, sent := 0, 0
	elsewhere := make([]byte, 300)
	for range 3000 {
		x.GiveBack()
		x.Refill()
		x.everyFrame(t)
		if x.lent < Depth-sendDepth/2 {
			t.Fatalf("%d frames lent: the kernel starves", x.lent)
		}
		if random.IntN(3) == 0 {
			must(t, p.Inject(loopback, packet(ours4, leased)))
		}
		for range random.IntN(65) {
			b := x.Receive()
			if b == nil {
				break
			}
			received++
			var d frame.Datagram
			if !frame.Parse(b, &d) {
				t.Fatalf("received %x", b)
			}
			switch random.IntN(4) {
			case 0: // dropped
			case 1:
				if x.Send(42, elsewhere) != nil {
					sent++
				}
			default:
				if out := x.Send(d.Start, b[d.Start:d.Start+d.Len]); out != nil {
					sent++
					if &out[0] != &b[0] {
						t.Fatal("what was received here was not sent from its frame")
					}
					if again := x.Send(d.Start, b[d.Start:d.Start+d.Len]); again != nil {
						sent++ // a packet that is on its way already is copied
						copy(again, packet(ours4, leased))
					}
				}
			}
		}
		x.Received()
		x.everyFrame(t)
		if random.IntN(3) > 0 {
			x.Kick()
		}
	}
	if received < 1000 || sent < 1000 {
		t.Errorf("only %d received and %d sent", received, sent)
	}
	if s := x.Statistics(); s.Invalid != 0 {
		t.Errorf("the kernel refused %d of our packets: %+v", s.Invalid, s)
	}
}

func TestWhatTheKernelRefusesToSendIsCounted(t *testing.T) {
	x, _ := onLoopback(t)
	x.tx.room(1)
	x.tx.put(unix.XDPDesc{Addr: uint64(len(x.memory)) + FrameSize, Len: 64}) // as Send never does
	x.Kick()
	if s := x.Statistics(); s.Invalid != 1 {
		t.Errorf("%+v, want one invalid", s)
	}
}

func TestAPacketThatIsNotKickedWaitsAndAFullRingSaysSo(t *testing.T) {
	x, _ := onLoopback(t)
	x.Refill()
	payload := bytes.Repeat([]byte{1}, 100)
	n := 0
	for x.Send(42, payload) != nil {
		n++
	}
	if n != sendDepth {
		t.Errorf("%d packets found room, want %d", n, sendDepth)
	}
	x.everyFrame(t)
	for range n { // one kick sends as many as the kernel's budget allows
		if x.Kick(); !x.Unsent() {
			break
		}
	}
	if x.Unsent() || x.Send(42, payload) == nil {
		t.Error("the ring is still full after kicks")
	}
	x.Refill()
	x.everyFrame(t)
}

func TestPayloadsThatFitNoFrameAreRefused(t *testing.T) {
	x, _ := onLoopback(t)
	if x.Send(42, make([]byte, FrameSize-copyAt+1)) != nil {
		t.Error("a payload longer than a frame was taken")
	}
	if out := x.Send(66, make([]byte, FrameSize-copyAt)); len(out) != 66+FrameSize-copyAt {
		t.Errorf("the longest payload got %d bytes", len(out))
	}
	x.everyFrame(t)
}

func TestReceivingAndSendingDoNotAllocate(t *testing.T) {
	x, _ := onLoopback(t)
	good := packet(ours4, leased)
	step := func() {
		x.GiveBack()
		x.Refill()
		copy(x.Send(42, good[42:]), good)
		x.Kick()
		x.Look()
		for b := x.Receive(); b != nil; b = x.Receive() {
		}
		x.Received()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPacketsWithoutAFrameAreCounted(t *testing.T) {
	x, p := onLoopback(t)
	const more = 100
	for range Depth + more {
		must(t, p.Inject(loopback, packet(ours4, leased)))
	}
	n := 0
	for x.Receive() != nil {
		n++
	}
	x.Received()
	if s := x.Statistics(); n != Depth || s.Dropped != more {
		t.Errorf("%d received, %+v; want %d and %d dropped", n, s, Depth, more)
	}
	x.GiveBack()
	x.Refill()
	x.everyFrame(t)
}

func TestAStrangersProgramStaysWhereItIs(t *testing.T) {
	_, first := onLoopback(t)
	s := newTables(t)
	second, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), MAC: ourMAC, Queues: 1})
	must(t, err)
	defer second.Close()
	if err := second.Attach(loopback, true); !errors.Is(err, ErrTaken) {
		t.Errorf("attached beside another: %v", err)
	}
	if err := first.Inject(loopback, packet(ours4, leased)); err != nil {
		t.Error(err)
	}
}
