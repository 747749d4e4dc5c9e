package load

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	maxMemory = 4 << 30 // bytes of frames and log together
	// Room of the log beside what is sent: a relay that doubles or invents packets is seen, and does not fill the memory.
	spareShare, spareEntries = 8, 4096
)

// volley is the packets of one run, ready-made, and the log of what arrived. Its memory is kept for the next run.
type volley struct {
	frames arena // count strides
	count  int
	length []uint8 // of each frame
	sentAt []int64 // CLOCK_MONOTONIC in nanoseconds; 0: not sent
	// untimed packets were sent at a time that is not known well enough.
	untimed []bool
	log     log

	order []uint32 // streams, in turn: packet k is of stream order[k%len(order)]
	place []int32  // of a stream in order, -1: not in this volley
	first []uint32 // number of each stream's first packet
}

// log keeps what arrived, as it arrived.
type log struct {
	bytes   arena // strides
	at      []int64
	untimed []bool   // nobody looked for so long that at says little
	length  []uint16 // of the frame, which may be longer than the stride
	n       int
	missed  uint64 // arrivals that found the log full
}

// add copies a frame into the log: length bytes, of which frame has the first stride at most.
func (l *log) add(at int64, untimed bool, frame []byte, length uint64) {
	if l.n == len(l.at) {
		l.missed++
		return
	}
	copy(l.bytes.slot(l.n), frame)
	l.at[l.n], l.untimed[l.n], l.length[l.n] = at, untimed, uint16(min(length, math.MaxUint16))
	l.n++
}

// frame returns entry i, nil if it was longer than anything that was sent.
func (l *log) frame(i int) []byte {
	if l.length[i] > stride {
		return nil
	}
	return l.bytes.slot(i)[:l.length[i]]
}

// arena is memory outside of Go's heap, present before it is used.
type arena []byte

func (a arena) slot(i int) []byte { return a[i*stride : (i+1)*stride : (i+1)*stride] }

// grow makes room for n strides; what was there is lost.
func (a *arena) grow(n int) error {
	if n*stride <= len(*a) {
		return nil
	}
	if err := a.release(); err != nil {
		return err
	}
	memory, err := unix.Mmap(-1, 0, n*stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("load: %d MB for %d packets: %w", n*stride>>20, n, err)
	}
	*a = memory
	unix.Madvise(memory, unix.MADV_HUGEPAGE) // cheaper where the kernel has it
	if err := unix.Madvise(memory, unix.MADV_POPULATE_WRITE); err != nil {
		return errors.Join(fmt.Errorf("load: %d MB for %d packets: %w", n*stride>>20, n, err), a.release())
	}
	return nil
}

func (a *arena) release() error {
	memory := *a
	*a = nil
	if memory == nil {
		return nil
	}
	return unix.Munmap(memory)
}

// prepare makes count packets of the streams in order, in turn, and an empty log.
func (v *volley) prepare(streams []stream, order []uint32, count int) error {
	entries := count + count/spareShare + spareEntries
	if need := (count + entries) * stride; need > maxMemory {
		return fmt.Errorf("load: %d packets need %d MB, %d are allowed: a shorter run or a lower rate", count, need>>20, maxMemory>>20)
	}
	if err := errors.Join(v.frames.grow(count), v.log.bytes.grow(entries)); err != nil {
		return err
	}
	v.count, v.order = count, order
	v.length, v.sentAt, v.untimed = make([]uint8, count), make([]int64, count), make([]bool, count)
	v.log = log{bytes: v.log.bytes, at: make([]int64, entries), untimed: make([]bool, entries), length: make([]uint16, entries)}
	clear(v.sentAt) // present before they are used
	clear(v.untimed)
	clear(v.log.at)
	clear(v.log.untimed)
	clear(v.log.length)
	v.place, v.first = make([]int32, len(streams)), make([]uint32, len(streams))
	for i := range streams {
		v.place[i], v.first[i] = -1, streams[i].next
	}
	for i, id := range order {
		v.place[id] = int32(i)
	}
	return v.fill(streams)
}

// fill makes the frames, on all CPUs: the timed part has not begun.
func (v *volley) fill(streams []stream) error {
	return inParallel(func(worker, workers int) error {
		scratch := make([]byte, stride)
		for turn := worker; turn < len(v.order); turn += workers {
			s := &streams[v.order[turn]]
			for k := turn; k < v.count; k += len(v.order) {
				n, err := s.write(v.frames.slot(k), scratch)
				if err != nil {
					return err
				}
				v.length[k] = uint8(n)
			}
		}
		return nil
	})
}

// frame returns packet k.
func (v *volley) frame(k int) []byte { return v.frames.slot(k)[:v.length[k]] }

// index returns which packet of the volley a stream's number is.
func (v *volley) index(id, number uint32) (k int, ok bool) {
	turn, since := v.place[id], number-v.first[id]
	if turn < 0 || uint64(since) >= uint64(v.count) {
		return 0, false
	}
	k = int(since)*len(v.order) + int(turn)
	return k, k < v.count && v.sentAt[k] != 0
}

func (v *volley) release() error { return errors.Join(v.frames.release(), v.log.bytes.release()) }

// inParallel runs part once for each CPU.
func inParallel(part func(worker, workers int) error) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { errs[w] = part(w, workers) })
	}
	all.Wait()
	return errors.Join(errs...)
}
