package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/ports"
	"tandem/relay/srtp"
)

// Handle answers one call of a controller. It implements control.Handler.
func (r *Relay) Handle(_ context.Context, c *control.Conn, method string, params json.RawMessage) (any, error) {
	switch method {
	case control.MethodHello:
		return answer(params, func(m control.Hello) (any, error) { return r.hello(c, m) })
	case control.MethodOpen:
		return answer(params, func(m control.Open) (any, error) { return r.open(m) })
	case control.MethodUpdate:
		return answer(params, func(m control.Update) (any, error) { return r.update(m) })
	case control.MethodClose:
		return answer(params, func(m control.Ref) (any, error) { return r.closeSession(m) })
	case control.MethodGet:
		return answer(params, func(m control.Ref) (any, error) { return r.get(m) })
	case control.MethodList:
		return answer(params, func(m control.List) (any, error) { return r.list(m) })
	case control.MethodStats:
		return answer(params, func(struct{}) (any, error) { return r.Stats(), nil })
	case control.MethodDrain:
		return answer(params, func(m control.Drain) (any, error) { return r.drain(m) })
	}
	return nil, control.UnknownMethod(method, control.MethodHello, control.MethodOpen, control.MethodUpdate, control.MethodClose,
		control.MethodGet, control.MethodList, control.MethodStats, control.MethodDrain)
}

// answer decodes a method's parameters strictly and calls it. The handlers below run one at a time: control is not the
// packet path, and one order of things is easier to reason about than many.
func answer[M any](params json.RawMessage, handle func(M) (any, error)) (any, error) {
	m, err := control.Decode[M](params)
	if err != nil {
		return nil, err
	}
	return handle(m)
}

