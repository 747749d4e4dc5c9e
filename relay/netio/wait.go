package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed is wrapped by Recv after the engine was closed.
var ErrClosed = errors.New("the engine is closed")

const (
	// wakeGeneration marks the wake event among the events of sockets, whose generations are never 0.
	wakeGeneration = 0
)

// waiting is what a queue waits with, whatever it receives from: an epoll set of its own, and an event in it by which
// other goroutines end the wait.
//
// The set is level-triggered. Edges would save one look at a socket per wake-up (BenchmarkForward shows no difference),
// but an edge is lost whenever recvmmsg returns fewer datagrams than there are, which it also does when an error ends
// it early; a port would then stay silent until the next datagram. With levels what one visit leaves behind is simply
// reported again.
type waiting struct {
	registry *Registry
	number   int // of the queue
	epoll    int
	closed   atomic.Bool
	pace     pace // worker only
	lending  lending

	wakeLock  sync.Mutex // Wake against close: never write to a descriptor number that was given away
	wake      int        // eventfd; -1 after close
	wakeOne   [8]byte    // what Wake writes
	wakeCount [8]byte    // what drainWake reads; worker only
}

func (w *waiting) openWaiting(r *Registry, number int, longestNap time.Duration) error {
	w.registry, w.number, w.wake = r, number, -1
	w.pace = makePace(longestNap)
	binary.NativeEndian.PutUint64(w.wakeOne[:], 1)
	var err error
	w.epoll, err = openFresh(r, w.epollName(), func() (int, error) {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		return fd, os.NewSyscallError("epoll_create1", err)
	})
	if err != nil {
		return err
	}
	w.wake, err = openFresh(r, w.wakeName(), func() (int, error) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		return fd, os.NewSyscallError("eventfd", err)
	})
	if err != nil {
		return errors.Join(err, r.Close(w.epollName()))
	}
	if err := w.watch(w.wake, Local(number), wakeGeneration); err != nil {
		return errors.Join(fmt.Errorf("%s: epoll_ctl(ADD): %w", w.wakeName(), err), w.closeWaiting())
	}
	return nil
}

func (w *waiting) epollName() string { return fmt.Sprintf("epoll/%d", w.number) }
func (w *waiting) wakeName() string  { return fmt.Sprintf("wake/%d", w.number) }

// openFresh opens a descriptor that is never taken over: a predecessor's epoll set would report its registrations, and
// its eventfd would still be written to. An inherited one is closed.
func openFresh(r *Registry, name string, create func() (int, error)) (int, error) {
	fd, inherited, err := r.Open(name, create)
	if err == nil && inherited {
		if err = r.Close(name); err == nil {
			fd, _, err = r.Open(name, create)
		}
	}
	return fd, err
}

// watch makes the queue see what comes to fd. An event carries the port and its generation, not the descriptor, whose
// number may mean another socket by the time the event is read.
func (w *waiting) watch(fd int, l Local, generation uint32) error {
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l), Pad: int32(generation)})
}

// unwatch takes fd out of the epoll set. Closing would do that only if no other process held the same socket.
func (w *waiting) unwatch(fd int) {
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil) // ENOENT when watch had failed: then there is nothing to undo
}

// Wake implements Queue. A wake that finds no Recv waiting ends the next one that would wait.
func (w *waiting) Wake() {
	w.wakeLock.Lock()
	defer w.wakeLock.Unlock()
	if w.wake >= 0 {
		_, _ = unix.Write(w.wake, w.wakeOne[:]) // EAGAIN means the counter is full: the queue wakes anyway
	}
}

// Borrow implements Queue.
func (w *waiting) Borrow(f func()) bool { return w.lending.borrow(f) }

// nap sleeps by the clock until the next look.
func (w *waiting) nap() {
	w.lending.offer()
	w.pace.nap()
	w.lending.reclaim()
}

// drainWake takes back all wakes up to now. The descriptor is the worker's to read until close, which the worker's end
// precedes.
func (w *waiting) drainWake() {
	_, _ = unix.Read(w.wake, w.wakeCount[:]) // EAGAIN: it was drained before
}

// closeWaiting gives the wait's own descriptors back.
func (w *waiting) closeWaiting() error {
	w.wakeLock.Lock()
	defer w.wakeLock.Unlock()
	if w.closed.Swap(true) {
		return nil
	}
	w.wake = -1
	return errors.Join(w.registry.Close(w.wakeName()), w.registry.Close(w.epollName()))
}

// patience is what is left of a Recv's wait. The clock is read only once there was nothing to receive.
type patience struct {
	wait  time.Duration
	until int64 // end of the wait on the clock of Now; 0 before the first look at the clock
}

func (p *patience) left() time.Duration {
	if p.wait <= 0 {
		return 0
	}
	now := Now()
	if p.until == 0 {
		p.until = now + int64(p.wait)
	}
	return time.Duration(p.until - now)
}

// milliseconds is a wait in the unit of epoll_wait(2): at least 1, else the last fraction would be spent spinning.
func milliseconds(left time.Duration) int {
	return int(min(max(left/time.Millisecond, 1), math.MaxInt32))
}

// section tells when a worker is inside calls that use descriptors from the port table. Unbind takes a port out of the
// table, awaits quiet, and then no worker can use the descriptor any more.
type section struct {
	turns atomic.Uint64 // odd inside; worker writes
}

func (s *section) enter() { s.turns.Add(1) }
func (s *section) leave() { s.turns.Add(1) }

// awaitQuiet returns when the worker is outside the calls it may be in now.
func (s *section) awaitQuiet() {
	before := s.turns.Load()
	if before%2 == 0 {
		return
	}
	Await(func() bool { return s.turns.Load() != before })
}
