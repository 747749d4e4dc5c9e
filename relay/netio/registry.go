package netio

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Registry names every long-lived descriptor of the relay: "udp/198.18.0.1:40000", "epoll/0", "wake/0", "arena/legs".
//
// A descriptor has one owner and one name, so a leak is a line in Names, and a successor process can be given the
// descriptors by name: opening then claims the inherited one instead of creating its own. Any goroutine may use it; it
// is never touched per packet.
type Registry struct {
	mu        sync.Mutex
	claimed   map[string]int // opened here, created or inherited
	inherited map[string]int // handed in and not claimed yet
}

// NewRegistry returns a registry that offers the inherited descriptors (nil for none) and owns them from now on. They
// are marked close-on-exec.
func NewRegistry(inherited map[string]int) *Registry {
	r := &Registry{claimed: make(map[string]int), inherited: make(map[string]int)}
	maps.Copy(r.inherited, inherited)
	for _, fd := range inherited {
		unix.CloseOnExec(fd)
	}
	return r
}

// Open returns the descriptor of that name: the inherited one if there is one (inherited is true, and it is up to the
// caller to check that it is what the name promises), else the one that create makes. A name that is open already is
// an error.
func (r *Registry) Open(name string, create func() (int, error)) (fd int, inherited bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.claimed[name]; ok {
		return -1, false, fmt.Errorf("%s: this descriptor is open already; close it first", name)
	}
	if fd, ok := r.inherited[name]; ok {
		delete(r.inherited, name)
		r.claimed[name] = fd
		return fd, true, nil
	}
	if fd, err = create(); err != nil {
		return -1, false, fmt.Errorf("%s: %w", name, err)
	}
	r.claimed[name] = fd
	return fd, false, nil
}

// Close closes the descriptor of that name, claimed or not. An unknown name is an error.
func (r *Registry) Close(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fd, ok := r.claimed[name]
	if !ok {
		if fd, ok = r.inherited[name]; !ok {
			return fmt.Errorf("%s: no descriptor of this name is open", name)
		}
	}
	delete(r.claimed, name)
	delete(r.inherited, name)
	return closeNamed(name, fd)
}

// Names returns the names of all descriptors held, inherited and unclaimed ones included, sorted.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.AppendSeq(make([]string, 0, len(r.claimed)+len(r.inherited)), maps.Keys(r.claimed))
	names = slices.AppendSeq(names, maps.Keys(r.inherited))
	slices.Sort(names)
	return names
}

// Unclaimed returns the names of inherited descriptors that nobody has opened, sorted: what a successor has no use for
// and should close.
func (r *Registry) Unclaimed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.inherited))
}

// Inherits tells whether there are inherited descriptors that nobody has opened.
func (r *Registry) Inherits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inherited) > 0
}

// Len returns how many descriptors are held, inherited and unclaimed ones included.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.claimed) + len(r.inherited)
}

// CloseAll closes every descriptor held and returns the errors of those that could not be closed.
func (r *Registry) CloseAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, held := range []map[string]int{r.claimed, r.inherited} {
		for name, fd := range held {
			errs = append(errs, closeNamed(name, fd))
		}
		clear(held)
	}
	return errors.Join(errs...)
}

func closeNamed(name string, fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("%s: close descriptor %d: %w", name, fd, err)
	}
	return nil
}
