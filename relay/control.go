package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/srtp"
)

// Handle answers one call of a controller. It implements control.Handler.
func (r *Relay) Handle(_ context.Context, c *control.Conn, method string, params json.RawMessage) (any, error) {
	switch method {
	case control.MethodHello:
		return answer(params, func(m control.Hello) (any, error) { return r.hello(c, m) })
	case control.MethodOpen:
		return answer(params, func(m control.Open) (any, error) { return brief(r.open(m)) })
	case control.MethodUpdate:
		return answer(params, func(m control.Update) (any, error) { return brief(r.update(m)) })
	case control.MethodClose:
		return answer(params, func(m control.Ref) (any, error) { return brief(r.closeSession(m)) })
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

// brief leaves out of a session's state what the controller that asks has told us itself: session.get and session.list have it.
func brief(state control.SessionState, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	state.Opaque = ""
	return state, nil
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
		Engine: r.engine.Name(), Paths: r.paths(), Workers: len(r.workers), Draining: r.draining,
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
		if s.owner.Value() == h.Owner {
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

func (r *Relay) missing(id string) error {
	return control.Errorf(control.CodeNotFound, "session %q is not open", id)
}

func (r *Relay) closeSession(m control.Ref) (state control.SessionState, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[m.ID]
	if s == nil {
		if state, ok := r.recall(m.ID); ok {
			return state, nil // the caller lost our answer
		}
		return state, r.missing(m.ID)
	}
	if m.Generation != 0 && m.Generation < s.generation {
		return state, control.Errorf(control.CodeStale, "generation %d is older than session %q's %d", m.Generation, s.id, s.generation)
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
		if id > m.After && (m.Owner == "" || s.owner.Value() == m.Owner) {
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
