package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/ports"
	"tandem/relay/srtp"
)

// session joins legs. It is the control side's view; what packets change is in the arena.
type session struct {
	id, owner  string
	opaque     string
	generation uint64
	serial     uint64
	opened     int64
	alone      int64 // when its last controller went; before that, opened
	worker     *worker
	streams    []*stream
}

// stream is one flow of media between named legs. More than two legs, and kinds other than rtp, have their place here and
// no use yet.
type stream struct {
	name, kind string
	legs       []*end
}

// end is the control side of a leg: its slot in the arena, and the lease of its ports.
type end struct {
	name      string
	index     uint32
	network   *network
	family    string // "ip4" or "ip6"
	mux       bool   // leased as one port
	at        int    // index of the address in the network
	rtp, rtcp netio.Local
	dscp      uint8
	remote    netip.AddrPort // as signalled
	codec     string         // encoding name of the first payload type, for the MOS estimate
	wants     wants
}

// distinct refuses a send key of ours with which somebody else in the session seals too: SSRCs are the peers' choice, and
// two senders of one SSRC under one key use each nonce twice. What two peers do with their own keys is theirs.
func (s *session) distinct(changes []*change) error {
	type sender struct {
		who  string
		keys *srtp.Keys
		ours bool
	}
	var senders []sender
	for _, st := range s.streams {
		for _, e := range st.legs {
			w := &e.wants
			if i := slices.IndexFunc(changes, func(c *change) bool { return c.end == e }); i >= 0 {
				w = &changes[i].next
			}
			who := fmt.Sprintf("stream %q leg %q ", st.name, e.name)
			senders = append(senders, sender{who + "rx", &w.rx, false}, sender{who + "tx", &w.tx, true})
		}
	}
	for i, a := range senders {
		for _, b := range senders[:i] {
			if (a.ours || b.ours) && a.keys.SameSecret(b.keys) {
				return fmt.Errorf("%s and %s have the same key: we seal with a key that nobody else has, so make a new tx key", b.who, a.who)
			}
		}
	}
	return nil
}

// final is a closed session's last state, kept for a caller who lost the answer.
type final struct {
	state control.SessionState
	until time.Time
}

// finalKept is how long the counters of a closed session can be asked for.
const finalKept = 60 * time.Second

// bindTries bounds how many taken ports one lease may run into before it gives up.
const bindTries = 32

