package steer

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// cacheLine is the distance of two processors' counters, in bytes: they must not share a line.
const cacheLine = 64

// bigEndian tells where in a word the byte with the lowest address is.
var bigEndian = *(*byte)(unsafe.Pointer(&[]uint32{1}[0])) == 0

// table is an array map (BPF_F_MMAPABLE) whose memory the process shares with the program: reading and writing it is no
// system call and asks for no capability.
type table struct {
	handle *ebpf.Map
	memory []byte
	words  []uint32 // the same memory
}

// newTable creates and maps a table of n entries of size bytes, all zero. The size is a multiple of 8.
func newTable(name string, size, n int) (*table, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: uint32(n), Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return nil, fmt.Errorf("create the map %s: %w", name, err)
	}
	page := os.Getpagesize()
	length := (size*n + page - 1) / page * page
	memory, err := unix.Mmap(m.FD(), 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mmap %d bytes of the map %s: %w", length, name, err), m.Close())
	}
	words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(memory))), size*n/4)
	return &table{handle: m, memory: memory, words: words}, nil
}

// count returns the 64-bit counter at the beginning of cache line i.
func (t *table) count(i int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&t.words[i*cacheLine/4])))
}

func (t *table) close() error {
	return errors.Join(unix.Munmap(t.memory), t.handle.Close())
}
