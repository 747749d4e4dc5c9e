package relay

import (
	"fmt"

	"tandem/relay/netio"
	"tandem/relay/pin"
)

// mostHairpins is how many of our own legs one way of media may lead through: calls that come back to us several times are rare.
const mostHairpins = 8

// leadsOut tells whether what leaves by the changed legs leaves us for good. Calls may lead from us to us, when somebody between forwards
// them; but who offers our own ports as his can close a circle of them, in which one packet is forwarded for ever. The caller holds r.mu.
func (r *Relay) leadsOut(changes []change) error {
	signalled := func(index uint32) pin.Addr {
		for i := range changes {
			if changes[i].end.index == index {
				return changes[i].policy.Signalled
			}
		}
		return r.cold[index].pin.Policy().Signalled
	}
	for i := range changes {
		from := changes[i].end.index
		at := changes[i].policy.Signalled
		for hairpins := 0; ; hairpins++ {
			l, ours := r.localOf(at)
			in, leased := r.legAt[l]
			if !ours || !leased {
				break
			}
			if in^1 == from || hairpins == mostHairpins {
				return fmt.Errorf("leg %q: remote: %s is a port of ours from which media comes back to this leg: a circle",
					changes[i].end.name.Value(), netio.Addr(changes[i].policy.Signalled).AddrPort())
			}
			at = signalled(in ^ 1)
		}
	}
	return nil
}

// localOf returns the port of ours that an address names, as we have it or as we advertise it.
func (r *Relay) localOf(a pin.Addr) (netio.Local, bool) {
	for _, n := range r.networks {
		for i, own := range n.Addresses {
			if own.As16() == a.IP || n.Advertise.IsValid() && n.Advertise.As16() == a.IP {
				return netio.MakeLocal(n.slots[i], a.Port), true
			}
		}
	}
	return 0, false
}
