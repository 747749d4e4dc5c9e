package netio

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAWorkerWhoseDeviceIsRemovedStillSleeps: nobody sends by the device, so nobody finds out by sending, and its socket must not report
// for ever that there is something to look at.
func TestAWorkerWhoseDeviceIsRemovedStillSleeps(t *testing.T) {
	const rounds = 10
	p := newPlace(t)
	addresses := p.second(t)
	e := openXDPTest(t, Options{Addresses: []netip.Addr{near4, addresses[0]}})
	q := e.queues[0]
	waits, wait := 0, q.calls.wait
	q.calls.wait = func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
		waits++
		return wait(epoll, into, milliseconds)
	}
	must(t, p.near.LinkDel(link(t, p.near, "td-near2")))
	var b Batch
	for settled := false; !settled; settled = waits == 1 { // what the kernel says while the device goes
		waits = 0
		must(t, q.Recv(&b, 20*time.Millisecond))
	}
	waits = 0
	for range rounds {
		must(t, q.Recv(&b, 20*time.Millisecond))
	}
	if waits > 3*rounds {
		t.Errorf("%d waits for %d calls that had nothing to receive", waits, rounds)
	}
}
