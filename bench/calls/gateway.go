package calls

import (
	"context"
	"fmt"
	"net/netip"

	"tandem/bench/rig"
)

// sipPort is everybody's.
const sipPort = 5060

// Gateway is a side under test. Its methods belong to one goroutine. Start comes first, Stop last; both may repeat.
type Gateway interface {
	// Name is the side's name in tables.
	Name() string
	// Version is what its programs call themselves. Valid after Start.
	Version() string
	// Start runs it in the place. Calls that reach At go on to the called sipp.
	Start(ctx context.Context, s Scene) error
	// Parts are its running programs, by name.
	Parts() []Part
	// Books says what it has counted.
	Books(ctx context.Context) (Books, error)
	// Stop ends it, whatever state it is in. The error is how it ended if that was not because it was asked to.
	Stop() error
}

// Part is a program of a gateway: a process with all that it started.
type Part struct {
	Name    string
	Process *rig.Process
}

// Books are a gateway's own numbers.
type Books struct {
	Opened   uint64 // media sessions since the start
	Sessions int    // media sessions now
	Calls    int    // calls now; -1: it does not tell
	// Of Tandem's processes, by part; nil: it does not tell.
	Goroutines map[string]int
	Heap       map[string]uint64 // bytes of objects, garbage included
}

// Standing is what is up at a moment.
type Standing struct{ Calls, Sessions int }

func (s Standing) String() string {
	return fmt.Sprintf("%d calls and %d media sessions", s.Calls, s.Sessions)
}

// standing leaves out what is not told.
func (b *Books) standing() Standing { return Standing{max(0, b.Calls), b.Sessions} }

func (b *Books) busy() bool { return b.standing() != Standing{} }

// Scene is where the parties are.
type Scene struct {
	Place  *rig.Place
	Caller netip.AddrPort // sipp's
	Called netip.AddrPort // the other sipp's
	At     netip.AddrPort // the gateway's
	Media  []netip.Addr   // the relay's addresses
}

// NewScene takes the addresses of a place: sipps on the load's side, SIP and media of the gateway on the relay's.
func NewScene(place *rig.Place) Scene {
	peers, ours := fours(place.PeerAddresses()), fours(place.RelayAddresses())
	return Scene{
		Place: place, Media: ours,
		Caller: netip.AddrPortFrom(peers[0], sipPort), Called: netip.AddrPortFrom(peers[1], sipPort),
		At: netip.AddrPortFrom(ours[0], sipPort),
	}
}

func fours(all []netip.Addr) (four []netip.Addr) {
	for _, a := range all {
		if a.Is4() {
			four = append(four, a)
		}
	}
	return four
}
