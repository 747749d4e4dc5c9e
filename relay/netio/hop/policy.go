package hop

import (
	"net/netip"
)

// policy is an IPsec policy of direction out, as far as it decides whether a destination needs the kernel.
type policy struct {
	src, dst netip.Prefix // invalid: any address
	plain    bool         // allows the packet and transforms nothing
	sub      bool         // of type XFRM_POLICY_TYPE_SUB: a flush empties one type
}

// matches tells whether a packet from src to dst may be the policy's. Ports, protocol, mark and interface are not
// looked at: a policy that asks for them may match, and when in doubt the kernel decides.
func (p *policy) matches(src, dst netip.Addr) bool {
	return !p.plain && contains(p.src, src) && contains(p.dst, dst)
}

func contains(p netip.Prefix, a netip.Addr) bool { return !p.IsValid() || p.Contains(a) }

// policies is the kernel's set of outgoing IPsec policies, by the index that is unique in a network namespace.
//
// Open lists it once; from then on it lives on events, because the relay has given up the capability to list again.
type policies struct {
	set     map[uint32]policy
	block   bool // "ip xfrm policy setdefault out block": what no policy allows is dropped
	unknown bool // events were lost and the set could not be listed again
}

// match tells whether a packet from src to dst has to pass the kernel's IPsec code.
func (p *policies) match(src, dst netip.Addr) bool {
	if p.unknown || p.block {
		return true
	}
	for _, one := range p.set {
		if one.matches(src, dst) {
			return true
		}
	}
	return false
}

// apply brings an event of the kernel into the set.
func (p *policies) apply(e *policyEvent) {
	switch e.kind {
	case policySet:
		if p.set == nil {
			p.set = make(map[uint32]policy)
		}
		p.set[e.index] = e.policy
	case policyGone:
		delete(p.set, e.index)
	case policyFlush:
		for index, one := range p.set {
			if one.sub == e.policy.sub {
				delete(p.set, index)
			}
		}
	case policyDefault:
		p.block = e.block
	}
}
