package pin

import (
	"testing"
	"time"

	"tandem/relay/verdict"
)

func TestLearnPinsTheExactTupleAtOnce(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(1, signalled, 1, verdict.Forward)
	if at, ok := l.s.Pinned(); !ok || at != signalled {
		t.Fatalf("pinned at %v (%t)", at, ok)
	}
}

func TestLearnPinsFourPacketsInOrderFromAnAddressThatSignallingVouchesFor(t *testing.T) {
	for name, src := range map[string]Addr{
		"SDP's IP behind NAT": natted, "the signalling peer's IP": proxy, "the trunk's prefix": media,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeg(t, Learn)
			l.packets(3, src, 1, verdict.Forward) // accepted, not pinned: two questions
			l.sendsTo(signalled)
			l.packets(1, src, 1, verdict.Forward)
			l.sendsTo(src)
		})
	}
}

func TestLearnHearsNobodyElse(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(20, elsewhere, 1, verdict.Stranger)
	l.packets(20, six, 1, verdict.Stranger)
	l.sendsTo(signalled)
}

func TestLearnNeedsOneSSRCInOrderAndANegotiatedPayloadType(t *testing.T) {
	good := Evidence{SSRC: 1, KnownPT: true}
	for name, c := range map[string]struct {
		change func(i int, e *Evidence)
		pinned bool
	}{
		"in order":                    {func(int, *Evidence) {}, true},
		"small gaps":                  {func(i int, e *Evidence) { e.Seq *= 7 }, true},
		"every packet twice":          {func(i int, e *Evidence) { e.Seq /= 2 }, true},
		"pairs swapped":               {func(i int, e *Evidence) { e.Seq ^= 1 }, true},
		"across the wrap":             {func(i int, e *Evidence) { e.Seq += 65533 }, true},
		"two SSRCs in turns":          {func(i int, e *Evidence) { e.SSRC += uint32(i % 2) }, false},
		"jumps":                       {func(i int, e *Evidence) { e.Seq *= 1000 }, false},
		"payload type not negotiated": {func(i int, e *Evidence) { e.KnownPT = false }, false},
		"one and the same packet":     {func(i int, e *Evidence) { e.Seq = 9 }, false},
		"late indices on SRTP":        {func(i int, e *Evidence) { e.Authenticated = true }, false},
		"fresh indices on SRTP":       {func(i int, e *Evidence) { e.Authenticated, e.Fresh = true, true }, true},
	} {
		l := newLeg(t, Learn)
		for i := range 12 {
			e := good
			e.Seq = uint16(i)
			c.change(i, &e)
			l.now += packetTime
			if v, _ := l.judge(natted, e); v != verdict.Forward {
				t.Fatalf("%s: packet %d is %s", name, i, v)
			}
		}
		if _, pinned := l.s.Pinned(); pinned != c.pinned {
			t.Errorf("%s: pinned %t, want %t", name, pinned, c.pinned)
		}
	}
}

func TestLearnWindowClosesFiveSecondsAfterTheFirstAcceptablePacket(t *testing.T) {
	l := newLeg(t, Learn)
	l.silence(time.Minute) // armed until somebody speaks
	l.packets(1, natted, 1, verdict.Forward)
	l.silence(5 * time.Second)
	l.packets(100, natted, 1, verdict.Forward) // heard, but too late to be pinned
	l.sendsTo(signalled)
	l.packets(1, signalled, 2, verdict.Forward) // the exact tuple needs no window
	if at, _ := l.s.Pinned(); at != signalled {
		t.Fatalf("pinned at %v", at)
	}
}

func TestLearnWindowOpensAgainWithSignalling(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(1, natted, 1, verdict.Forward)
	l.silence(6 * time.Second)
	l.packets(4, natted, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Epoch++ })
	l.packets(4, natted, 1, verdict.Forward)
	l.sendsTo(natted)
}

func TestLivePinIsNotMovedByANeighbour(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	for range 100 {
		l.packets(1, natted, 1, verdict.Forward)
		l.packets(1, neighbour, 1, verdict.Stranger)
	}
	l.sendsTo(natted)
}

func TestLivePinOfLearnGoesBackToTheExactTuple(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.packets(1, signalled, 2, verdict.Forward)
	l.sendsTo(signalled)
}

func TestExactTupleTakesThePinBackOnlyWithANegotiatedPayloadType(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	if v, _ := l.judge(signalled, Evidence{SSRC: 1}); v != verdict.Stranger {
		t.Fatalf("%s, want stranger", v)
	}
	l.sendsTo(natted)
}

func TestSilentPinFollowsTheSameSSRCToAnotherPort(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.silence(roamSilence - 2*time.Duration(packetTime))
	l.packets(1, neighbour, 1, verdict.Stranger) // 180 ms: not yet silent
	l.packets(3, neighbour, 1, verdict.Stranger) // gathers evidence, and is not heard meanwhile
	l.sendsTo(natted)
	l.packets(1, neighbour, 1, verdict.Forward)
	l.sendsTo(neighbour)
}

