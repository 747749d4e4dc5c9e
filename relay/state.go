package relay

import (
	"math"
	"net/netip"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/srtp"
	"tandem/relay/verdict"
)

// state describes a session, with its counters as of now. The caller holds r.mu.
func (r *Relay) state(s *session) control.SessionState { return r.look(s, func(*end) {}) }

// look is state, and has the worker do something to each leg the moment after it was looked at.
func (r *Relay) look(s *session, after func(*end)) control.SessionState {
	count := 0
	for _, st := range s.streams {
		count += len(st.legs)
	}
	seen := make([]leg, 0, count)
	var now int64
	s.worker.do(func(at int64) {
		now = at
		for _, st := range s.streams {
			for _, e := range st.legs {
				seen = append(seen, s.worker.legs[e.index])
				after(e)
			}
		}
	})
	defer clear(seen) // the copies hold raw keys
	state := control.SessionState{
		ID: s.id, Generation: s.generation, Owner: s.owner, Opaque: s.opaque, AgeMS: (now - s.opened) / 1e6,
	}
	for _, st := range s.streams {
		described := control.StreamState{Name: st.name, Kind: st.kind}
		for _, e := range st.legs {
			described.Legs = append(described.Legs, e.state(&seen[0], now))
			seen = seen[1:]
		}
		state.Streams = append(state.Streams, described)
	}
	return state
}

// state describes a leg. Keys stay here: only the suites are told.
func (e *end) state(l *leg, now int64) control.LegState {
	address := e.network.Addresses[e.at]
	quality := l.quality.Report(e.codec)
	state := control.LegState{
		Name: e.name, Network: e.network.Name,
		Local:     netip.AddrPortFrom(address, e.rtp.Port()).String(),
		LocalRTCP: netip.AddrPortFrom(address, e.rtcp.Port()).String(),
		Pin:       l.policy.Mode.String(),
		Direction: direction(l.flags),
		RXSuite:   suite(l.rxKeys), TXSuite: suite(l.txKeys),
		SSRC: l.ssrc, In: l.in, Out: l.sent, Drops: l.drops.Drops(), SilentMS: -1,
		Quality: control.Quality{
			Expected: quality.Expected, Lost: quality.Lost,
			JitterMS: milliseconds(quality.Jitter), MaxJitter: milliseconds(quality.MaxJitter), MOS: hundredths(quality.MOS),
		},
	}
	if e.network.Advertise.IsValid() {
		state.Advertise = e.network.Advertise.String()
	}
	if e.remote.IsValid() {
		state.Remote = e.remote.String()
	}
	if pinned, ok := l.pin.Pinned(); ok {
		state.Pinned = netio.Addr(pinned).AddrPort().String()
	}
	if l.heard != 0 {
		state.SilentMS = (now - l.heard) / 1e6
	}
	return state
}

func suite(k srtp.Keys) string { return k.Suite().String() }

func direction(f flags) string {
	switch f & (hears | speaks) {
	case hears | speaks:
		return "sendrecv"
	case speaks:
		return "sendonly"
	case hears:
		return "recvonly"
	}
	return "inactive"
}

// milliseconds rounds to microseconds: more digits would pretend to a precision that arrival times do not have.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// Stats sums up the workers.
func (r *Relay) Stats() control.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := control.Stats{
		Boot: r.boot, UptimeMS: time.Since(r.started).Milliseconds(), Engine: r.engine.Name(),
		Sessions: len(r.sessions), Opened: r.opened, Closed: r.ended,
		EarlyReuse: r.early, EventsLost: r.events.lost.Load(),
	}
	if r.stopped.Load() {
		return stats
	}
	var counts verdict.Counters
	var calls netio.QueueStats
	for _, w := range r.workers {
		w.do(func(int64) {
			counts.Add(&w.counts)
			stats.Received += w.received
			stats.InBytes += w.inBytes
			stats.OutBytes += w.outBytes
			q := w.queue.Stats()
			calls.RecvCalls += q.RecvCalls
			calls.RecvPackets += q.RecvPackets
			calls.SendCalls += q.SendCalls
			calls.SendPackets += q.SendPackets
			stats.Overflows += q.Overflows
		})
	}
	stats.Forwarded, stats.Drops = counts[verdict.Forward], counts.Drops()
	if calls.RecvCalls > 0 {
		stats.BatchIn = float64(calls.RecvPackets) / float64(calls.RecvCalls)
	}
	if calls.SendCalls > 0 {
		stats.BatchOut = float64(calls.SendPackets) / float64(calls.SendCalls)
	}
	return stats
}

// network returns a network by name; without a name, the only one.
func (r *Relay) network(name string) *network {
	if name == "" && len(r.networks) == 1 {
		return r.networks[0]
	}
	for _, n := range r.networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (r *Relay) networkNames() string {
	names := ""
	for i, n := range r.networks {
		if i > 0 {
			names += ", "
		}
		names += n.Name
	}
	return names
}
