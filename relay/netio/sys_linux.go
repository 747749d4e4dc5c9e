package netio

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the only one with unsafe and raw system calls. It exists because the standard library and x/net take a
// lock, a poller and an allocation per message, and have no call that blocks in an epoll set of the caller's own.
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
	controls [BatchSize]control
}

// mmsghdr is struct mmsghdr of recvmmsg(2). Its trailing padding on 64-bit machines comes from Msghdr's alignment.
type mmsghdr struct {
	header unix.Msghdr
	length uint32 // bytes received or sent
}

// control is room for the control messages that we ask for, aligned as the kernel wants it: SO_RXQ_OVFL (socket(7)) in
// 24 bytes and, on a funnel's socket, the original destination (IP_ORIGDSTADDR of ip(7), IPV6_ORIGDSTADDR) in up to 48.
type control [9]uint64

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
	h.SetControllen(int(unsafe.Sizeof(control{})))
}

// ancillary is what the control messages of a datagram say.
type ancillary struct {
	drops    uint32 // SO_RXQ_OVFL: datagrams the socket has dropped in its life
	hasDrops bool   // the kernel leaves drops out while there were none
	to       Addr   // where the datagram was sent to; zero when the socket was not asked to tell
}

// ancillary reads the control messages of message i.
func (m *messages) ancillary(i int) ancillary {
	used := min(uintptr(m.headers[i].header.Controllen), unsafe.Sizeof(control{}))
	return parseControl(unsafe.Slice((*byte)(unsafe.Pointer(&m.controls[i])), used))
}

// parseControl reads control messages (cmsg(3)) from memory aligned for them. What it does not know or what is cut short
// it leaves out.
func parseControl(b []byte) ancillary {
	var a ancillary
	const aligned = unsafe.Sizeof(uintptr(0)) - 1
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
		length := uint64(h.Len)
		if length < unix.SizeofCmsghdr || length > uint64(len(b)) {
			break
		}
		data := b[unix.SizeofCmsghdr:length]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			a.drops, a.hasDrops = binary.NativeEndian.Uint32(data), true
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_ORIGDSTADDR && len(data) >= unix.SizeofSockaddrInet4,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_ORIGDSTADDR && len(data) >= unix.SizeofSockaddrInet6:
			var name sockaddr
			copy(name[:], data)
			a.to = name.addr()
		}
		b = b[min(uint64(len(b)), (length+uint64(aligned))&^uint64(aligned)):]
	}
	return a
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

// sendDatagram is sendto(2) without waiting.
func sendDatagram(fd int, data []byte, to *sockaddr, length uint32) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))),
		uintptr(len(data)), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(to)), uintptr(length))
	return errno
}

// openPortSocket returns a UDP socket bound to at whose datagrams carry tos (IP_TOS of ip(7), IPV6_TCLASS of ipv6(7)). A
// worker opens one in the middle of its batch: none of the three calls waits, and none allocates as x/sys would.
func openPortSocket(at *sockaddr, length uint32, tos int) (int, unix.Errno) {
	family, level, option := uintptr(unix.AF_INET), uintptr(unix.IPPROTO_IP), uintptr(unix.IP_TOS)
	if length == unix.SizeofSockaddrInet6 {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if errno != 0 {
		return -1, errno
	}
	mark := int32(tos)
	_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, level, option, uintptr(unsafe.Pointer(&mark)), unsafe.Sizeof(mark), 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(at)), uintptr(length))
	}
	if errno != 0 {
		unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		return -1, errno
	}
	return int(fd), 0
}

// tryPort tells whether a UDP socket can be bound to at: it binds one and closes it.
func tryPort(at *sockaddr, length uint32) unix.Errno {
	family := uintptr(unix.AF_INET)
	if length == unix.SizeofSockaddrInet6 {
		family = unix.AF_INET6
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if errno != 0 {
		return errno
	}
	_, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(at)), uintptr(length))
	unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) // the only error is EIO of a file system
	return errno
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

// forbidNewPrivileges, clearAmbientCapabilities and setCapabilities change all threads of the process, by a call that a
// program with cgo does not have: it gives ENOTSUP.
func forbidNewPrivileges() syscall.Errno {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	return errno
}

func clearAmbientCapabilities() syscall.Errno {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0)
	return errno
}

// setCapabilities makes the low 32 of set those in effect and permitted.
func setCapabilities(set uint32) syscall.Errno {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // of the calling thread, which each is in turn
	sets := &[2]unix.CapUserData{{Effective: set, Permitted: set}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(sets)), 0)
	return errno
}

// offsetIn returns where in slab data begins. It is at or beyond len(slab) when data lies elsewhere.
func offsetIn(slab, data []byte) uint {
	return uint(uintptr(unsafe.Pointer(unsafe.SliceData(data))) - uintptr(unsafe.Pointer(unsafe.SliceData(slab))))
}

// elementsOf views memory, page aligned and at least n elements long, as elements of T, which holds no pointers.
func elementsOf[T any](memory []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}

// writeEvent is write(2) to an eventfd(2) that does not block.
func writeEvent(fd int, one *[8]byte) {
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(one)), uintptr(len(one))) // EAGAIN: it is awake anyway
}

// nap is clock_nanosleep(2) for that many nanoseconds, and ends when it should: by its slack the kernel may wake a thread later, to wake
// more of them at once (PR_SET_TIMERSLACK of prctl(2)), and a worker has no thread of its own whose slack could be set once.
func nap(nanoseconds int64) {
	t := unix.NsecToTimespec(nanoseconds)
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 1, 0)                                          // it has no error that a process can cause
	unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0) // EINTR: shorter, no harm
}

// peek looks at a socket without taking anything: one that polls makes the kernel look at its device. It tells whether a datagram waits there; if
// one did before, the device was not looked at.
func peek(fd int) bool {
	var first byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&first)), 1, unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
	return errno == 0
}
