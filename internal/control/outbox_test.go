package control

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate is a connection whose every write waits to be let through.
type gate struct {
	transport
	begun chan string // what a write holds, when it begins
	pass  chan error  // its end
}

func newGate() *gate { return &gate{begun: make(chan string, 100), pass: make(chan error, 100)} }

func (g *gate) Write(b []byte) (int, error) {
	g.begun <- string(b)
	return len(b), <-g.pass
}

func (g *gate) SetWriteDeadline(time.Time) error { return nil }

func line(s string) func([]byte) []byte { return func(b []byte) []byte { return append(b, s...) } }

func TestWhatGathersDuringAWriteIsOneMore(t *testing.T) {
	g := newGate()
	o := newOutbox(g, writeStall)
	o.add(line("a\n"))
	first := make(chan error, 1)
	go func() { first <- o.flush() }()
	if got := await(t, "a write", g.begun); got != "a\n" {
		t.Errorf("wrote %q", got)
	}
	for _, s := range []string{"b\n", "c\n", "d\n"} {
		o.add(line(s))
		if err := o.flush(); err != nil { // the first one sends it
			t.Error(err)
		}
	}
	g.pass <- nil
	if got := await(t, "a write", g.begun); got != "b\nc\nd\n" {
		t.Errorf("wrote %q", got)
	}
	g.pass <- nil
	if err := await(t, "the end", first); err != nil || len(g.begun) != 0 {
		t.Errorf("%v, %d writes more", err, len(g.begun))
	}
	if err := o.flush(); err != nil || len(g.begun) != 0 {
		t.Errorf("with nothing to send: %v, %d writes", err, len(g.begun))
	}
}

func TestALongWriteIsMadeInPartsSoThatEachHasItsTime(t *testing.T) {
	g := newGate()
	o := newOutbox(g, writeStall)
	long := strings.Repeat("x", 2*writeChunk+1)
	if full := o.add(line(long)); !full {
		t.Error("so much is not to be flushed at once")
	}
	for range 3 {
		g.pass <- nil
	}
	if err := o.flush(); err != nil {
		t.Error(err)
	}
	if a, b, c := <-g.begun, <-g.begun, <-g.begun; a+b+c != long || len(a) != writeChunk || len(b) != writeChunk {
		t.Errorf("parts of %d, %d and %d bytes", len(a), len(b), len(c))
	}
}

func TestWhoHasTooMuchToSayWaitsForTheWrite(t *testing.T) {
	g := newGate()
	o := newOutbox(g, writeStall)
	o.add(line("a"))
	var all sync.WaitGroup
	all.Go(func() { o.flush() })
	await(t, "a write", g.begun)
	o.add(line(strings.Repeat("b", maxWaiting)))
	added := make(chan struct{})
	all.Go(func() { o.add(line("c")); close(added) })
	select {
	case <-added:
		t.Error("added beyond the bound")
	default:
	}
	g.pass <- nil
	if got := await(t, "a write", g.begun); len(got) != maxWaiting {
		t.Errorf("wrote %d bytes", len(got))
	}
	await(t, "the line that waited", added)
	g.pass <- nil
	await(t, "the last write", g.begun)
	g.pass <- nil
	all.Wait()
}

func TestAFailedWriteIsFinalAndFreesWhoWaits(t *testing.T) {
	g := newGate()
	o := newOutbox(g, writeStall)
	o.add(line("a"))
	failed := make(chan error, 1)
	go func() { failed <- o.flush() }()
	await(t, "a write", g.begun)
	o.add(line(strings.Repeat("b", maxWaiting)))
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() { o.add(line("c")) })
	}
	broken := errors.New("broken")
	g.pass <- broken
	if err := await(t, "the failure", failed); err != broken {
		t.Errorf("got %v", err)
	}
	waiting.Wait()
	if err := o.flush(); err != broken || len(g.begun) != 0 {
		t.Errorf("afterwards: %v, %d writes", err, len(g.begun))
	}
	if o.waiting != nil || o.add(line("d")) || o.waiting != nil {
		t.Error("a broken connection holds lines")
	}
}

func TestALargeBufferIsNotHeldForTheRestOfTheConnection(t *testing.T) {
	g := newGate()
	o := newOutbox(g, writeStall)
	for range 100 {
		g.pass <- nil
	}
	o.add(line(strings.Repeat("x", 2*MaxLine)))
	o.flush()
	if held := cap(o.waiting) + cap(o.spare); held > 2*(keepBuffer+maxWaiting) {
		t.Errorf("%d bytes are held", held)
	}
}

// dated is a connection that notes its write deadlines.
type dated struct {
	transport
	deadlines []time.Time
}

func (d *dated) Write(b []byte) (int, error) { return len(b), nil }
func (d *dated) SetWriteDeadline(until time.Time) error {
	d.deadlines = append(d.deadlines, until)
	return nil
}

func TestEveryWriteHasItsTimeAndManyShareADeadline(t *testing.T) {
	d := &dated{}
	o := newOutbox(d, time.Hour)
	for range 100 {
		before := time.Now()
		o.add(line("a\n"))
		if err := o.flush(); err != nil {
			t.Fatal(err)
		}
		if last := d.deadlines[len(d.deadlines)-1]; last.Sub(before) < o.stall {
			t.Fatalf("a write has %v", last.Sub(before))
		}
	}
	if len(d.deadlines) != 1 {
		t.Errorf("%d deadlines for 100 writes", len(d.deadlines))
	}
	o.deadline = time.Now().Add(o.stall / 2)
	o.add(line("a\n"))
	if err := o.flush(); err != nil || len(d.deadlines) != 2 {
		t.Errorf("%v, %d deadlines when the first was too near", err, len(d.deadlines))
	}
}
