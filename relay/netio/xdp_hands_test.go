package netio

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPacketsOfManyFlowsOnManyQueuesReachTheWorkerThatHasTheirPort(t *testing.T) {
	const queues, workers, flows, each = 4, 2, 24, 200
	p := newWidePlace(t, queues)
	e := openXDPTest(t, Options{Workers: workers})
	var stop atomic.Bool
	var group, senders sync.WaitGroup
	ports, peers := make([]Local, flows), make([]*net.UDPConn, flows)
	for i := range ports {
		slot := i / 2 % 2
		ports[i], peers[i] = bindPorts(t, e, i%workers, slot, 1)[0], p.peer(t, placeFamilies[slot].far)
		resolve(t, e, peers[i], ports[i])
	}
	before := statsOf(e)
	for i := range workers {
		group.Go(func() { echoStrictly(t, &stop, e, i) })
	}
	for i, l := range ports {
		peer := peers[i]
		senders.Go(func() {
			for n := range each { // one at a time: nothing is lost, and each comes back before the next leaves
				text := fmt.Sprintf("packet %d of flow %d", n, i)
				write(t, peer, e.address(l), text)
				if got, from := read(t, peer); got != text || from != e.address(l) {
					t.Errorf("flow %d: %q from %v, want %q from %v", i, got, from, text, e.address(l))
					return
				}
			}
		})
	}
	senders.Wait()
	stop.Store(true)
	for i := range workers {
		e.Queue(i).Wake()
	}
	group.Wait()
	after := statsOf(e)
	received, handed, ways := after.RecvPackets-before.RecvPackets, after.HandedOver-before.HandedOver, after.Sent[XDP]-before.Sent[XDP]
	if received != flows*each || after.Overflows != 0 || ways != flows*each {
		t.Errorf("%d packets received, %d lost, %d left by a ring; want %d, none and all", received, after.Overflows, ways, flows*each)
	}
	if handed == 0 || handed == flows*each {
		t.Errorf("%d of %d packets were handed over: the queues were not chosen by flow", handed, flows*each)
	}
}

// statsOf sums up what the queues of an engine counted. No worker runs.
func statsOf(e *xdp) (sum QueueStats) {
	for _, q := range e.queues {
		s := q.Stats()
		sum.RecvPackets += s.RecvPackets
		sum.HandedOver += s.HandedOver
		sum.Overflows += s.Overflows
		for way, n := range s.Sent {
			sum.Sent[way] += n
		}
	}
	return sum
}

// resolve bounces packets, whichever queue they come to, until the way to the peer is known. It is the test's own thread that does
// it: a socket that a port needs until then is opened in its namespace.
func resolve(t testing.TB, e *xdp, peer *net.UDPConn, l Local) {
	t.Helper()
	for end, known := Now()+int64(patienceForTests), false; !known; {
		before := statsOf(e).Sent[XDP]
		write(t, peer, e.address(l), "on the way")
		var b Batch
		for i := 0; b.N == 0; i++ {
			if Now() > end {
				t.Fatalf("the way to %v is not known: %+v, hops %+v", peer.LocalAddr(), statsOf(e), e.Hops())
			}
			must(t, e.queues[i%len(e.queues)].Recv(&b, time.Millisecond))
			echo(&b)
			e.queues[i%len(e.queues)].Send(&b)
		}
		read(t, peer)
		known = statsOf(e).Sent[XDP] > before
	}
}

// echoStrictly is a worker that sends everything back and takes nothing that is another worker's.
func echoStrictly(t *testing.T, stop *atomic.Bool, e *xdp, worker int) {
	var b Batch
	for q := e.Queue(worker); !stop.Load(); {
		if err := q.Recv(&b, time.Second); err != nil {
			t.Error(err)
			return
		}
		for i := range b.Packets[:b.N] {
			if l := b.Packets[i].In; !e.steer.Leased(l.Slot(), l.Port(), worker) {
				t.Errorf("worker %d got a packet of %v", worker, e.address(l))
			}
		}
		echo(&b)
		q.Send(&b)
	}
}

func TestWorkersWithoutAQueueReceiveAndSend(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Workers: 3})
	var b Batch
	for worker := range 3 {
		l, peer := bindPorts(t, e, worker, 0, 1)[0], p.peer(t, far4)
		write(t, peer, e.address(l), "for somebody")
		must(t, e.Queue(0).Recv(&b, patienceForTests)) // the only one that has a queue
		if worker > 0 {
			if b.N != 0 {
				t.Fatalf("worker 0 kept worker %d's packet", worker)
			}
			recv(t, e.Queue(worker), &b)
		}
		echo(&b)
		e.Queue(worker).Send(&b)
		if text, from := read(t, peer); text != "for somebody" || from != e.address(l) {
			t.Errorf("worker %d: %q from %v", worker, text, from)
		}
		if s := e.Queue(worker).Stats(); s.RecvPackets != 1 || s.SendPackets != 1 {
			t.Errorf("worker %d: %+v", worker, s)
		}
	}
	if s := e.Queue(0).Stats(); s.HandedOver != 2 {
		t.Errorf("%d handed over, want 2", s.HandedOver)
	}
}

func TestAWorkerThatDoesNotTakeWhatIsHandedToItLosesOnlyThat(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{Workers: 2})
	mine, others := bindPorts(t, e, 0, 0, 1)[0], bindPorts(t, e, 1, 0, 1)[0]
	peer := p.peer(t, far4)
	const more = 50
	var b Batch
	for range handoverDepth + more {
		write(t, peer, e.address(others), "nobody takes this")
	}
	write(t, peer, e.address(mine), "but this")
	for b.N == 0 {
		must(t, e.Queue(0).Recv(&b, patienceForTests))
	}
	if b.N != 1 || string(b.Packets[0].Data) != "but this" {
		t.Errorf("%d packets, the first %q", b.N, b.Packets[0].Data)
	}
	if s := e.Queue(0).Stats(); s.Overflows != more || s.HandedOver != handoverDepth {
		t.Errorf("%d lost and %d handed over, want %d and %d", s.Overflows, s.HandedOver, more, handoverDepth)
	}
	taken := 0
	for must(t, e.Queue(1).Recv(&b, 0)); b.N > 0; must(t, e.Queue(1).Recv(&b, 0)) {
		taken += b.N
	}
	if taken != handoverDepth {
		t.Errorf("%d taken, want %d", taken, handoverDepth)
	}
}
