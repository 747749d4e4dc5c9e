package netio

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// isOpen reports whether a descriptor number is in use.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// newDescriptor returns some descriptor, without close-on-exec.
func newDescriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestRegistryCreatesNamesAndCloses(t *testing.T) {
	r := NewRegistry(nil)
	fd, inherited, err := r.Open("wake/0", func() (int, error) { return newDescriptor(t), nil })
	if err != nil || inherited || !isOpen(fd) {
		t.Fatalf("descriptor %d, inherited %v, %v", fd, inherited, err)
	}
	if r.Len() != 1 || !slices.Equal(r.Names(), []string{"wake/0"}) || len(r.Unclaimed()) != 0 {
		t.Errorf("names %v, unclaimed %v", r.Names(), r.Unclaimed())
	}
	if err := r.Close("wake/0"); err != nil || isOpen(fd) || r.Len() != 0 {
		t.Errorf("close: %v; open %v, names %v", err, isOpen(fd), r.Names())
	}
}

func TestRegistryGivesTheInheritedDescriptorInsteadOfCreating(t *testing.T) {
	fd, spare := newDescriptor(t), newDescriptor(t)
	handedIn := map[string]int{"wake/0": fd, "udp/192.0.2.1:4000": spare}
	r := NewRegistry(handedIn)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("an inherited descriptor has flags %#x, %v; want close-on-exec", flags, err)
	}
	got, inherited, err := r.Open("wake/0", func() (int, error) {
		t.Error("created in spite of an inherited one")
		return -1, unix.EINVAL
	})
	if got != fd || !inherited || err != nil {
		t.Fatalf("descriptor %d, inherited %v, %v; want %d", got, inherited, err, fd)
	}
	if !slices.Equal(r.Unclaimed(), []string{"udp/192.0.2.1:4000"}) || r.Len() != 2 {
		t.Errorf("unclaimed %v of %v", r.Unclaimed(), r.Names())
	}
	if err := r.Close("udp/192.0.2.1:4000"); err != nil || isOpen(spare) {
		t.Errorf("close of an unclaimed descriptor: %v; open %v", err, isOpen(spare))
	}
	if err := r.CloseAll(); err != nil || isOpen(fd) || r.Len() != 0 {
		t.Errorf("close all: %v; open %v, names %v", err, isOpen(fd), r.Names())
	}
	if want := []string{"udp/192.0.2.1:4000", "wake/0"}; !slices.Equal(slices.Sorted(maps.Keys(handedIn)), want) {
		t.Error("the caller's map was changed")
	}
}

func TestRegistryErrorsNameTheDescriptor(t *testing.T) {
	r := NewRegistry(nil)
	refused := errors.New("refused")
	if _, _, err := r.Open("epoll/3", func() (int, error) { return -1, refused }); !errors.Is(err, refused) || !strings.Contains(err.Error(), "epoll/3") {
		t.Errorf("failed creation: %v", err)
	}
	if r.Len() != 0 {
		t.Errorf("a failed creation left %v", r.Names())
	}
	create := func() (int, error) { return newDescriptor(t), nil }
	if _, _, err := r.Open("epoll/3", create); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Open("epoll/3", create); err == nil || !strings.Contains(err.Error(), "epoll/3: this descriptor is open already") {
		t.Errorf("second opening: %v", err)
	}
	if err := r.CloseAll(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close("epoll/3"); err == nil || !strings.Contains(err.Error(), "epoll/3: no descriptor") {
		t.Errorf("close after close: %v", err)
	}
	stale := NewRegistry(map[string]int{"wake/7": 1 << 20})
	if err := stale.CloseAll(); !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), "wake/7") {
		t.Errorf("close of what was not open: %v", err)
	}
}

func TestFileLimitIsRaisedToTheHardOne(t *testing.T) {
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	lowered := before
	lowered.Cur = min(before.Max, 512)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}()
	for range 2 { // the second call has nothing to raise
		limit, err := RaiseFileLimit()
		if err != nil || limit != before.Max {
			t.Errorf("limit %d, %v; want %d", limit, err, before.Max)
		}
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil || after.Cur != before.Max {
		t.Errorf("the kernel's limit is %d, %v; want %d", after.Cur, err, before.Max)
	}
}
