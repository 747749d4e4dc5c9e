package netio

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFunnelUnbindWaitsForAQueueThatIsSending(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{UDP: []bool{true}})
		calls, q := &e.base().queues[0].calls, e.Queue(0)
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		first := Batch{N: 1}
		first.Packets[0] = Packet{Data: []byte("first"), Out: l, Dst: addressOf(peer)}
		q.Send(&first) // opens the port's socket here: another goroutine's thread is in another namespace
		read(t, peer)
		inside, goOn := make(chan int), make(chan struct{})
		calls.sendOne = func(fd int, data []byte, to *sockaddr, length uint32) unix.Errno {
			inside <- fd
			<-goOn
			return sendDatagram(fd, data, to, length)
		}
		sent := make(chan struct{})
		go func() {
			b := Batch{N: 1}
			b.Packets[0] = Packet{Data: []byte("in flight"), Out: l, Dst: addressOf(peer)}
			q.Send(&b)
			close(sent)
		}()
		fd := <-inside
		unbound := make(chan struct{})
		go func() { e.Unbind(l); close(unbound) }()
		eventually(t, "the port leaves the table", func() bool { return e.exit(l).socket.Load() == 0 })
		if _, err := boundAddress(fd); err != nil {
			t.Errorf("the descriptor was closed while the queue was using it: %v", err)
		}
		close(goOn)
		<-sent
		<-unbound
		if text, _ := read(t, peer); text != "in flight" {
			t.Errorf("the peer got %q", text)
		}
		if _, err := boundAddress(fd); err == nil {
			t.Error("the descriptor is open after Unbind")
		}
	})
}

// TestFunnelUnbindWhileFlooding binds and unbinds under a flood while strangers open sockets, which get the numbers of those
// just closed, and while packets leave both as frames and by the ports' sockets. Nothing of a stranger's is received or
// sent by the engine.
func TestFunnelUnbindWhileFlooding(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		const changes, most, width = 300, 100_000, 16
		e := k.open(t, Options{Workers: 2})
		var ports []Local
		for _, f := range placeFamilies {
			ports = append(ports, bindPorts(t, e, 0, f.slot, width/2)...)
		}
		var stop atomic.Bool
		var group sync.WaitGroup
		var received [2]atomic.Uint64
		for i := range 2 {
			group.Go(func() { echoUntil(t, &stop, e.Queue(i), &received[i]) })
		}
		for _, f := range placeFamilies {
			peer := p.peer(t, f.far)
			group.Go(func() {
				for i := 0; !stop.Load(); i++ {
					if l := ports[i%width]; l.Slot() == f.slot {
						_, _ = peer.WriteToUDPAddrPort([]byte("flood"), e.address(l))
					}
				}
			})
		}
		outside := openPeer(t, near4)
		flooded := func() bool { return received[0].Load() > changes && received[1].Load() > changes }
		for i := 0; i < changes || i < most && !flooded(); i++ {
			l := ports[i%width]
			e.Unbind(l)
			stranger, bound := predecessorSocket(t, near4)
			write(t, outside, bound, "for the stranger")
			var buffer [64]byte
			if n, err := unix.Read(stranger, buffer[:]); err != nil || string(buffer[:n]) != "for the stranger" {
				t.Errorf("the stranger read %q, %v", buffer[:max(n, 0)], err)
			}
			unix.Close(stranger)
			must(t, e.Bind(i%2, l))
		}
		stop.Store(true)
		e.Queue(0).Wake()
		e.Queue(1).Wake()
		group.Wait()
		if !flooded() {
			t.Error("a queue received next to nothing: there was no flood")
		}
	})
}

func TestWakeEndsAWaitingFunnelAndWakesBeforehandEndExactlyOne(t *testing.T) {
	onEachKind(t, func(t *testing.T, _ *place, k kind) {
		e := k.open(t, Options{})
		calls, q := &e.base().queues[0].calls, e.Queue(0)
		waiting := make(chan struct{}, 1)
		calls.wait = func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
			waiting <- struct{}{}
			return waitEvents(epoll, into, milliseconds)
		}
		for range 3 {
			ended := make(chan error)
			var b Batch
			go func() { ended <- q.Recv(&b, time.Hour) }()
			<-waiting
			q.Wake()
			if err := <-ended; err != nil || b.N != 0 {
				t.Fatalf("woken: %d packets, %v", b.N, err)
			}
		}
		calls.wait = waitEvents
		for range 5 {
			q.Wake()
		}
		var b Batch
		if err := q.Recv(&b, time.Hour); err != nil || b.N != 0 {
			t.Fatalf("woken: %d packets, %v", b.N, err)
		}
		if n, errno := waitEvents(e.base().queues[0].epoll, make([]unix.EpollEvent, 4), 0); n != 0 || errno != 0 {
			t.Errorf("%d events (%v) are left after the wakes were taken back", n, errno)
		}
	})
}

func TestInterruptedAndFailedWaitsOfTheFunnel(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		calls, q := &e.base().queues[0].calls, e.Queue(0)
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		interrupts := 0
		calls.wait = func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
			if interrupts++; interrupts == 3 {
				write(t, peer, e.address(l), "after the interrupts")
			}
			return 0, unix.EINTR
		}
		var b Batch
		recv(t, q, &b)
		if interrupts != 3 || string(b.Packets[0].Data) != "after the interrupts" {
			t.Errorf("after %d interrupts received %q", interrupts, b.Packets[0].Data)
		}
		calls.wait = func(int, []unix.EpollEvent, int) (int, unix.Errno) { return 0, unix.EBADF }
		if err := q.Recv(&b, patienceForTests); !errors.Is(err, unix.EBADF) || b.N != 0 {
			t.Errorf("%d packets, %v; want the error of epoll_wait", b.N, err)
		}
	})
}

func TestClosedFunnelEndsItsQueuesWithAClearError(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		l, peer := bindPorts(t, e, 0, 0, 3)[0], p.peer(t, far4)
		for range 2 { // the second Close has nothing to do
			must(t, e.Close())
		}
		b := Batch{N: 1}
		b.Packets[0] = Packet{Data: []byte("too late"), Out: l, Dst: addressOf(peer)}
		if e.Queue(0).Send(&b); b.Packets[0].Verdict.String() == "forward" {
			t.Error("a closed engine sent a packet")
		}
		if err := e.Queue(0).Recv(&b, patienceForTests); !errors.Is(err, ErrClosed) || b.N != 0 {
			t.Errorf("receive after close: %d packets, %v; want ErrClosed", b.N, err)
		}
		e.Queue(0).Wake() // must not write to a descriptor that is somebody else's by now
	})
}
