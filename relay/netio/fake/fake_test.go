package fake

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"tandem/relay/netio"
	"tandem/relay/verdict"
)

var _ netio.Engine = (*Engine)(nil)

const patience = 10 * time.Second // ends a test that waits for what never comes

func address(s string) netio.Addr { return netio.AddrFrom(netip.MustParseAddrPort(s)) }

func TestInjectedDatagramsComeOutInOrderAndAreSentAsCopies(t *testing.T) {
	e := New(2)
	q := e.Queue(1)
	in, out := netio.MakeLocal(0, 4000), netio.MakeLocal(1, 4002)
	src, dst := address("192.0.2.1:5000"), address("[2001:db8::1]:6000")
	const count = netio.BatchSize + 3
	for i := range count {
		e.Inject(1, in, src, []byte{byte(i)})
	}
	var b netio.Batch
	for _, want := range []int{netio.BatchSize, 3, 0} {
		if err := q.Recv(&b, 0); err != nil || b.N != want {
			t.Fatalf("%d packets, %v; want %d", b.N, err, want)
		}
		for i := range b.Packets[:b.N] {
			p := &b.Packets[i]
			if p.In != in || p.Src != src || p.Verdict != verdict.Forward || cap(p.Data) != netio.MaxDatagram+netio.Tailroom {
				t.Fatalf("packet %+v with room for %d", p, cap(p.Data))
			}
			p.Out, p.Dst = out, dst
			p.Data = append(p.Data, 0xee)
		}
		q.Send(&b)
	}
	sent := e.Sent(1)
	if len(sent) != count || len(e.Sent(1)) != 0 || len(e.Sent(0)) != 0 {
		t.Fatalf("%d sent, want %d once", len(sent), count)
	}
	for i, d := range sent {
		if d.Local != out || d.Peer != dst || string(d.Data) != string([]byte{byte(i), 0xee}) {
			t.Fatalf("datagram %d is %+v", i, d)
		}
	}
	want := netio.QueueStats{RecvCalls: 2, RecvPackets: count, SendCalls: 2, SendPackets: count}
	want.Sent[netio.Socket] = count
	if got := q.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestSendRefusesAsTheKernelWould(t *testing.T) {
	e := New(1)
	good, bad := address("192.0.2.1:5000"), address("192.0.2.2:5000")
	e.Refuse(0, bad, true)
	b := netio.Batch{N: 4}
	b.Packets[0].Dst = bad
	b.Packets[1].Dst = good
	b.Packets[3] = netio.Packet{Dst: good, Verdict: verdict.Stranger}
	e.Queue(0).Send(&b)
	for i, want := range []verdict.Verdict{verdict.SendFailed, verdict.Forward, verdict.SendFailed, verdict.Stranger} {
		if b.Packets[i].Verdict != want {
			t.Errorf("packet %d: %v, want %v", i, b.Packets[i].Verdict, want)
		}
	}
	if n := len(e.Sent(0)); n != 1 {
		t.Errorf("%d sent, want 1", n)
	}
	e.Refuse(0, bad, false)
	b.N, b.Packets[0].Verdict = 1, verdict.Forward
	if e.Queue(0).Send(&b); b.Packets[0].Verdict != verdict.Forward {
		t.Errorf("after the refusal ended: %v", b.Packets[0].Verdict)
	}
}

func TestLongDatagramIsCutAndTooLong(t *testing.T) {
	e := New(1)
	for _, length := range []int{netio.MaxDatagram, netio.MaxDatagram + 1} {
		e.Inject(0, 1, address("192.0.2.1:1"), make([]byte, length))
	}
	var b netio.Batch
	if err := e.Queue(0).Recv(&b, 0); err != nil || b.N != 2 {
		t.Fatalf("%d packets, %v", b.N, err)
	}
	for i, want := range []verdict.Verdict{verdict.Forward, verdict.TooLong} {
		if p := &b.Packets[i]; p.Verdict != want || len(p.Data) != netio.MaxDatagram {
			t.Errorf("packet %d: %v with %d bytes, want %v", i, p.Verdict, len(p.Data), want)
		}
	}
}

func TestRecvWaitsForInjectWakeOrClose(t *testing.T) {
	e := New(1)
	q := e.Queue(0)
	type end struct {
		n   int
		err error
	}
	tests := []struct {
		name string
		act  func()
		n    int
		err  error
	}{
		{"inject", func() { e.Inject(0, 1, address("192.0.2.1:1"), nil) }, 1, nil},
		{"wake", func() { q.Wake() }, 0, nil},
		{"close", func() { _ = e.Close() }, 0, netio.ErrClosed},
		{"closed before", func() {}, 0, netio.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan end, 1)
			go func() {
				var b netio.Batch
				err := q.Recv(&b, patience)
				ended <- end{b.N, err}
			}()
			test.act()
			if got := <-ended; got.n != test.n || !errors.Is(got.err, test.err) {
				t.Errorf("%d packets, %v; want %d, %v", got.n, got.err, test.n, test.err)
			}
		})
	}
}

