package ports

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const start = int64(time.Hour) // of the fake clock

func at(d time.Duration) int64 { return start + int64(d) }

// newPool returns a pool with the default rests and a fixed seed.
func newPool(t testing.TB, low, high uint16) *Pool {
	t.Helper()
	p, err := New(Options{Low: low, High: high, Prefer: DefaultPrefer, Never: DefaultNever, Rand: rand.New(rand.NewPCG(1, 2))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pair leases a pair and expects whether that is early.
func pair(t *testing.T, p *Pool, now int64, early bool) uint16 {
	t.Helper()
	n, got, err := p.LeasePair(now)
	if err != nil {
		t.Fatal(err)
	}
	if got != early {
		t.Fatalf("pair %d: early %t, want %t", n, got, early)
	}
	return n
}

// one leases a single port and expects whether that is early.
func one(t *testing.T, p *Pool, now int64, early bool) uint16 {
	t.Helper()
	n, got, err := p.LeaseOne(now)
	if err != nil {
		t.Fatal(err)
	}
	if got != early {
		t.Fatalf("port %d: early %t, want %t", n, got, early)
	}
	return n
}

// release gives ports back.
func release(t *testing.T, p *Pool, now int64, ports ...uint16) {
	t.Helper()
	for _, n := range ports {
		if err := p.Release(now, n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPoolRefusesWhatItCannotLease(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		says    string
	}{
		"empty range":        {Options{Low: 40000, High: 39999}, "40000-39999"},
		"port 0":             {Options{Low: 0, High: 9}, "0-9"},
		"negative rest":      {Options{Low: 1, High: 9, Never: -1}, "never -1ns"},
		"prefer below never": {Options{Low: 1, High: 9, Never: 9, Prefer: 8}, "prefer 8ns"},
	} {
		if _, err := New(c.options); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
}

func TestPoolWithoutASourceOfRandomnessTakesTheSystems(t *testing.T) {
	first := make(map[uint16]bool)
	for range 8 {
		p, err := New(Options{Low: 10000, High: 59999})
		if err != nil {
			t.Fatal(err)
		}
		first[pair(t, p, start, false)] = true
	}
	if len(first) < 2 {
		t.Fatal("eight pools began with the same port")
	}
}

func TestPairsBeginEvenAndStayWithinTheRange(t *testing.T) {
	for _, c := range []struct {
		low, high uint16
		pairs     int
	}{{40000, 40009, 5}, {40001, 40009, 4}, {40000, 40008, 4}, {40001, 40008, 3}, {40001, 40001, 0}, {65534, 65535, 1}} {
		p := newPool(t, c.low, c.high)
		seen := make(map[uint16]bool)
		for range c.pairs {
			n := pair(t, p, start, false)
			if n%2 != 0 || n < c.low || n+1 > c.high || seen[n] {
				t.Errorf("%d-%d: pair %d", c.low, c.high, n)
			}
			seen[n] = true
		}
		if n, _, err := p.LeasePair(start); !errors.Is(err, ErrNone) {
			t.Errorf("%d-%d: a pair too many: %d, %v", c.low, c.high, n, err)
		}
	}
}

func TestPortsAreLeasedAtRandomAndTheSameWithTheSameSeed(t *testing.T) {
	sequence := func(low uint16) (all []uint16) {
		p := newPool(t, low, low+999)
		for range 20 {
			all = append(all, pair(t, p, start, false), one(t, p, start, false))
		}
		return all
	}
	first, again := sequence(40000), sequence(40000)
	ascending := 0
	for i := range first {
		if first[i] != again[i] {
			t.Fatalf("lease %d is %d and then %d with the same seed", i, first[i], again[i])
		}
		if i >= 2 && first[i] > first[i-2] {
			ascending++
		}
	}
	if ascending > 30 || ascending < 8 {
		t.Errorf("%d of 38 leases ascend: that is no random order", ascending)
	}
}

func TestNeverUsedPortsGoBeforeUsedOnes(t *testing.T) {
	p := newPool(t, 40000, 40099)
	used := pair(t, p, start, false)
	release(t, p, start, used, used+1)
	for range 49 {
		if n := pair(t, p, at(time.Hour), false); n == used {
			t.Fatal("a used pair was leased while others were never used")
		}
	}
	if n := pair(t, p, at(time.Hour), false); n != used {
		t.Fatalf("leased %d, want the used pair %d", n, used)
	}
}

func TestOldestReleasedGoesFirst(t *testing.T) {
	p := newPool(t, 40000, 40019)
	var order []uint16
	for range 10 {
		order = append(order, pair(t, p, start, false))
	}
	for i, n := range order {
		release(t, p, at(time.Duration(i)*time.Second), n, n+1)
	}
	for _, want := range order {
		if n := pair(t, p, at(time.Hour), false); n != want {
			t.Fatalf("leased %d, want %d", n, want)
		}
	}
}

func TestPairRestsSinceItsLaterHalfCameBack(t *testing.T) {
	p := newPool(t, 40000, 40001)
	n := pair(t, p, start, false)
	release(t, p, start, n)
	if _, _, err := p.LeasePair(at(time.Hour)); !errors.Is(err, ErrNone) {
		t.Fatalf("half a pair was leased as one: %v", err)
	}
	release(t, p, at(time.Hour), n+1)
	if _, _, err := p.LeasePair(at(time.Hour + DefaultNever - 1)); !errors.Is(err, ErrNone) {
		t.Fatalf("a pair was leased while its later half rested: %v", err)
	}
	pair(t, p, at(time.Hour+DefaultNever), true)
}

func TestReuseBetweenNeverAndPreferIsEarly(t *testing.T) {
	for name, lease := range map[string]func(*testing.T, *Pool, int64, bool) uint16{"pair": pair, "one": one} {
		for _, c := range []struct {
			rest  time.Duration
			early bool
		}{{DefaultNever, true}, {DefaultPrefer - 1, true}, {DefaultPrefer, false}, {time.Hour, false}} {
			t.Run(name+" after "+c.rest.String(), func(t *testing.T) {
				p := newPool(t, 40000, 40001)
				n := pair(t, p, start, false)
				release(t, p, start, n, n+1)
				lease(t, p, at(c.rest), c.early)
			})
		}
	}
}

func TestExhaustionNamesTheRangeAndHowManyRest(t *testing.T) {
	p := newPool(t, 40000, 40009)
	for range 3 {
		pair(t, p, start, false)
	}
	a, b := pair(t, p, start, false), pair(t, p, start, false)
	release(t, p, start, a, a+1)
	release(t, p, at(time.Second), b)
	_, _, err := p.LeasePair(at(2 * time.Second))
	if !errors.Is(err, ErrNone) {
		t.Fatalf("%v, want ErrNone", err)
	}
	for _, part := range []string{"40000-40009", "7 leased", "3 at rest", "5s"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, _, one := p.LeaseOne(at(2 * time.Second)); !errors.Is(one, ErrNone) {
		t.Errorf("%v, want ErrNone", one)
	}
	p = newPool(t, 40000, 40000)
	one(t, p, start, false)
	if _, _, err := p.LeaseOne(start); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "1 leased") {
		t.Errorf("%v, want ErrNone and 1 leased", err)
	}
}

func TestReleasingWhatIsNotLeasedIsReportedAndChangesNothing(t *testing.T) {
	p := newPool(t, 40000, 40003)
	n := pair(t, p, start, false)
	release(t, p, start, n)
	for name, port := range map[string]uint16{"below the range": 39999, "above it": 40004, "twice": n, "never leased": n ^ 2} {
		if err := p.Release(at(time.Minute), port); !errors.Is(err, ErrNotLeased) {
			t.Errorf("%s: %v, want ErrNotLeased", name, err)
		}
		if err := p.Refuse(at(time.Minute), port); !errors.Is(err, ErrNotLeased) {
			t.Errorf("%s: refused: %v, want ErrNotLeased", name, err)
		}
	}
	if got := p.Free(at(time.Minute)); got != 3 {
		t.Errorf("%d free, want 3", got)
	}
}

func TestRefusedPortRestsLikeAReleasedOne(t *testing.T) {
	p := newPool(t, 40000, 40003)
	n := pair(t, p, start, false)
	if err := p.Refuse(start, n); err != nil {
		t.Fatal(err)
	}
	release(t, p, start, n+1)
	if next := pair(t, p, start, false); next == n {
		t.Fatal("a refused pair was leased again at once")
	}
	if _, _, err := p.LeasePair(at(DefaultNever - 1)); !errors.Is(err, ErrNone) {
		t.Fatalf("%v, want ErrNone", err)
	}
	if again := pair(t, p, at(DefaultNever), true); again != n {
		t.Fatalf("leased %d, want %d", again, n)
	}
}

func TestSinglePortsUseUpSplitPairs(t *testing.T) {
	p := newPool(t, 40000, 40099)
	for range 25 {
		a, b := one(t, p, start, false), one(t, p, start, false)
		if a^1 != b {
			t.Fatalf("leased %d and %d: two pairs are split where one was enough", a, b)
		}
	}
	for range 25 {
		pair(t, p, start, false) // the other pairs are still whole
	}
}

func TestSinglePortPrefersARestedHalfToSplittingAPair(t *testing.T) {
	p := newPool(t, 40000, 40099)
	a := one(t, p, start, false)
	b := one(t, p, start, false)
	release(t, p, start, a)
	if n := one(t, p, at(DefaultPrefer-1), false); n == a || n == b {
		t.Fatalf("leased %d, which had not rested while others were never used", n)
	}
	if n := one(t, p, at(DefaultPrefer), false); n>>1 == a>>1 {
		t.Fatalf("leased %d before the half of the pair that is split already", n)
	}
	if n := one(t, p, at(DefaultPrefer), false); n != a {
		t.Fatalf("leased %d, want the rested half %d", n, a)
	}
}

func TestEdgesWithoutAPartnerAreLeasedAsSinglePorts(t *testing.T) {
	p := newPool(t, 40001, 40004)
	edges := map[uint16]bool{one(t, p, start, false): true, one(t, p, start, false): true}
	if !edges[40001] || !edges[40004] {
		t.Fatalf("leased %v, want 40001 and 40004", edges)
	}
	release(t, p, start, 40001, 40004)
	pair(t, p, start, false)
	if n := one(t, p, at(DefaultPrefer), false); n != 40001 {
		t.Fatalf("leased %d, want 40001, which rested longest", n)
	}
}

func TestHalfNeverUsedIsLeasedAtOnceThoughItsPairRests(t *testing.T) {
	p := newPool(t, 40000, 40001)
	a := one(t, p, start, false)
	release(t, p, start, a)
	if got := p.Free(start); got != 1 {
		t.Errorf("%d free, want 1", got)
	}
	b := one(t, p, start, false)
	if b != a^1 {
		t.Fatalf("leased %d, want the half that was never used", b)
	}
	if n := one(t, p, at(DefaultNever), true); n != a {
		t.Fatalf("leased %d, want %d", n, a)
	}
}

func TestFreeCountsWhatCouldBeLeasedNow(t *testing.T) {
	p := newPool(t, 40000, 40009)
	n := pair(t, p, start, false)
	m := one(t, p, start, false)
	for _, c := range []struct {
		after time.Duration
		do    func()
		want  int
	}{
		{0, func() {}, 7},
		{0, func() { release(t, p, start, n, n+1) }, 7},
		{DefaultNever - 1, func() { release(t, p, at(DefaultNever-1), m) }, 7},
		{DefaultNever, func() {}, 9},
		{2 * DefaultNever, func() {}, 10},
	} {
		c.do()
		if got := p.Free(at(c.after)); got != c.want {
			t.Errorf("after %s: %d free, want %d", c.after, got, c.want)
		}
	}
}

func TestClockThatGoesBackShortensNoRest(t *testing.T) {
	p := newPool(t, 40000, 40001)
	n := pair(t, p, start, false)
	release(t, p, at(-time.Hour), n, n+1)
	if _, _, err := p.LeasePair(at(DefaultNever - 1)); !errors.Is(err, ErrNone) {
		t.Fatalf("%v, want ErrNone", err)
	}
}
