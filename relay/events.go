package relay

import (
	"sync/atomic"

	"tandem/internal/control"
	"tandem/relay/netio"
)

// kind is what a worker has to tell.
type kind uint8

const (
	pinned kind = iota
	disputedBy
	newSSRC
	silent
	expiring
)

var methods = [...]string{
	pinned:     control.EventPinned,
	disputedBy: control.EventContested,
	newSSRC:    control.EventSSRC,
	silent:     control.EventTimeout,
	expiring:   control.EventExpiring,
}

// What silence followed.
const (
	afterInitial = "initial"
	afterRunning = "running"
)

// event is one thing a worker has to tell, by value: posting one allocates nothing.
type event struct {
	kind    kind
	leg     uint32
	session uint64
	ssrc    uint32
	address netio.Addr
	after   string
	silence int64 // nanoseconds
}

// eventDepth bounds what workers may have told before somebody listened.
const eventDepth = 4096

// events carries what workers tell to the goroutine that looks up names and notifies controllers.
type events struct {
	queue chan event
	lost  atomic.Uint64
}

// post never waits: an event that finds the queue full is lost, and counted.
func (e *events) post(ev event) {
	select {
	case e.queue <- ev:
	default:
		e.lost.Add(1)
	}
}

// tell turns workers' events into notifications, until the queue is closed.
func (r *Relay) tell() {
	for ev := range r.events.queue {
		r.mu.Lock()
		s := r.bySerial[ev.session]
		if s == nil {
			r.mu.Unlock()
			continue // the session is gone
		}
		body := control.Event{
			Session: s.id, Owner: s.owner.Value(),
			SSRC: ev.ssrc, After: ev.after, SilentMS: ev.silence / 1e6,
		}
		if ev.kind == expiring {
			body.After, body.Direction = "", ev.after
		}
		if ev.address != (netio.Addr{}) {
			body.Address = ev.address.AddrPort().String()
		}
		for _, st := range s.streams {
			for _, l := range st.legs {
				if l.index == ev.leg {
					body.Stream, body.Leg = st.name.Value(), l.name.Value()
				}
			}
		}
		listeners := r.listeners(s.owner.Value())
		r.mu.Unlock()
		for _, c := range listeners {
			if !c.Notify(methods[ev.kind], body) {
				r.events.lost.Add(1)
			}
		}
	}
}