// lease finds a free port, or pair, on one of the network's addresses of the family, and binds it.
func (r *Relay) lease(e *end, w *worker, now int64) error {
	var last error
	for range e.network.pools {
		at := e.network.turn % len(e.network.pools)
		e.network.turn++
		if !ofFamily(e.network.Addresses[at], e.family) {
			continue
		}
		for range bindTries {
			port, early, err := leaseFrom(e.network.pools[at], e.mux, now)
			if err != nil {
				last = err
				break
			}
			if early {
				r.early++
			}
			e.at, e.rtp = at, netio.MakeLocal(e.network.slots[at], port)
			if e.rtcp = e.rtp; !e.mux {
				e.rtcp++
			}
			if last = r.bind(e, w, now); last == nil {
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
func (r *Relay) bind(e *end, w *worker, now int64) error {
	pool := e.network.pools[e.at]
	if err := r.engine.Bind(w.id, e.rtp); err != nil {
		pool.Refuse(now, e.rtp.Port())
		if e.rtcp != e.rtp {
			pool.Release(now, e.rtcp.Port())
		}
		return err
	}
	if e.rtcp != e.rtp {
		if err := r.engine.Bind(w.id, e.rtcp); err != nil {
			r.engine.Unbind(e.rtp)
			pool.Release(now, e.rtp.Port())
			pool.Refuse(now, e.rtcp.Port())
			return err
		}
	}
	if err := r.mark(e, e.dscp); err != nil {
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
	if e.rtcp != e.rtp {
		return r.engine.SetDSCP(e.rtcp, dscp)
	}
	return nil
}

// unlease gives a leg's ports back; they rest before the next call gets them.
func (r *Relay) unlease(e *end, now int64) {
	pool := e.network.pools[e.at]
	r.engine.Unbind(e.rtp)
	pool.Release(now, e.rtp.Port())
	if e.rtcp != e.rtp {
		r.engine.Unbind(e.rtcp)
		pool.Release(now, e.rtcp.Port())
	}
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "ip4"
	}
	return "ip6"
}

func ofFamily(a netip.Addr, family string) bool {
	return a.Is4() == (family == "ip4")
}

// join builds the session's legs in the arena: from the next batch on, the worker knows them.
func (r *Relay) join(s *session) {
	s.worker.do(func(now int64) {
		for _, st := range s.streams {
			for i, e := range st.legs {
				l := &s.worker.legs[e.index]
				*l = leg{
					peer: st.legs[1-i].index, rtp: e.rtp, rtcp: e.rtcp,
					flags: hears | speaks | watched, session: s.serial, opened: now, since: now,
				}
				s.worker.keys[e.index] = keys{}
				s.worker.own(e)
			}
		}
	})
}

// own enters a leg into the worker's table and round.
func (w *worker) own(e *end) {
	w.table[e.rtcp.Slot()][e.rtcp.Port()] = e.index<<1 | 1
	w.table[e.rtp.Slot()][e.rtp.Port()] = e.index << 1
	w.legs[e.index].place = uint32(len(w.mine))
	w.mine = append(w.mine, e.index)
}

// disown takes a leg out of the worker's table and round, and wipes it.
func (w *worker) disown(e *end) {
	w.table[e.rtcp.Slot()][e.rtcp.Port()] = 0
	w.table[e.rtp.Slot()][e.rtp.Port()] = 0
	last := w.mine[len(w.mine)-1]
	place := w.legs[e.index].place
	w.mine[place], w.legs[last].place = last, place
	w.mine = w.mine[:len(w.mine)-1]
	w.keys[e.index].wipe()
	w.legs[e.index] = leg{}
}

// end closes a session and returns its final state. The caller holds r.mu.
func (r *Relay) end(s *session) control.SessionState {
	state := r.look(s, s.worker.disown)
	state.Closed = true
	now := netio.Now()
	for _, st := range s.streams {
		for _, e := range st.legs {
			r.unlease(e, now)
			r.free = append(r.free, e.index)
			clear(e.wants.used)
			e.wants = wants{}
		}
	}
	delete(r.sessions, s.id)
	delete(r.bySerial, s.serial)
	r.ended++
	r.keep(state)
	return state
}

// keep remembers a closed session's counters for a while.
func (r *Relay) keep(state control.SessionState) {
	now := time.Now()
	for len(r.order) > 0 {
		oldest, ok := r.closed[r.order[0]]
		if ok && now.Before(oldest.until) && len(r.order) < r.options.Sessions {
			break
		}
		delete(r.closed, r.order[0])
		r.order = r.order[1:]
	}
	if _, again := r.closed[state.ID]; !again {
		r.order = append(r.order, state.ID)
	}
	r.closed[state.ID] = final{state: state, until: now.Add(finalKept)}
}

// recall returns a closed session's final state while it is kept.
func (r *Relay) recall(id string) (control.SessionState, bool) {
	f, ok := r.closed[id]
	return f.state, ok && time.Now().Before(f.until)
}

// closeOrphans ends the sessions whose owner has no controller and whose legs have been silent for the configured time.
func (r *Relay) closeOrphans(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if r.attended(s.owner) {
			continue
		}
		var indices []uint32
		for _, st := range s.streams {
			for _, e := range st.legs {
				indices = append(indices, e.index)
			}
		}
		silence := int64(0)
		s.worker.do(func(int64) { silence = s.worker.silence(indices, now) })
		if min(silence, now-s.alone) >= int64(r.options.Orphan) {
			r.end(s)
			r.log.Info("orphan closed", "session", s.id, "owner", s.owner, "silent", time.Duration(silence))
		}
	}
}
