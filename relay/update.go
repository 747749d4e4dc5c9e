package relay

import (
	"slices"

	"tandem/internal/control"
)

// update changes a session. Of a controller that lost the answer and asks again, only the answer is made again.
func (r *Relay) update(m control.Update) (state control.SessionState, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[m.ID]
	switch {
	case s == nil:
		return state, r.missing(m.ID)
	case m.Generation == 0:
		return state, control.Errorf(control.CodeParams, "generation: missing; session %q is at %d, so send %d or more", s.id, s.generation, s.generation+1)
	case m.Generation < s.generation:
		return state, control.Errorf(control.CodeStale, "generation %d is older than session %q's %d", m.Generation, s.id, s.generation)
	case m.Generation == s.generation:
		return r.state(s), nil // the caller lost our answer
	case m.Opaque != nil && len(*m.Opaque) > control.MaxOpaque:
		return state, control.Errorf(control.CodeParams, "opaque: %d bytes; at most %d", len(*m.Opaque), control.MaxOpaque)
	}
	changes := make([]change, 0, min(len(m.Streams), control.MaxStreams)*control.MaxLegs)
	for i := range m.Streams {
		sm := &m.Streams[i]
		if slices.ContainsFunc(m.Streams[:i], func(o control.Stream) bool { return o.Name == sm.Name }) {
			return state, control.Errorf(control.CodeParams, "stream %q is named twice", sm.Name)
		}
		if changes, err = r.updateStream(changes, s, sm); err != nil {
			return state, err
		}
	}
	if err := r.distinct(s, changes); err != nil {
		return state, control.Errorf(control.CodeParams, "%v", err)
	}
	if err := r.leadsOut(changes); err != nil {
		return state, control.Errorf(control.CodeParams, "%v", err)
	}
	s.generation = m.Generation
	if m.Opaque != nil {
		s.opaque = *m.Opaque
	}
	return r.apply(s, changes), nil
}

// updateStream appends what a message makes of a stream's legs.
func (r *Relay) updateStream(changes []change, s *session, m *control.Stream) ([]change, error) {
	st := s.stream(m.Name)
	if st == nil {
		return nil, control.Errorf(control.CodeParams, "session %q has no stream %q", s.id, m.Name)
	}
	if !knownKind(m.Kind) {
		return nil, unknownKind(m)
	}
	for i := range m.Legs {
		lm := &m.Legs[i]
		switch {
		case slices.ContainsFunc(m.Legs[:i], func(o control.Leg) bool { return o.Name == lm.Name }):
			return nil, control.Errorf(control.CodeParams, "stream %q leg %q is named twice", m.Name, lm.Name)
		case !slices.ContainsFunc(st.legs, func(e end) bool { return e.name.Value() == lm.Name }):
			return nil, control.Errorf(control.CodeParams, "stream %q has no leg %q", m.Name, lm.Name)
		case lm.Network != "" || lm.Family != "" || lm.RTCP != "":
			return nil, control.Errorf(control.CodeParams, "stream %q leg %q: network, family and rtcp are for session.open; the ports are leased", m.Name, lm.Name)
		}
	}
	for i := range st.legs {
		e := &st.legs[i]
		lm := &control.Leg{} // one that is not mentioned changes nothing but what the stream says
		if at := slices.IndexFunc(m.Legs, func(l control.Leg) bool { return l.Name == e.name.Value() }); at >= 0 {
			lm = &m.Legs[at]
		} else if m.Watch == nil && m.Kind == "" {
			continue
		}
		changes = append(changes, change{})
		if err := r.redraft(&changes[len(changes)-1], e, m, lm); err != nil {
			return nil, control.Errorf(control.CodeParams, "stream %q leg %q: %v", m.Name, e.name.Value(), err)
		}
	}
	return changes, nil
}

// apply hands the changes to the session's worker, all in one go, remembers them, and returns the state right after. Nothing in
// it can fail but the DSCP mark, which is logged: a call with the wrong mark is better than none.
func (r *Relay) apply(s *session, changes []change) control.SessionState {
	tallies := make([]tally, 0, len(s.streams)*control.MaxLegs)
	var at int64
	s.worker.do(func(now int64) {
		for i := range changes {
			s.worker.change(&changes[i], now)
		}
		tallies, at = s.count(tallies), now
	})
	for i := range changes {
		c := &changes[i]
		c.adopt()
		if c.dscp != c.end.dscp {
			if err := r.mark(c.end, c.dscp); err != nil {
				r.log.Warn("dscp not set", "session", s.id, "leg", c.end.name.Value(), "error", err)
			}
		}
	}
	return s.state(tallies, at)
}

// adopt makes the change's the control side's view of the leg.
func (c *change) adopt() {
	c.end.codec, c.end.spent = c.codec, c.spent
	c.rx.wipe()
	c.tx.wipe()
}
