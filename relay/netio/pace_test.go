package netio

import (
	"testing"
	"time"
)

const testedNap = 200 * time.Microsecond

// busy returns a pace that naps.
func busy(t *testing.T) *pace {
	t.Helper()
	p := &pace{longest: testedNap}
	p.begin(0)
	for range steadyPackets {
		p.found(1)
	}
	if !p.begin(int64(testedNap)) {
		t.Fatal("it does not nap although something comes all the time")
	}
	return p
}

// settle lets the pace see so many packets after each of n naps, and returns how long the next nap is, 0 for none.
func (p *pace) settle(packets, n int) time.Duration {
	for range n {
		p.found(packets)
	}
	if !p.due() {
		return 0
	}
	return p.length
}

func TestAWorkerNapsOnlyWhileTrafficIsSteady(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks int
		apart time.Duration
		naps  bool
	}{
		{"nothing came", 0, 0, false},
		{"too little came to tell", steadyPackets - 1, time.Microsecond, false},
		{"something came all the time", steadyPackets, time.Microsecond, true},
		{"something came as often as the longest nap", steadyPackets, testedNap, true},
		{"something came less often", steadyPackets, testedNap + 1, false},
		{"one call", steadyPackets, 10 * time.Millisecond, false},
	} {
		p := &pace{longest: testedNap, since: int64(time.Hour)}
		for range c.looks {
			p.found(1)
			p.found(0)
		}
		if naps := p.begin(p.since + int64(c.looks)*int64(c.apart)); naps != c.naps {
			t.Errorf("%s: naps %v, want %v", c.name, naps, c.naps)
		}
	}
}

func TestAWorkerThatNapsInVainWaitsToBeWoken(t *testing.T) {
	p := busy(t)
	for range emptyNaps - 1 {
		p.found(0)
	}
	p.found(1)
	for i := range emptyNaps {
		if !p.steady {
			t.Fatalf("after %d empty naps it waits", i)
		}
		p.found(0)
	}
	if p.due() {
		t.Errorf("after %d empty naps it naps %v", emptyNaps, p.length)
	}
	if p.begin(0) {
		t.Error("it naps again although nothing came")
	}
}

func TestANapIsAsLongAsAFewPacketsTakeToArriveWithinItsBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		packets int
		want    time.Duration
	}{
		{"few packets", fewPackets - 1, testedNap},
		{"some packets", fewPackets, shortestNap},
		{"many packets", manyPackets + 1, shortestNap},
	} {
		if nap := busy(t).settle(c.packets, 1000); nap != c.want {
			t.Errorf("%s: naps %v, want %v", c.name, nap, c.want)
		}
	}
	p := busy(t)
	p.settle(1, 1000)
	if nap := p.settle(manyPackets+1, 1000); nap != shortestNap {
		t.Errorf("after a flood: naps %v, want %v", nap, shortestNap)
	}
}

func TestAWorkerDoesNotNapOverWhatALookLeftBehind(t *testing.T) {
	p := busy(t)
	if nap := p.settle(BatchSize, 1); nap != 0 {
		t.Errorf("after a full batch it naps %v", nap)
	}
	if nap := p.settle(1, 1); nap == 0 {
		t.Error("after the rest it does not nap")
	}
}

func TestAPaceThatIsOffNeverNaps(t *testing.T) {
	var p pace
	for range 100 {
		p.found(30)
		if p.begin(0) || p.due() {
			t.Fatal("it naps")
		}
	}
}

func TestAWorkerWithLittleWorkNapsForLonger(t *testing.T) {
	for _, c := range []struct {
		name        string
		work, sleep time.Duration
		little      bool
	}{
		{"half as much work as naps", 50 * time.Microsecond, 100 * time.Microsecond, false},
		{"less than that", 40 * time.Microsecond, 100 * time.Microsecond, true},
		{"one long nap", 0, time.Second, true},
		{"one long turn", time.Second, time.Microsecond, false},
	} {
		p := busy(t)
		now := p.awake
		for range 100 {
			p.napped(now+int64(c.work), now+int64(c.work+c.sleep))
			now += int64(c.work + c.sleep)
		}
		if p.little != c.little {
			t.Errorf("%s: little %v, want %v", c.name, p.little, c.little)
		}
		want := shortestNap
		if c.little {
			want = testedNap
		}
		if nap := p.settle(manyPackets+1, 1000); nap != want {
			t.Errorf("%s: naps %v over %d packets, want %v", c.name, nap, manyPackets+1, want)
		}
	}
}
