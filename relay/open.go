package relay

import (
	"errors"
	"slices"
	"unique"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/ports"
)

// open makes a session. Of a controller that lost the answer and asks again, only the answer is made again.
func (r *Relay) open(m control.Open) (state control.SessionState, err error) {
	if m.Generation == 0 {
		m.Generation = 1
	}
	if err := checkOpen(&m); err != nil {
		return state, err
	}
	if state, done, err := r.admit(&m); done {
		return state, err
	}
	s, changes, err := r.prepare(&m) // without the lock: reading keys and expanding them is most of the work
	if err != nil {
		return state, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if state, done, err := r.admitLocked(&m); done { // somebody else may have been faster
		return state, err
	}
	now := netio.Now()
	if err := r.settle(s, changes, now); err != nil {
		return state, err
	}
	r.opened++
	state = s.state(s.count(make([]tally, 0, len(changes))), now)
	s.join()
	if err := r.leadsOut(changes); err != nil { // only now it has ports, which others may have named before
		r.end(s)
		return state, control.Errorf(control.CodeParams, "%v", err)
	}
	return state, nil
}

func (r *Relay) admit(m *control.Open) (control.SessionState, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.admitLocked(m)
}

// admitLocked tells whether a call to open a session ends here: because the session is there, or because it cannot be.
func (r *Relay) admitLocked(m *control.Open) (state control.SessionState, done bool, err error) {
	if s := r.sessions[m.ID]; s != nil {
		if s.owner.Value() == m.Owner && s.generation == m.Generation {
			return r.state(s), true, nil // the caller lost our answer
		}
		return state, true, control.Errorf(control.CodeExists, "session %q is open: owner %q, generation %d; close it, or choose another id",
			m.ID, s.owner.Value(), s.generation)
	}
	switch {
	case r.stopped.Load() || r.draining:
		return state, true, control.Errorf(control.CodeDraining, "the relay is draining: it takes no new sessions")
	case len(r.sessions) >= r.options.Sessions || len(m.Streams) > r.slots.left():
		return state, true, control.Errorf(control.CodeFull, "the relay's limit of %d sessions is reached", r.options.Sessions)
	}
	return state, false, nil
}

// checkOpen judges what can be judged without the relay's state.
func checkOpen(m *control.Open) error {
	switch {
	case m.ID == "" || len(m.ID) > control.MaxID:
		return control.Errorf(control.CodeParams, "id: %d bytes; 1 to %d are allowed", len(m.ID), control.MaxID)
	case len(m.Owner) > control.MaxID:
		return control.Errorf(control.CodeParams, "owner: %d bytes; at most %d", len(m.Owner), control.MaxID)
	case len(m.Opaque) > control.MaxOpaque:
		return control.Errorf(control.CodeParams, "opaque: %d bytes; at most %d", len(m.Opaque), control.MaxOpaque)
	case len(m.Streams) == 0 || len(m.Streams) > control.MaxStreams:
		return control.Errorf(control.CodeParams, "streams: %d; 1 to %d are allowed", len(m.Streams), control.MaxStreams)
	}
	for i := range m.Streams {
		st := &m.Streams[i]
		named := func(o control.Stream) bool { return o.Name == st.Name }
		switch {
		case st.Name == "" || len(st.Name) > control.MaxID || slices.ContainsFunc(m.Streams[:i], named):
			return control.Errorf(control.CodeParams, "streams[%d].name: %q is empty, too long or used twice", i, st.Name)
		case !knownKind(st.Kind):
			return unknownKind(st)
		case len(st.Legs) != control.MaxLegs:
			return control.Errorf(control.CodeParams, "stream %q: %d legs; this relay joins exactly %d", st.Name, len(st.Legs), control.MaxLegs)
		case st.Legs[0].Name == st.Legs[1].Name:
			return control.Errorf(control.CodeParams, "stream %q: both legs are named %q", st.Name, st.Legs[0].Name)
		}
		for k := range st.Legs {
			if err := checkLeg(st.Name, &st.Legs[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkLeg(stream string, l *control.Leg) error {
	switch {
	case l.Name == "" || len(l.Name) > control.MaxID:
		return control.Errorf(control.CodeParams, "stream %q: a leg's name is empty or longer than %d bytes", stream, control.MaxID)
	case l.Family != "" && l.Family != "ip4" && l.Family != "ip6":
		return control.Errorf(control.CodeParams, "stream %q leg %q: family %q: use ip4 or ip6", stream, l.Name, l.Family)
	case l.RTCP != "" && l.RTCP != "pair" && l.RTCP != "mux":
		return control.Errorf(control.CodeParams, "stream %q leg %q: rtcp %q: use pair or mux", stream, l.Name, l.RTCP)
	}
	return nil
}

// prepare plans a session. It takes nothing that would have to be given back.
func (r *Relay) prepare(m *control.Open) (*session, []change, error) {
	s := &session{
		id: m.ID, opaque: m.Opaque, owner: unique.Make(m.Owner), generation: m.Generation,
		streams: make([]stream, len(m.Streams)),
	}
	ends := make([]end, len(m.Streams)*control.MaxLegs)
	changes := make([]change, len(ends))
	for i := range m.Streams {
		sm, st := &m.Streams[i], &s.streams[i]
		st.name, st.legs = unique.Make(sm.Name), ends[i*control.MaxLegs:][:control.MaxLegs:control.MaxLegs]
		for k := range sm.Legs {
			e, c := &st.legs[k], &changes[i*control.MaxLegs+k]
			e.name = unique.Make(sm.Legs[k].Name)
			if err := r.draft(c, e, sm, &sm.Legs[k]); err != nil {
				return nil, nil, control.Errorf(control.CodeParams, "stream %q leg %q: %v", sm.Name, sm.Legs[k].Name, err)
			}
		}
	}
	if err := r.distinct(s, changes); err != nil {
		return nil, nil, control.Errorf(control.CodeParams, "%v", err)
	}
	return s, changes, nil
}

// settle leases everything that a planned session needs and makes its legs in the arena, or gives back what it took. The caller
// holds r.mu.
func (r *Relay) settle(s *session, changes []change, now int64) error {
	s.worker = r.workers[r.turn%len(r.workers)]
	for i := range changes {
		if err := r.lease(&changes[i], s.worker, now); err != nil {
			for k := range changes[:i] {
				r.unlease(changes[k].end, now)
			}
			code := control.CodeInternal
			if errors.Is(err, ports.ErrNone) || errors.Is(err, netio.ErrPortTaken) {
				code = control.CodeNoPorts
			}
			return control.Errorf(code, "leg %q: %v", changes[i].end.name.Value(), err)
		}
	}
	r.turn++
	r.serial++
	s.serial, s.opened, s.alone = r.serial, now, now
	r.sessions[s.id], r.bySerial[s.serial] = s, s
	for i := range s.streams {
		first := r.slots.take()
		for k := range s.streams[i].legs {
			e := &s.streams[i].legs[k]
			e.index = first + uint32(k)
			r.legAt[e.rtp] = e.index
			l, k := &r.legs[e.index], &r.cold[e.index]
			l.peer, l.rtp, l.rtcp, l.since = e.index^1, e.rtp, e.rtcp, now
			k.session, k.opened = s.serial, now
		}
	}
	for i := range changes {
		s.worker.change(&changes[i], now)
		changes[i].adopt()
	}
	return nil
}
