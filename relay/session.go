package relay

import (
	"fmt"
	"time"
	"unique"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/quality"
	"tandem/relay/srtp"
)

// session joins legs. It is the control side's view, and holds only what is not in the arena.
// Names repeat from session to session, and each is kept once.
type session struct {
	id, opaque string
	owner      unique.Handle[string]
	generation uint64
	serial     uint64
	opened     int64
	alone      int64 // when its last controller went; before that, opened
	worker     *worker
	streams    []stream
}

// stream is one flow of media between named legs. More than two legs have their place here and no use yet.
type stream struct {
	name unique.Handle[string]
	legs []end
}

// end is the control side of a leg: its slot in the arena, and the lease of its ports.
type end struct {
	name      unique.Handle[string]
	network   *network
	spent     *[]srtp.Keys // send keys given up: none may come back, its indices are spent. Nil: none
	index     uint32
	rtp, rtcp netio.Local
	at        uint16 // index of the address in the network
	dscp      uint8
	codec     quality.Codec // of the first payload type, for the MOS estimate
}

// mux tells whether the leg has one port for RTP and RTCP.
func (e *end) mux() bool { return e.rtp == e.rtcp }

// legs visits every leg of the session.
func (s *session) legs(visit func(*end)) {
	for i := range s.streams {
		for k := range s.streams[i].legs {
			visit(&s.streams[i].legs[k])
		}
	}
}

func (s *session) stream(name string) *stream {
	for i := range s.streams {
		if s.streams[i].name.Value() == name {
			return &s.streams[i]
		}
	}
	return nil
}

// distinct refuses a send key of ours with which somebody else in the session seals too: SSRCs are the peers' choice, and
// two senders of one SSRC under one key use each nonce twice. What two peers do with their own keys is theirs.
func (r *Relay) distinct(s *session, changes []change) error {
	type sender struct {
		stream, leg, way string
		keys             *srtp.Keys
		ours             bool
	}
	senders := make([]sender, 0, 2*control.MaxStreams*control.MaxLegs)
	for i := range s.streams {
		st := &s.streams[i]
		for k := range st.legs {
			e := &st.legs[k]
			said := &r.cold[e.index].said
			for n := range changes {
				if changes[n].end == e {
					said = &changes[n].said
				}
			}
			if said.rx.Suite() != srtp.None {
				senders = append(senders, sender{st.name.Value(), e.name.Value(), "rx", &said.rx, false})
			}
			if said.tx.Suite() != srtp.None {
				senders = append(senders, sender{st.name.Value(), e.name.Value(), "tx", &said.tx, true})
			}
		}
	}
	for i, a := range senders {
		for _, b := range senders[:i] {
			if (a.ours || b.ours) && a.keys.SameSecret(b.keys) {
				return fmt.Errorf("stream %q leg %q %s and stream %q leg %q %s have the same key: we seal with a key that nobody else has, so make a new tx key",
					b.stream, b.leg, b.way, a.stream, a.leg, a.way)
			}
		}
	}
	return nil
}

// join enters the session's legs, which are ready in the arena, among those of its worker: from the next batch on, it knows
// them. Nobody waits for that: what a peer sends after it learnt the ports is looked at later still.
func (s *session) join() {
	s.worker.ask(func(int64) { s.legs(s.worker.own) })
}

// own enters a leg into the worker's table and round.
func (w *worker) own(e *end) {
	w.table[e.rtcp.Slot()][e.rtcp.Port()] = e.index<<1 | 1
	w.table[e.rtp.Slot()][e.rtp.Port()] = e.index << 1
	w.cold[e.index].place = uint32(len(w.mine))
	w.mine = append(w.mine, e.index)
}

// disown takes a leg out of the worker's table and round, and wipes it.
func (w *worker) disown(e *end) {
	w.table[e.rtcp.Slot()][e.rtcp.Port()] = 0
	w.table[e.rtp.Slot()][e.rtp.Port()] = 0
	last := w.mine[len(w.mine)-1]
	place := w.cold[e.index].place
	w.mine[place], w.cold[last].place = last, place
	w.mine = w.mine[:len(w.mine)-1]
	w.wipe(e.index)
}

// end closes a session and returns its final state. The caller holds r.mu.
func (r *Relay) end(s *session) control.SessionState {
	tallies, now := s.look(s.worker.disown)
	s.legs(func(e *end) {
		delete(r.legAt, e.rtp)
		r.unlease(e, now)
		if e.spent != nil {
			clear(*e.spent)
			e.spent = nil
		}
	})
	for i := range s.streams {
		r.slots.give(s.streams[i].legs[0].index)
	}
	delete(r.sessions, s.id)
	delete(r.bySerial, s.serial)
	r.ended++
	f := final{session: s, tallies: tallies, at: now, until: time.Now().Add(finalKept)}
	r.keep(f)
	return f.state()
}

// final is what a closed session came to, kept for a caller who lost the answer.
type final struct {
	session *session
	tallies []tally
	at      int64 // when it was closed
	until   time.Time
}

// finalKept is how long the counters of a closed session can be asked for.
const finalKept = 60 * time.Second

func (f *final) state() control.SessionState {
	state := f.session.state(f.tallies, f.at)
	state.Closed = true
	return state
}

// keep remembers a closed session's counters for a while.
func (r *Relay) keep(f final) {
	r.forget(time.Now(), r.options.Sessions-1)
	id := f.session.id
	if _, again := r.closed[id]; !again {
		r.order = append(r.order, id)
	}
	r.closed[id] = f
}

// forget lets go of final states that were kept long enough, and of more than most, the oldest first. The caller holds r.mu.
func (r *Relay) forget(now time.Time, most int) {
	if len(r.order) == 0 {
		return
	}
	for len(r.order) > 0 {
		oldest, ok := r.closed[r.order[0]]
		if ok && now.Before(oldest.until) && len(r.order) <= most {
			return
		}
		delete(r.closed, r.order[0])
		r.order = r.order[1:]
	}
	r.order, r.closed = nil, map[string]final{} // a map keeps the room that it grew to
}

// recall returns a closed session's final state while it is kept.
func (r *Relay) recall(id string) (control.SessionState, bool) {
	f, ok := r.closed[id]
	if !ok || !time.Now().Before(f.until) {
		return control.SessionState{}, false
	}
	return f.state(), true
}

// forgetOld lets go of final states though no session is being closed.
func (r *Relay) forgetOld(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now, r.options.Sessions)
}

// closeOrphans ends the sessions whose owner has no controller and whose legs have been silent for the configured time.
func (r *Relay) closeOrphans(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if r.attended(s.owner.Value()) || now-s.alone < int64(r.options.Orphan) {
			continue
		}
		var silence int64
		s.worker.do(func(int64) { silence = s.silence(now) })
		if silence >= int64(r.options.Orphan) {
			r.end(s)
			r.log.Info("orphan closed", "session", s.id, "owner", s.owner.Value(), "silent", time.Duration(silence))
		}
	}
}

// silence returns for how long no leg was heard, in nanoseconds: since the last packet or, before any, since the session was
// opened. Worker only.
func (s *session) silence(now int64) int64 {
	latest := int64(0)
	s.legs(func(e *end) {
		latest = max(latest, s.worker.legs[e.index].heard, s.worker.cold[e.index].opened)
	})
	return now - latest
}