func TestSilentPinIsNotMovedByAnotherSSRCNorAnotherIP(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.silence(10 * time.Second)
	l.packets(20, neighbour, 2, verdict.Stranger)
	l.packets(20, proxy, 1, verdict.Stranger) // vouched for before the pin, not after
	l.packets(20, media, 1, verdict.Stranger)
	l.packets(20, elsewhere, 1, verdict.Stranger)
	l.sendsTo(natted)
}

func TestRunThatPausesForFiveSecondsBeginsAnew(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.silence(time.Second)
	l.packets(3, neighbour, 1, verdict.Stranger)
	l.silence(learnWindow)
	l.packets(3, neighbour, 1, verdict.Stranger)
	l.sendsTo(natted)
}

func TestPinThatSpeaksAgainEndsTheCandidatesRun(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	for range 5 {
		l.silence(roamSilence)
		l.packets(3, neighbour, 1, verdict.Stranger)
		l.packets(1, natted, 1, verdict.Forward)
	}
	l.sendsTo(natted)
}

func TestTwoLiveCandidatesContestTheLegAndNeitherWins(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(1, natted, 1, verdict.Forward)
	for range 40 {
		l.packets(1, neighbour, 2, verdict.Contested)
		l.packets(1, natted, 1, verdict.Contested)
	}
	if !l.s.Contested() {
		t.Fatal("not contested")
	}
	l.sendsTo(signalled)
}

func TestCandidateThatIsLeftAloneWinsTheContest(t *testing.T) {
	for name, winner := range map[string]Addr{"the first": natted, "the second": neighbour} {
		t.Run(name, func(t *testing.T) {
			l := newLeg(t, Learn)
			l.packets(2, natted, 1, verdict.Forward)
			l.packets(2, neighbour, 1, verdict.Contested)
			l.silence(roamSilence)
			l.packets(3, winner, 1, verdict.Forward)
			if l.s.Contested() {
				t.Fatal("still contested though one is silent")
			}
			l.packets(1, winner, 1, verdict.Forward)
			l.sendsTo(winner)
		})
	}
}

func TestCandidateIsNotHeardWhileItsRivalIsAlive(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(2, natted, 1, verdict.Forward)
	l.packets(1, neighbour, 2, verdict.Contested)
	l.packets(9, natted, 1, verdict.Contested) // 180 ms after the rival
	l.packets(4, natted, 1, verdict.Forward)
	l.sendsTo(natted)
}

func TestPacketThatProvesNothingIsNotHeardInAContestEither(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(1, natted, 1, verdict.Forward)
	l.packets(1, neighbour, 2, verdict.Contested)
	if v, _ := l.judge(proxy, Evidence{SSRC: 3}); v != verdict.Contested {
		t.Fatalf("%s, want contested", v)
	}
}

func TestContestEndsWithTheExactTupleOrSignalling(t *testing.T) {
	contest := func() *leg {
		l := newLeg(t, Learn)
		l.packets(1, natted, 1, verdict.Forward)
		l.packets(1, neighbour, 2, verdict.Contested)
		return l
	}
	l := contest()
	l.packets(1, signalled, 3, verdict.Forward)
	if l.s.Contested() {
		t.Error("contested though the exact tuple spoke")
	}
	l = contest()
	l.rearm(func(p *Policy) { p.Epoch++ })
	if l.s.Contested() {
		t.Error("contested though signalling decided")
	}
}

func TestPacketsInFlightDoNotWinBackAnAddressThatSignallingLeft(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Signalled = moved })
	l.packets(10, natted, 1, verdict.Forward) // still in flight from the old port: heard, and never pinned
	l.sendsTo(moved)
	l.packets(4, neighbour, 2, verdict.Forward) // the new port as it looks from outside
	l.sendsTo(neighbour)
}

func TestAddressThatSignallingLeftIsAPeerLikeAnyOtherLater(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Signalled = moved })
	l.silence(formerHold)
	l.packets(4, natted, 1, verdict.Forward)
	l.sendsTo(natted)
}

func TestResumeAfterHoldFindsThePeerWhereItWas(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Signalled = addr("0.0.0.0:4000") })
	l.rearm(func(p *Policy) { p.Signalled = signalled })
	l.packets(4, natted, 1, verdict.Forward)
	l.sendsTo(natted)
}

func TestSignallingMayGoBackToWhereThePeerIs(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Signalled = natted })
	l.packets(1, natted, 1, verdict.Forward)
	if at, _ := l.s.Pinned(); at != natted {
		t.Fatalf("pinned at %v", at)
	}
}
