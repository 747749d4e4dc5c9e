// Package steer makes the kernel deliver the datagrams of many UDP ports to a few sockets: an sk_lookup program (kernel
// document Documentation/bpf/prog_sk_lookup.rst) that runs when the kernel looks for the socket of a datagram.
//
// It prevents the failure of a shared range: a program that takes a range of ports starves whatever else is bound in it.
// This one takes exactly the ports that are leased, on exactly the addresses it was given, and leaves everything else to
// the kernel's own lookup: other sockets keep their traffic, and a port that is not leased gets its ICMP error from the
// kernel. TestSocketsInTheSameRangeKeepTheirTraffic holds that.
//
// A lease is one byte of memory shared with the program, so leasing needs neither a system call nor a privilege. What
// does not live here: the sockets, and the proof that a port is free, which whoever leases it must have.
package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

const (
	portCount = 1 << 16 // bytes of one address's leases

	// maxWorkers is what a lease's byte can name, 0 being "not leased".
	maxWorkers = 255

	maxAddresses = 256 // each costs portCount bytes of locked kernel memory
)

// Options say whose datagrams are steered where.
type Options struct {
	Addresses []netip.Addr // local addresses; the index is the slot of Lease
	Workers   int          // how many workers have sockets
}

// Steer is the program with its maps. Lease and Release are for one goroutine at a time, beside which Leased and Steered
// may be called by any.
type Steer struct {
	slots   *ebpf.Map // address, IPv4-mapped -> slot
	sockets *ebpf.Map // worker*2 + (1 for IPv6) -> socket
	leases  *table    // by slot and port: 0, or the worker + 1
	steered *table    // by CPU: datagrams given to a worker
	program *ebpf.Program
	link    *link.NetNsLink
}

// Load creates the maps and lets the kernel verify the program. Nothing is steered before Attach. The error says which
// kernel or capability is missing.
func Load(o Options) (*Steer, error) {
	if len(o.Addresses) < 1 || len(o.Addresses) > maxAddresses {
		return nil, fmt.Errorf("load the steering program: %d addresses: need 1 to %d", len(o.Addresses), maxAddresses)
	}
	if o.Workers < 1 || o.Workers > maxWorkers {
		return nil, fmt.Errorf("load the steering program: %d workers: need 1 to %d", o.Workers, maxWorkers)
	}
	s := new(Steer)
	if err := s.load(o); err != nil {
		return nil, errors.Join(fmt.Errorf("load the steering program: %w", explain(err)), s.Close())
	}
	return s, nil
}

func (s *Steer) load(o Options) error {
	// Before Linux 5.11 maps count against the limit of locked memory; afterwards this does nothing.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the processors: %w", err)
	}
	if s.slots, err = loadSlots(o.Addresses); err != nil {
		return err
	}
	s.sockets, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "td_sockets", Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: uint32(2 * o.Workers),
	})
	if err != nil {
		return fmt.Errorf("create the map of sockets: %w", err)
	}
	if s.leases, err = newTable("td_leases", portCount, len(o.Addresses)); err != nil {
		return err
	}
	if s.steered, err = newTable("td_steered", cacheLine, cpus); err != nil {
		return err
	}
	s.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "td_steer", Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "MIT",
		Instructions: instructions(s.slots.FD(), s.sockets.FD(), s.leases.handle.FD(), s.steered.handle.FD()),
	})
	if err != nil {
		return fmt.Errorf("verify the program: %w", err)
	}
	return nil
}

func loadSlots(addresses []netip.Addr) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "td_slots", Type: ebpf.Hash, KeySize: 16, ValueSize: 4, MaxEntries: uint32(len(addresses)),
	})
	if err != nil {
		return nil, fmt.Errorf("create the map of addresses: %w", err)
	}
	for slot, a := range addresses {
		if err := m.Update(a.As16(), uint32(slot), ebpf.UpdateNoExist); err != nil {
			return nil, errors.Join(fmt.Errorf("enter address %s: %w", a, err), m.Close())
		}
	}
	return m, nil
}

