package pin

import (
	"math/rand/v2"
	"testing"
)

// attacks are event strings of what relays are known to have fallen for. A string is the mode, the first policy, and then
// what, who, how, and how much later in units of 4 ms.
var attacks = map[string][]byte{
	"spray from a stranger before the first packet": {byte(Auth), 0, evBurst, 4, badTag, 0, evBurst, 7, badTag, 0, 0, 0, 0, 5},
	"spray from a stranger on a learning leg":       {byte(Learn), 0, evBurst, 4, 0, 0, 0, 1, 0, 5, evBurst, 4, 0, 0},
	"neighbour behind the same NAT, after the pin": {byte(Learn), 0, 0, 1, 0, 5, 0, 1, 0, 5, 0, 1, 0, 5, 0, 1, 0, 5, 0, 2, 0, 5,
		0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 60, 0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 5},
	"genuine packets replayed after silence": {byte(Auth), 0, 0, 0, 0, 5, evTick, 0, 50, 0, 0, 4, replayed, 5, 0, 4, late, 5,
		0, 4, late, 5, 0, 4, late, 5, 0, 4, late, 5},
	"packets in flight across a re-offer": {byte(Auth), 0, 0, 4, 0, 5, 0, 4, 0, 5, 0, 4, 0, 5, evArm, 1, 1, 0, 0, 4, 0, 5,
		0, 4, 0, 5, 0, 4, 0, 5, 0, 3, 0, 5},
	"RTCP from everywhere":             {byte(Learn), 4, evRTCP, 4, 0, 5, evRTCP, 1, 0, 5, 0, 0, 0, 5, evRTCP, 2, 0, 5, 0, 0, 0, 5},
	"spoofed tuple with another SSRC":  {byte(Exact), 0, 0, 0, 0, 5, 0, 0, otherSSRC, 5, evTick, 0, 3, 0, 0, 0, otherSSRC, 5},
	"re-offers that change nothing":    {byte(Auth), 0, 0, 4, 0, 5, 0, 4, 0, 5, evArm, 0, 0, 0, 0, 4, 0, 5, evArm, 0, 0, 0, 0, 4, 0, 5},
	"hold, and an attempt to be heard": {byte(Learn), 0, 0, 1, 0, 5, evArm, 2, 1, 0, evBurst, 1, 0, 0, evArm, 0, 1, 0, 0, 0, 0, 5},
}

// FuzzPin lets an attacker write the events.
func FuzzPin(f *testing.F) {
	for _, events := range attacks {
		f.Add(events)
	}
	f.Fuzz(func(t *testing.T, events []byte) {
		if len(events) > 2000 {
			return
		}
		for invariant, instance := range drive(new(realPin), events) {
			t.Errorf("%s: %s", invariant, instance)
		}
	})
}

// histories are random event strings, the same in every run.
func histories(visit func(events []byte)) {
	r := rand.New(rand.NewPCG(7983, 3550))
	for range 1000 {
		events := make([]byte, 2+4*r.IntN(120))
		for i := range events {
			events[i] = byte(r.Uint32())
		}
		for i := 2; i < len(events); i += 4 {
			if r.IntN(4) > 0 { // mostly good packets, shortly after each other, from two sources
				events[i], events[i+1], events[i+2], events[i+3] = 0, events[0]+byte(r.IntN(2)), 0, byte(r.IntN(16))
			}
		}
		visit(events)
	}
}

func TestRandomHistoriesKeepTheInvariants(t *testing.T) {
	pinned := 0
	histories(func(events []byte) {
		m := new(realPin)
		for invariant, instance := range drive(m, events) {
			t.Errorf("%s: %s", invariant, instance)
		}
		if at, ok := m.Pinned(); ok && at != m.rest.policy.Signalled {
			pinned++
		}
	})
	if pinned < 100 {
		t.Errorf("only %d of 1000 histories end pinned away from the signalled address: they prove little", pinned)
	}
}

func TestNaivePinFailsTheInvariants(t *testing.T) {
	broken := make(map[string]int)
	histories(func(events []byte) {
		for invariant := range drive(new(naivePin), events) {
			broken[invariant]++
		}
	})
	for _, invariant := range invariants {
		if broken[invariant] == 0 {
			t.Errorf("a machine that pins on any packet was never caught at: %s", invariant)
		}
	}
}

func TestKnownAttacksKeepTheInvariantsAndCatchTheNaivePin(t *testing.T) {
	for name, events := range attacks {
		for invariant, instance := range drive(new(realPin), events) {
			t.Errorf("%s: %s: %s", name, invariant, instance)
		}
		if len(drive(new(naivePin), events)) == 0 {
			t.Errorf("%s: the naive machine got through unharmed", name)
		}
	}
}
