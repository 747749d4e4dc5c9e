package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"testing"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
	"tandem/relay/verdict"
)

func TestEveryPacketHasExactlyOneVerdict(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	toUs := pion(t, 1)
	good := sealed(t, toUs, packet(7, 1))
	forged := sealed(t, toUs, packet(7, 2))
	forged[len(forged)-1] ^= 1
	lying := packet(7, 3)
	lying[0] = 0x8f // 15 contributing sources, as far as it says
	for _, p := range []struct {
		at   string
		from netip.AddrPort
		data []byte
	}{
		{a.Local, alice, good}, {a.Local, alice, good}, {a.Local, alice, forged}, {a.Local, alice, packet(7, 4)},
		{a.Local, mallet, good}, {a.Local, alice, nil}, {a.Local, alice, []byte{0x80}}, {a.Local, alice, lying[:20]},
		{a.Local, alice, make([]byte, 20)}, {a.Local, alice, []byte{22, 1, 2}}, {a.Local, alice, []byte{99, 1, 2}},
		{a.LocalRTCP, alice, report(1)}, {b.Local, bob, packet(8, 1)}, {b.Local, bob, packet(8, 1)}, {b.Local, mallet, packet(8, 2)},
		{b.LocalRTCP, netip.AddrPortFrom(bob.Addr(), bob.Port()+1), report(8)}, {"198.18.0.1:9", bob, packet(8, 1)},
		{b.Local, bob, make([]byte, 3000)},
	} {
		h.arrive(p.at, p.from, p.data)
	}
	stats := h.relay.Stats()
	sum := stats.Forwarded
	for _, n := range stats.Drops {
		sum += n
	}
	if stats.Received != 18 || sum != stats.Received {
		t.Errorf("received %d, forwarded %d, dropped %v: the sum is %d", stats.Received, stats.Forwarded, stats.Drops, sum)
	}
	if stats.Forwarded != uint64(len(h.left())) {
		t.Errorf("forwarded %d is not what left", stats.Forwarded)
	}
	closed := must[control.SessionState](h, control.MethodClose, control.Ref{ID: "one"})
	var drops uint64
	for _, l := range closed.Streams[0].Legs {
		for _, n := range l.Drops {
			drops += n
		}
	}
	if unleased := uint64(1); drops+unleased != stats.Received-stats.Forwarded {
		t.Errorf("the legs count %d drops, the relay %v", drops, stats.Drops)
	}
}

// replayed prepares a batch for a queue that returns it again and again: packets from the peers of n sessions.
func replayed(h *house, n int, change func(a, b *control.Leg), data func(i int) ([]byte, netip.AddrPort)) {
	var batch []fake.Datagram
	for i := range n {
		s := h.call(fmt.Sprint("session", i), change)
		if len(batch) < netio.BatchSize {
			b, from := data(i)
			batch = append(batch, fake.Datagram{Local: local(leg1(s, "a").Local), Peer: netio.AddrFrom(from), Data: b})
		}
	}
	h.engine.Replay(0, batch)
}

// rounds runs the packet path in the worker's own thread, n batches of it in four parts, and returns how many objects were allocated in
// the part with the fewest: Go's own, such as for a thread that it starts, come once, and what a packet costs comes in each.
func rounds(h *house, n int) (allocated uint64) {
	const parts = 4
	w := h.relay.workers[0]
	allocated = math.MaxUint64
	w.order(func(now int64) {
		var before, after runtime.MemStats
		runtime.GC()
		for part := range parts {
			runtime.ReadMemStats(&before)
			for i := part * n / parts; i < (part+1)*n/parts; i++ {
				if err := w.queue.Recv(&w.batch, 0); err != nil {
					panic(err)
				}
				w.forward(now + int64(i)*20e6) // a packet of every call each 20 ms
			}
			runtime.ReadMemStats(&after)
			allocated = min(allocated, after.Mallocs-before.Mallocs)
		}
	})
	return allocated
}

func TestTheWorkerAllocatesNothingWhateverBecomesOfThePacket(t *testing.T) {
	forged := make([]byte, 182)
	copy(forged, packet(7, 1))
	secure := func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }
	toSecure := func(_, b *control.Leg) { b.RX, b.TX = crypto(1), crypto(2) }
	for _, c := range []struct {
		fate   verdict.Verdict
		change func(a, b *control.Leg)
		data   []byte
		from   netip.AddrPort
	}{
		{verdict.Forward, nil, packet(7, 1), alice},
		{verdict.Stranger, nil, packet(7, 1), mallet},
		{verdict.OverBudget, secure, forged, mallet},
		{verdict.BadTag, secure, forged, alice},
		{verdict.AlreadySealed, toSecure, packet(7, 1), alice},
		{verdict.NoKey, func(a, _ *control.Leg) { a.Pin = "auth" }, packet(7, 1), alice},
		{verdict.Held, func(a, _ *control.Leg) { a.Direction = "inactive" }, packet(7, 1), alice},
		{verdict.TooShort, nil, []byte{0x80, 0, 1}, alice},
		{verdict.BadHeader, nil, []byte{0x8f, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}, alice},
		{verdict.STUN, nil, make([]byte, 20), alice},
		{verdict.NotRTP, nil, report(1), alice},
		{verdict.Forward, func(a, b *control.Leg) { a.RTCP, b.RTCP, b.RX, b.TX = "mux", "mux", crypto(1), crypto(2) }, report(1), alice},
	} {
		t.Run(c.fate.String(), func(t *testing.T) {
			h := open(t, nil)
			replayed(h, 8, c.change, func(int) ([]byte, netip.AddrPort) { return c.data, c.from })
			rounds(h, 50)
			before := must[control.Stats](h, control.MethodStats, struct{}{})
			if n := rounds(h, 200); n > 2 { // ReadMemStats itself may cost one or two
				t.Errorf("%d objects allocated in 1,600 packets", n)
			}
			after := h.relay.Stats()
			happened := after.Forwarded - before.Forwarded
			if c.fate != verdict.Forward {
				happened = after.Drops[c.fate.String()] - before.Drops[c.fate.String()]
			}
			if happened == 0 {
				t.Errorf("no packet met this fate: %v", after.Drops)
			}
		})
	}
}

