package guard

import (
	"slices"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestWhatWaitsIsLetGoInItsOrderAndInTime(t *testing.T) {
	var q queue[int]
	numbers, places := make([]int, 6), make([]place[int], 6)
	for i := range numbers {
		numbers[i] = i
		q.add(&places[i], &numbers[i], time.Duration(i))
	}
	for _, i := range []int{0, 3, 3, 5} { // the first, one in between, it again, the last
		q.remove(&places[i])
	}
	for _, c := range []struct {
		now  time.Duration
		want []int
	}{{0, nil}, {2, []int{1, 2}}, {2, nil}, {9, []int{4}}, {9, nil}} {
		var got []int
		for _, n := range q.due(c.now) {
			got = append(got, *n)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("at %d: %v, want %v", c.now, got, c.want)
		}
	}
	if q.add(&places[3], &numbers[3], 1); q.first != &places[3] || q.last != q.first || len(q.due(1)) != 1 || q.first != nil || q.last != nil {
		t.Error("an empty queue is not as good as new")
	}
}

func TestATransactionThatIsOverEndsWhenItsSpanDoes(t *testing.T) {
	s := idle(t)
	answered := func(invite bool, code int) func(*testing.T) {
		return func(t *testing.T) {
			tx, _ := served(t, s, invite, true)
			if err := tx.transmit(code, []byte("last")); err != nil {
				t.Fatal(err)
			}
			if tx.mu.Lock(); invite && code >= 300 {
				tx.confirm()
			}
			tx.mu.Unlock()
		}
	}
	asked := func(code int) func(*testing.T) {
		return func(t *testing.T) {
			tx := fresh(t, s, sip.INVITE, true)
			s.clients.put(tx)
			tx.mu.Lock()
			tx.advance(code)
			tx.mu.Unlock()
		}
	}
	for name, c := range map[string]struct {
		make func(*testing.T)
		span time.Duration
	}{
		"a call that we answered":           {answered(true, 200), sip.Timer_L},
		"a call that we refused, after ACK": {answered(true, 486), sip.Timer_I},
		"a BYE that we answered":            {answered(false, 200), sip.Timer_J},
		"a call of ours, answered":          {asked(200), sip.Timer_M},
		"a call of ours, refused":           {asked(486), sip.Timer_D},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.age()
			c.make(t)
			after := s.age()
			for _, at := range []struct {
				when time.Duration
				left int
			}{{before + c.span - 1, 1}, {after + c.span, 0}} {
				s.release(at.when)
				if st := s.Stats(); st.Servers+st.Clients != at.left {
					t.Errorf("%s after its answer: %d of it, want %d", at.when-before, st.Servers+st.Clients, at.left)
				}
			}
		})
	}
}
