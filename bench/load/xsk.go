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

// Sizes of the socket's rings and memory (networking/af_xdp.rst of the kernel).
const (
	chunk      = 2048 // bytes of one frame of the socket's memory: the kernel's least
	receivers  = 4096 // frames that wait for packets: 10 ms at 400,000 packets/s
	senders    = 4096 // frames that hold packets on their way: the receive ring of a network card, since veth's has 256
	frames     = receivers + senders
	sendBuffer = 8 << 20 // bytes of packets on their way that the socket may be charged with
)

// xsk is an AF_XDP socket on queue 0 of the load's device, with the program that feeds it. Its methods belong to one
// goroutine. Receiving and sending make no allocation.
type xsk struct {
	fd        int
	memory    []byte // frames chunks: receivers first
	fill      ring   // frames for packets to come, to the kernel
	rx        ring   // frames with packets, from the kernel
	tx        ring   // frames to send, to the kernel
	completed ring   // frames that were sent, from the kernel
	free      []uint32
	sockets   *ebpf.Map
	program   *ebpf.Program
	link      link.Link
}

// ring is one of the four rings, shared with the kernel. One side writes producer, the other consumer.
type ring struct {
	memory             []byte
	producer, consumer *uint32
	at                 uint32 // where this side is
	mask               uint32
	entries            unsafe.Pointer // uint64 of fill and completed, unix.XDPDesc of rx and tx
}

// openXSK must run inside the load's namespace.
func openXSK(device rig.Device) (x *xsk, err error) {
	x = &xsk{fd: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("load: AF_XDP socket on %s: %w", device.Name, err), x.close())
			x = nil
		}
	}()
	if x.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return x, err
	}
	if x.memory, err = unix.Mmap(-1, 0, frames*chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
		return x, fmt.Errorf("%d bytes of frames: %w", frames*chunk, err)
	}
	if err = x.configure(); err != nil {
		return x, err
	}
	for i := range uint32(receivers) {
		*x.fill.address(i) = uint64(i) * chunk
	}
	x.fill.at = receivers
	atomic.StoreUint32(x.fill.producer, x.fill.at)
	for i := range uint32(senders) {
		x.free = append(x.free, receivers+i)
	}
	// Copy mode is all that veth has for frames that its peer's kernel made.
	if err = unix.Bind(x.fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(device.Index)}); err != nil {
		return x, fmt.Errorf("bind: %w", err)
	}
	return x, x.attach(device.Index)
}

func (x *xsk) configure() error {
	region := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&x.memory[0]))), Len: frames * chunk, Size: chunk}
	if err := x.setOption(unix.XDP_UMEM_REG, unsafe.Pointer(&region), unsafe.Sizeof(region)); err != nil {
		return fmt.Errorf("register frames: %w", err)
	}
	for option, size := range map[int]int{
		unix.XDP_UMEM_FILL_RING: receivers, unix.XDP_RX_RING: receivers, unix.XDP_TX_RING: senders, unix.XDP_UMEM_COMPLETION_RING: senders,
	} {
		if err := unix.SetsockoptInt(x.fd, unix.SOL_XDP, option, size); err != nil {
			return fmt.Errorf("ring %d of %d entries: %w", option, size, err)
		}
	}
	if err := unix.SetsockoptInt(x.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer); err != nil {
		return fmt.Errorf("send buffer: %w", err)
	}
	var offsets unix.XDPMmapOffsets
	if err := x.option(unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&offsets), unsafe.Sizeof(offsets)); err != nil {
		return fmt.Errorf("ring offsets: %w", err)
	}
	const address, descriptor = unsafe.Sizeof(uint64(0)), unsafe.Sizeof(unix.XDPDesc{})
	var errs [4]error
	x.fill, errs[0] = mapRing(x.fd, unix.XDP_UMEM_PGOFF_FILL_RING, offsets.Fr, receivers, address)
	x.completed, errs[1] = mapRing(x.fd, unix.XDP_UMEM_PGOFF_COMPLETION_RING, offsets.Cr, senders, address)
	x.rx, errs[2] = mapRing(x.fd, unix.XDP_PGOFF_RX_RING, offsets.Rx, receivers, descriptor)
	x.tx, errs[3] = mapRing(x.fd, unix.XDP_PGOFF_TX_RING, offsets.Tx, senders, descriptor)
	return errors.Join(errs[:]...)
}

func mapRing(fd int, page int64, o unix.XDPRingOffset, entries uint32, size uintptr) (r ring, err error) {
	r.memory, err = unix.Mmap(fd, page, int(o.Desc)+int(entries)*int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return r, fmt.Errorf("map ring %#x: %w", page, err)
	}
	base := unsafe.Pointer(&r.memory[0])
	r.producer, r.consumer = (*uint32)(unsafe.Add(base, o.Producer)), (*uint32)(unsafe.Add(base, o.Consumer))
	r.entries, r.mask = unsafe.Add(base, o.Desc), entries-1
	return r, nil
}

