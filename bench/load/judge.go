package load

import (
	"net/netip"

	"github.com/pion/rtp"
)

// judge looks at everything that arrived after the timed part is over, and fills in the result. It returns which packets
// of the volley were delivered, by their place in it.
func (l *Load) judge(v *volley) (Result, []bool) {
	delivered := make([]bool, v.count)
	parts := make([]Result, 0)
	results := make(chan Result)
	go func() {
		defer close(results)
		inParallel(func(worker, workers int) error {
			results <- l.judgePart(v, delivered, worker, workers)
			return nil
		})
	}()
	for r := range results {
		parts = append(parts, r)
	}
	total := Result{Delays: histogram(), others: histogram(), Streams: len(v.order)}
	for _, r := range parts {
		total.Delivered += r.Delivered
		total.Duplicated += r.Duplicated
		total.Misordered += r.Misordered
		total.Corrupt += r.Corrupt
		total.Forged += r.Forged
		total.Stray += r.Stray
		total.Untimed += r.Untimed
		total.Delays.Merge(r.Delays)
		total.others.Merge(r.others)
	}
	total.Delay = quantiles(total.Delays)
	total.others.Merge(total.Delays)
	total.All = quantiles(total.others)
	return total, delivered
}

// judgePart judges the packets of the streams whose number is worker modulo workers, in the order of their arrival.
func (l *Load) judgePart(v *volley, delivered []bool, worker, workers int) Result {
	r := Result{Delays: histogram(), others: histogram()}
	var h rtp.Header
	buffer := make([]byte, 0, stride)
	highest := make(map[uint32]uint32) // packets delivered so far: highest number of each stream, plus 1
	for i := range v.log.n {
		p, ok := unwrap(v.log.frame(i))
		id, known := l.heard[p.to]
		if !ok || !known {
			if worker == 0 {
				r.Stray++
			}
			continue
		}
		if int(id)%workers != worker {
			continue
		}
		number, f := l.streams[id].read(&p, &h, buffer)
		k, ours := v.index(id, number)
		switch {
		case f == forged:
			r.Forged++
		case f == corrupt:
			r.Corrupt++
		case f == stray || !ours:
			r.Stray++
		case delivered[k]:
			r.Duplicated++
		default:
			delivered[k] = true
			r.Delivered++
			into := r.Delays
			if v.log.untimed[i] || v.untimed[k] {
				r.Untimed++
				into = r.others
			}
			into.RecordValue(max(v.log.at[i]-v.sentAt[k], 1))
			if number+1 < highest[id] {
				r.Misordered++
			}
			highest[id] = max(highest[id], number+1)
		}
	}
	return r
}

// lateness returns how late the generator was with what it sent.
func lateness(s *shot) Quantiles {
	h := histogram()
	for k := range s.sent {
		h.RecordValue(max(s.v.sentAt[k]-s.start-s.scheduled(k), 1))
	}
	return quantiles(h)
}

// ears returns which stream is heard at which peer's address.
func ears(streams []stream) map[netip.AddrPort]uint32 {
	heard := make(map[netip.AddrPort]uint32, len(streams))
	for i := range streams {
		heard[streams[i].to.Peer] = uint32(i)
	}
	return heard
}
