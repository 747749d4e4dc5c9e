package hop

import "net/netip"

// resolve asks again how a destination is reached and publishes the answer.
func (r *resolver) resolve(n uint32) {
	r.resolutions.Add(1)
	e := &r.hops[n]
	key, state := r.lookUp(e)
	e.state = state
	if state == Ready {
		r.attach(n, key)
	} else {
		r.detach(n)
	}
	r.publish(n)
}

// lookUp follows the way a packet to e would take: IPsec policy, route, device. Ready means that the neighbour decides.
func (r *resolver) lookUp(e *entry) (neighbourKey, State) {
	src, dst := r.addresses[e.at.slot], e.at.addr()
	switch {
	case r.blind:
		return neighbourKey{}, Unresolved
	case r.udp != nil && r.udp[e.at.slot]:
		return neighbourKey{}, Configured
	case src.Is4() != dst.Is4():
		return neighbourKey{}, Unresolved
	case r.policies.match(src, dst):
		return neighbourKey{}, Policy
	case dst.IsMulticast():
		return neighbourKey{}, Local
	}
	way, err := r.ask.route(src, dst)
	if err != nil || way.kind == routeNone {
		return neighbourKey{}, Unresolved
	}
	if way.kind == routeLocal {
		return neighbourKey{}, Local
	}
	d, err := r.deviceAt(way.device)
	if err != nil {
		return neighbourKey{}, Unresolved
	}
	if !d.ethernet || way.encapsulates {
		return neighbourKey{}, Device
	}
	e.device, e.mtu = way.device, way.mtu
	key := neighbourKey{device: way.device, addr: dst}
	if way.gateway.IsValid() {
		key.addr = way.gateway
	}
	return key, Ready
}

// deviceAt returns what is known of a device, and asks when nothing is.
func (r *resolver) deviceAt(index int32) (device, error) {
	if d, ok := r.devices[index]; ok {
		return d, nil
	}
	d, err := r.ask.device(index)
	if err == nil {
		r.devices[index] = d
	}
	return d, err
}

// attach makes the neighbour of that key the hop's, and asks for its state when nobody has yet.
func (r *resolver) attach(n uint32, key neighbourKey) {
	e := &r.hops[n]
	if e.neighbour == nil || e.neighbour.key != key {
		r.detach(n)
		b := r.neighbours[key]
		if b == nil {
			b = &neighbour{key: key}
			r.neighbours[key] = b
		}
		e.neighbour, e.place = b, len(b.hops)
		b.hops = append(b.hops, n)
	}
	if !e.neighbour.known {
		r.askNeighbour(e.neighbour)
	}
}

// detach takes the hop from its neighbour, and forgets a neighbour that no hop is left with.
func (r *resolver) detach(n uint32) {
	e := &r.hops[n]
	b := e.neighbour
	if b == nil {
		return
	}
	e.neighbour = nil
	last := len(b.hops) - 1
	moved := b.hops[last]
	b.hops[e.place] = moved
	r.hops[moved].place = e.place
	b.hops = b.hops[:last]
	if last == 0 {
		delete(r.neighbours, b.key)
	}
}

// askNeighbour brings a neighbour's state up to date. One that the kernel does not know has none.
func (r *resolver) askNeighbour(b *neighbour) {
	state, err := r.ask.neighbour(b.key)
	if err != nil {
		state = neighbourState{}
	}
	b.state, b.known = state, true
}

// publish writes the hop into its record: what the route says, if the device and the neighbour allow it now.
func (r *resolver) publish(n uint32) {
	e := &r.hops[n]
	h := Hop{State: e.state}
	if e.state == Ready {
		d := r.devices[e.device]
		if !d.up || !e.neighbour.state.usable {
			h.State = Unresolved
		} else {
			h.Ifindex, h.MTU = e.device, d.mtu
			if e.mtu > 0 {
				h.MTU = min(e.mtu, d.mtu)
			}
			h.SrcMAC, h.DstMAC = d.mac, e.neighbour.state.mac
		}
	}
	r.records.publish(n, &h)
}

// addr returns the destination's address, IPv4 as IPv4.
func (d *destination) addr() netip.Addr { return netip.AddrFrom16(d.ip).Unmap() }
