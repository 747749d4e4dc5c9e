package relay

import (
	"errors"

	"tandem/relay/netio"
	"tandem/relay/ports"
)

// bindTries bounds how many taken ports one lease may run into before it gives up.
const bindTries = 32

// lease finds a free port, or pair, on one of the network's addresses of the family, and binds it.
func (r *Relay) lease(c *change, w *worker, now int64) error {
	var last error
	e := c.end
	for range e.network.pools {
		at := e.network.turn % len(e.network.pools)
		e.network.turn++
		if e.network.Addresses[at].Is4() != c.ip4 {
			continue
		}
		for range bindTries {
			port, early, err := leaseFrom(e.network.pools[at], c.mux, now)
			if err != nil {
				last = err
				break
			}
			if early {
				r.early++
			}
			e.at, e.rtp = uint16(at), netio.MakeLocal(e.network.slots[at], port)
			if e.rtcp = e.rtp; !c.mux {
				e.rtcp++
			}
			if last = r.bind(e, c.dscp, w, now); last == nil {
				return nil
			}
			if !errors.Is(last, netio.ErrPortTaken) {
				return last
			}
		}
	}
	return last
}

func leaseFrom(p *ports.Pool, mux bool, now int64) (uint16, bool, error) {
	if mux {
		return p.LeaseOne(now)
	}
	return p.LeasePair(now)
}

// bind opens the leg's ports in the engine; if one is taken, both rest as if they had been used.
func (r *Relay) bind(e *end, dscp uint8, w *worker, now int64) error {
	pool := e.network.pools[e.at]
	if err := r.engine.Bind(w.id, e.rtp); err != nil {
		pool.Refuse(now, e.rtp.Port())
		if !e.mux() {
			pool.Release(now, e.rtcp.Port())
		}
		return err
	}
	if !e.mux() {
		if err := r.engine.Bind(w.id, e.rtcp); err != nil {
			r.engine.Unbind(e.rtp)
			pool.Release(now, e.rtp.Port())
			pool.Refuse(now, e.rtcp.Port())
			return err
		}
	}
	if err := r.mark(e, dscp); err != nil {
		r.unlease(e, now)
		return err
	}
	return nil
}

// mark sets the DSCP of what leaves by the leg's ports.
func (r *Relay) mark(e *end, dscp uint8) error {
	e.dscp = dscp
	if err := r.engine.SetDSCP(e.rtp, dscp); err != nil {
		return err
	}
	if !e.mux() {
		return r.engine.SetDSCP(e.rtcp, dscp)
	}
	return nil
}

// unlease gives a leg's ports back; they rest before the next call gets them.
func (r *Relay) unlease(e *end, now int64) {
	pool := e.network.pools[e.at]
	r.engine.Unbind(e.rtp)
	pool.Release(now, e.rtp.Port())
	if !e.mux() {
		r.engine.Unbind(e.rtcp)
		pool.Release(now, e.rtcp.Port())
	}
}

// has tells whether the network has an address of the family.
func (n *network) has(ip4 bool) bool {
	for _, a := range n.Addresses {
		if a.Is4() == ip4 {
			return true
		}
	}
	return false
}
