package netio

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/frame"
	"tandem/relay/verdict"
)

func TestExitIsTwoCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(exit{}); size != 128 {
		t.Errorf("an exit has %d bytes, want 128", size)
	}
	// What a packet looks at first: is it where the last one went?
	if end := unsafe.Offsetof(exit{}.dst) + unsafe.Sizeof(Addr{}); end > 64 {
		t.Errorf("what decides ends at byte %d, want it in the first cache line", end)
	}
}

func TestExitHoldsNoGoPointers(t *testing.T) {
	if path, kind := findPointer(reflect.TypeFor[exit](), "exit"); path != "" {
		t.Errorf("%s is a %s, which the collector would not see", path, kind)
	}
}

// exchange moves batches between a peer and an engine: as many packets as a batch holds, from the peer to many ports
// and back by frames or datagrams. The peer is fast enough not to be what is measured: it sends frames, too.
type exchange struct {
	e     placed
	peer  *generator
	batch Batch
	moved int
}

// generator sends one batch of ready-made frames from the far namespace by a packet socket of its own.
type generator struct {
	out *messages
	fd  int
}

// newExchange binds as many ports as a batch has packets and makes a frame for each.
func newExchange(t testing.TB, k kind, udp bool, slot, size int) *exchange {
	p := newPlace(t)
	e := k.open(t, Options{UDP: []bool{udp, udp}})
	f := placeFamilies[slot]
	peer := p.peer(t, f.far)
	must(t, peer.SetReadBuffer(1)) // the kernel's minimum: what comes back is dropped when that is full
	ports := bindPorts(t, e, 0, slot, BatchSize)
	far := addressOf(peer)
	way := k.best
	if udp {
		way = SocketConfigured
	}
	bounceUntil(t, e, peer, ports[0], way)
	g := &generator{out: newSendMessages()}
	var err error
	p.inFar(func() { g.fd, err = openPacketSocket() })
	must(t, err)
	t.Cleanup(func() { unix.Close(g.fd) })
	nearLink, farLink := link(t, p.near, nearDevice).Attrs(), link(t, p.far, farDevice).Attrs()
	for i, l := range ports {
		var h frame.Template
		flow := frame.Flow{Src: far.IP, Dst: f.near.As16(), SrcPort: far.Port, DstPort: l.Port()}
		copy(flow.SrcMAC[:], farLink.HardwareAddr)
		copy(flow.DstMAC[:], nearLink.HardwareAddr)
		h.Set(&flow)
		data := []byte(strings.Repeat("h", h.Len()) + strings.Repeat("x", size))
		h.Put(data)
		g.out.point(i, data)
		g.out.headers[i].header.Namelen = g.out.names[i].putLink(int32(farLink.Index), f.far.Is6())
	}
	return &exchange{e: e, peer: g}
}

// generate sends the batch. The kernel works on the way in within this call.
func (x *exchange) generate(t testing.TB) {
	for done := 0; done < BatchSize; {
		n, errno := sendMessages(x.peer.fd, x.peer.out.headers[done:])
		if errno != 0 {
			t.Fatalf("generator: %v", errno)
		}
		done += n
	}
}

// turn receives the batch and sends it back.
func (x *exchange) turn(t testing.TB) {
	q := x.e.Queue(0)
	for left := BatchSize; left > 0; left -= x.batch.N {
		recv(t, q, &x.batch)
		echo(&x.batch)
		q.Send(&x.batch)
		for i := range x.batch.Packets[:x.batch.N] {
			if v := x.batch.Packets[i].Verdict; v != verdict.Forward {
				t.Fatalf("packet %d: %v", i, v)
			}
		}
	}
	x.moved += BatchSize
}

func TestForwardingInAPlaceDoesNotAllocate(t *testing.T) {
	for _, k := range kinds {
		for _, udp := range []bool{false, true} {
			for _, f := range placeFamilies {
				t.Run(fmt.Sprintf("%s, %s, by UDP %v", k.name, f.name, udp), func(t *testing.T) { forwardWithoutAllocating(t, k, udp, f.slot) })
			}
		}
	}
}

func forwardWithoutAllocating(t *testing.T, k kind, udp bool, slot int) {
	x := newExchange(t, k, udp, slot, 182)
	step := func() { x.generate(t); x.turn(t) }
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	const packets = 50_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for from := x.moved; x.moved < from+packets; {
		step()
	}
	runtime.ReadMemStats(&after)
	// The runtime and the hops (a neighbour that is heard of again) allocate now and then; an allocation in a batch
	// would be some 800.
	if n := after.Mallocs - before.Mallocs; n > 200 {
		t.Errorf("%d allocations while %d packets were forwarded", n, packets)
	}
}

func TestFunnelRejectedPacketsDoNotAllocate(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{Addresses: []netip.Addr{near4}})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], addressOf(p.peer(t, far4))
		q := e.Queue(0)
		var b Batch
		data := make([]byte, 182)
		for name, test := range map[string]struct {
			packet Packet
			want   verdict.Verdict
		}{
			"port not bound":        {Packet{Data: data, Out: MakeLocal(0, 1), Dst: peer}, verdict.SendFailed},
			"no such slot":          {Packet{Data: data, Out: MakeLocal(3, 1), Dst: peer}, verdict.SendFailed},
			"other family":          {Packet{Data: data, Out: l, Dst: Addr{IP: far6.As16(), Port: 9}}, verdict.SendFailed},
			"no port":               {Packet{Data: data, Out: l, Dst: Addr{IP: far4.As16()}}, verdict.SendFailed},
			"no destination":        {Packet{Data: data, Out: l}, verdict.SendFailed},
			"no route":              {Packet{Data: data, Out: l, Dst: Addr{IP: netip.MustParseAddr("192.0.2.1").As16(), Port: 9}}, verdict.SendFailed},
			"dropped by the worker": {Packet{Data: data, Out: l, Dst: peer, Verdict: verdict.Stranger}, verdict.Stranger},
		} {
			n := testing.AllocsPerRun(100, func() {
				b.N, b.Packets[0] = 1, test.packet
				if q.Send(&b); b.Packets[0].Verdict != test.want {
					t.Errorf("%s: %v, want %v", name, b.Packets[0].Verdict, test.want)
				}
			})
			if n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	})
}

func TestFunnelWaitingAndWakingDoNotAllocate(t *testing.T) {
	onEachKind(t, func(t *testing.T, _ *place, k kind) {
		e := k.open(t, Options{})
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
	})
}