// explain adds what to do to the errors that a machine gives because of what it is or what it allows.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: the process needs CAP_BPF and CAP_NET_ADMIN", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: the kernel must be Linux 5.9 or later, with CONFIG_BPF_SYSCALL and CONFIG_BPF_STREAM_PARSER", err)
	}
	return err
}

// Socket makes fd, a bound UDP socket of that family, the one that a worker's datagrams go to. An IPv6 socket should be
// IPV6_V6ONLY.
func (s *Steer) Socket(worker int, ipv6 bool, fd int) error {
	key := uint32(2 * worker)
	if ipv6 {
		key++
	}
	if worker < 0 || key >= s.sockets.MaxEntries() {
		return fmt.Errorf("steer to worker %d: no such worker", worker)
	}
	if err := s.sockets.Update(key, uint64(fd), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("steer to worker %d: put descriptor %d into the map of sockets: %w", worker, fd, explain(err))
	}
	return nil
}

// Attach makes the program work in the network namespace of the calling thread, until Close or the end of the process.
func (s *Steer) Attach() error {
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("attach the steering program: open the network namespace: %w", err)
	}
	defer namespace.Close()
	if s.link, err = link.AttachNetNs(int(namespace.Fd()), s.program); err != nil {
		return fmt.Errorf("attach the steering program to the network namespace: %w", explain(err))
	}
	return nil
}

// Lease steers what comes to the port of that slot's address to the worker. The caller holds a socket bound to exactly
// that address and port: nothing here protects a stranger's.
func (s *Steer) Lease(slot int, port uint16, worker int) { s.set(slot, port, uint32(worker+1)) }

// Release leaves the port to the kernel's own lookup again.
func (s *Steer) Release(slot int, port uint16) { s.set(slot, port, 0) }

// set writes one byte. There are no atomic bytes in Go, and the workers read beside the one writer, hence the word.
func (s *Steer) set(slot int, port uint16, value uint32) {
	word, shift := s.lease(slot, port)
	atomic.StoreUint32(word, atomic.LoadUint32(word)&^(0xff<<shift)|value<<shift)
}

// Leased tells whether the port is leased to the worker. It is one load, for the packet path: a datagram may wait in the
// worker's socket longer than its port is leased.
func (s *Steer) Leased(slot int, port uint16, worker int) bool {
	word, shift := s.lease(slot, port)
	return atomic.LoadUint32(word)>>shift&0xff == uint32(worker+1)
}

// Owner returns the worker that the port is leased to, or false when it is leased to none.
func (s *Steer) Owner(slot int, port uint16) (worker int, leased bool) {
	word, shift := s.lease(slot, port)
	owner := int(atomic.LoadUint32(word) >> shift & 0xff)
	return owner - 1, owner != 0
}

// Tables returns the descriptors of the maps that another program may look into: address, IPv4-mapped -> slot (a hash), and by
// slot a byte for each port, 0 when it is not leased (an array). They are this Steer's, and closed with it.
func (s *Steer) Tables() (slots, leases int) { return s.slots.FD(), s.leases.handle.FD() }

// lease returns the word that a port's byte is in, and how far up it is.
func (s *Steer) lease(slot int, port uint16) (*uint32, uint) {
	byteInWord := uint(port) % 4
	if bigEndian {
		byteInWord = 3 - byteInWord
	}
	return &s.leases.words[slot*(portCount/4)+int(port)/4], 8 * byteInWord
}

// Steered returns how many datagrams were given to workers since Load.
func (s *Steer) Steered() uint64 {
	sum := uint64(0)
	for cpu := range len(s.steered.words) / (cacheLine / 4) {
		sum += s.steered.count(cpu)
	}
	return sum
}

// Close detaches the program first, so that no datagram meets half of it, and frees everything. Leases end with it;
// Lease, Release, Leased and Steered must not be called any more.
func (s *Steer) Close() error {
	var errs []error
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.program != nil {
		errs = append(errs, s.program.Close())
	}
	for _, t := range []*table{s.leases, s.steered} {
		if t != nil {
			errs = append(errs, t.close())
		}
	}
	for _, m := range []*ebpf.Map{s.slots, s.sockets} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	*s = Steer{}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the steering program: %w", err)
	}
	return nil
}
