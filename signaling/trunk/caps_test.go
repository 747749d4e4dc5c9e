package trunk

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// capped is a table with one trunk of each cap, and one with all of them.
const capped = `
media:
  networks:
    lan: {addresses: [192.0.2.1], ports: 40000-40099}
sip:
  listeners:
    gw: {transport: udp, address: 192.0.2.1:5060}
trunks:
  calls: {listener: gw, peer: 198.51.100.1, max_calls: 30}
  rate: {listener: gw, peer: 198.51.100.2, max_cps: 5}
  media: {listener: gw, peer: 198.51.100.3, max_bandwidth: 1000}
  all: {listener: gw, peer: 198.51.100.4, max_calls: 3, max_cps: 2, max_bandwidth: 300}
  open: {listener: gw, peer: 198.51.100.5}
`

// take fails the test unless Take says what is wanted; empty: the call is taken.
func take(t *testing.T, tr *Trunk, a Ask, now time.Time, want string) {
	t.Helper()
	why, ok := tr.Take(a, now)
	if ok != (want == "") || why != want {
		t.Errorf("Take(%+v): %q, %v; want %q", a, why, ok, want)
	}
}

func TestFullTrunkTakesNoCallUntilAPlaceIsGivenBack(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "calls")
	for range 30 {
		take(t, tr, Ask{}, clk.now(), "")
	}
	take(t, tr, Ask{}, clk.now(), "all 30 places are taken")
	tr.Give(Ask{})
	take(t, tr, Ask{}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), "all 30 places are taken")
	if s := tr.Snapshot(clk.now()); s.Calls != 30 || s.Counters.Refused != 2 || tr.Active() != 30 {
		t.Errorf("%+v", s)
	}
}

func TestBandwidthIsGivenToTheKilobitAndNoFurther(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "media")
	take(t, tr, Ask{Bandwidth: 600}, clk.now(), "")
	take(t, tr, Ask{Bandwidth: 401}, clk.now(), "600 of 1000 kbit/s are taken, the call needs 401")
	take(t, tr, Ask{Bandwidth: 400}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), "all 1000 kbit/s are taken")
	tr.Give(Ask{Bandwidth: 600})
	take(t, tr, Ask{Bandwidth: 600}, clk.now(), "")
}

func TestNoSecondSeesMoreCallsThanItsCap(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "rate")
	const why = "5 calls began within a second, which is the most"
	for range 3 {
		take(t, tr, Ask{}, clk.now(), "")
		clk.advance(100 * time.Millisecond)
	}
	take(t, tr, Ask{}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), "")
	take(t, tr, Ask{}, clk.now(), why)
	take(t, tr, Ask{}, clk.advance(700*time.Millisecond-1), why)
	take(t, tr, Ask{}, clk.advance(1), "") // the first one began a second ago
	take(t, tr, Ask{}, clk.now(), why)
	take(t, tr, Ask{}, clk.advance(time.Hour), "")
}

// TestRateIsExactForAnyCalls compares with the slow twin: of all calls taken so far, how many began within the second that
// ends with this call.
func TestRateIsExactForAnyCalls(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "rate")
	var began []time.Time
	refused := 0
	for i := range 20_000 {
		now := clk.advance(time.Duration(random.IntN(300)) * time.Millisecond)
		within := 0
		for _, b := range began[max(0, len(began)-50):] {
			if now.Sub(b) < time.Second {
				within++
			}
		}
		emergency := random.IntN(20) == 0
		if _, ok := tr.Take(Ask{Emergency: emergency}, now); ok != (within < 5 || emergency) {
			t.Fatalf("call %d after %d within a second: taken %v", i, within, ok)
		} else if ok {
			began = append(began, now)
		} else {
			refused++
		}
	}
	if refused < 1000 || len(began) < 1000 {
		t.Fatalf("%d taken, %d refused: no test of both", len(began), refused)
	}
}