func TestAHundredThousandForwardedPacketsAllocateNothing(t *testing.T) {
	h := open(t, nil)
	replayed(h, netio.BatchSize, nil, func(i int) ([]byte, netip.AddrPort) { return packet(uint32(i+1), 1), alice })
	rounds(h, 10)
	before := h.relay.Stats().Forwarded
	if n := rounds(h, 100_000/netio.BatchSize+1); n > 2 {
		t.Errorf("%d objects allocated", n)
	}
	if n := h.relay.Stats().Forwarded - before; n < 100_000 {
		t.Errorf("only %d packets were forwarded", n)
	}
}

// together lets datagrams arrive in one batch and waits until the relay has dealt with them.
func (h *house) together(at string, from netip.AddrPort, data ...[]byte) {
	h.t.Helper()
	before := h.relay.Stats().Received
	h.relay.workers[0].order(func(int64) { // while it does this, the worker does not receive
		for _, d := range data {
			h.engine.Inject(0, local(at), netio.AddrFrom(from), d)
		}
	})
	for h.relay.Stats().Received < before+uint64(len(data)) {
		runtime.Gosched()
	}
}

func TestARestartWithinABatchRepeatsNoSealedIndex(t *testing.T) {
	h := open(t, nil)
	b := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b")
	var said [][]byte
	for _, seq := range []uint16{100, 101, 102, 20_000, 20_001, 100, 101, 65_000, 65_001} { // three restarts
		said = append(said, packet(8, seq))
	}
	h.together(b.Local, bob, said...)
	sent, far := h.left(), pion(t, 2) // refuses what it has seen
	if len(sent) != len(said) {
		t.Fatalf("%d of %d packets left; drops: %v", len(sent), len(said), h.relay.Stats().Drops)
	}
	for i, d := range sent {
		got, err := far.DecryptRTP(nil, d.Data, nil)
		if err != nil || !bytes.Equal(got[12:], said[i][12:]) {
			t.Errorf("packet %d: %v", i, err)
		}
		if seq := binary.BigEndian.Uint16(d.Data[2:]); seq != 100+uint16(i) {
			t.Errorf("packet %d left as sequence %d", i, seq)
		}
	}
}

func TestABatchOfGoodAndBadPacketsKeepsItsOrder(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX, a.RTCP = crypto(1), crypto(2), "mux" }), "a")
	toUs := pion(t, 1)
	var said, want [][]byte
	for i := range uint16(20) {
		p := sealed(t, toUs, packet(7, i))
		switch {
		case i%5 == 4:
			p[len(p)-1] ^= 1
		default:
			want = append(want, packet(7, i))
		}
		said = append(said, p)
	}
	said = append(said, said[3], mustRTCP(t, 1, 7)) // a replay, and a report among media
	want = append(want, report(7))
	h.together(a.Local, alice, said...)
	sent := h.left()
	if len(sent) != len(want) {
		t.Fatalf("%d packets left, not %d; drops: %v", len(sent), len(want), h.relay.Stats().Drops)
	}
	for i := range want {
		if !bytes.Equal(sent[i].Data, want[i]) {
			t.Errorf("packet %d is %x, want %x", i, sent[i].Data, want[i])
		}
	}
	if drops := h.relay.Stats().Drops; drops["bad_tag"] != 4 || drops["replayed"] != 1 {
		t.Errorf("drops: %v", drops)
	}
}

func TestAPacketThatFollowsTheAnswerMeetsItsLeg(t *testing.T) {
	h := open(t, nil)
	for i := range 50 { // nobody waits for the worker when a session is opened
		s := h.call(fmt.Sprint(i), nil)
		h.engine.Inject(0, local(leg1(s, "a").Local), netio.AddrFrom(alice), packet(7, 1))
	}
	for h.relay.Stats().Received < 50 {
		runtime.Gosched()
	}
	if stats := h.relay.Stats(); stats.Forwarded != 50 {
		t.Errorf("forwarded %d of 50, dropped %v", stats.Forwarded, stats.Drops)
	}
}

func TestStatisticsTellHowPacketsCameAndLeft(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", nil), "a")
	h.together(a.Local, alice, packet(7, 1), packet(7, 2), packet(7, 3))
	stats := must[control.Stats](h, control.MethodStats, struct{}{})
	if stats.RecvCalls != 1 || stats.SendCalls != 1 || stats.BatchIn != 3 || stats.Sent["socket"] != 3 || len(stats.Sent) != 1 {
		t.Errorf("3 packets in one batch: %+v", stats)
	}
	if again := h.relay.Stats(); stats.Allocs == 0 || again.Allocs < stats.Allocs {
		t.Errorf("allocated %d objects, later %d", stats.Allocs, again.Allocs)
	}
}
