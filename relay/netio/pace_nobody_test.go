package netio

import "testing"

// What is nobody's is in no batch, but a worker that naps beside a full ring loses what is somebody's.
func TestAWorkerDoesNotNapOverWhatIsNobodys(t *testing.T) {
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{Poll: maxPoll})
		l, peer := bindPorts(t, e, 0, 0, 1)[0], p.peer(t, far4)
		const many = 10 * BatchSize
		for range many {
			write(t, peer, e.address(l), "for a call that ended")
		}
		e.Unbind(l)
		pace := &e.base().queues[0].pace
		var b Batch
		looks, all := 0, uint64(0)
		for end := Now() + int64(patienceForTests); all < many && Now() < end; {
			before := e.Queue(0).Stats().Unmatched
			pace.steady, pace.full = true, false
			must(t, e.Queue(0).Recv(&b, 0))
			n := e.Queue(0).Stats().Unmatched - before
			if all += n; n >= BatchSize {
				if looks++; pace.due() {
					t.Fatalf("it naps after a look that found %d packets of nobody's", n)
				}
			}
		}
		if looks == 0 {
			t.Errorf("no look found many, of %d", all)
		}
	})
}