func (r *ring) address(i uint32) *uint64 {
	return (*uint64)(unsafe.Add(r.entries, uintptr(i&r.mask)*unsafe.Sizeof(uint64(0))))
}

func (r *ring) descriptor(i uint32) *unix.XDPDesc {
	return (*unix.XDPDesc)(unsafe.Add(r.entries, uintptr(i&r.mask)*unsafe.Sizeof(unix.XDPDesc{})))
}

func (x *xsk) attach(index int) (err error) {
	x.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Name: "sink", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("map of sockets: %w", err)
	}
	if err := x.sockets.Update(uint32(0), uint32(x.fd), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("map of sockets: %w", err)
	}
	if x.program, err = newCatcher(x.sockets); err != nil {
		return err
	}
	// A link is gone with its last descriptor, however this process ends.
	x.link, err = link.AttachXDP(link.XDPOptions{Program: x.program, Interface: index, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attach XDP program: %w", err)
	}
	return nil
}

// put copies a frame into the memory for sending. false: none is free, reap first.
func (x *xsk) put(frame []byte) bool {
	if len(x.free) == 0 {
		return false
	}
	i := x.free[len(x.free)-1]
	x.free = x.free[:len(x.free)-1]
	at := uint64(i) * chunk
	copy(x.memory[at:at+chunk], frame)
	*x.tx.descriptor(x.tx.at) = unix.XDPDesc{Addr: at, Len: uint32(len(frame))}
	x.tx.at++
	return true
}

// waiting tells whether frames that were put have not left yet.
func (x *xsk) waiting() bool { return atomic.LoadUint32(x.tx.consumer) != x.tx.at }

// send hands what was put to the device, until the ring of the far side is full: what is left waits for the next call, as
// it would in the longer ring of a network card. An error is something else.
func (x *xsk) send() error {
	atomic.StoreUint32(x.tx.producer, x.tx.at)
	for x.waiting() {
		before := atomic.LoadUint32(x.tx.consumer)
		_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(x.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case unix.EAGAIN: // the kernel sends at most 32 a call; without any, the far side is full
			if atomic.LoadUint32(x.tx.consumer) == before {
				return nil
			}
		case 0, unix.EINTR:
		case unix.EBUSY: // one was refused, go on with the next
		case unix.ENOBUFS: // the completion ring is full: reap, and come back
			return nil
		default:
			return e
		}
	}
	return nil
}

// reap takes back frames that were sent.
func (x *xsk) reap() {
	n := atomic.LoadUint32(x.completed.producer) - x.completed.at
	if n == 0 {
		return
	}
	for range n {
		x.free = append(x.free, uint32(*x.completed.address(x.completed.at)/chunk))
		x.completed.at++
	}
	atomic.StoreUint32(x.completed.consumer, x.completed.at)
}

// receive hands up to limit packets to take and gives their frames back. at is CLOCK_MONOTONIC in nanoseconds.
func (x *xsk) receive(limit uint32, into *log) int {
	n := min(atomic.LoadUint32(x.rx.producer)-x.rx.at, limit)
	if n == 0 {
		return 0
	}
	for range n {
		d := x.rx.descriptor(x.rx.at)
		into.add(int64(binary.NativeEndian.Uint64(x.memory[d.Addr-stampBytes:])), x.memory[d.Addr:d.Addr+uint64(d.Len)])
		*x.fill.address(x.fill.at) = d.Addr
		x.rx.at++
		x.fill.at++
	}
	atomic.StoreUint32(x.rx.consumer, x.rx.at)
	atomic.StoreUint32(x.fill.producer, x.fill.at)
	return int(n)
}

// overflows returns how many packets the socket could not take since it was opened.
func (x *xsk) overflows() (uint64, error) {
	var s unix.XDPStatistics
	if err := x.option(unix.XDP_STATISTICS, unsafe.Pointer(&s), unsafe.Sizeof(s)); err != nil {
		return 0, fmt.Errorf("load: statistics of the AF_XDP socket: %w", err)
	}
	return s.Rx_dropped + s.Rx_ring_full + s.Rx_invalid_descs, nil
}

func (x *xsk) setOption(option int, value unsafe.Pointer, size uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0); e != 0 {
		return e
	}
	return nil
}

func (x *xsk) option(option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, uintptr(option), uintptr(value), uintptr(unsafe.Pointer(&length)), 0); e != 0 {
		return e
	}
	return nil
}

// close takes the program off the device before the socket goes.
func (x *xsk) close() error {
	var errs []error
	if x.link != nil {
		errs = append(errs, x.link.Close())
	}
	if x.program != nil {
		errs = append(errs, x.program.Close())
	}
	if x.sockets != nil {
		errs = append(errs, x.sockets.Close())
	}
	if x.fd >= 0 {
		errs = append(errs, unix.Close(x.fd))
	}
	for _, memory := range [][]byte{x.fill.memory, x.completed.memory, x.rx.memory, x.tx.memory, x.memory} {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	return errors.Join(errs...)
}
