package hop

import "slices"

// hear takes what the kernel says has happened. What is certain at once is published at once; the rest waits for a pass.
func (r *resolver) hear(events []event) {
	var dirty []*neighbour
	for i := range events {
		e := &events[i]
		switch e.kind {
		case linkChanged:
			r.hearLink(e)
		case neighbourChanged:
			if b := r.neighbours[e.neighbour]; b != nil && !slices.Contains(dirty, b) {
				dirty = append(dirty, b)
			}
		case routeChanged:
			r.next.add(e.prefix)
		case allChanged:
			r.next.all = true
		case policyChanged:
			r.hearPolicy(&e.policy)
		case routesLost:
			r.hearRoutesLost()
		case policiesLost:
			r.hearPoliciesLost()
		case ended:
			r.hearEnd(e.err)
		}
	}
	for _, b := range dirty {
		r.askNeighbour(b)
		for _, n := range b.hops {
			r.publish(n)
		}
	}
	if r.next.any() {
		r.later()
	}
}

// hearLink asks for a device that changed. The kernel removes the IPv4 routes of a device that goes down, and takes them
// into use again when it comes up, without an event of their own; so a device that was down only for a moment is a
// change as well.
func (r *resolver) hearLink(e *event) {
	known, ok := r.devices[e.link]
	now, err := r.ask.device(e.link)
	if ok && err == nil && now == known && e.device == known {
		return
	}
	if err != nil {
		delete(r.devices, e.link)
	} else {
		r.devices[e.link] = now
	}
	r.next.all = true
	for n := range r.hops {
		if h := &r.hops[n]; h.inUse && h.state == Ready && h.device == e.link {
			r.publish(uint32(n))
		}
	}
}

// hearPolicy brings an event into the set. A policy that appears is obeyed at once, one that goes may wait.
func (r *resolver) hearPolicy(e *policyEvent) {
	r.policies.apply(e)
	r.next.all = true
	if e.kind == policySet || e.kind == policyDefault {
		r.obeyPolicies(func(n *entry) bool {
			return e.block || e.kind == policySet && e.policy.matches(r.addresses[n.at.slot], n.at.addr())
		})
	}
}

// obeyPolicies makes every hop that a policy matches a Policy, without asking anything.
func (r *resolver) obeyPolicies(match func(*entry) bool) {
	for n := range r.hops {
		if e := &r.hops[n]; e.inUse && e.state != Policy && e.state != Configured && match(e) {
			e.state = Policy
			r.detach(uint32(n))
			r.publish(uint32(n))
		}
	}
}

// hearRoutesLost has everything asked again: the kernel dropped events because we were too slow.
func (r *resolver) hearRoutesLost() {
	r.resyncs.Add(1)
	for index := range r.devices {
		delete(r.devices, index)
		_, _ = r.deviceAt(index) // an error says that it is gone
	}
	for _, b := range r.neighbours {
		b.known = false
	}
	r.next.all = true
}

// hearPoliciesLost lists the policies again, which the kernel refuses once the capability is gone. Then every
// destination may have a policy.
func (r *resolver) hearPoliciesLost() {
	r.resyncs.Add(1)
	if err := r.readPolicies(); err != nil && !r.policies.unknown {
		r.policies.unknown = true
		r.log.Warn("events of IPsec policies were lost and the policies cannot be listed: "+
			"media is sent by UDP sockets until the relay is started again", "error", err)
	}
	r.obeyPolicies(func(n *entry) bool { return r.policies.match(r.addresses[n.at.slot], n.at.addr()) })
	r.next.all = true
}

// readPolicies lists the policies.
func (r *resolver) readPolicies() error {
	set, block, err := r.ask.policies()
	if err == nil {
		r.policies = policies{set: set, block: block}
	}
	return err
}

// hearEnd makes all hops unresolved for good: without events nothing can be kept current.
func (r *resolver) hearEnd(err error) {
	if r.blind {
		return
	}
	r.blind = true
	r.log.Error("netlink events have ended: media is sent by UDP sockets until the relay is started again", "error", err)
	for n := range r.hops {
		if r.hops[n].inUse {
			r.resolve(uint32(n))
		}
	}
}
