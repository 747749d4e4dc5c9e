package netio

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapArena maps n elements of T into memory that is not the Go heap: shared, page aligned, backed by a memfd
// (memfd_create(2)) that the registry holds under name, so that a successor process can map the same state. The
// collector neither scans nor moves it.
//
// A fresh arena is zeroed. One whose memfd was inherited keeps its content: a version stamp in T is the caller's to
// check; a size that differs is an error. T must not contain Go pointers, because the collector would not see them
// and another process could not follow them; the error names the first field that does.
//
// The function returned unmaps the arena and closes the descriptor; the slice must not be used after it.
func MapArena[T any](r *Registry, name string, n int) ([]T, func() error, error) {
	element := reflect.TypeFor[T]()
	if path, kind := findPointer(element, element.Name()); path != "" {
		return nil, nil, fmt.Errorf("%s: map arena: %s is a %s: an arena must not contain Go pointers", name, path, kind)
	}
	if n <= 0 || element.Size() == 0 || uintptr(n) > math.MaxInt/element.Size() {
		return nil, nil, fmt.Errorf("%s: map arena: %d elements of %d bytes is not a size", name, n, element.Size())
	}
	size := n * int(element.Size())
	fd, inherited, err := r.Open(name, func() (int, error) { return createMemory(name, size) })
	if err != nil {
		return nil, nil, err
	}
	memory, err := mapMemory(fd, size, inherited)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: map arena: %w", name, err), r.Close(name))
	}
	release := func() error {
		err := unix.Munmap(memory)
		if err != nil {
			err = fmt.Errorf("%s: munmap: %w", name, err)
		}
		return errors.Join(err, r.Close(name))
	}
	return elementsOf[T](memory, n), release, nil
}

func createMemory(name string, size int) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return -1, errors.Join(fmt.Errorf("ftruncate to %d bytes: %w", size, err), unix.Close(fd))
	}
	return fd, nil
}

func mapMemory(fd, size int, inherited bool) ([]byte, error) {
	if inherited {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return nil, fmt.Errorf("fstat of the inherited memory: %w", err)
		}
		if stat.Size != int64(size) {
			return nil, fmt.Errorf("the inherited memory has %d bytes, this version needs %d", stat.Size, size)
		}
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap of %d bytes: %w", size, err)
	}
	// With many calls every packet misses the translation buffer several times; pages of 2 MB cure that. Shared memory gets them
	// where /sys/kernel/mm/transparent_hugepage/shmem_enabled says advise. Elsewhere the kernel refuses, and all works as well.
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
	return memory, nil
}

// KeepSecret keeps memory that holds keys out of swap and out of core dumps. Pages that are never touched still cost nothing
// (MLOCK_ONFAULT), but all of them count against RLIMIT_MEMLOCK: an error says that the kernel may write them to swap.
func KeepSecret[T any](array []T) error {
	if len(array) == 0 {
		return nil
	}
	size := uintptr(len(array)) * unsafe.Sizeof(array[0])
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&array[0])), size)
	if err := unix.Madvise(memory, unix.MADV_DONTDUMP); err != nil {
		return fmt.Errorf("madvise of %d bytes: %w", size, err)
	}
	_, _, errno := unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(&array[0])), size, unix.MLOCK_ONFAULT)
	if errno != 0 {
		return fmt.Errorf("mlock of %d bytes: %w; raise RLIMIT_MEMLOCK (LimitMEMLOCK of the unit)", size, errno)
	}
	return nil
}

// findPointer returns the path and kind of the first part of t that holds a Go pointer, or "" when none does.
func findPointer(t reflect.Type, path string) (string, reflect.Kind) {
	switch t.Kind() {
	case reflect.Struct:
		for field := range t.Fields() {
			if found, kind := findPointer(field.Type, path+"."+field.Name); found != "" {
				return found, kind
			}
		}
	case reflect.Array:
		if t.Len() > 0 {
			return findPointer(t.Elem(), path+"[]")
		}
	case reflect.Pointer, reflect.UnsafePointer, reflect.Slice, reflect.String, reflect.Map, reflect.Interface,
		reflect.Chan, reflect.Func:
		return path, t.Kind()
	}
	return "", reflect.Invalid
}

// mapPrivate maps n zeroed elements of T into memory that is not the Go heap and that no other process will ever see.
// Pages that are never touched cost nothing. The function returned unmaps it; the slice must not be used after it.
func mapPrivate[T any](n int) ([]T, func() error, error) {
	size := n * int(reflect.TypeFor[T]().Size())
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, fmt.Errorf("mmap of %d bytes: %w", size, err)
	}
	return elementsOf[T](memory, n), func() error { return unix.Munmap(memory) }, nil
}
