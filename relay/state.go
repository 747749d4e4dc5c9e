package relay

import (
	"math"
	"net/netip"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/quality"
	"tandem/relay/srtp"
	"tandem/relay/verdict"
)

// tally is what the arena knows of a leg at one moment, keys left out: all that an answer needs from the worker.
type tally struct {
	remote, pinned pin.Addr
	heard          int64
	quality        quality.Stream
	in, out        control.Traffic
	drops          map[string]uint64 // nil: none
	flags          flags
	mode           pin.Mode
	rx, tx         srtp.Suite
}

// take reads the leg. Worker only, or before the worker knows the leg.
func (t *tally) take(l *leg, k *cold) {
	*t = tally{
		remote: k.pin.Policy().Signalled, heard: l.heard, quality: l.quality,
		in:    control.Traffic{Packets: l.in, Bytes: l.inBytes, RTCP: k.inRTCP, Opaque: k.inOpaque},
		out:   control.Traffic{Packets: l.sent, Bytes: l.sentBytes, RTCP: k.sentRTCP, Opaque: k.sentOpaque},
		flags: l.flags, mode: k.pin.Policy().Mode, rx: k.said.rx.Suite(), tx: k.said.tx.Suite(),
	}
	t.pinned, _ = l.pin.Pinned()
	if k.drops != (verdict.Counters{}) {
		t.drops = k.drops.Drops()
	}
}

// count appends the tallies of the session's legs. Worker only, or before the worker knows the legs.
func (s *session) count(tallies []tally) []tally {
	s.legs(func(e *end) {
		tallies = append(tallies, tally{})
		tallies[len(tallies)-1].take(&s.worker.legs[e.index], &s.worker.cold[e.index])
	})
	return tallies
}

// look asks the worker for the tallies, and has it do something to each leg the moment after.
func (s *session) look(after func(*end)) (tallies []tally, at int64) {
	tallies = make([]tally, 0, len(s.streams)*control.MaxLegs)
	s.worker.do(func(now int64) {
		tallies, at = s.count(tallies), now
		s.legs(after)
	})
	return tallies, at
}

// state describes a session, with its counters as of now. The caller holds r.mu.
func (r *Relay) state(s *session) control.SessionState {
	return s.state(s.look(func(*end) {}))
}

// state describes a session by the tallies of its legs.
func (s *session) state(tallies []tally, at int64) control.SessionState {
	state := control.SessionState{
		ID: s.id, Generation: s.generation, Owner: s.owner.Value(), Opaque: s.opaque, AgeMS: (at - s.opened) / 1e6,
		Streams: make([]control.StreamState, len(s.streams)),
	}
	for i := range s.streams {
		st := &s.streams[i]
		described := control.StreamState{Name: st.name.Value(), Kind: kindOf(tallies[0].flags), Legs: make([]control.LegState, len(st.legs))}
		for k := range st.legs {
			described.Legs[k] = st.legs[k].state(&tallies[0], at)
			tallies = tallies[1:]
		}
		state.Streams[i] = described
	}
	return state
}

// state describes a leg. Keys stay here: only the suites are told.
func (e *end) state(t *tally, at int64) control.LegState {
	address := e.network.Addresses[e.at]
	report := t.quality.Report(e.codec)
	state := control.LegState{
		Name: e.name.Value(), Network: e.network.Name,
		Local:     netip.AddrPortFrom(address, e.rtp.Port()).String(),
		Pin:       t.mode.String(),
		Direction: direction(t.flags),
		RXSuite:   t.rx.String(), TXSuite: t.tx.String(),
		SSRC: t.quality.SSRC(), In: t.in, Out: t.out, Drops: t.drops, SilentMS: -1,
		Quality: control.Quality{
			Expected: report.Expected, Lost: report.Lost,
			JitterMS: milliseconds(report.Jitter), MaxJitter: milliseconds(report.MaxJitter), MOS: hundredths(report.MOS),
		},
	}
	if state.LocalRTCP = state.Local; !e.mux() {
		state.LocalRTCP = netip.AddrPortFrom(address, e.rtcp.Port()).String()
	}
	if e.network.Advertise.IsValid() {
		state.Advertise = e.network.Advertise.String()
	}
	if t.remote != (pin.Addr{}) {
		state.Remote = netio.Addr(t.remote).AddrPort().String()
	}
	switch t.pinned {
	case pin.Addr{}:
	case t.remote:
		state.Pinned = state.Remote
	default:
		state.Pinned = netio.Addr(t.pinned).AddrPort().String()
	}
	if t.heard != 0 {
		state.SilentMS = (at - t.heard) / 1e6
	}
	return state
}

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
