package netio

import (
	"testing"

	"tandem/relay/netio/xsk"
)

func TestPacketsThatFindNoFrameAreCountedAndSoIsThatTheKernelFoundNone(t *testing.T) {
	p := newPlace(t)
	e := openXDPTest(t, Options{})
	peer, l := p.peer(t, far4), bindPorts(t, e, 0, 0, 1)[0]
	bounceUntil(t, e, peer, l, XDP)
	if s := e.Queue(0).Stats(); s.Overflows != 0 || s.Starved != 0 || s.Invalid != 0 {
		t.Fatalf("before: %+v", s)
	}
	const more = 100
	for range xsk.Depth + more {
		write(t, peer, e.address(l), "nobody takes it")
	}
	var s QueueStats
	for end := Now() + int64(patienceForTests); s.Overflows < more && Now() < end; {
		s = e.Queue(0).Stats()
	}
	if s.Overflows < more || s.Overflows > more+BatchSize || s.Starved == 0 || s.Invalid != 0 {
		t.Errorf("%d packets for %d frames: %+v", xsk.Depth+more, xsk.Depth, s)
	}
}
