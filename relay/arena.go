package relay

import (
	"errors"
	"reflect"

	"tandem/internal/control"
	"tandem/relay/netio"
)

// arenaVersion stamps the layout of the arena: a successor process takes over only an arena it understands.
const arenaVersion = 3

// arenaHeader begins the state that outlives a process.
type arenaHeader struct {
	magic   [8]byte
	version uint32
	size    uint32 // of one leg in all arrays, in bytes
	legs    uint32
}

// arena is the state of all legs, outside the Go heap: arrays with one index, and the table that finds it. A leg that no
// session has yet, and what a leg never uses, costs address space and no memory.
type arena struct {
	table   [][]uint32 // by address slot and port: leg index << 1, | 1 on an RTCP port; each entry belongs to the worker that owns the port
	legs    []leg
	cold    []cold
	reports []reports
	rare    []rare
}

// makeArena maps the state that the workers share out among them.
func (r *Relay) makeArena(addresses int) error {
	count := r.options.Sessions*control.MaxStreams*control.MaxLegs + control.MaxLegs // the first pair is "no leg"
	header, err := mapped[arenaHeader](r, "arena/header", 1)
	if err != nil {
		return err
	}
	size := reflect.TypeFor[leg]().Size() + reflect.TypeFor[cold]().Size() + reflect.TypeFor[reports]().Size() + reflect.TypeFor[rare]().Size()
	header[0] = arenaHeader{magic: [8]byte{'t', 'a', 'n', 'd', 'e', 'm'}, version: arenaVersion, size: uint32(size), legs: uint32(count)}
	if r.legs, err = mapped[leg](r, "arena/legs", count); err != nil {
		return err
	}
	if r.cold, err = mapped[cold](r, "arena/cold", count); err != nil {
		return err
	}
	if r.reports, err = mapped[reports](r, "arena/reports", count); err != nil {
		return err
	}
	if r.rare, err = mapped[rare](r, "arena/rare", count); err != nil {
		return err
	}
	if err := errors.Join(netio.KeepSecret(r.legs), netio.KeepSecret(r.cold), netio.KeepSecret(r.reports)); err != nil {
		r.log.Info("keys in memory may be written to swap", "reason", err)
	}
	table, err := mapped[uint32](r, "arena/ports", addresses<<16)
	if err != nil {
		return err
	}
	for slot := range addresses {
		r.table = append(r.table, table[slot<<16:(slot+1)<<16])
	}
	r.slots = slots{next: control.MaxLegs, size: uint32(count)}
	return nil
}

// mapped maps an array of the arena until the relay closes.
func mapped[T any](r *Relay, name string, n int) ([]T, error) {
	array, unmap, err := netio.MapArena[T](r.registry, name, n)
	if err != nil {
		return nil, err
	}
	r.unmap = append(r.unmap, unmap)
	return array, nil
}

// slots gives out the two indices of a stream's legs: an even one and the next, so that who knows one leg knows where the other lies.
// Those used before go first, and the memory in use stays dense.
type slots struct {
	used []uint32 // given back, the even ones
	next uint32   // never given out from here on
	size uint32
}

// left returns how many streams can be given a pair.
func (s *slots) left() int { return len(s.used) + int(s.size-s.next)/control.MaxLegs }

// take returns the even index of a pair; the caller knows that one is left.
func (s *slots) take() uint32 {
	if n := len(s.used); n > 0 {
		index := s.used[n-1]
		s.used = s.used[:n-1]
		return index
	}
	s.next += control.MaxLegs
	return s.next - control.MaxLegs
}

// give takes a pair back.
func (s *slots) give(index uint32) { s.used = append(s.used, index) }
