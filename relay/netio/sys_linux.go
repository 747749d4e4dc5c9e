package netio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the only one with unsafe and raw system calls. It exists because the standard library and x/net take a
// lock, a poller and an allocation per message, and have no call that blocks a locked thread in its own epoll set.
//
// The rule for all of it: a call that cannot block goes through RawSyscall6, which the Go scheduler does not see; one
// that can block goes through Syscall6, which gives the processor back. A blocking RawSyscall6 would freeze the whole
// process at the next garbage collection.

// perVisit is how many datagrams one port contributes before the next ready port has its turn: a flooded port fills an
// eighth of a batch, while an honest burst (a few packets held up by a scheduler) still comes in one call.
const perVisit = BatchSize / 8

// messages are the arrays that recvmmsg(2) and sendmmsg(2) read and write, allocated once per queue and direction.
// They point into each other, so a messages is never copied; heap objects do not move.
type messages struct {
	headers  [BatchSize]mmsghdr
	vectors  [BatchSize]unix.Iovec
	names    [BatchSize]sockaddr
	controls [BatchSize]dropsControl
}

// mmsghdr is struct mmsghdr of recvmmsg(2). Its trailing padding on 64-bit machines comes from Msghdr's alignment.
type mmsghdr struct {
	header unix.Msghdr
	length uint32 // bytes received or sent
}

// dropsControl is the one control message we ask for: SO_RXQ_OVFL of socket(7). The kernel leaves it out while the
// socket has dropped nothing.
type dropsControl struct {
	header unix.Cmsghdr
	drops  uint32
	_      uint32
}

// newReceiveMessages points message i at the i-th buffer of slab: Headroom, MaxDatagram and Tailroom bytes each.
func newReceiveMessages(slab []byte) *messages {
	m := newSendMessages()
	for i := range m.headers {
		m.point(i, slab[i*bufferSize+Headroom:][:MaxDatagram])
		h := &m.headers[i].header
		h.Control = (*byte)(unsafe.Pointer(&m.controls[i]))
		m.rearm(i)
	}
	return m
}

func newSendMessages() *messages {
	m := new(messages)
	for i := range m.headers {
		h := &m.headers[i].header
		h.Iov = &m.vectors[i]
		h.SetIovlen(1)
		h.Name = &m.names[i][0]
	}
	return m
}

// point makes data the payload of message i.
func (m *messages) point(i int, data []byte) {
	m.vectors[i].Base = unsafe.SliceData(data)
	m.vectors[i].SetLen(len(data))
}

// rearm gives message i the room for the next datagram's source and control message: the kernel overwrote it with what
// it used.
func (m *messages) rearm(i int) {
	h := &m.headers[i].header
	h.Namelen = sockaddrSize
	h.SetControllen(int(unsafe.Sizeof(dropsControl{})))
}

// drops returns the socket's drop count as message i carries it; ok is false when it carries none.
func (m *messages) drops(i int) (count uint32, ok bool) {
	c := &m.controls[i]
	if uintptr(m.headers[i].header.Controllen) < unsafe.Offsetof(c.drops)+unsafe.Sizeof(c.drops) ||
		c.header.Level != unix.SOL_SOCKET || c.header.Type != unix.SO_RXQ_OVFL {
		return 0, false
	}
	return c.drops, true
}

// receiveMessages is recvmmsg(2) without waiting. It returns how many messages were filled.
func receiveMessages(fd int, into []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))),
		uintptr(len(into)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// sendMessages is sendmmsg(2) without waiting. It returns how many messages were taken, from the first on; the error is
// that of the first message when none was.
func sendMessages(fd int, from []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(from))),
		uintptr(len(from)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// waitEvents is epoll_wait(2): with 0 milliseconds it only looks, else it gives the processor back while it waits.
func waitEvents(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
	var n uintptr
	var errno unix.Errno
	first := unsafe.SliceData(into)
	if milliseconds == 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(first)),
			uintptr(len(into)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(first)),
			uintptr(len(into)), uintptr(milliseconds), 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// socketDrops returns the socket's drop count, the one SO_RXQ_OVFL reports with a datagram, without one: a socket
// that is closed may have dropped datagrams since the last it delivered. x/sys has no wrapper for SO_MEMINFO.
func socketDrops(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_DROPS + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}

// elementsOf views memory, page aligned and at least n elements long, as elements of T, which holds no pointers.
func elementsOf[T any](memory []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}
