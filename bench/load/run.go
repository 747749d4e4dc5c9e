package load

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

const (
	burst  = 32                     // packets at most that are added to the card's ring at once, however late the generator is
	salvo  = 16                     // packets at most that leave between two looks at what arrived
	gulp   = 64                     // packets at most that are logged between two looks
	lead   = time.Millisecond       // from starting the clock to the first due time
	settle = 300 * time.Millisecond // without an arrival after the last packet: the rest is lost
	quiet  = 50 * time.Millisecond  // the same if exactly as many arrived as were sent; a relay may have doubled some
	behind = 2 * time.Second        // a generator that is so late gives up: nothing takes its packets
	catch  = 0.8                    // after a stall, packets follow each other in this share of their proper distance

	// timed is how exactly a packet's times must be known for its delay to count: the sink had seen all that had arrived so short a time
	// before the packet was stamped, and the generator took no longer to send it. It is more than a turn takes that sends salvo packets and
	// receives as many as it may: who is later was not busy but away.
	timed = 100 * time.Microsecond

	// Moderation is how long packets gather before they leave together: what a network card waits before it interrupts
	// (interrupt moderation; tens of microseconds by default). A veth pair has no such thing, and without it every packet
	// wakes the receive thread and the relay anew, which in a virtual machine costs several times the work itself.
	Moderation = 50 * time.Microsecond
)

// clock reads CLOCK_MONOTONIC in nanoseconds, as the program that stamps arrivals does, without a system call.
type clock struct {
	start  time.Time
	offset int64
}

// newClock compares the two clocks a few times and keeps the closest comparison.
func newClock() (c clock, err error) {
	c.start = time.Now()
	closest := int64(math.MaxInt64)
	for range 100 {
		var now unix.Timespec
		before := time.Since(c.start)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return c, fmt.Errorf("load: clock: %w", err)
		}
		after := time.Since(c.start)
		if apart := int64(after - before); apart < closest {
			closest, c.offset = apart, now.Nano()-int64(before+after)/2
		}
	}
	return c, nil
}

func (c *clock) now() int64 { return int64(time.Since(c.start)) + c.offset }

// shot is one timed part.
type shot struct {
	card   *card
	sink   *sink
	pump   pump
	v      *volley
	now    func() int64 // of a clock
	every  float64      // nanoseconds from packet to packet
	settle time.Duration
	stop   *atomic.Bool // ends it early

	start   int64  // when packet 0 is due
	looked  int64  // when the sink began to look at its device for the last time and saw all that was there
	turned  int64  // when the last turn began
	away    int64  // when the first turn began after the load's CPU was away for the last time
	sent    int    // packets 0 to sent-1 were handed over
	paced   int64  // not before: a stall of ours must not overrun the relay, as no 20 ms of real streams would
	starved uint64 // packets that found the card's ring full because the relay's side did not take those before them
	overrun uint64 // packets that found it full because the generator was so late
	sendErr error  // ended it
}

// fire sends the volley on its schedule and logs what arrives, on the load's CPU and without garbage collection. before
// and after run directly around it, on that CPU.
func (s *shot) fire(cpu int, before, after func() error) (err error) {
	release, err := rig.Occupy(cpu)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	runtime.GC() // one that runs now would go on into the timed part
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if err := before(); err != nil {
		return err
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		if err := rig.GoFirst(); err != nil {
			done <- err
			return
		}
		s.loop()
		done <- nil
	}()
	if err := <-done; err != nil {
		return err
	}
	return after()
}

// loop is generator and sink in turn. It spins: the CPU is theirs, and whoever sleeps is late.
func (s *shot) loop() {
	s.start = s.now() + int64(lead)
	s.looked, s.turned = s.start, s.start
	last := s.start // packet sent or received
	giveUp := s.start + int64(float64(s.v.count)*s.every) + int64(behind)
	for s.sent < s.v.count && s.sendErr == nil && !s.stop.Load() {
		now := s.now()
		if due := s.due(now); due > s.sent && now >= s.paced {
			n := min(due-s.sent, burst)
			s.add(n, now)
			s.paced = now + int64(float64(n)*s.every*catch)
			last = now
		}
		s.push(now)
		s.receive()
		if now > giveUp {
			break
		}
	}
	for !s.stop.Load() {
		now := s.now()
		if s.sendErr == nil {
			s.push(now)
		}
		if s.receive() > 0 {
			last = now
		}
		silence := now - last
		if silence > int64(s.settle) || silence > int64(quiet) && s.v.log.n == s.sent {
			return
		}
	}
}

// due returns how many packets should have been sent by now: those scheduled up to the last whole Moderation.
func (s *shot) due(now int64) int {
	if now < s.start {
		return 0
	}
	passed := now - s.start
	return min(int(float64(passed-passed%int64(Moderation))/s.every)+1, s.v.count)
}

// scheduled returns when packet k is due, in nanoseconds after the start.
func (s *shot) scheduled(k int) int64 {
	at := int64(float64(k) * s.every)
	return (at + int64(Moderation) - 1) / int64(Moderation) * int64(Moderation)
}

// add puts the next n packets into the card's ring.
func (s *shot) add(n int, now int64) {
	for range n {
		if !s.card.put(s.sent) { // the wire drops this one
			if s.card.waited(s.card.head) {
				s.starved++
			} else {
				s.overrun++
			}
		}
		s.v.sentAt[s.sent] = now
		s.sent++
	}
}

// push sends what waits in the card's ring. A packet that waited there for the relay was sent when it was added, for that is part
// of its delay, unless it waited for the generator as well, and any other just before it left.
func (s *shot) push(now int64) {
	if now-s.turned > int64(timed) {
		s.away = now
	}
	s.turned = now
	first := s.card.head
	if first == s.card.tail {
		return
	}
	s.sendErr = s.card.push(s.v, salvo)
	late := s.now()-now > int64(timed)
	for i := first; i != s.card.head; i++ {
		k := s.card.waiting[i%cardRing]
		if !s.card.waited(i) {
			s.v.sentAt[k] = now
		}
		s.v.untimed[k] = late || s.v.sentAt[k] < s.away
	}
}

// receive logs what arrived.
func (s *shot) receive() int {
	now := s.now()
	s.pump.turn()
	n := s.sink.receive(&s.v.log, s.looked+int64(timed))
	if n < 2*pumpBudget { // none is left
		s.looked = now
	}
	return n
}