func TestEmergencyCallPassesEveryCapAndCountsAllTheSame(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "all")
	emergency := Ask{Bandwidth: 200, Emergency: true}
	for range 5 {
		take(t, tr, emergency, clk.now(), "")
	}
	if s := tr.Snapshot(clk.now()); s.Calls != 5 || s.Bandwidth != 1000 || s.CPS != 5 {
		t.Errorf("%+v", s)
	}
	take(t, tr, Ask{}, clk.advance(time.Minute), "all 3 places are taken")
	for range 3 {
		tr.Give(emergency)
	}
	take(t, tr, Ask{}, clk.now(), "all 300 kbit/s are taken")
	tr.Give(emergency)
	take(t, tr, emergency, clk.now(), "")
	tr.Give(emergency)
	take(t, tr, emergency, clk.now(), "")
	tr.Give(emergency)
	take(t, tr, Ask{}, clk.now(), "2 calls began within a second, which is the most")
}

func TestOnePlaceGivenBackTooOftenLendsNone(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "all")
	tr.Give(Ask{Bandwidth: 100})
	take(t, tr, Ask{Bandwidth: 300}, clk.now(), "")
	tr.Give(Ask{Bandwidth: 300})
	tr.Give(Ask{Bandwidth: 300})
	if s := tr.Snapshot(clk.now()); s.Calls != 0 || s.Bandwidth != 0 {
		t.Errorf("%+v", s)
	}
	take(t, tr, Ask{Bandwidth: 301}, clk.now(), "0 of 300 kbit/s are taken, the call needs 301")
	take(t, tr, Ask{Bandwidth: 100}, clk.advance(time.Minute), "")
	take(t, tr, Ask{Bandwidth: 100}, clk.now(), "")
	tr.Give(Ask{Bandwidth: 1000}) // never taken so
	if s := tr.Snapshot(clk.now()); s.Calls != 1 || s.Bandwidth != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTrunkWithoutCapsIsNeverFull(t *testing.T) {
	clk := newClock()
	tab := tableOf(t, capped, &dns{}, clk)
	tr := trunkOf(t, tab, "open")
	for range 1000 {
		take(t, tr, Ask{Bandwidth: 1000}, clk.now(), "")
	}
	if v, ok := tab.Look("open", clk.now()); !ok || v != (View{}) {
		t.Errorf("%+v, %v", v, ok)
	}
}

func TestCapsAreExactToTheCallUnderManyCallers(t *testing.T) {
	const callers = 64
	for name, want := range map[string]int64{"calls": 30, "rate": 5, "media": 10, "all": 2, "open": callers * 10} {
		t.Run(name, func(t *testing.T) {
			clk := newClock()
			tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), name)
			now, ask := clk.now(), Ask{Bandwidth: 100}
			var taken, most atomic.Int64
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for range 10 {
						if _, ok := tr.Take(ask, now); ok {
							taken.Add(1)
						}
						most.Store(max(most.Load(), int64(tr.Active())))
					}
				})
			}
			wait.Wait()
			if taken.Load() != want || most.Load() > want {
				t.Fatalf("%d taken of %d, up to %d at once", taken.Load(), want, most.Load())
			}
			for range callers {
				wait.Go(func() {
					for range 10 {
						tr.Give(ask)
					}
				})
			}
			wait.Wait()
			if s := tr.Snapshot(now); s.Calls != 0 || s.Bandwidth != 0 {
				t.Errorf("%d calls and %d kbit/s are left", s.Calls, s.Bandwidth)
			}
		})
	}
}

func TestCallsComeAndGoWithinTheCapUnderManyCallers(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "calls")
	var inside, over atomic.Int64
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for range 200 {
				if _, ok := tr.Take(Ask{}, clk.now()); !ok {
					continue
				}
				if inside.Add(1) > 30 {
					over.Add(1)
				}
				inside.Add(-1)
				tr.Give(Ask{})
			}
		})
	}
	wait.Wait()
	if over.Load() > 0 || tr.Active() != 0 {
		t.Errorf("%d times over the cap, %d places left", over.Load(), tr.Active())
	}
}

