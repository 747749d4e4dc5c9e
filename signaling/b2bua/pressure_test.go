package b2bua

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// queued plays calls that arrive evenly, at a rate of so many times what the server carries, where a refusal costs a share of
// what a call costs. It returns how many of 1,000 calls a second that the server can do are taken, and the longest wait, both of the
// second half.
func queued(load, refusal float64, d time.Duration) (carried float64, longest time.Duration) {
	const each = time.Millisecond // of a call
	var p pressure
	start := time.Unix(1, 0)
	free := start         // when the server has done what came before
	var leave []time.Time // of calls that are inside
	n := 0
	for at := start; at.Before(start.Add(d)); at = at.Add(time.Duration(float64(each) / load)) {
		for len(leave) > 0 && !leave[0].After(at) {
			p.leave()
			leave = leave[1:]
		}
		wait := max(0, free.Sub(at))
		work := each
		ok, _ := p.enter(at)
		if !ok {
			work = time.Duration(refusal * float64(each))
		}
		free = at.Add(wait + work)
		if ok {
			leave = append(leave, free)
		}
		if at.After(start.Add(d / 2)) {
			longest = max(longest, wait)
			if ok {
				n++
			}
		}
	}
	return float64(n) / (d / 2).Seconds(), longest
}

func TestAnOverloadedNodeCarriesWhatItCanAndNobodyWaitsLong(t *testing.T) {
	for _, c := range []struct {
		name    string
		load    float64
		carried float64 // calls a second at least
	}{
		{"half of what it carries", 0.5, 499},
		{"nearly all of it", 0.95, 949},
		{"a tenth too many", 1.1, 900},
		{"half as many too many", 1.5, 850},
		{"three times as many", 3, 650},
	} {
		t.Run(c.name, func(t *testing.T) {
			carried, longest := queued(c.load, 0.1, 20*time.Second)
			if carried < c.carried {
				t.Errorf("%.0f calls/s of 1,000 were taken", carried)
			}
			if longest > 3*pressureGoal {
				t.Errorf("somebody waited for %s", longest)
			}
		})
	}
}

func TestABurstIsNoOverload(t *testing.T) {
	var p pressure
	now := time.Unix(1, 0)
	for second := range 10 {
		for i := range 400 { // 400 calls at once every second; one leaves every millisecond
			if ok, _ := p.enter(now); !ok {
				t.Fatalf("second %d: call %d of a burst was refused", second, i)
			}
		}
		for range 400 {
			now = now.Add(time.Millisecond)
			p.leave()
		}
		now = now.Add(600 * time.Millisecond)
	}
}

// played is intervals in each of which so many calls come and at most so many leave.
func played(p *pressure, now *time.Time, intervals, come, leave int) map[overload]int {
	turns := map[overload]int{}
	for range intervals {
		*now = now.Add(pressureInterval)
		for range come {
			_, turned := p.enter(*now)
			turns[turned]++
		}
		for range min(leave, p.inside) {
			p.leave()
		}
	}
	delete(turns, overloadSame)
	return turns
}

func TestWhatOverloadBeganEndsWithIt(t *testing.T) {
	var p pressure
	now := time.Unix(1, 0)
	if turns := played(&p, &now, 10, 100, 100); len(turns) != 0 {
		t.Fatalf("all that come leave: %v", turns)
	}
	turns := played(&p, &now, 40, 100, 80)
	if !p.over || len(turns) != 1 || turns[overloadBegins] != 1 {
		t.Fatalf("a fifth does not leave: %d wait, %v", p.inside, turns)
	}
	turns = played(&p, &now, 60, 50, 90)
	if p.over || len(turns) != 1 || turns[overloadEnds] != 1 {
		t.Fatalf("fewer come than leave: %d wait, %v", p.inside, turns)
	}
	played(&p, &now, 40, 100, 80)
	now = now.Add(time.Minute)
	if ok, turned := p.enter(now); !ok || turned != overloadEnds {
		t.Errorf("after a minute of silence: taken %t, %v", ok, turned)
	}
}

// crowd makes a node overloaded: more calls wait than may.
func crowd(b *B2BUA) {
	b.pressure.mu.Lock()
	defer b.pressure.mu.Unlock()
	b.pressure.began, b.pressure.over, b.pressure.inside = time.Now(), true, pressureFloor
}

// relieve ends that, and returns how many other calls wait.
func relieve(b *B2BUA) int {
	b.pressure.mu.Lock()
	defer b.pressure.mu.Unlock()
	b.pressure.over = false
	b.pressure.inside -= pressureFloor
	return b.pressure.inside
}

func TestAnOverloadedNodeRefusesNewCallsAndNoOthers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []func(*config.Config)
		with   []sip.Header
		sent   string // INVITEs that leave
		drops  uint64
	}{
		{"a new call", nil, nil, "", 1},
		{"an emergency call", []func(*config.Config){emergency}, nil, b1, 0},
		{"one that is to take another's place", nil, []sip.Header{sip.NewHeader("Replaces", "nobody;from-tag=1;to-tag=2")}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, c.change...)
				crowd(p.b)
				p.invite(0, c.with...)
				p.wantInvites(t, "under overload", c.sent)
				if n := p.b.Stats().Drops[DropOverload]; n != c.drops {
					t.Errorf("%d were refused for overload, want %d", n, c.drops)
				}
				if n := relieve(p.b); n != 0 {
					t.Errorf("%d calls wait after all have left", n)
				}
				p.invite(1)
				p.wantInvites(t, "afterwards", strings.TrimSpace(c.sent+" "+b1))
				p.over(t)
			})
		})
	}
}

func TestARefusalForOverloadDoesNotSendThePeerAway(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	crowd(w.b)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	res := w.caller.next("503")
	if after := res.get("Retry-After"); after != "" {
		t.Errorf("Retry-After: %s would keep the peer's next calls away", after)
	}
	a.ackFailure(res)
	relieve(w.b)
	k.hangUp()
	w.call().hangUp()
}

// slowNames knows no name, and takes its time to say so.
type slowNames time.Duration

func (s slowNames) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	select {
	case <-time.After(time.Duration(s)):
		return nil, errors.New("no such name")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestWhoWaitsForANameIsNoBurdenAndMakesNoRoomForOthersEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.b.o.Resolver = slowNames(time.Minute)
		p.talk()
		p.fromCaller(0, sip.INVITE, sdpOf("slow.example.net", 5000, "")) // in a call that is up
		synctest.Wait()
		if n := p.b.Stats().Waiting; n != 0 {
			t.Errorf("%d calls wait, but none is new", n)
		}
		crowd(p.b)
		p.invite(1)
		synctest.Wait()
		if n := p.b.Stats().Drops[DropOverload]; n != 1 {
			t.Errorf("%d new calls were refused, want 1: a call that is up made room", n)
		}
		relieve(p.b)
		p.over(t)
	})
}
