package netio

import (
	"testing"
	"time"
)

// settle lets the pace see so many packets after each of n waits, and returns the wait that comes then.
func (p *pace) settle(packets, n int) time.Duration {
	for range n {
		p.found(packets)
		p.wait()
	}
	p.found(packets)
	return p.wait()
}

func TestAWorkerNapsOnlyWhenTrafficIsSteady(t *testing.T) {
	p := pace{on: true}
	if w := p.wait(); w != 0 {
		t.Errorf("before any traffic it naps %v", w)
	}
	for i := range steadyLooks {
		if w := p.wait(); w != 0 {
			t.Errorf("after %d looks that found something it naps %v", i, w)
		}
		p.found(1)
	}
	if w := p.wait(); w < shortestNap {
		t.Errorf("with steady traffic it naps %v", w)
	}
	for i := range emptyNaps {
		if i > 0 {
			if w := p.wait(); w == 0 {
				t.Errorf("after %d empty naps it waits to be woken", i)
			}
		}
		p.found(0)
	}
	if w := p.wait(); w != 0 {
		t.Errorf("after %d empty naps it naps %v", emptyNaps, w)
	}
}

func TestNapsGrowUntilABatchIsWorthwhileAndStayInTheirBounds(t *testing.T) {
	for _, c := range []struct {
		name        string
		packets     int
		least, most time.Duration
	}{
		{"few packets", fewPackets - 1, longestNap, longestNap},
		{"some packets", fewPackets, shortestNap, shortestNap},
		{"many packets", manyPackets + 1, shortestNap, shortestNap},
	} {
		p := pace{on: true}
		if w := p.settle(c.packets, 100); w < c.least || w > c.most {
			t.Errorf("%s: naps %v, want %v to %v", c.name, w, c.least, c.most)
		}
	}
	p := pace{on: true}
	p.settle(1, 100)
	if w := p.settle(manyPackets+1, 100); w != shortestNap {
		t.Errorf("after a flood: naps %v, want %v", w, shortestNap)
	}
}

func TestAPaceThatIsOffNeverNaps(t *testing.T) {
	var p pace
	if w := p.settle(30, 100); w != 0 {
		t.Errorf("naps %v", w)
	}
}