func TestCallerWithAnOlderClockDoesNotBreakTheRate(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "rate")
	early, late := clk.now(), clk.advance(900*time.Millisecond)
	for range 4 {
		take(t, tr, Ask{}, late, "")
	}
	take(t, tr, Ask{}, early, "") // counts as late
	take(t, tr, Ask{}, early.Add(time.Second), "5 calls began within a second, which is the most")
	take(t, tr, Ask{}, late.Add(time.Second), "")
	if began := tr.live.places.rate.began; !slices.IsSorted(append(began[1:], began[0])) {
		t.Errorf("the ring goes back in time: %v", began)
	}
}

func TestLookTellsWhatTakeWouldSayAndChangesNothing(t *testing.T) {
	clk := newClock()
	tab := tableOf(t, capped, &dns{}, clk)
	if _, ok := tab.Look("nobody", clk.now()); ok {
		t.Error("there is a view of a trunk that is not")
	}
	for name, want := range map[string]string{
		"calls": "all 30 places are taken", "rate": "5 calls began within a second, which is the most", "media": "all 1000 kbit/s are taken",
	} {
		tr := trunkOf(t, tab, name)
		for {
			if v, ok := tab.Look(name, clk.now()); !ok || v.State != Up || v.Full != "" {
				if v.Full != want {
					t.Errorf("%s: %+v, want %q", name, v, want)
				}
				break
			}
			take(t, tr, Ask{Bandwidth: 10}, clk.now(), "")
		}
		if _, ok := tr.Take(Ask{}, clk.now()); ok {
			t.Errorf("%s: Take has room", name)
		}
	}
	tr := trunkOf(t, tab, "open")
	tr.Answered(503, clk.now())
	tr.RetryAfter(time.Minute, clk.now())
	if v, _ := tab.Look("open", clk.now()); v != (View{State: Demoted, Rest: time.Minute}) {
		t.Errorf("%+v", v)
	}
}

// FuzzPlaces lets any sequence of takes, gives, pauses and reloads run against caps, and checks the promises that need no
// twin: no cap is passed but by emergency calls, and what is given back is not there any more.
func FuzzPlaces(f *testing.F) {
	f.Add("tttgtttpppttteeegR9ttt")
	f.Add("R0tttR3ttttR1tpR0eeeR2t")
	f.Fuzz(func(t *testing.T, steps string) {
		clk := newClock()
		l := newLive(clk.now())
		tr := &Trunk{live: l}
		l.caps = caps{calls: 4, rate: 3, bandwidth: 50}
		var open []Ask
		for i, s := range steps[:min(len(steps), 1000)] {
			before := l.places
			switch s {
			case 't', 'e':
				a := Ask{Bandwidth: i%20 + 1, Emergency: s == 'e'}
				if _, ok := tr.Take(a, clk.now()); ok {
					open = append(open, a)
					if c := l.caps; s == 't' && (c.calls > 0 && before.calls >= c.calls || c.bandwidth > 0 && l.places.bandwidth > c.bandwidth) {
						t.Fatalf("step %d passed a cap: %+v", i, l.places)
					}
				} else if s == 'e' {
					t.Fatalf("step %d: an emergency call was held back", i)
				}
			case 'g':
				if len(open) > 0 {
					tr.Give(open[0])
					open = open[1:]
				}
			case 'p':
				clk.advance(400 * time.Millisecond)
			case 'R':
				l.caps.rate = strings.IndexByte("0123456789", steps[min(i+1, len(steps)-1)]) + 1
			}
			sum := 0
			for _, a := range open {
				sum += a.Bandwidth
			}
			if l.places.calls != len(open) || l.places.bandwidth != sum || l.caps.rate > 0 && len(l.places.rate.began) > max(l.caps.rate, 10) {
				t.Fatalf("step %d: %+v, want %d calls, %d kbit/s", i, l.places, len(open), sum)
			}
		}
	})
}

func BenchmarkTakeAndGive(b *testing.B) {
	clk := newClock()
	tr := trunkOf(b, tableOf(b, strings.Replace(capped, "max_cps: 2", "max_cps: 1000000", 1), &dns{}, clk), "all")
	now := clk.now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		tr.Take(Ask{Bandwidth: 100}, now)
		tr.Give(Ask{Bandwidth: 100})
	}
}
