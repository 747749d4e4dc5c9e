// Package subject is what is measured: a relay that runs in a rig's place, that is told about calls, and whose counters
// prove which way the packets took. Tandem is here, as the binary that is shipped, driven like by any controller; others
// are bench/rival.
//
// The failure it prevents is the fast number of a relay that did something else: an engine that fell back, a leg that left
// by the slow way, packets that never came through user space. Counters are read around every run, and Prove says so. What
// does not live here: namespaces and CPU accounts (bench/rig), packets (bench/load), rates and rounds (bench/trial).
package subject

import (
	"context"

	"tandem/bench/load"
	"tandem/bench/rig"
)

// The UDP ports that every relay under test may lease, the same for all. Peers and ephemeral ports of ng and the like are
// on other addresses.
const (
	FirstPort = 20000
	LastPort  = 59999
)

// Subject is a relay under test. Its methods belong to one goroutine. Start comes first, Stop last; both may repeat.
type Subject interface {
	// Name is the engine's or the rival's name.
	Name() string
	// Version is what it calls itself. Valid after Start.
	Version() string
	// Start runs the relay in the place, and returns when it answers.
	Start(ctx context.Context, place *rig.Place) error
	// Open sets every call up. It fills in Side.Relay, and Side.RelayKey where the relay chooses its keys itself.
	Open(ctx context.Context, calls []load.Call) error
	// Counters reads the relay's totals.
	Counters(ctx context.Context) (Counters, error)
	// Prove returns the path that a run's packets took, or an error when it is not the one that was asked for, or when the
	// counters cannot be true beside what the load sent and received.
	Prove(before, after Counters, r *load.Result) (path string, err error)
	// Process is the running relay.
	Process() *rig.Process
	// Stop ends the relay. The error is how it ended if that was not because it was asked to.
	Stop() error
}

// Counters are a relay's totals since its start. What a relay does not tell is 0 or nil; Tells says what it can.
type Counters struct {
	Received  uint64 // packets
	Forwarded uint64
	Drops     map[string]uint64 // by reason
	Ways      map[string]uint64 // packets sent, by the way they left
	RecvCalls uint64            // that returned something
	SendCalls uint64
	Overflows uint64 // lost in the kernel before the relay saw them
	Unmatched uint64 // reached a shared socket without belonging to it
	Allocs    uint64 // objects on the relay's heap since its start
	Kernel    uint64 // forwarded in the kernel, past the relay's process

	TellsCalls, TellsAllocs bool
}
