package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"sync"
)

// The addresses of the place, from the ranges for measurements (RFC 2544) and for nobody else (RFC 4193).
var (
	relay4, relay6 = netip.AddrFrom4([4]byte{198, 18, 0, 1}), netip.MustParseAddr("fd00::1")
	peer4, peer6   = netip.AddrFrom4([4]byte{198, 18, 1, 1}), netip.MustParseAddr("fd00::1:1")
)

const (
	prefix4, prefix6 = 16, 64 // bits: both sides on one link, so that the relay finds the peers by ARP and ND
	maxAddresses     = 200    // of one side and family: they are counted in the last byte
	defaultRelay     = 4      // 4 x 10,000 port pairs and more: 28,000 legs without reuse
	defaultPeers     = 4
)

// Options says how big the place is and where it runs. The zero value of a number is its default.
type Options struct {
	RelayCPU, LoadCPU int // two different CPUs; if both are 0: relay on the last one, load on the first
	RelayAddresses    int // of each family, default 4, at most 200
	PeerAddresses     int // of each family, default 4, at most 200

	// Calm is for load that is itself woken up for each message, as a peer in a namespace of the same machine is and a peer in a network is
	// not: programs on the relay's CPU and the receive threads of both run under SCHED_BATCH (sched(7)), so that who wakes up does not
	// interrupt who runs, and idle CPUs do not halt. In a virtual machine to interrupt or wake another CPU costs the sender 8 to 30 us.
	Calm bool
}

// settled fills in the defaults, or refuses.
func (o Options) settled() (Options, error) {
	if o.RelayCPU == 0 && o.LoadCPU == 0 {
		o.RelayCPU = runtime.NumCPU() - 1
	}
	if o.RelayAddresses == 0 {
		o.RelayAddresses = defaultRelay
	}
	if o.PeerAddresses == 0 {
		o.PeerAddresses = defaultPeers
	}
	if o.RelayCPU == o.LoadCPU {
		return o, fmt.Errorf("rig: relay and load are both on CPU %d: a measurement needs two CPUs", o.LoadCPU)
	}
	for _, n := range []int{o.RelayAddresses, o.PeerAddresses} {
		if n < 1 || n > maxAddresses {
			return o, fmt.Errorf("rig: %d addresses: 1 to %d are possible", n, maxAddresses)
		}
	}
	return o, nil
}

// Place is a built rig. Its methods may be called by any goroutine.
type Place struct {
	options     Options
	name        string // td-<pid>
	load, relay *side

	mu        sync.Mutex
	processes []*Process
	closed    bool
	closing   sync.Once
	closeErr  error
	stop      func() bool // detaches from the context
	latency   *os.File    // keeps idle CPUs from halting as long as it is open; nil: they halt
}

// side is one namespace with its end of the pair.
type side struct {
	name   string // of the namespace
	device Device
	addrs  []netip.Addr // IPv4 first
	cpu    int
	batch  bool // SCHED_BATCH
	// queued gives the device a queueing discipline: only then do sockets' packets wait in it when the far ring of 256 packets is
	// full, instead of being dropped: those of sipp. The load of package load keeps count itself.
	queued bool
	napi   []int // thread ids of its NAPI threads
	warden *warden
}

// Build removes what killed runs left, makes the namespaces and joins them. The place lasts until Close, or until ctx
// ends: hand it a context of signal.NotifyContext, and call Close all the same, which then waits for the removal.
func Build(ctx context.Context, o Options) (*Place, error) {
	o, err := o.settled()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("rig: network namespaces need root: run this with sudo")
	}
	if err := removeStale(); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s%d", namePrefix, os.Getpid())
	p := &Place{options: o, name: name}
	p.load = &side{name: name + loadSuffix, device: Device{Name: name + "-l"}, cpu: o.LoadCPU, queued: true, batch: o.Calm, addrs: addresses(peer4, peer6, o.PeerAddresses)}
	p.relay = &side{name: name + relaySuffix, device: Device{Name: name + "-r"}, cpu: o.RelayCPU, batch: o.Calm, addrs: addresses(relay4, relay6, o.RelayAddresses)}
	if err := p.build(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.mu.Lock()
	p.stop = context.AfterFunc(ctx, func() { p.Close() })
	p.mu.Unlock()
	return p, nil
}

func (p *Place) build() (err error) {
	for _, s := range []*side{p.load, p.relay} {
		if s.warden, err = newWarden(s.name); err != nil {
			return err
		}
	}
	if err := join(p.load, p.relay); err != nil {
		return err
	}
	for _, s := range []*side{p.load, p.relay} {
		if err := s.useNAPI(); err != nil {
			return err
		}
	}
	if p.options.Calm {
		if p.latency, err = noHalt(); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = nil // a container: they halt, as NoHalt says
		}
		return err
	}
	return p.load.preferNAPI()
}

// addresses counts n addresses of each family from the first ones.
func addresses(first4, first6 netip.Addr, n int) []netip.Addr {
	var all []netip.Addr
	for _, a := range []netip.Addr{first4, first6} {
		for range n {
			all = append(all, a)
			a = a.Next()
		}
	}
	return all
}

// Close ends the processes and removes namespaces and devices. It may be called more than once; all calls return when the
// place is gone.
func (p *Place) Close() error {
	p.closing.Do(func() {
		p.mu.Lock()
		p.closed = true
		processes, stop := p.processes, p.stop
		p.mu.Unlock()
		if stop != nil {
			stop()
		}
		for _, process := range processes {
			process.Stop() // a bad end of a relay is its owner's to report
		}
		errs := []error{p.load.unplug()}
		for _, s := range []*side{p.relay, p.load} {
			if s.warden != nil {
				errs = append(errs, s.warden.leave(), removeNamespace(s.name))
			}
		}
		if p.latency != nil {
			errs = append(errs, p.latency.Close())
		}
		p.closeErr = errors.Join(errs...)
	})
	return p.closeErr
}

// RelayAddresses returns the relay's addresses, IPv4 before IPv6.
func (p *Place) RelayAddresses() []netip.Addr { return p.relay.addrs }

// PeerAddresses returns the addresses of the peers, IPv4 before IPv6.
func (p *Place) PeerAddresses() []netip.Addr { return p.load.addrs }

// RelayDevice returns the relay's end of the pair.
func (p *Place) RelayDevice() Device { return p.relay.device }

// LoadDevice returns the load's end of the pair.
func (p *Place) LoadDevice() Device { return p.load.device }

// RelayCPU returns the CPU that is measured.
func (p *Place) RelayCPU() int { return p.options.RelayCPU }

// LoadCPU returns the CPU of generator and sink.
func (p *Place) LoadCPU() int { return p.options.LoadCPU }

// InRelay runs f on a thread inside the relay's namespace; sockets that f opens stay there. One f runs at a time.
func (p *Place) InRelay(f func() error) error { return p.relay.warden.run(f) }

// InLoad runs f on a thread inside the load's namespace; sockets that f opens stay there. One f runs at a time.
func (p *Place) InLoad(f func() error) error { return p.load.warden.run(f) }
