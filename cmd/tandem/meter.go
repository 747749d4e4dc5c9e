package main

import (
	"time"

	"tandem/internal/metrics"
	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// guardMeter and callMeter put the planes' own words for what they count into the metrics' plain ones.
type guardMeter struct{ to *metrics.Signaling }

func (m guardMeter) Message(listener string, o guard.Outcome) { m.to.Message(listener, o.String()) }
func (m guardMeter) Connection(listener string, e guard.ConnectionEvent) {
	m.to.Connection(listener, e.String())
}
func (m guardMeter) Status(listener string, code int) { m.to.Status(listener, code) }
func (m guardMeter) Unreachable(listener string)      { m.to.Unreachable(listener) }

type callMeter struct{ *metrics.Signaling }

func (m callMeter) Drop(reason b2bua.DropReason) { m.Signaling.Drop(reason.String()) }

// planeState shows a scrape how the plane is.
type planeState struct{ p *sipPlane }

// levels are the trunks' states as numbers that sink with them.
var levels = map[trunk.State]int{trunk.Up: 2, trunk.Demoted: 1, trunk.Down: 0}

func (s planeState) Calls() int { return s.p.calls.Stats().Active }

func (s planeState) Trunks() []metrics.Trunk {
	now := time.Now()
	var list []metrics.Trunk
	for _, t := range s.p.now.Load().trunks.Snapshot(now) {
		m := metrics.Trunk{
			Name: t.Name, State: levels[t.State], Calls: t.Calls, MaxCalls: t.MaxCalls, CPS: t.CPS, MaxCPS: t.MaxCPS,
			Bandwidth: t.Bandwidth, MaxBandwidth: t.MaxBandwidth,
			Attempts: t.Counters.Attempts, Connected: t.Counters.Connected, Refused: t.Counters.Refused, Failed: t.Counters.Classes,
		}
		if t.Registration != "" {
			registered := console.Registered(t.Registration)
			m.Registered = &registered
		}
		if q, ok := s.p.ledger.Quality(t.Name, now); ok {
			m.Quality = &metrics.Quality{Loss: q.Loss / 100, Jitter: time.Duration(q.JitterMS * float64(time.Millisecond)), MOS: q.MOS}
		}
		list = append(list, m)
	}
	return list
}

func (s planeState) Certificates() []metrics.Certificate {
	var list []metrics.Certificate
	for _, e := range s.p.identities.Expiries() {
		list = append(list, metrics.Certificate{File: e.File, Expires: e.At})
	}
	return list
}

func (s planeState) Records() metrics.Records {
	r := s.p.records.Stats()
	return metrics.Records{Written: r.Written, Dropped: r.Dropped, Errors: r.Errors, Queued: r.Queued}
}
