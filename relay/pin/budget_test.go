package pin

import (
	"net/netip"
	"testing"
	"time"

	"tandem/relay/verdict"
)

// flood sends perSecond packets for some seconds from the sources in turn, and returns how many reach a tag check.
func flood(l *leg, seconds, perSecond int, source func(i int) Addr) int {
	checks := 0
	for i := range seconds * perSecond {
		l.now += int64(time.Second) / int64(perSecond)
		if l.s.Glance(l.now, &l.p, source(i), seed) == verdict.Forward {
			checks++
		}
	}
	return checks
}

func TestFloodingStrangerGetsTwentyChecksASecondHoweverManyPortsItUses(t *testing.T) {
	l := newLeg(t, Auth)
	for _, rate := range []int{50, 5000, 50000} {
		l.silence(10 * time.Second)
		checks := flood(l, 3, rate, func(i int) Addr { a := elsewhere; a.Port = uint16(1 + i%60000); return a })
		if want := strangerRate + 3*strangerRate; checks != want {
			t.Errorf("%d packets/s: %d checks in 3 s, want %d", rate, checks, want)
		}
	}
}

func TestIPv6StrangerCannotUseItsWhole64BitNetwork(t *testing.T) {
	l := newLeg(t, Auth)
	checks := flood(l, 1, 5000, func(i int) Addr { a := six; a.IP[14], a.IP[15] = byte(i>>8), byte(i); return a })
	if checks > 2*strangerRate {
		t.Fatalf("%d checks, want at most %d", checks, 2*strangerRate)
	}
}

func TestThousandsOfStrangersShareSixteenBuckets(t *testing.T) {
	l := newLeg(t, Auth)
	checks := flood(l, 2, 20000, func(i int) Addr {
		a := elsewhere
		a.IP[13], a.IP[14], a.IP[15] = byte(i>>8), byte(i), byte(i>>5)
		return a
	})
	if most := strangerBuckets * strangerRate * 3; checks > most {
		t.Errorf("%d checks in 2 s, want at most %d", checks, most)
	}
	if least := strangerBuckets * strangerRate * 2; checks < least {
		t.Errorf("%d checks in 2 s: the sources do not reach all buckets", checks)
	}
}

func TestFloodDoesNotStopThePeerFromRoaming(t *testing.T) {
	stopped := 0
	const tries = 200
	for i := range tries {
		l := newLeg(t, Auth)
		l.packets(3, signalled, 1, verdict.Forward)
		l.silence(time.Second)
		secret := uint64(i) * 0x9e3779b97f4a7c15
		for range 1000 {
			l.s.Glance(l.now, &l.p, elsewhere, secret)
		}
		if l.s.Glance(l.now, &l.p, six, secret) != verdict.Forward {
			stopped++
		}
	}
	if stopped > tries/8 { // one in sixteen shares the flooder's bucket
		t.Fatalf("the peer shared the flooder's bucket under %d of %d seeds", stopped, tries)
	}
}

func TestFloodDoesNotTouchTheSignalledTupleNorThePrefixes(t *testing.T) {
	p := policy(Auth)
	if err := p.AddPrefix(netip.MustParsePrefix("203.0.113.0/24")); err != nil {
		t.Fatal(err)
	}
	l := newLegWith(t, p)
	flood(l, 1, 5000, func(int) Addr { return natted })
	if got := flood(l, 2, 150, func(int) Addr { return signalled }); got != 300 {
		t.Errorf("%d of 300 packets of the signalled tuple were looked at", got)
	}
	if got := flood(l, 2, 150, func(int) Addr { return media }); got != 300 {
		t.Errorf("%d of 300 packets of the prefix were looked at", got)
	}
	if got, want := flood(l, 2, 5000, func(int) Addr { return signalled }), 3*knownRate; got > want {
		t.Errorf("a spoofed signalled tuple got %d checks in 2 s, want at most %d", got, want)
	}
}

func TestCandidateThatProvedItselfOnceIsNotStarvedAt50PacketsASecond(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(1, natted, 1, verdict.Forward)
	l.silence(learnWindow) // too late to be pinned, and still to be heard
	l.packets(500, natted, 1, verdict.Forward)
}

func TestPinnedSourceNeedsNoBudget(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(1, signalled, 1, verdict.Forward)
	for range 10000 {
		if v := l.s.Glance(l.now, &l.p, signalled, seed); v != verdict.Forward {
			t.Fatalf("%s, want forward", v)
		}
	}
}

func TestReArmingGivesStrangersNoNewBudget(t *testing.T) {
	l := newLeg(t, Auth)
	checks := 0
	for range 50 {
		l.rearm(func(p *Policy) { p.Epoch++ })
		checks += flood(l, 1, 1000, func(int) Addr { return elsewhere })
	}
	if want := strangerRate * 51; checks > want {
		t.Fatalf("%d checks in 50 s with 50 re-offers, want at most %d", checks, want)
	}
}

func TestClockThatStandsStillOrGoesBackFillsNoBucket(t *testing.T) {
	l := newLeg(t, Auth)
	flood(l, 1, 1000, func(int) Addr { return elsewhere })
	l.now -= int64(time.Hour)
	for range 100 {
		if v := l.s.Glance(l.now, &l.p, elsewhere, seed); v != verdict.OverBudget {
			t.Fatalf("%s, want over_budget", v)
		}
	}
}
