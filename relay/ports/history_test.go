package ports

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is what a test knows of a pool's ports: a map and nothing clever.
type model struct {
	leased   map[uint16]bool
	released map[uint16]int64
}

// take checks a lease against the model and records it.
func (m *model) take(t *testing.T, now int64, port uint16, early bool) (rest time.Duration, used bool) {
	t.Helper()
	if m.leased[port] {
		t.Fatalf("port %d is leased twice", port)
	}
	since, used := m.released[port]
	if rest = time.Duration(now - since); used && rest < DefaultNever {
		t.Fatalf("port %d is leased after a rest of %s", port, rest)
	}
	if used && rest < DefaultPrefer && !early {
		t.Fatalf("port %d is leased after a rest of %s, and that is not called early", port, rest)
	}
	m.leased[port] = true
	return rest, used
}

// free counts what could be leased, and returns the longest rest among single ports and whether one was never used.
func (m *model) free(low, high uint16, now int64) (count int, longest time.Duration, fresh bool) {
	for port := int(low); port <= int(high); port++ {
		n := uint16(port)
		if m.leased[n] {
			continue
		}
		since, used := m.released[n]
		rest := time.Duration(now - since)
		if !used {
			fresh = true
		} else {
			longest = max(longest, rest)
		}
		if !used || rest >= DefaultNever {
			count++
		}
	}
	return count, longest, fresh
}

// wholePair tells whether a pair could be leased.
func (m *model) wholePair(low, high uint16, now int64) bool {
	can := func(n uint16) bool {
		since, used := m.released[n]
		return !m.leased[n] && (!used || time.Duration(now-since) >= DefaultNever)
	}
	for n := int(low+1) &^ 1; n+1 <= int(high); n += 2 {
		if can(uint16(n)) && can(uint16(n+1)) {
			return true
		}
	}
	return false
}

func TestNoPortIsLeasedTwiceNorTooEarly(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		low := 40000 + uint16(seed%2)
		high := low + uint16(1+r.IntN(30))
		p, err := New(Options{Low: low, High: high, Prefer: DefaultPrefer, Never: DefaultNever, Rand: r})
		if err != nil {
			t.Fatal(err)
		}
		now := start
		m := &model{make(map[uint16]bool), make(map[uint16]int64)}
		var held []uint16
		for range 1500 {
			now += int64(r.IntN(int(4 * time.Second)))
			if r.IntN(20) == 0 {
				now += int64(90 * time.Second)
			}
			held = history(t, p, m, r, now, held)
			if want, _, _ := m.free(low, high, now); p.Free(now) != want {
				t.Fatalf("%d free, want %d", p.Free(now), want)
			}
		}
	}
}

// history does one random thing.
func history(t *testing.T, p *Pool, m *model, r *rand.Rand, now int64, held []uint16) []uint16 {
	low, high := p.options.Low, p.options.High
	count, longest, fresh := m.free(low, high, now)
	switch r.IntN(5) {
	case 0:
		n, early, err := p.LeasePair(now)
		if can := m.wholePair(low, high, now); (err == nil) != can {
			t.Fatalf("a pair could be leased: %t, and %v", can, err)
		}
		if err != nil {
			return held
		}
		rest, used := m.take(t, now, n, early)
		other, otherUsed := m.take(t, now, n+1, early)
		if early && !(used && rest < DefaultPrefer) && !(otherUsed && other < DefaultPrefer) {
			t.Fatalf("pair %d rested for %s and %s, and yet it is early", n, rest, other)
		}
		return append(held, n, n+1)
	case 1:
		n, early, err := p.LeaseOne(now)
		if err != nil {
			if count > 0 || !errors.Is(err, ErrNone) {
				t.Fatalf("%d ports could be leased, and %v", count, err)
			}
			return held
		}
		rest, used := m.take(t, now, n, early)
		if early && (fresh || rest >= DefaultPrefer) {
			t.Fatalf("port %d rested for %s, others never used: %t, and yet it is early", n, rest, fresh)
		}
		if used && early && longest > rest && !m.partnerRested(p, n, now, longest) {
			t.Fatalf("port %d rested for %s, another one for %s", n, rest, longest)
		}
		return append(held, n)
	default:
		if len(held) == 0 {
			return held
		}
		i := r.IntN(len(held))
		n := held[i]
		if err := p.Release(now, n); err != nil {
			t.Fatal(err)
		}
		delete(m.leased, n)
		m.released[n] = now
		return slices.Delete(held, i, i+1)
	}
}

// partnerRested tells whether the port that has rested longest is the other half of a pair that rests as a pair: pairs wait
// for their later half.
func (m *model) partnerRested(p *Pool, leased uint16, now int64, longest time.Duration) bool {
	for n, since := range m.released {
		if !m.leased[n] && n != leased && time.Duration(now-since) == longest {
			partner := n ^ 1
			return partner >= p.options.Low && partner <= p.options.High && !m.leased[partner]
		}
	}
	return false
}

func TestSixtyThousandPortsAreAllLeasedOnce(t *testing.T) {
	p := newPool(t, 4000, 63999)
	seen := make(map[uint16]bool)
	for range 15000 {
		n := pair(t, p, start, false)
		seen[n], seen[n+1] = true, true
	}
	for range 30000 {
		seen[one(t, p, start, false)] = true
	}
	if len(seen) != 60000 || p.Free(start) != 0 {
		t.Fatalf("%d different ports leased, %d free", len(seen), p.Free(start))
	}
}

func BenchmarkLeaseAndRelease(b *testing.B) {
	p, now := newPool(b, 4000, 63999), start
	b.ReportAllocs()
	for b.Loop() {
		now += int64(time.Millisecond)
		n, _, err := p.LeasePair(now)
		if err != nil {
			b.Fatal(err)
		}
		p.Release(now, n)
		p.Release(now, n+1)
		if n, _, err = p.LeaseOne(now); err != nil {
			b.Fatal(err)
		}
		p.Release(now, n)
	}
}
