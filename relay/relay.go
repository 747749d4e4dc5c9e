// Package relay is the media plane: it forwards RTP between the two legs of a session, opens and seals SRTP on the way,
// and pins each leg to the peer that signalling named or evidence proved. It knows legs, addresses, keys and packets; it
// has never heard of SIP or SDP. Whoever speaks the messages of internal/control drives it.
//
// The way of a packet is worker.go, top to bottom. Sessions are opened and changed in control.go and session.go; a change
// reaches the worker that owns the session as a command between two batches, so that the packet path has no lock.
package relay

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/ports"
)

// Options say what a relay is opened with. The zero value of a field means its default.
type Options struct {
	// Networks are the named sets of local addresses that legs choose from. At least one.
	Networks []Network
	// Workers is the number of packet-path threads; every session belongs to one of them. Default 1.
	Workers int
	// Sessions bounds the sessions open at once, and with it the memory of the arena. Default 10,000.
	Sessions int
	// Initial and Running are the silences after which media.timeout is reported: before a leg's first packet, and after
	// its last accepted one. Defaults 30 s and 60 s.
	Initial, Running time.Duration
	// Orphan is the silence after which a session whose controller is gone is closed. Default 10 min.
	Orphan time.Duration
	// PortsPrefer and PortsNever are how long a released port rests: if possible, and in any case. Defaults 60 s and 5 s.
	PortsPrefer, PortsNever time.Duration
	// Open makes the engine for the addresses of all networks, in slot order. Default netio.OpenSockets.
	Open func(netio.Options) (netio.Engine, error)
	// Version is what relay.hello says.
	Version string
	// Log gets one line an event. Default slog.Default.
	Log *slog.Logger
}

// Network is a named set of local media addresses.
type Network struct {
	Name      string
	Addresses []netip.Addr
	Low, High uint16     // inclusive
	Advertise netip.Addr // for SDP, instead of the address; may be invalid
	DSCP      uint8      // of what leaves, unless a leg says otherwise
}

// Defaults of Options.
const (
	defaultSessions = 10_000
	defaultInitial  = 30 * time.Second
	defaultRunning  = 60 * time.Second
	defaultOrphan   = 10 * time.Minute
	defaultPrefer   = 60 * time.Second
	defaultNever    = 5 * time.Second
	commandDepth    = 256
)

// arenaVersion stamps the layout of the leg arena: a successor process takes over only an arena it understands.
const arenaVersion = 1

// arenaHeader begins the state that outlives a process.
type arenaHeader struct {
	magic   [8]byte
	version uint32
	size    uint32 // of one leg, in bytes
	legs    uint32
}

// Relay is a running media plane.
type Relay struct {
	options  Options
	log      *slog.Logger
	engine   netio.Engine
	registry *netio.Registry
	networks []*network
	table    [][]uint32 // by slot and port; each entry belongs to the worker that owns the port
	legs     []leg
	keys     []keys
	workers  []*worker
	events   events
	boot     string
	started  time.Time
	unmap    []func() error

	mu       sync.Mutex // everything below; never taken by a worker
	sessions map[string]*session
	bySerial map[uint64]*session
	closed   map[string]final
	order    []string // ids of closed, oldest first
	serial   uint64
	free     []uint32 // leg slots
	turn     int      // the worker of the next session
	conns    map[*control.Conn]control.Hello
	draining bool
	opened   uint64
	ended    uint64
	early    uint64 // ports leased before their preferred rest

	stopped atomic.Bool
	quit    chan struct{}
	running sync.WaitGroup
	telling sync.WaitGroup
}

// network is a Network with its slots and leases.
type network struct {
	Network
	slots []int // index of each address in the engine
	pools []*ports.Pool
	turn  int
}

// Open opens the engine and starts the workers. The relay then answers as a control.Handler until Close.
func Open(o Options) (*Relay, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &Relay{
		options: o, log: o.Log, registry: netio.NewRegistry(nil), started: time.Now(),
		sessions: map[string]*session{}, bySerial: map[uint64]*session{}, closed: map[string]final{},
		conns: map[*control.Conn]control.Hello{}, quit: make(chan struct{}),
		events: events{queue: make(chan event, eventDepth)},
	}
	var addresses []netip.Addr
	for _, n := range o.Networks {
		made, err := r.addNetwork(n, &addresses)
		if err != nil {
			return nil, err
		}
		r.networks = append(r.networks, made)
	}
	seed := make([]byte, 16)
	rand.Read(seed)
	r.boot = hex.EncodeToString(seed[:8])
	if err := r.makeArena(len(addresses)); err != nil {
		return nil, errors.Join(err, r.release())
	}
	engine, err := o.Open(netio.Options{Addresses: addresses, Workers: o.Workers, Registry: r.registry})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media engine: %w", err), r.release())
	}
	r.engine = engine
	for i := range o.Workers {
		w := &worker{
			id: i, relay: r, queue: engine.Queue(i), table: r.table, legs: r.legs, keys: r.keys,
			seed: binary.LittleEndian.Uint64(seed[8:]), commands: make(chan func(int64), commandDepth),
		}
		w.beside.diverted.slots = make([]slot, ringSlots)
		w.beside.injected.slots = make([]slot, ringSlots)
		r.workers = append(r.workers, w)
	}
	r.serve()
	return r, nil
}

