package relay

import (
	"fmt"
	"net/netip"
	"slices"

	"tandem/relay/ports"
)

// network is a Network with its slots and leases.
type network struct {
	Network
	slots []int // index of each address in the engine
	pools []*ports.Pool
	turn  int
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

// byUDP tells of each slot whether what leaves by its address takes a UDP socket.
func (r *Relay) byUDP(slots int) []bool {
	udp := make([]bool, slots)
	for _, n := range r.networks {
		for _, slot := range n.slots {
			udp[slot] = udp[slot] || n.UDP
		}
	}
	return udp
}

// network returns a network by name; without a name, the only one.
func (r *Relay) network(name string) *network {
	if name == "" && len(r.networks) == 1 {
		return r.networks[0]
	}
	for _, n := range r.networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (r *Relay) networkNames() string {
	names := ""
	for i, n := range r.networks {
		if i > 0 {
			names += ", "
		}
		names += n.Name
	}
	return names
}
