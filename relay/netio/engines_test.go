package netio

import (
	"net/netip"
	"testing"

	"tandem/relay/netio/hop"
)

// placed is an engine that is tested in a place of its own.
type placed interface {
	Engine
	address(Local) netip.AddrPort
	exit(Local) *exit
	base() *funnel
	Hops() hop.Stats
	Steered() uint64
}

// base is the funnel that the engine is, or has.
func (e *funnel) base() *funnel { return e }

// kind is an engine that promises what the funnel does.
type kind struct {
	name string
	best Way // by which packets leave when nothing is in the way
	open func(testing.TB, Options) placed
}

var kinds = []kind{
	{"funnel", Frame, func(t testing.TB, o Options) placed { return openFunnelTest(t, o) }},
	{"xdp", XDP, func(t testing.TB, o Options) placed { return openXDPTest(t, o) }},
}

// onEachKind runs a test once with each engine, in a place of its own.
func onEachKind(t *testing.T, test func(t *testing.T, p *place, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, newPlace(t), k) })
	}
}