// complete fills in defaults, or names the field that makes no sense.
func (o *Options) complete() error {
	if len(o.Networks) == 0 {
		return errors.New("relay: no media network: at least one is needed")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Initial", &o.Initial, defaultInitial}, {"Running", &o.Running, defaultRunning}, {"Orphan", &o.Orphan, defaultOrphan},
		{"PortsPrefer", &o.PortsPrefer, defaultPrefer}, {"PortsNever", &o.PortsNever, defaultNever},
	} {
		if *d.value < 0 {
			return fmt.Errorf("relay: %s is negative: %v", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.Workers < 0 || o.Sessions < 0 {
		return fmt.Errorf("relay: %d workers and %d sessions: neither can be negative", o.Workers, o.Sessions)
	}
	o.Workers = max(o.Workers, 1)
	if o.Sessions == 0 {
		o.Sessions = defaultSessions
	}
	if o.Open == nil {
		o.Open = netio.OpenSockets
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return nil
}

// addNetwork gives a network its slots and pools. An address that two networks share is one slot; their ranges must not
// overlap, which the configuration checks.
func (r *Relay) addNetwork(n Network, addresses *[]netip.Addr) (*network, error) {
	if n.DSCP > 63 {
		return nil, fmt.Errorf("relay: media network %q: DSCP %d; use 0 to 63", n.Name, n.DSCP)
	}
	if n.Name == "" || len(n.Addresses) == 0 {
		return nil, fmt.Errorf("relay: media network %q has no name or no address", n.Name)
	}
	made := &network{Network: n}
	for _, a := range n.Addresses {
		pool, err := ports.New(ports.Options{Low: n.Low, High: n.High, Prefer: r.options.PortsPrefer, Never: r.options.PortsNever})
		if err != nil {
			return nil, fmt.Errorf("media network %s: %w", n.Name, err)
		}
		slot := slices.Index(*addresses, a)
		if slot < 0 {
			slot = len(*addresses)
			*addresses = append(*addresses, a)
		}
		made.slots = append(made.slots, slot)
		made.pools = append(made.pools, pool)
	}
	return made, nil
}

// makeArena maps the state that the workers share out among them: legs, and the table from ports to legs.
func (r *Relay) makeArena(slots int) error {
	header, unmap, err := netio.MapArena[arenaHeader](r.registry, "arena/header", 1)
	if err != nil {
		return err
	}
	r.unmap = append(r.unmap, unmap)
	count := r.options.Sessions*control.MaxStreams*control.MaxLegs + 1 // slot 0 is "no leg"
	if r.legs, unmap, err = netio.MapArena[leg](r.registry, "arena/legs", count); err != nil {
		return err
	}
	r.unmap = append(r.unmap, unmap)
	header[0] = arenaHeader{magic: [8]byte{'t', 'a', 'n', 'd', 'e', 'm'}, version: arenaVersion, size: uint32(reflect.TypeFor[leg]().Size()), legs: uint32(count)}
	table, unmap, err := netio.MapArena[uint32](r.registry, "arena/ports", slots<<16)
	if err != nil {
		return err
	}
	r.unmap = append(r.unmap, unmap)
	for slot := range slots {
		r.table = append(r.table, table[slot<<16:(slot+1)<<16])
	}
	r.keys = make([]keys, count)
	r.free = make([]uint32, 0, count)
	for index := count - 1; index > 0; index-- {
		r.free = append(r.free, uint32(index))
	}
	return nil
}

// serve starts what runs until Close.
func (r *Relay) serve() {
	for _, w := range r.workers {
		r.running.Go(func() { w.run(r.quit) })
	}
	r.running.Go(func() { r.orphans(r.quit) })
	r.telling.Go(r.tell)
}

// Engine returns the name of the engine that runs.
func (r *Relay) Engine() string { return r.engine.Name() }

// Close ends every session and gives every descriptor back.
func (r *Relay) Close() error {
	if r.stopped.Swap(true) {
		return nil
	}
	r.mu.Lock()
	for _, s := range r.sessions {
		r.end(s)
	}
	r.mu.Unlock()
	close(r.quit)
	for _, w := range r.workers {
		w.queue.Wake()
	}
	r.running.Wait()
	close(r.events.queue)
	r.telling.Wait()
	err := r.engine.Close()
	return errors.Join(err, r.release())
}

// release gives back what Open took before the engine.
func (r *Relay) release() error {
	var all []error
	for _, unmap := range r.unmap {
		all = append(all, unmap())
	}
	r.registry.CloseAll()
	return errors.Join(all...)
}

// do runs f in the worker's thread, between two batches, and waits until it has. Callers hold r.mu and so never find the
// relay closed.
func (w *worker) do(f func(now int64)) {
	done := make(chan struct{})
	w.commands <- func(now int64) { f(now); close(done) }
	w.queue.Wake()
	<-done
}
