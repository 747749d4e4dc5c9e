// Package relay is the media plane: it forwards RTP between the two legs of a session, opens and seals SRTP on the way,
// and pins each leg to the peer that signalling named or evidence proved. It knows legs, addresses, keys and packets; it
// has never heard of SIP or SDP. Whoever speaks the messages of internal/control drives it.
//
// The way of a packet is worker.go, then batch.go with crypt.go, top to bottom; what it reads is leg.go. Sessions are opened and
// changed in open.go, update.go and session.go: plan.go works out what a message makes of a leg, change.go does it. A change
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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/srtp"
	"tandem/relay/srtp/kernel"
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
	// Crypto names the processor features that SRTP may use (kernel.ParseTier). Default: the environment variable TANDEM_CRYPTO, else
	// all that this processor has.
	Crypto string
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
	UDP       bool       // what leaves takes a UDP socket, whatever faster way the engine has
}

// Defaults of Options.
const (
	defaultSessions = 10_000
	defaultInitial  = 30 * time.Second
	defaultRunning  = 60 * time.Second
	defaultOrphan   = 10 * time.Minute
	defaultPrefer   = 60 * time.Second
	defaultNever    = 5 * time.Second
)

// Relay is a running media plane.
type Relay struct {
	options  Options
	log      *slog.Logger
	engine   netio.Engine
	registry *netio.Registry
	networks []*network
	arena
	tier    kernel.Tier // of the processor, for SRTP
	workers []*worker
	events  events
	boot    string
	started time.Time
	unmap   []func() error

	mu       sync.Mutex // everything below; never taken by a worker
	sessions map[string]*session
	bySerial map[uint64]*session
	legAt    map[netio.Local]uint32 // the leg that has the port for RTP
	closed   map[string]final
	order    []string // ids of closed, oldest first
	serial   uint64
	slots    slots
	turn     int // the worker of the next session
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

// Open opens the engine and starts the workers. The relay then answers as a control.Handler until Close.
func Open(o Options) (*Relay, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	tier, err := chooseTier(o.Crypto)
	if err != nil {
		return nil, err
	}
	if err := kernel.Refused(); err != nil {
		o.Log.Warn("cryptography goes slower than this processor could", "tier", tier, "reason", err)
	}
	r := &Relay{
		tier:    tier,
		options: o, log: o.Log, registry: netio.NewRegistry(nil), started: time.Now(),
		sessions: map[string]*session{}, bySerial: map[uint64]*session{}, legAt: map[netio.Local]uint32{}, closed: map[string]final{},
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
	engine, err := o.Open(netio.Options{
		Addresses: addresses, Workers: o.Workers, Registry: r.registry, UDP: r.byUDP(len(addresses)), Log: o.Log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media engine: %w", err), r.release())
	}
	r.engine = engine
	for i := range o.Workers {
		w := &worker{
			id: i, relay: r, queue: engine.Queue(i), arena: r.arena, keys: map[uint32]*keys{},
			seed: binary.LittleEndian.Uint64(seed[8:]), commands: commands{queue: make(chan func(int64), commandDepth)},
			mine: make([]uint32, 0, len(r.legs)),
		}
		w.jobs.scratch = srtp.NewScratch(r.tier)
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

// chooseTier returns the processor features of that name, or the environment's, or the best there are.
func chooseTier(name string) (kernel.Tier, error) {
	if name == "" {
		name = os.Getenv("TANDEM_CRYPTO")
	}
	if name == "" {
		return kernel.Best(), nil
	}
	tier, err := kernel.ParseTier(name)
	if err != nil {
		return tier, fmt.Errorf("relay: TANDEM_CRYPTO: %w", err)
	}
	if !kernel.Have(tier) {
		err := fmt.Errorf("relay: TANDEM_CRYPTO: %s needs processor features that this machine has not; its best is %s", tier, kernel.Best())
		return tier, errors.Join(err, kernel.Refused())
	}
	return tier, nil
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

// Polls tells whether the workers look at their devices by the clock while traffic is steady.
func (r *Relay) Polls() bool {
	e, can := r.engine.(interface{ Polled() bool })
	return can && e.Polled()
}

// paths tells how packets get from each device, if the engine does.
func (r *Relay) paths() []string {
	if e, ok := r.engine.(interface{ Paths() []string }); ok {
		return e.Paths()
	}
	return nil
}

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
