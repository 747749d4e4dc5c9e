package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

const (
	sinkRing = 1 << 20 // bytes between the device and the sink, 3,744 packets: a power of two and of pages

	// A record of the program's, and the word that the kernel puts before it (kernel/bpf/ringbuf.c): 4 bytes of length with
	// two flags, 4 of its own.
	recordStamp, recordLength, recordFrame = 0, 8, 16
	recordBytes                            = recordFrame + stride
	recordHeader                           = 8
	recordBusy                             = 1 << 31
)

// sink is a program on the load's device that stamps each datagram and copies it into a ring, and the ring's reading side. Nothing
// more happens to the packet: no socket, no page of its own. Its methods belong to one goroutine. Receiving makes no allocation.
type sink struct {
	ring     *ebpf.Map
	lost     *ebpf.Map // one counter: packets that found the ring full
	program  *ebpf.Program
	link     link.Link
	memory   [2][]byte // the consumer's page; the producer's page with the ring, twice in a row
	consumer *uint64
	producer *uint64
	data     []byte // the ring, twice in a row: no record is cut
	at       uint64
}

// openSink must run inside the load's namespace.
func openSink(device rig.Device) (s *sink, err error) {
	s = &sink{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("load: sink on %s: %w", device.Name, err), s.close())
			s = nil
		}
	}()
	if s.ring, err = ebpf.NewMap(&ebpf.MapSpec{Name: "sink", Type: ebpf.RingBuf, MaxEntries: sinkRing}); err != nil {
		return s, fmt.Errorf("ring of %d bytes: %w", sinkRing, err)
	}
	if s.lost, err = ebpf.NewMap(&ebpf.MapSpec{Name: "lost", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return s, fmt.Errorf("counter: %w", err)
	}
	if err := s.mapRing(); err != nil {
		return s, fmt.Errorf("map the ring: %w", err)
	}
	if s.program, err = newCatcher(s.ring, s.lost); err != nil {
		return s, err
	}
	// A link is gone with its last descriptor, however this process ends.
	s.link, err = link.AttachTCX(link.TCXOptions{Program: s.program, Interface: device.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return s, fmt.Errorf("attach program (Linux 6.6): %w", err)
	}
	return s, nil
}

func (s *sink) mapRing() (err error) {
	page := unix.Getpagesize()
	if s.memory[0], err = unix.Mmap(s.ring.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	if s.memory[1], err = unix.Mmap(s.ring.FD(), int64(page), page+2*sinkRing, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return err
	}
	s.consumer = (*uint64)(unsafe.Pointer(&s.memory[0][0]))
	s.producer = (*uint64)(unsafe.Pointer(&s.memory[1][0]))
	s.data = s.memory[1][page:]
	return nil
}

// receive hands up to gulp packets to into, which may be nil: then they are dropped. Stamps after until are too late to say when it arrived.
func (s *sink) receive(into *log, until int64) (n int) {
	for end := atomic.LoadUint64(s.producer); s.at != end && n < gulp; n++ {
		r := s.data[s.at&(sinkRing-1):][: recordHeader+recordBytes : recordHeader+recordBytes]
		if atomic.LoadUint32((*uint32)(unsafe.Pointer(&r[0])))&recordBusy != 0 {
			break
		}
		r = r[recordHeader:]
		if into != nil {
			at := int64(binary.NativeEndian.Uint64(r[recordStamp:]))
			into.add(at, at > until, r[recordFrame:], binary.NativeEndian.Uint64(r[recordLength:]))
		}
		s.at += recordHeader + recordBytes
	}
	atomic.StoreUint64(s.consumer, s.at)
	return n
}

// overflows returns how many packets found the ring full since it was made.
func (s *sink) overflows() (n uint64, err error) {
	if err := s.lost.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("load: counter of the sink: %w", err)
	}
	return n, nil
}

// close takes the program off the device.
func (s *sink) close() error {
	var errs []error
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.program != nil {
		errs = append(errs, s.program.Close())
	}
	for _, memory := range s.memory {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	for _, m := range []*ebpf.Map{s.lost, s.ring} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}
