package relay

import (
	"runtime/metrics"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/hop"
	"tandem/relay/verdict"
)

// Stats sums up the workers.
func (r *Relay) Stats() control.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := control.Stats{
		Boot: r.boot, UptimeMS: time.Since(r.started).Milliseconds(), Engine: r.engine.Name(),
		Sessions: len(r.sessions), Opened: r.opened, Closed: r.ended,
		EarlyReuse: r.early, EventsLost: r.events.lost.Load(), Allocs: allocated(),
	}
	if e, ok := r.engine.(interface{ RcvBuf() int }); ok {
		stats.RcvBuf = e.RcvBuf()
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
			add(&calls, w.queue.Stats())
		})
	}
	stats.Forwarded, stats.Drops = counts[verdict.Forward], counts.Drops()
	stats.Overflows, stats.Unmatched = calls.Overflows, calls.Unmatched
	stats.HandedOver, stats.XDPInvalid, stats.XDPStarved = calls.HandedOver, calls.Invalid, calls.Starved
	if e, ok := r.engine.(interface{ Hops() hop.Stats }); ok {
		hops := e.Hops()
		stats.HopResyncs, stats.HopsRefused = hops.Resyncs, hops.Refused
	}
	stats.RecvCalls, stats.SendCalls = calls.RecvCalls, calls.SendCalls
	if calls.RecvCalls > 0 {
		stats.BatchIn = float64(calls.RecvPackets) / float64(calls.RecvCalls)
	}
	if calls.SendCalls > 0 {
		stats.BatchOut = float64(calls.SendPackets) / float64(calls.SendCalls)
	}
	stats.Sent = make(map[string]uint64)
	for way, n := range calls.Sent {
		if n > 0 {
			stats.Sent[netio.Way(way).String()] = n
		}
	}
	return stats
}

// add adds what one queue counted.
func add(sum *netio.QueueStats, q netio.QueueStats) {
	sum.RecvCalls += q.RecvCalls
	sum.RecvPackets += q.RecvPackets
	sum.SendCalls += q.SendCalls
	sum.SendPackets += q.SendPackets
	sum.Overflows += q.Overflows
	sum.Unmatched += q.Unmatched
	sum.HandedOver += q.HandedOver
	sum.Invalid += q.Invalid
	sum.Starved += q.Starved
	for way, n := range q.Sent {
		sum.Sent[way] += n
	}
}

// allocated returns how many objects the process has allocated since its start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
