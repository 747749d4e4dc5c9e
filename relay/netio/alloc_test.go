package netio

import (
	"net/netip"
	"runtime"
	"testing"

	"tandem/relay/verdict"
)

// carousel keeps as many packets going round as a batch holds: each goes on from the port it came to to the next one.
type carousel struct {
	e     *sockets
	q     Queue
	next  map[Local]Addr
	batch Batch
}

func newCarousel(t testing.TB, address netip.Addr, ports, packets int, payload string) *carousel {
	e := openTest(t, Options{Addresses: []netip.Addr{address}})
	c := &carousel{e: e, q: e.Queue(0), next: make(map[Local]Addr)}
	bound := bindPorts(t, e, 0, 0, ports)
	for i, l := range bound {
		c.next[l] = AddrFrom(e.address(bound[(i+1)%ports]))
	}
	peer := openPeer(t, address)
	for i := range packets {
		write(t, peer, e.address(bound[i*ports/packets]), payload)
	}
	return c
}

// turn moves one batch on and returns how many packets that was.
func (c *carousel) turn(t testing.TB) int {
	if err := c.q.Recv(&c.batch, patienceForTests); err != nil {
		t.Fatal(err)
	}
	for i := range c.batch.Packets[:c.batch.N] {
		p := &c.batch.Packets[i]
		p.Out, p.Dst = p.In, c.next[p.In]
	}
	c.q.Send(&c.batch)
	for i := range c.batch.Packets[:c.batch.N] {
		if v := c.batch.Packets[i].Verdict; v != verdict.Forward {
			t.Fatalf("packet %d: %v", i, v)
		}
	}
	return c.batch.N
}

func TestForwardingDoesNotAllocate(t *testing.T) {
	for _, address := range loopbacks(t) {
		t.Run(address.String(), func(t *testing.T) {
			c := newCarousel(t, address, 100, BatchSize, "a packet that goes round")
			if n := testing.AllocsPerRun(1000, func() { c.turn(t) }); n != 0 {
				t.Errorf("%v allocations a batch", n)
			}
			const packets = 100_000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			moved := 0
			for moved < packets {
				moved += c.turn(t)
			}
			runtime.ReadMemStats(&after)
			// The runtime itself may allocate now and then; an allocation in a batch would be some 1,500.
			if n := after.Mallocs - before.Mallocs; n > 10 {
				t.Errorf("%d allocations while %d packets were forwarded", n, moved)
			}
			if stats := c.q.Stats(); stats.Overflows != 0 {
				t.Errorf("%d packets overflowed", stats.Overflows)
			}
		})
	}
}

func TestRejectedPacketsDoNotAllocate(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.Queue(0)
	l := bindPorts(t, e, 0, 0, 1)[0]
	peer := openPeer(t, e.addresses[0])
	long := Packet{Data: make([]byte, MaxDatagram+1), Out: l, Dst: AddrFrom(e.address(l))}
	var b Batch
	tests := []struct {
		name    string
		packet  Packet // what is sent, to ourselves where it can be
		verdict verdict.Verdict
		returns verdict.Verdict // what arrives then; Forward and nothing sent: nothing arrives
	}{
		{"too long", long, verdict.Forward, verdict.TooLong},
		{"port not bound", Packet{Data: long.Data[:1], Out: MakeLocal(0, 1), Dst: addressOf(peer)}, verdict.SendFailed, verdict.Forward},
		{"no such slot", Packet{Data: long.Data[:1], Out: MakeLocal(3, 1), Dst: addressOf(peer)}, verdict.SendFailed, verdict.Forward},
		{"other family", Packet{Data: long.Data[:1], Out: l, Dst: Addr{IP: [16]byte{15: 1}, Port: 9}}, verdict.SendFailed, verdict.Forward},
		{"refused by the kernel", Packet{Data: long.Data[:1], Out: l, Dst: AddrFrom(netip.MustParseAddrPort("255.255.255.255:9"))}, verdict.SendFailed, verdict.Forward},
		{"dropped by the worker", Packet{Data: long.Data[:1], Out: l, Dst: addressOf(peer), Verdict: verdict.Stranger}, verdict.Stranger, verdict.Forward},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := testing.AllocsPerRun(100, func() {
				b.N, b.Packets[0] = 1, test.packet
				q.Send(&b)
				if v := b.Packets[0].Verdict; v != test.verdict {
					t.Fatalf("sent: %v, want %v", v, test.verdict)
				}
				if test.returns == verdict.Forward {
					return
				}
				if recv(t, q, &b); b.Packets[0].Verdict != test.returns {
					t.Fatalf("received: %v, want %v", b.Packets[0].Verdict, test.returns)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations a packet", n)
			}
		})
	}
}

func TestWaitingAndWakingDoNotAllocate(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.Queue(0)
	var b Batch
	for name, step := range map[string]func(){
		"woken":         func() { q.Wake(); _ = q.Recv(&b, patienceForTests) },
		"nothing there": func() { _ = q.Recv(&b, 0) },
		"wait over":     func() { _ = q.Recv(&b, 1) },
	} {
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
