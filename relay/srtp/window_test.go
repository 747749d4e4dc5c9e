package srtp

import (
	"math/rand/v2"
	"testing"

	"tandem/relay/verdict"
)

func TestWindowZeroValueAcceptsAnything(t *testing.T) {
	for _, index := range []uint64{0, 1, 65_500, lifeRTP - 1} {
		var w window
		if v := w.check(index); v != verdict.Forward {
			t.Errorf("index %d: %v", index, v)
		}
	}
}

// model is the window written as a set.
type model struct {
	used map[uint64]bool
	next uint64
}

func (m *model) check(index uint64) verdict.Verdict {
	switch {
	case index+windowSize < m.next:
		return verdict.TooOld
	case m.used[index]:
		return verdict.Replayed
	}
	return verdict.Forward
}

func (m *model) mark(index uint64) {
	m.used[index] = true
	m.next = max(m.next, index+1)
}

func checkAgainstModel(t *testing.T, w *window, m *model, index uint64) {
	t.Helper()
	got, want := w.check(index), m.check(index)
	if got != want {
		t.Fatalf("index %d after %d: %v, want %v", index, m.next, got, want)
	}
	if got == verdict.Forward {
		w.mark(index)
		m.mark(index)
	}
}

func TestWindowAgreesWithASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		w, m := window{}, model{used: map[uint64]bool{}}
		at := rng.Uint64N(200)
		for range 500 {
			switch rng.IntN(20) {
			case 0:
				at += rng.Uint64N(300)
			case 1:
				at += 63 + rng.Uint64N(3)
			case 2:
				at += 127 + rng.Uint64N(3)
			default:
				at++
			}
			checkAgainstModel(t, &w, &m, at)
			checkAgainstModel(t, &w, &m, at-min(at, rng.Uint64N(140)))
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte{1, 1, 1, 127, 128, 129, 255, 0, 64, 63, 65})
	f.Add([]byte{255, 128, 0, 128, 127, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		w, m := window{}, model{used: map[uint64]bool{}}
		at := uint64(100)
		for i, s := range steps {
			if i%3 == 2 {
				checkAgainstModel(t, &w, &m, at-min(at, uint64(s))) // look back
				continue
			}
			at += uint64(s)
			checkAgainstModel(t, &w, &m, at)
		}
	})
}

// The pseudo-code of RFC 3711 appendix A, literally, with its signed arithmetic.
func rfcEstimate(roc int64, sl, seq int) int64 {
	v := roc
	if sl < 32_768 {
		if seq-sl > 32_768 {
			v = roc - 1
		}
	} else if sl-32_768 > seq {
		v = roc + 1
	}
	return v*65_536 + int64(seq)
}

func TestEstimateFollowsTheRFC(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	edges := []int{0, 1, 32_767, 32_768, 32_769, 65_534, 65_535}
	for i := range 200_000 {
		roc, sl, seq := int64(rng.IntN(4)), rng.IntN(1<<16), rng.IntN(1<<16)
		if i%2 == 0 {
			sl, seq = edges[rng.IntN(len(edges))], edges[rng.IntN(len(edges))]
		}
		want := rfcEstimate(roc, sl, seq)
		if want < 0 {
			want = int64(seq) // before the first period: it can only be ahead
		}
		if got := estimate(uint64(roc)<<16|uint64(sl), uint16(seq)); got != uint64(want) {
			t.Fatalf("after %d/%d, sequence %d is %#x, want %#x", roc, sl, seq, got, want)
		}
	}
}

func TestAReceiverWithoutLossFindsEveryIndexThatASenderFollows(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200_000 {
		highest, seq := rng.Uint64N(1<<20), uint16(rng.IntN(1<<16))
		index, v := follow(highest, seq)
		if v != verdict.Forward {
			if highest >= halfSeq {
				t.Fatalf("after %#x, sequence %d: %v", highest, seq, v)
			}
			continue
		}
		if uint16(index) != seq || index > highest+halfSeq-1 || index+halfSeq < highest {
			t.Fatalf("after %#x, sequence %d was taken for %#x", highest, seq, index)
		}
		if got := estimate(highest, seq); index > highest && got != index {
			t.Fatalf("after %#x, sequence %d is %#x to the sender, %#x to the receiver", highest, seq, index, got)
		}
	}
}
