package netio

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOverflowsAreCountedAndTheSumIsWhatWasSent(t *testing.T) {
	for slot, address := range loopbacks(t) {
		t.Run(address.String(), func(t *testing.T) {
			e := openTest(t, Options{Addresses: loopbacks(t), RcvBuf: 1}) // the kernel makes it its minimum, a packet or two
			q := e.Queue(0)
			l := bindPorts(t, e, 0, slot, 1)[0]
			peer := openPeer(t, address)
			var b Batch
			sent, received := uint64(0), uint64(0)
			for range 2 * BatchSize {
				write(t, peer, e.address(l), "more than fits")
				sent++
			}
			// A datagram reports the drops before it, so one that is received after the flood settles the account.
			for range 1000 {
				for recv(t, q, &b); b.N > 0; {
					received += uint64(b.N)
					if err := q.Recv(&b, 0); err != nil {
						t.Fatal(err)
					}
				}
				if overflows := q.Stats().Overflows; overflows > 0 && received+overflows == sent {
					return
				}
				write(t, peer, e.address(l), "and one more")
				sent++
			}
			t.Errorf("sent %d, received %d, overflows %d", sent, received, q.Stats().Overflows)
		})
	}
}

func TestOverflowsOfAPortThatIsUnboundAreCounted(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1], RcvBuf: 1})
	l := bindPorts(t, e, 0, 0, 1)[0]
	fd, _ := e.descriptor(l)
	peer := openPeer(t, e.addresses[0])
	const enough = 10
	dropUntil(t, fd, enough, func() { write(t, peer, e.address(l), "never received") })
	e.Unbind(l)
	first := e.Queue(0).Stats().Overflows
	if first < enough {
		t.Errorf("%d overflows after unbind, want %d or more", first, enough)
	}
	if err := e.Bind(0, l); err != nil {
		t.Fatal(err)
	}
	e.Unbind(l)
	if again := e.Queue(0).Stats().Overflows; again != first {
		t.Errorf("%d overflows after a quiet port, want %d as before", again, first)
	}
}

// TestOverflowsOfAnInheritedSocketAreNotOurs takes over a socket whose waiting datagram carries an older drop count than
// the socket has: the difference is negative and must not be added.
func TestOverflowsOfAnInheritedSocketAreNotOurs(t *testing.T) {
	address := loopbacks(t)[0]
	fd, bound := predecessorSocket(t, address)
	if err := setReceiveOptions(fd, 1); err != nil {
		t.Fatal(err)
	}
	peer := openPeer(t, address)
	dropUntil(t, fd, 10, func() { write(t, peer, bound, "before") })
	var buffer [64]byte
	for {
		if _, _, err := unix.Recvfrom(fd, buffer[:], unix.MSG_DONTWAIT); err != nil {
			break
		}
	}
	before, err := socketDrops(fd)
	if err != nil {
		t.Fatal(err)
	}
	dropUntil(t, fd, before+10, func() { write(t, peer, bound, "waiting, queued after the first drops") })

	e := openTest(t, Options{Addresses: []netip.Addr{address}, RcvBuf: 1,
		Registry: NewRegistry(map[string]int{"udp/" + bound.String(): fd})})
	if err := e.Bind(0, MakeLocal(0, bound.Port())); err != nil {
		t.Fatal(err)
	}
	q, b := e.queues[0], Batch{}
	recv(t, q, &b)
	if a := q.in.ancillary(0); !a.hasDrops || a.drops < 10 {
		t.Fatalf("the datagram carries %+v: the test does not test what it says", a)
	}
	if overflows := q.Stats().Overflows; overflows != 0 {
		t.Errorf("%d overflows, want none since the socket is ours", overflows)
	}
}

func dropUntil(t *testing.T, fd int, count uint32, send func()) {
	t.Helper()
	for dropped := uint32(0); dropped < count; {
		send()
		var err error
		if dropped, err = socketDrops(fd); err != nil {
			t.Fatal(err)
		}
	}
}
