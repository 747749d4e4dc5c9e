package b2bua

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"tandem/internal/control"
)

// fakeRelay is a media plane without media: it leases ports by counting, keeps what it was told, and refuses what the
// real one would.
type fakeRelay struct {
	mu       sync.Mutex
	port     uint16
	sessions map[string]*fakeSession
	opens    []control.Open
	updates  []control.Update
	closed   []string
	silent   int64                         // of every leg; 0 becomes "none yet"
	fail     func(method, id string) error // asked before every call; nil: none fails
}

// errTest is a control socket that does not answer.
var errTest = errors.New("the control socket is gone")

type fakeSession struct {
	state control.SessionState
	legs  map[string]*control.Leg // as told, all messages taken together
	watch bool
}

func newFakeRelay() *fakeRelay {
	return &fakeRelay{port: 40000, sessions: map[string]*fakeSession{}}
}

func (r *fakeRelay) asked(method, id string) error {
	if r.fail != nil {
		return r.fail(method, id)
	}
	return nil
}

func (r *fakeRelay) Open(_ context.Context, o control.Open) (control.SessionState, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.asked("open", o.ID); err != nil {
		return control.SessionState{}, err
	}
	if r.sessions[o.ID] != nil {
		return control.SessionState{}, control.Errorf(control.CodeExists, "%s exists", o.ID)
	}
	s := &fakeSession{legs: map[string]*control.Leg{}}
	s.state = control.SessionState{ID: o.ID, Owner: o.Owner, Generation: o.Generation, Opaque: o.Opaque}
	st := control.StreamState{Name: o.Streams[0].Name}
	for i := range o.Streams[0].Legs {
		l := o.Streams[0].Legs[i]
		addr := "127.0.0.1"
		if l.Family == "ip6" {
			addr = "[::1]"
		}
		s.legs[l.Name] = &l
		st.Legs = append(st.Legs, control.LegState{Name: l.Name, Network: l.Network,
			Local: fmt.Sprintf("%s:%d", addr, r.port), LocalRTCP: fmt.Sprintf("%s:%d", addr, r.port+1),
			In: control.Traffic{Packets: 100}, Quality: control.Quality{MOS: 4.4}, SilentMS: r.silent, RXSuite: "none", TXSuite: "none"})
		if r.silent == 0 {
			st.Legs[i].SilentMS = -1
		}
		r.port += 2
	}
	s.state.Streams = []control.StreamState{st}
	r.sessions[o.ID] = s
	r.opens = append(r.opens, o)
	return s.state, nil
}

func (r *fakeRelay) Update(_ context.Context, u control.Update) (control.SessionState, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.asked("update", u.ID); err != nil {
		return control.SessionState{}, err
	}
	s := r.sessions[u.ID]
	if s == nil {
		return control.SessionState{}, control.Errorf(control.CodeNotFound, "%s is not open", u.ID)
	}
	if u.Generation == s.state.Generation {
		return s.state, nil
	}
	if u.Generation < s.state.Generation {
		return control.SessionState{}, control.Errorf(control.CodeStale, "stale")
	}
	s.state.Generation = u.Generation
	for _, st := range u.Streams {
		if st.Watch != nil {
			s.watch = *st.Watch
		}
		for _, l := range st.Legs {
			merge(s.legs[l.Name], l)
		}
	}
	r.updates = append(r.updates, u)
	return s.state, nil
}

// merge applies what a message names.
func merge(to *control.Leg, l control.Leg) {
	if l.RX != nil {
		to.RX = nil // never written into: who asked for the leg before holds it
	}
	if l.TX != nil {
		to.TX = nil
	}
	b, _ := json.Marshal(l)
	_ = json.Unmarshal(b, to)
}

func (r *fakeRelay) CloseSession(_ context.Context, ref control.Ref) (control.SessionState, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.asked("close", ref.ID); err != nil {
		return control.SessionState{}, err
	}
	s := r.sessions[ref.ID]
	if s == nil {
		return control.SessionState{}, control.Errorf(control.CodeNotFound, "%s is not open", ref.ID)
	}
	delete(r.sessions, ref.ID)
	r.closed = append(r.closed, ref.ID)
	s.state.Closed = true
	return s.state, nil
}

func (r *fakeRelay) List(_ context.Context, l control.List) (control.ListResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var page control.ListResult
	for _, id := range slices.Sorted(maps.Keys(r.sessions)) {
		if s := r.sessions[id]; s.state.Owner == l.Owner && id > l.After {
			page.Sessions = append(page.Sessions, s.state)
		}
	}
	return page, nil
}

// leg is what the relay was told of a leg of its latest session.
func (r *fakeRelay) leg(t testing.TB, name string) control.Leg {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.opens) == 0 || r.sessions[r.opens[len(r.opens)-1].ID] == nil {
		t.Fatal("the relay's latest session is not open")
	}
	return *r.sessions[r.opens[len(r.opens)-1].ID].legs[name]
}

// opened is the n-th session.open.
func (r *fakeRelay) opened(n int) control.Open {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opens[n]
}

// failing sets what is asked before every call.
func (r *fakeRelay) failing(f func(method, id string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

// counts are the calls that changed something.
func (r *fakeRelay) counts() (opens, updates, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.opens), len(r.updates), len(r.sessions)
}

// forget loses every session, as a restart does.
func (r *fakeRelay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sessions)
}
