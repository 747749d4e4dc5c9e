package netio

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStaleEventDoesNotReadTheNextOwnerOfTheDescriptor is the order of things that a flood and an Unbind can produce: the
// queue holds an event, the port is closed, and the kernel gives the descriptor's number to somebody else.
func TestStaleEventDoesNotReadTheNextOwnerOfTheDescriptor(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	peer := openPeer(t, e.addresses[0])
	write(t, peer, e.address(l), "for the port")
	if err := q.poll(&patience{wait: patienceForTests}); err != nil || q.ready != 1 {
		t.Fatalf("%d events, %v; want 1", q.ready, err)
	}
	fd, _ := e.descriptor(l)
	e.Unbind(l)

	stranger, bound := predecessorSocket(t, e.addresses[0])
	defer unix.Close(stranger)
	if stranger != fd {
		t.Fatalf("the stranger got descriptor %d, want %d: the test does not test what it says", stranger, fd)
	}
	write(t, peer, bound, "for the stranger")
	var b Batch
	if q.visit(&b); b.N != 0 {
		t.Fatalf("received %q through a stale event", b.Packets[0].Data)
	}
	var buffer [64]byte
	if n, err := unix.Read(stranger, buffer[:]); err != nil || string(buffer[:n]) != "for the stranger" {
		t.Errorf("the stranger read %q, %v", buffer[:n], err)
	}
}

func TestStaleEventDoesNotReadTheSamePortBoundAgain(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	peer := openPeer(t, e.addresses[0])
	write(t, peer, e.address(l), "for the old call")
	if err := q.poll(&patience{wait: patienceForTests}); err != nil || q.ready != 1 {
		t.Fatalf("%d events, %v; want 1", q.ready, err)
	}
	e.Unbind(l)
	if err := e.Bind(0, l); err != nil {
		t.Fatal(err)
	}
	write(t, peer, e.address(l), "for the new call")
	var b Batch
	if q.visit(&b); b.N != 0 {
		t.Fatalf("received %q through a stale event", b.Packets[0].Data)
	}
	recv(t, q, &b)
	if b.N != 1 || string(b.Packets[0].Data) != "for the new call" {
		t.Errorf("received %d packets, the first %q", b.N, b.Packets[0].Data)
	}
}

func TestUnbindWaitsForAQueueInsideItsCalls(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	write(t, openPeer(t, e.addresses[0]), e.address(l), "in flight")
	inside, goOn := make(chan int), make(chan struct{})
	q.calls.receive = func(fd int, into []mmsghdr) (int, unix.Errno) {
		inside <- fd
		<-goOn
		return receiveMessages(fd, into)
	}
	received := make(chan int)
	go func() {
		var b Batch
		_ = q.Recv(&b, patienceForTests)
		received <- b.N
	}()
	fd := <-inside
	unbound := make(chan struct{})
	go func() { e.Unbind(l); close(unbound) }()
	for e.port(l).socket.Load() != 0 {
		runtime.Gosched() // until Unbind has taken the port out of the table
	}
	if _, err := boundAddress(fd); err != nil {
		t.Errorf("the descriptor was closed while the queue was using it: %v", err)
	}
	close(goOn)
	if n := <-received; n != 1 {
		t.Errorf("received %d packets, want the one in flight", n)
	}
	<-unbound
	if _, err := boundAddress(fd); err == nil {
		t.Error("the descriptor is open after Unbind")
	}
}

// TestUnbindWhileFlooding binds and unbinds under a flood while strangers open sockets, which get the numbers of those
// just closed. Whatever is received must have been sent to an engine's port.
func TestUnbindWhileFlooding(t *testing.T) {
	const changes, most, width = 300, 1_000_000, 16
	e := openTest(t, Options{Addresses: loopbacks(t)[:1], Workers: 2})
	ports := bindPorts(t, e, 0, 0, width)
	var stop atomic.Bool
	var group sync.WaitGroup
	var received [2]atomic.Uint64
	for i := range e.queues {
		group.Go(func() { echoUntil(t, &stop, e.Queue(i), &received[i]) })
	}
	group.Go(func() { flood(t, &stop, e, ports) })
	peer := openPeer(t, e.addresses[0])
	flooded := func() bool { return received[0].Load() > changes && received[1].Load() > changes }
	for i := 0; i < changes || i < most && !flooded(); i++ {
		l := ports[i%width]
		e.Unbind(l)
		stranger, bound := predecessorSocket(t, e.addresses[0])
		write(t, peer, bound, "for the stranger")
		var buffer [64]byte
		if n, err := unix.Read(stranger, buffer[:]); err != nil || string(buffer[:n]) != "for the stranger" {
			t.Errorf("the stranger read %q, %v", buffer[:n], err)
		}
		unix.Close(stranger)
		if err := e.Bind(i%2, l); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	e.Queue(0).Wake()
	e.Queue(1).Wake()
	group.Wait()
	if !flooded() {
		t.Error("a queue received next to nothing: there was no flood")
	}
}

func echoUntil(t *testing.T, stop *atomic.Bool, q Queue, received *atomic.Uint64) {
	var b Batch
	for !stop.Load() {
		if err := q.Recv(&b, patienceForTests); err != nil {
			t.Error(err)
			return
		}
		for i := range b.Packets[:b.N] {
			if data := string(b.Packets[i].Data); data != "flood" {
				t.Errorf("received %q", data)
			}
		}
		received.Add(uint64(b.N))
		echo(&b)
		q.Send(&b)
	}
}

func flood(t *testing.T, stop *atomic.Bool, e *sockets, ports []Local) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.addresses[0], 0)))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for i := 0; !stop.Load(); i++ {
		_, _ = conn.WriteToUDPAddrPort([]byte("flood"), e.address(ports[i%len(ports)]))
	}
}
