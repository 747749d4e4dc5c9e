package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run sent and what came back. Sent == Delivered + Lost; what is Duplicated, Corrupt, Forged or Stray is
// beside that: a packet that comes back corrupt only is Corrupt and Lost.
type Result struct {
	Streams    int    // directions
	Offered    uint64 // packets that the schedule demanded
	Sent       uint64 // of those, put on the way; fewer only if Limit says why
	Delivered  uint64 // came back to the right peer from the right address, tag and content right; each counted once
	Lost       uint64 // sent, never delivered
	Duplicated uint64 // delivered once more
	Misordered uint64 // delivered after a later one of the same stream
	Corrupt    uint64 // tag right or none, content wrong: RTP header, payload, checksum
	Forged     uint64 // tag does not verify
	Untimed    uint64 // of the delivered, those that are not in Delay: the load's CPU was away when they left or arrived
	Starved    uint64 // of the lost, those that found the ring before the relay full
	Arrived    uint64 // all that came to the sink
	Stray      uint64 // not a datagram, for nobody, from the wrong address, of another stream, or of an earlier run

	Rate   float64                 // packets per second that were really sent
	Wall   time.Duration           // from the first due time to the last send
	Late   Quantiles               // how late the generator sent, against its schedule
	Delay  Quantiles               // arrival at the load's device minus send time, of the delivered but Untimed
	Delays *hdrhistogram.Histogram // of the same, in nanoseconds
	others *hdrhistogram.Histogram // of the Untimed
	All    Quantiles               // of all that were delivered: how long the load's CPU was away is in some of them
	Own    uint64                  // of the lost, those that the load itself dropped: not the relay's doing
	Limit  string                  // "" or why generator or sink, not the relay, set the limit of this run
}

// Quantiles of a duration.
type Quantiles struct{ P50, P99, P999, Max time.Duration }

// stallRoom is how many packets may be due at once before what follows is the generator's stall and not the schedule's
// doing: half of a veth ring, which has 256 entries.
const stallRoom = 128

// Disturbed returns why what was lost in this run may be the fault of the machine, or "": the generator stood still for so
// long that it had to catch up. A search repeats such a run before it believes it.
func (r *Result) Disturbed() string {
	if due := r.Late.Max.Seconds() * r.Rate; due > stallRoom {
		return fmt.Sprintf("the generator stood still for %s: %.0f packets were due at once", r.Late.Max, due)
	}
	return ""
}

// Loss returns the share of packets that the relay lost, 0 to 1: those that load itself dropped are not among them.
func (r *Result) Loss() float64 {
	if r.Sent == 0 || r.Lost <= r.Own {
		return 0
	}
	return float64(r.Lost-r.Own) / float64(r.Sent)
}

// histogram returns an empty one of nanoseconds, up to 100 s, with three significant digits.
func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(100*time.Second), 3) }

// quantiles reads a histogram of nanoseconds.
func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Quantiles{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max())}
}
