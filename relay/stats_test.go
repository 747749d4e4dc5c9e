package relay

import (
	"testing"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
	"tandem/relay/netio/hop"
)

// counting is an engine that counts as funnel and xdp do.
type counting struct{ *fake.Engine }

func (counting) Hops() hop.Stats { return hop.Stats{Resyncs: 4, Refused: 5} }

func (c counting) Queue(i int) netio.Queue { return countingQueue{c.Engine.Queue(i)} }

type countingQueue struct{ netio.Queue }

func (countingQueue) Stats() netio.QueueStats {
	return netio.QueueStats{HandedOver: 1, Invalid: 2, Starved: 3, Unmatched: 6, Overflows: 7}
}

func TestStatisticsTellWhatTheEngineCountsOfAllWorkers(t *testing.T) {
	h := open(t, func(o *Options) {
		o.Workers = 2
		o.Open = func(netio.Options) (netio.Engine, error) { return counting{fake.New(2)}, nil }
	})
	s := must[control.Stats](h, control.MethodStats, struct{}{})
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"handed over", s.HandedOver, 2}, {"invalid", s.XDPInvalid, 4}, {"starved", s.XDPStarved, 6},
		{"unmatched", s.Unmatched, 12}, {"overflows", s.Overflows, 14},
		{"resyncs", s.HopResyncs, 4}, {"refused", s.HopsRefused, 5}, // the workers share one table
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
	without := must[control.Stats](open(t, nil), control.MethodStats, struct{}{})
	if without.HandedOver|without.XDPInvalid|without.XDPStarved|without.HopResyncs|without.HopsRefused != 0 {
		t.Errorf("an engine without such: %+v", without)
	}
}
