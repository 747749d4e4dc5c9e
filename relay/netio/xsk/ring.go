package xsk

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is what a ring holds: addresses of frames (fill and completion), or descriptors of packets (receive and send).
type entry interface{ uint64 | unix.XDPDesc }

// ring is one of a socket's four rings in memory that is shared with the kernel (networking/af_xdp.rst): one side puts entries
// in and moves the producer's index, the other takes them out and moves the consumer's. Indices count on for ever and wrap at
// 2^32; which entry one means are its low bits. A ring is used by one goroutine on this side.
type ring[T entry] struct {
	producer, consumer, flags *uint32 // the kernel's memory
	entries                   []T
	at                        uint32 // this side's index, published or not
	far                       uint32 // the other side's, as it was seen last
	memory                    []byte // what was mapped
}

// mapRing maps a ring of n entries, which is a power of two, at the page offset that names it.
func mapRing[T entry](fd int, page int64, at unix.XDPRingOffset, n int) (ring[T], error) {
	var zero T
	size := int(at.Desc) + n*int(unsafe.Sizeof(zero))
	memory, err := unix.Mmap(fd, page, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return ring[T]{}, fmt.Errorf("mmap %d bytes of the ring at %#x: %w", size, page, err)
	}
	base := unsafe.Pointer(unsafe.SliceData(memory))
	return ring[T]{
		producer: (*uint32)(unsafe.Add(base, at.Producer)),
		consumer: (*uint32)(unsafe.Add(base, at.Consumer)),
		flags:    (*uint32)(unsafe.Add(base, at.Flags)),
		entries:  unsafe.Slice((*T)(unsafe.Add(base, at.Desc)), n),
		memory:   memory,
	}, nil
}

func (r *ring[T]) unmap() error {
	if r.memory == nil {
		return nil
	}
	err := unix.Munmap(r.memory)
	*r = ring[T]{}
	return err
}

// room returns how many entries can be put in, at least want if there is room for them: the kernel's index, whose cache line
// the kernel's processor holds, is read only when the last look does not suffice.
func (r *ring[T]) room(want uint32) uint32 {
	size := uint32(len(r.entries))
	if free := size - (r.at - r.far); free >= want {
		return free
	}
	r.far = atomic.LoadUint32(r.consumer)
	return size - (r.at - r.far)
}

// put adds an entry that the kernel sees after publish. There is room.
func (r *ring[T]) put(v T) {
	r.entries[r.at&uint32(len(r.entries)-1)] = v
	r.at++
}

func (r *ring[T]) publish() { atomic.StoreUint32(r.producer, r.at) }

// filled returns how many entries wait to be taken, at least want if there are so many.
func (r *ring[T]) filled(want uint32) uint32 {
	if n := r.far - r.at; n >= want {
		return n
	}
	r.far = atomic.LoadUint32(r.producer)
	return r.far - r.at
}

// take removes the next entry. There is one. Its place is the kernel's again after release.
func (r *ring[T]) take() T {
	v := r.entries[r.at&uint32(len(r.entries)-1)]
	r.at++
	return v
}

func (r *ring[T]) release() { atomic.StoreUint32(r.consumer, r.at) }

// wantsWakeup tells whether the kernel waits to be called before it looks at this ring.
func (r *ring[T]) wantsWakeup() bool {
	return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0
}
