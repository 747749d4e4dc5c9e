package relay

import (
	"testing"

	"tandem/relay/netio"
)

// bell counts who rings.
type bell struct {
	netio.Queue
	rung int
}

func (b *bell) Wake() { b.rung++ }

// A worker that is awake may have done a command before the one who asked for it comes to wake it. That wake is not to count for the next
// command, for which a worker that has gone to sleep would be woken by the clock only.
func TestAWakeThatCameAfterItsCommandWasDoneDoesNotSilenceTheNext(t *testing.T) {
	b := &bell{}
	w := &worker{queue: b, commands: commands{queue: make(chan func(int64), commandDepth)}}
	done := 0
	queue := func() { // what do and ask do before they hurry
		w.commands.queue <- func(int64) { done++ }
		w.commands.waiting.Store(true)
	}
	queue()
	w.obey(0) // it was awake
	w.hurry()
	w.obey(0) // the wake ended its next wait, with nothing to do
	if done != 1 || b.rung != 1 {
		t.Fatalf("%d commands done, woken %d times", done, b.rung)
	}
	queue()
	w.hurry() // it sleeps
	if b.rung != 2 {
		t.Error("nobody wakes it for the next command")
	}
	w.obey(0)
	if done != 2 {
		t.Errorf("%d commands done, want 2", done)
	}
}