func TestWaitWithoutPacketsIsOverInTheEnd(t *testing.T) {
	var b netio.Batch
	if err := New(1).Queue(0).Recv(&b, time.Millisecond); err != nil || b.N != 0 {
		t.Errorf("%d packets, %v", b.N, err)
	}
}

func TestPortsAreBoundOnceAndHeldPortsAreTaken(t *testing.T) {
	e := New(2)
	l, held := netio.MakeLocal(1, 4000), netio.MakeLocal(0, 4000)
	e.Hold(held, true)
	if err := e.Bind(1, l); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []netio.Local{l, held} {
		if err := e.Bind(0, taken); !errors.Is(err, netio.ErrPortTaken) {
			t.Errorf("bind of %v: %v, want ErrPortTaken", taken, err)
		}
	}
	if err := e.Bind(2, netio.MakeLocal(0, 4002)); err == nil || errors.Is(err, netio.ErrPortTaken) {
		t.Errorf("bind to a queue that is not there: %v", err)
	}
	if q, ok := e.Receiver(l); q != 1 || !ok || len(e.Bound()) != 1 {
		t.Errorf("receiver %d, %v; bound %v", q, ok, e.Bound())
	}
	if err := e.SetDSCP(l, 46); err != nil || e.DSCP(l) != 46 {
		t.Errorf("DSCP %d, %v", e.DSCP(l), err)
	}
	if e.SetDSCP(held, 46) == nil || e.SetDSCP(l, 64) == nil {
		t.Error("DSCP of an unbound port, or beyond 63, was taken")
	}
	e.Unbind(l)
	e.Hold(held, false)
	for _, free := range []netio.Local{l, held} {
		if err := e.Bind(0, free); err != nil {
			t.Errorf("bind of %v after it became free: %v", free, err)
		}
	}
	if e.DSCP(l) != 0 {
		t.Error("the new owner of a port found the old one's DSCP")
	}
}

func TestReplayGivesTheSameBatchAgainWithoutAllocating(t *testing.T) {
	e := New(1)
	q := e.Queue(0)
	e.Replay(0, []Datagram{{Local: 1, Peer: address("192.0.2.1:1"), Data: []byte("one")}, {Local: 2, Peer: address("192.0.2.1:2"), Data: []byte("two")}})
	var b netio.Batch
	n := testing.AllocsPerRun(100, func() {
		if err := q.Recv(&b, patience); err != nil || b.N != 2 {
			t.Fatalf("%d packets, %v", b.N, err)
		}
		if string(b.Packets[0].Data) != "one" || b.Packets[1].In != 2 {
			t.Fatalf("packets %q and %v", b.Packets[0].Data, b.Packets[1].In)
		}
		for i := range b.Packets[:b.N] {
			b.Packets[i].Dst = b.Packets[i].Src
			clear(b.Packets[i].Data) // the worker changes packets in place; the next round must not see it
		}
		q.Send(&b)
	})
	if n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	if stats := q.Stats(); stats.SendPackets != stats.RecvPackets || len(e.Sent(0)) != 0 {
		t.Errorf("stats %+v and %d kept, want all counted and none kept", stats, len(e.Sent(0)))
	}
	e.Replay(0, nil)
	if err := q.Recv(&b, 0); err != nil || b.N != 0 {
		t.Errorf("after the end of replay: %d packets, %v", b.N, err)
	}
}

func BenchmarkReplay(b *testing.B) {
	e := New(1)
	q := e.Queue(0)
	var prepared []Datagram
	for i := range netio.BatchSize {
		prepared = append(prepared, Datagram{Local: netio.Local(i), Peer: address("192.0.2.1:1"), Data: make([]byte, 182)})
	}
	e.Replay(0, prepared)
	var batch netio.Batch
	b.ReportAllocs()
	for moved := 0; moved < b.N; moved += netio.BatchSize {
		if err := q.Recv(&batch, 0); err != nil {
			b.Fatal(err)
		}
		q.Send(&batch)
	}
}