func (r *Relay) hello(c *control.Conn, m control.Hello) (any, error) {
	if m.Protocol != 0 && m.Protocol != control.Protocol {
		return nil, control.Errorf(control.CodeUnsupported, "protocol %d: this relay speaks %d", m.Protocol, control.Protocol)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.SetHello(m)
	r.conns[c] = m
	result := control.HelloResult{
		Protocol: control.Protocol, Version: r.options.Version, Boot: r.boot,
		Engine: r.engine.Name(), Workers: len(r.workers), Draining: r.draining,
		Limits: control.Limits{
			Sessions: r.options.Sessions, Streams: control.MaxStreams, Legs: control.MaxLegs,
			Line: control.MaxLine, Opaque: control.MaxOpaque, Page: control.MaxPage,
		},
	}
	for _, s := range srtp.Suites() {
		result.Suites = append(result.Suites, s.String())
	}
	now := netio.Now()
	for _, n := range r.networks {
		described := control.Network{Name: n.Name, Ports: fmt.Sprintf("%d-%d", n.Low, n.High)}
		for i, a := range n.Addresses {
			described.Addresses = append(described.Addresses, a.String())
			described.Free += n.pools[i].Free(now)
		}
		result.Networks = append(result.Networks, described)
	}
	return result, nil
}

// Gone forgets a connection. Its owner's sessions live on.
func (r *Relay) Gone(c *control.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, known := r.conns[c]
	delete(r.conns, c)
	if !known || r.attended(h.Owner) {
		return
	}
	now := netio.Now()
	for _, s := range r.sessions {
		if s.owner == h.Owner {
			s.alone = now
		}
	}
}

// attended tells whether a controller of the owner is connected.
func (r *Relay) attended(owner string) bool {
	for _, h := range r.conns {
		if h.Owner == owner {
			return true
		}
	}
	return false
}

// listeners returns the connections that want events of the owner's sessions.
func (r *Relay) listeners(owner string) []*control.Conn {
	var found []*control.Conn
	for c, h := range r.conns {
		if h.Events && (h.Owner == "" || h.Owner == owner) {
			found = append(found, c)
		}
	}
	return found
}

func (r *Relay) open(m control.Open) (any, error) {
	if m.Generation == 0 {
		m.Generation = 1
	}
	if err := checkOpen(&m); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[m.ID]; s != nil {
		if s.owner == m.Owner && s.generation == m.Generation {
			return r.state(s), nil // the caller lost our answer
		}
		return nil, control.Errorf(control.CodeExists, "session %q is open: owner %q, generation %d; close it, or choose another id", m.ID, s.owner, s.generation)
	}
	legs := 0
	for _, st := range m.Streams {
		legs += len(st.Legs)
	}
	switch {
	case r.stopped.Load() || r.draining:
		return nil, control.Errorf(control.CodeDraining, "the relay is draining: it takes no new sessions")
	case len(r.sessions) >= r.options.Sessions || legs > len(r.free):
		return nil, control.Errorf(control.CodeFull, "the relay's limit of %d sessions is reached", r.options.Sessions)
	}
	s, changes, err := r.prepare(m)
	if err != nil {
		return nil, err
	}
	r.sessions[s.id], r.bySerial[s.serial] = s, s
	r.opened++
	r.join(s)
	r.apply(s, changes)
	return r.state(s), nil
}

// prepare plans a session and leases everything it needs, or gives back what it took.
func (r *Relay) prepare(m control.Open) (*session, []*change, error) {
	now := netio.Now()
	r.serial++
	s := &session{
		id: m.ID, owner: m.Owner, opaque: m.Opaque, generation: m.Generation,
		serial: r.serial, opened: now, alone: now, worker: r.workers[r.turn%len(r.workers)],
	}
	r.turn++
	var changes []*change
	for _, st := range m.Streams {
		made := &stream{name: st.Name, kind: "rtp"}
		for _, lm := range st.Legs {
			c, err := r.draft(lm, st.Watch)
			if err != nil {
				return nil, nil, control.Errorf(control.CodeParams, "stream %q leg %q: %v", st.Name, lm.Name, err)
			}
			made.legs = append(made.legs, c.end)
			changes = append(changes, c)
		}
		s.streams = append(s.streams, made)
	}
	if err := s.distinct(changes); err != nil {
		return nil, nil, control.Errorf(control.CodeParams, "%v", err)
	}
	for i, c := range changes {
		if err := r.lease(c.end, s.worker, now); err != nil {
			for _, leased := range changes[:i] {
				r.unlease(leased.end, now)
				r.free = append(r.free, leased.end.index)
			}
			code := control.CodeInternal
			if errors.Is(err, ports.ErrNone) || errors.Is(err, netio.ErrPortTaken) {
				code = control.CodeNoPorts
			}
			return nil, nil, control.Errorf(code, "leg %q: %v", c.end.name, err)
		}
		c.end.index = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	}
	return s, changes, nil
}

// draft plans a new leg: its network and family, and what the message wants of it.
func (r *Relay) draft(m control.Leg, watch *bool) (*change, error) {
	e := &end{name: m.Name, network: r.network(m.Network), family: m.Family, mux: m.RTCP == "mux"}
	if e.network == nil {
		return nil, fmt.Errorf("network %q is unknown; known: %s", m.Network, r.networkNames())
	}
	e.dscp = e.network.DSCP
	if e.family == "" {
		e.family = familyOf(e.network.Addresses[0])
	}
	if !slices.ContainsFunc(e.network.Addresses, func(a netip.Addr) bool { return ofFamily(a, e.family) }) {
		return nil, fmt.Errorf("network %s has no address of family %s", e.network.Name, e.family)
	}
	return e.plan(m, watch)
}

func (r *Relay) update(m control.Update) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[m.ID]
	if s == nil {
		return nil, r.missing(m.ID)
	}
	if m.Generation == 0 {
		return nil, control.Errorf(control.CodeParams, "generation: missing; session %q is at %d, so send %d or more", s.id, s.generation, s.generation+1)
	}
	if m.Generation < s.generation {
		return nil, control.Errorf(control.CodeStale, "generation %d is older than session %q's %d", m.Generation, s.id, s.generation)
	}
	if m.Generation == s.generation {
		return r.state(s), nil // the caller lost our answer
	}
	if m.Opaque != nil && len(*m.Opaque) > control.MaxOpaque {
		return nil, control.Errorf(control.CodeParams, "opaque: %d bytes; at most %d", len(*m.Opaque), control.MaxOpaque)
	}
	var changes []*change
	for i, sm := range m.Streams {
		st := s.stream(sm.Name)
		if st == nil {
			return nil, control.Errorf(control.CodeParams, "session %q has no stream %q", s.id, sm.Name)
		}
		if slices.ContainsFunc(m.Streams[:i], func(o control.Stream) bool { return o.Name == sm.Name }) {
			return nil, control.Errorf(control.CodeParams, "stream %q is named twice", sm.Name)
		}
		for _, e := range st.legs {
			lm, mentioned := legNamed(sm.Legs, e.name)
			if !mentioned && sm.Watch == nil {
				continue
			}
			c, err := e.plan(lm, sm.Watch)
			if err != nil {
				return nil, control.Errorf(control.CodeParams, "stream %q leg %q: %v", sm.Name, e.name, err)
			}
			changes = append(changes, c)
		}
		for i, lm := range sm.Legs {
			if slices.ContainsFunc(sm.Legs[:i], func(o control.Leg) bool { return o.Name == lm.Name }) {
				return nil, control.Errorf(control.CodeParams, "stream %q leg %q is named twice", sm.Name, lm.Name)
			}
			if !slices.ContainsFunc(st.legs, func(e *end) bool { return e.name == lm.Name }) {
				return nil, control.Errorf(control.CodeParams, "stream %q has no leg %q", sm.Name, lm.Name)
			}
			if lm.Network != "" || lm.Family != "" || lm.RTCP != "" {
				return nil, control.Errorf(control.CodeParams, "stream %q leg %q: network, family and rtcp are for session.open; the ports are leased", sm.Name, lm.Name)
			}
		}
	}
	if err := s.distinct(changes); err != nil {
		return nil, control.Errorf(control.CodeParams, "%v", err)
	}
	r.apply(s, changes)
	s.generation = m.Generation
	if m.Opaque != nil {
		s.opaque = *m.Opaque
	}
	return r.state(s), nil
}

