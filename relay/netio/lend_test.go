package netio

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestWhatTheWorkerHasIsLentToNobody(t *testing.T) {
	var l lending
	if l.borrow(func() { t.Error("borrowed from one who is awake") }) {
		t.Error("it says that it was")
	}
	l.offer()
	ran := false
	if !l.borrow(func() { ran = true }) || !ran {
		t.Error("not borrowed from one who sleeps")
	}
	l.reclaim()
	if l.borrow(func() { t.Error("borrowed after the sleep") }) {
		t.Error("it says that it was")
	}
}

func TestAWorkerThatWakesUpWaitsForTheLoanAndNoOther(t *testing.T) {
	var l lending
	l.offer()
	begun, end, back := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go l.borrow(func() { close(begun); <-end })
	<-begun
	var done atomic.Bool
	go func() { l.reclaim(); done.Store(true); close(back) }()
	for l.state.Load() == lent {
		runtime.Gosched()
	}
	if l.borrow(func() {}) {
		t.Error("lent again although the worker is back")
	}
	if done.Load() {
		t.Error("the worker did not wait for the loan")
	}
	close(end)
	<-back
	if l.borrow(func() {}) {
		t.Error("lent after the worker had everything back")
	}
}

// TestOneAtATime counts without any other protection: the race detector sees every moment at which two would.
func TestOneAtATime(t *testing.T) {
	const sleeps, borrowers = 2_000, 3
	var l lending
	var count, borrowed int
	var stop atomic.Bool
	var all sync.WaitGroup
	for range borrowers {
		all.Go(func() {
			for !stop.Load() {
				l.borrow(func() { count++; borrowed++ })
			}
		})
	}
	own := 0
	for own < sleeps || borrowed == 0 {
		count++
		own++
		l.offer()
		runtime.Gosched()
		l.reclaim()
	}
	stop.Store(true)
	all.Wait()
	if count != own+borrowed {
		t.Errorf("counted to %d, want %d", count, own+borrowed)
	}
}

func TestAQueueThatWaitsForPacketsLendsAndGoesOnWaiting(t *testing.T) {
	lend := func(t *testing.T, q Queue, say func()) {
		var b Batch
		received := make(chan error)
		go func() { received <- q.Recv(&b, patienceForTests) }()
		loans := 0
		for end := Now() + int64(patienceForTests); loans < 3 && Now() < end; runtime.Gosched() {
			if q.Borrow(func() { b.Packets[0] = Packet{} }) { // nobody else has it, or the race detector says so
				loans++
			}
		}
		say()
		must(t, <-received)
		if loans < 3 || b.N != 1 || string(b.Packets[0].Data) != "at last" {
			t.Errorf("%d loans, then %d packets", loans, b.N)
		}
		if q.Borrow(func() {}) {
			t.Error("lent although it does not wait")
		}
	}
	t.Run("sockets", func(t *testing.T) {
		e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
		peer, l := openPeer(t, e.addresses[0]), bindPorts(t, e, 0, 0, 1)[0]
		lend(t, e.Queue(0), func() { write(t, peer, e.address(l), "at last") })
	})
	onEachKind(t, func(t *testing.T, p *place, k kind) {
		e := k.open(t, Options{})
		peer, l := p.peer(t, far4), bindPorts(t, e, 0, 0, 1)[0]
		lend(t, e.Queue(0), func() { write(t, peer, e.address(l), "at last") })
	})
}
