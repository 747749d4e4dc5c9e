package xsk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20 // bytes; the size of Memory is a multiple of it

// Pages is what the frames' memory is made of.
type Pages uint8

// The kinds of pages, best first. With huge ones a packet that nobody touched for a while costs one look into the page tables less.
const (
	Huge      Pages = iota // reserved huge pages (vm.nr_hugepages)
	Advised                // ordinary ones that the kernel was asked to join (transparent_hugepage)
	pageKinds              // how many there are
)

// String returns the name in logs.
func (p Pages) String() string { return [pageKinds]string{"huge", "advised"}[p] }

// mapFrames maps zeroed memory for frames.
func mapFrames(size int) ([]byte, Pages, error) {
	const protection, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	memory, err := unix.Mmap(-1, 0, size, protection, flags|unix.MAP_HUGETLB|unix.MAP_POPULATE)
	if err == nil {
		return memory, Huge, nil
	}
	// Not populated: the kernel joins pages when they are touched first, after it was asked to.
	if memory, err = unix.Mmap(-1, 0, size, protection, flags); err != nil {
		return nil, 0, fmt.Errorf("mmap %d bytes of frames: %w", size, err)
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // an error says that this kernel does not do it, and all works as well
	return memory, Advised, nil
}

// register makes the memory the socket's.
func register(fd int, memory []byte) error {
	r := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))), Len: uint64(len(memory)), Size: FrameSize}
	return setOption(fd, unix.XDP_UMEM_REG, unsafe.Pointer(&r), unsafe.Sizeof(r))
}

func setOption(fd, option int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getOption(fd, option int, value unsafe.Pointer, size uintptr) unix.Errno {
	length := uint32(size)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value),
		uintptr(unsafe.Pointer(&length)), 0)
	return errno
}

// kickSend is sendto(2) without a message: the kernel looks at the send ring. It never waits.
func kickSend(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// kickReceive is recvfrom(2) without a buffer: the kernel looks at the fill ring, and busy-polls the device if the socket was
// asked to. It never waits.
func kickReceive(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// offsetIn returns where in memory data begins. It is at or beyond len(memory) when data lies elsewhere.
func offsetIn(memory, data []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data))) - uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}