// legNamed finds a leg's message. One that is not mentioned changes nothing.
func legNamed(legs []control.Leg, name string) (control.Leg, bool) {
	for _, l := range legs {
		if l.Name == name {
			return l, true
		}
	}
	return control.Leg{Name: name}, false
}

func (s *session) stream(name string) *stream {
	for _, st := range s.streams {
		if st.name == name {
			return st
		}
	}
	return nil
}

func (r *Relay) missing(id string) error {
	return control.Errorf(control.CodeNotFound, "session %q is not open", id)
}

func (r *Relay) closeSession(m control.Ref) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[m.ID]
	if s == nil {
		if state, ok := r.recall(m.ID); ok {
			return state, nil // the caller lost our answer
		}
		return nil, r.missing(m.ID)
	}
	if m.Generation != 0 && m.Generation < s.generation {
		return nil, control.Errorf(control.CodeStale, "generation %d is older than session %q's %d", m.Generation, s.id, s.generation)
	}
	return r.end(s), nil
}

func (r *Relay) get(m control.Ref) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[m.ID]; s != nil {
		return r.state(s), nil
	}
	if state, ok := r.recall(m.ID); ok {
		return state, nil
	}
	return nil, r.missing(m.ID)
}

// pageBytes bounds a page of session.list, so that the answer is a line that every client can take.
const pageBytes = control.MaxLine / 2

func (r *Relay) list(m control.List) (any, error) {
	limit := m.Limit
	if limit <= 0 || limit > control.MaxPage {
		limit = control.MaxPage
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id, s := range r.sessions {
		if id > m.After && (m.Owner == "" || s.owner == m.Owner) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	result := control.ListResult{Sessions: []control.SessionState{}}
	for bytes, i := 0, 0; i < len(ids); i++ {
		if len(result.Sessions) == limit || bytes > pageBytes {
			result.Next = ids[i-1]
			break
		}
		state := r.state(r.sessions[ids[i]])
		line, err := json.Marshal(state)
		if err != nil {
			return nil, err
		}
		bytes += len(line)
		result.Sessions = append(result.Sessions, state)
	}
	return result, nil
}

func (r *Relay) drain(m control.Drain) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = m.On
	r.log.Info("draining", "on", m.On, "sessions", len(r.sessions))
	return control.DrainResult{Draining: r.draining, Sessions: len(r.sessions)}, nil
}
