// Package hop tells which device and which link addresses a destination is reached by, and keeps that current.
//
// A ready-made frame bypasses the kernel's routing and neighbour code, so somebody must know what that code would have
// done. The failure this package prevents is a frame sent into the void: to the link address of a gateway that was
// replaced, out of a device that lost its link, in clear text past an IPsec policy. Whenever it is not sure, it says so,
// and the engine sends by the UDP socket, where the kernel is right by definition.
//
// An event of the kernel (netlink) is never taken for the truth, only for the place to look at: the route, the device
// and the neighbour are asked for again, so that neither the order of events nor a lost one can leave a wrong answer.
// IPsec policies are the exception, because listing them needs a capability that the relay has given up by then.
//
// A Table has two sides. The packet path reads (Find, Generation, Read, Probe): no lock is waited for, nothing is
// allocated. One goroutine, the resolver, writes. Headers are made in package frame, packets are sent by the engines;
// neither lives here.
package hop

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// State says whether frames can be sent to a destination, and if not, why not.
type State uint8

// The states. In all but Ready the UDP socket is the way.
const (
	Unresolved State = iota // not known: no route, no link, or the neighbour has not answered (a packet makes the kernel ask)
	Ready                   // frames may be sent
	Local                   // this machine, a broadcast or a multicast address
	Device                  // the device is not an Ethernet, does not resolve addresses, or the route encapsulates
	Policy                  // an xfrm policy (IPsec) may want to see the packet
	Configured              // Options.UDP says so
	States                  // how many there are
)

// String returns the state's name in logs and statistics.
func (s State) String() string {
	return [...]string{"unresolved", "ready", "local", "device", "policy", "configured"}[s]
}

// Hop is how a destination is reached. The fields after State mean something only when it is Ready.
type Hop struct {
	State          State
	Ifindex        int32   // the device to send on: a VLAN's or a bond's own, not the one below
	MTU            int32   // longest IP packet in bytes: the route's, at most the device's
	SrcMAC, DstMAC [6]byte // the device's address and the neighbour's
}

// Ref names the hop of one local address and one destination. 0 is "none yet". A hop that was forgotten makes its Ref
// invalid for good: Generation and Read return 0 for it, and Find gives a new one.
type Ref uint32

// Options are what Open needs to know.
type Options struct {
	Addresses []netip.Addr // local addresses, the sources of packets; the index is the slot
	UDP       []bool       // by slot: destinations of this address are Configured; nil: none
	Log       *slog.Logger // lost netlink events and what follows from them; nil: nothing is logged
}

// Stats are counters since Open, but for Hops, which is what is there now.
type Stats struct {
	Hops        [States]int // hops by state
	Resolutions uint64      // questions answered: a hop looked up, for the first time or again
	Resyncs     uint64      // times that netlink events were lost and everything was asked again
	Refused     uint64      // Finds that gave nothing because the table is full
}

// Table is the hops of all destinations in use. An engine keeps a Ref and a generation beside what it made of the hop, and
// asks for every packet:
//
//	if leg.ref == 0 {                                       // at first, and for a new destination
//		leg.ref, _ = table.Find(slot, &dst)
//	}
//	if g := table.Generation(leg.ref); g != leg.generation {
//		leg.generation = table.Read(leg.ref, &hop)      // 0: not now
//		if leg.generation == 0 {
//			leg.ref = 0
//		}
//		...                                             // make the headers again
//	}
//	frame := leg.ready && !table.Probe(leg.ref)             // else the UDP socket
type Table struct {
	records
	resolver *resolver
	kernel   *kernel
	done     chan struct{}
	running  sync.WaitGroup
}

// tickEvery is the resolver's slow clock. It is also the shortest time between two probes of a hop: the kernel itself
// waits 5 s (delay_first_probe_time) before it verifies a neighbour that is in use.
const tickEvery = 5 * time.Second

// Open makes an empty table and starts its resolver in the network namespace of the calling thread. It needs
// CAP_NET_ADMIN to see the IPsec policies; once Open has returned, no capability is needed any more.
func Open(o Options) (*Table, error) { return open(o, nil) }

// open is Open; turned, when not nil, is called after every turn of the resolver.
func open(o Options, turned func()) (*Table, error) {
	if o.UDP != nil && len(o.UDP) != len(o.Addresses) {
		return nil, fmt.Errorf("open hop table: %d addresses, but UDP is given for %d", len(o.Addresses), len(o.UDP))
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k, err := openKernel()
	if err != nil {
		return nil, fmt.Errorf("open hop table: %w", err)
	}
	t := newTable(o, k, log)
	t.kernel, t.resolver.turned = k, turned
	if err := t.resolver.readPolicies(); err != nil {
		k.close()
		return nil, fmt.Errorf("open hop table: list IPsec policies: %w", err)
	}
	ticker := time.NewTicker(tickEvery)
	t.running.Go(func() { k.followRoutes(t.done) })
	t.running.Go(func() { k.followPolicies(t.done) })
	t.running.Go(func() {
		defer ticker.Stop()
		t.resolver.run(k.events, ticker.C, t.done)
	})
	return t, nil
}

// newTable returns a table whose resolver asks k and does not run yet.
func newTable(o Options, k asker, log *slog.Logger) *Table {
	t := &Table{done: make(chan struct{})}
	t.records.init()
	t.resolver = newResolver(&t.records, o, k, log)
	return t
}

// Close ends the resolver; it is called once. What the table says stays readable and goes stale: the engine has stopped
// sending.
func (t *Table) Close() error {
	close(t.done)
	t.kernel.closeEvents() // the readers wait in them
	t.running.Wait()
	t.kernel.close()
	return nil
}

// Stats returns the counters. Any goroutine may call it.
func (t *Table) Stats() Stats {
	s := Stats{
		Resolutions: t.resolver.resolutions.Load(),
		Resyncs:     t.resolver.resyncs.Load(),
		Refused:     t.refused.Load(),
	}
	for i := range s.Hops {
		s.Hops[i] = int(t.states[i].Load())
	}
	return s
}
