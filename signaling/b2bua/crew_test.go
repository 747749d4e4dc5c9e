package b2bua

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/emiago/sipgo/sip"
)

func TestMailboxKeepsItsOrderAndItsBound(t *testing.T) {
	var m mailbox
	var got []int
	for i := range 3 * mailboxRoom {
		if ok, begin := m.put(func() { got = append(got, i) }, 3*mailboxRoom); !ok || begin != (i == 0) {
			t.Errorf("message %d: taken %t, a worker wanted %t", i, ok, begin)
		}
	}
	if ok, _ := m.put(func() {}, 3*mailboxRoom); ok || m.len() != 3*mailboxRoom {
		t.Errorf("one too many was taken: %d", m.len())
	}
	m.ring()
	if do, due := m.next(); do != nil || !due {
		t.Error("a deadline waits behind messages")
	}
	for do, _ := m.next(); do != nil; do, _ = m.next() {
		do()
	}
	if len(got) != 3*mailboxRoom || !slices.IsSorted(got) || !m.rest() {
		t.Errorf("order %v", got)
	}
	if ok, begin := m.put(func() {}, 1); !ok || !begin || m.rest() {
		t.Error("what comes after a rest is not worked on")
	}
	if m.last() == nil || m.isEnded() || m.last() != nil || !m.isEnded() {
		t.Error("the mailbox did not close behind its last message")
	}
	if ok, _ := m.put(func() {}, 1); ok || m.ring() {
		t.Error("a closed mailbox takes something")
	}
}

func TestCallThatOnlyTalksHasNoGoroutine(t *testing.T) {
	w := newWorld(t)
	w.call().hangUp() // the stack and its workers run from now on
	w.record()
	go w.gw1.serve()
	before := runtime.NumGoroutine() + 2 // the last goroutines of the stack may not have begun
	open := w.place(4*callsAtOnce, callsAtOnce, func() {})
	eventually(t, "the workers to go home", func() bool { return runtime.NumGoroutine() <= before })
	w.hangUp(open, func() {})
	w.gone()
}

func TestWorkersThatNobodyNeededGoHome(t *testing.T) {
	var crew crew
	list := []*worker{{make(chan *call, 1)}, {make(chan *call, 1)}, {make(chan *call, 1)}}
	for _, w := range list {
		crew.rest(w)
	}
	crew.thin(false) // they have just come
	if w := crew.pick(); w != list[2] || !crew.rest(w) {
		t.Error("not the one that rested last works next")
	}
	crew.thin(false)
	if len(list[0].calls) != 1 || len(list[1].calls) != 1 || len(list[2].calls) != 0 || crew.pick() != list[2] || crew.pick() != nil {
		t.Error("not the two that nobody needed went home")
	}
	if crew.thin(true); crew.rest(list[2]) {
		t.Error("one rests after everybody was sent home")
	}
}

// The INVITE of an answered call waits for repeated answers for half a minute longer than most calls that end soon.
func TestTransactionsDoNotKeepACallThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		p.answer(0, 200, "callee", true)
		synctest.Wait()
		p.fromCaller(0, sip.ACK, "")
		p.seq++
		p.fromCaller(0, sip.BYE, "")
		synctest.Wait()
		p.answer(1, 200, "callee", false)
		synctest.Wait()
		<-p.records
		over := weak.Make(p.calls[0])
		p.calls, p.invites = nil, nil
		if p.b.Stats().Table != 0 {
			t.Fatal("the call is not over")
		}
		p.relay.forget()
		runtime.GC()
		runtime.GC()
		if over.Value() != nil {
			t.Error("its transactions keep the call in memory")
		}
		p.stack.at(0).on(sip.NewResponse(200, "OK"), nil) // it comes to nobody
		p.over(t)
	})
}

func TestWhatWasShownOfACallStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		early := p.b.Calls()
		p.answer(0, 503, "callee", false)
		synctest.Wait()
		later := p.b.Calls()
		if len(early) != 1 || len(early[0].Tried) != 1 || early[0].Tried[0].Code != 0 {
			t.Errorf("before: %+v", early)
		}
		if len(later) != 1 || len(later[0].Tried) != 2 || later[0].Tried[0].Code != 503 {
			t.Errorf("after: %+v", later)
		}
		p.over(t)
	})
}

func TestThoseWhoBeginToWaitTogetherShareAContextThatIsNeverShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &B2BUA{t: Timers{Control: 32 * time.Second}}
		first, began := b.patience(), time.Now()
		time.Sleep(time.Second) // as long as patienceShare makes it
		if b.patience() != first {
			t.Error("not shared")
		}
		time.Sleep(time.Nanosecond)
		second, later := b.patience(), time.Now()
		<-first.Done()
		if waited := time.Since(began); waited != 33*time.Second || !errors.Is(first.Err(), context.DeadlineExceeded) {
			t.Errorf("%s, %v", waited, first.Err())
		}
		<-second.Done()
		if waited := time.Since(later); waited != 33*time.Second {
			t.Errorf("the second %s", waited)
		}
	})
}

func TestLinesOfACallCarryItsIDAsIfTheyAlwaysHad(t *testing.T) {
	var ours, plain bytes.Buffer
	untimed := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	a := newCallLog(slog.New(slog.NewTextHandler(&ours, untimed)).With("plane", "sip"), "id1")
	b := slog.New(slog.NewTextHandler(&plain, untimed)).With("plane", "sip").With("call", "id1")
	for _, l := range []*slog.Logger{a, b} {
		l.Debug("left out")
		l.Info("one", "x", 1)
		l.With("leg", "a").WithGroup("g").Warn("two", "y", 2)
		l.Error("three")
	}
	if ours.String() != plain.String() || strings.Count(ours.String(), "call=id1") != 3 {
		t.Errorf("\n%swant\n%s", &ours, &plain)
	}
}

func TestAMailboxKeepsNothingAndNeverGrowsBeyondItsBound(t *testing.T) {
	var m mailbox
	m.put(func() {}, mailboxSize)
	for range 100 * mailboxSize { // it is never empty
		m.put(func() {}, mailboxSize)
		if do, _ := m.next(); do == nil {
			t.Fatal("a message is lost")
		}
	}
	for range mailboxSize {
		m.put(func() {}, mailboxSize)
	}
	if m.len() != mailboxSize || cap(m.queue) > 2*mailboxSize {
		t.Errorf("%d messages wait in room for %d", m.len(), cap(m.queue))
	}
	for do, _ := m.next(); do != nil; do, _ = m.next() {
	}
	for i, do := range append(m.queue[:cap(m.queue)], m.first[:]...) {
		if do != nil {
			t.Fatalf("message %d is kept after it was taken", i)
		}
	}
}

func TestADeadlineDoesNotWaitUntilAFloodOfMessagesIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		c, start := p.calls[0], time.Now()
		fired := make(chan time.Duration, 1)
		var again func()
		left := 600
		again = func() { // each message brings the next before it is done
			if left--; left > 0 {
				c.postOwn(again)
			}
			time.Sleep(100 * time.Millisecond)
		}
		c.postOwn(func() {
			c.timers.after(time.Second, func() { fired <- time.Since(start) })
			again()
		})
		if after := <-fired; after > 2*time.Second {
			t.Errorf("a deadline of 1 s came after %s", after)
		}
		p.over(t)
	})
}
