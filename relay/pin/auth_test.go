package pin

import (
	"net/netip"
	"testing"
	"time"

	"tandem/relay/verdict"
)

// proof is the evidence of a good SRTP packet.
var proof = Evidence{SSRC: 1, KnownPT: true, Authenticated: true, Fresh: true}

func TestAuthPinsTheSignalledTupleAtOnce(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(1, signalled, 1, verdict.Forward)
	if at, ok := l.s.Pinned(); !ok || at != signalled {
		t.Fatalf("pinned at %v (%t)", at, ok)
	}
}

func TestAuthPinsAnotherSourceAfterThreeFreshPackets(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(2, elsewhere, 1, verdict.Forward)
	l.sendsTo(signalled)
	l.packets(1, elsewhere, 1, verdict.Forward)
	l.sendsTo(elsewhere)
}

func TestThreePacketsOfTwoSourcesDoNotPin(t *testing.T) {
	l := newLeg(t, Auth)
	for range 10 {
		l.packets(2, elsewhere, 1, verdict.Forward)
		l.packets(1, six, 1, verdict.Forward)
	}
	l.sendsTo(signalled)
}

func TestUnauthenticatedPacketChangesNothingOfAnSRTPLeg(t *testing.T) {
	for name, prepare := range map[string]func(*leg){
		"before the pin":      func(*leg) {},
		"while learning":      func(l *leg) { l.packets(2, elsewhere, 1, verdict.Forward) },
		"pinned":              func(l *leg) { l.packets(1, signalled, 1, verdict.Forward) },
		"pinned and silent":   func(l *leg) { l.packets(1, signalled, 1, verdict.Forward); l.silence(time.Second) },
		"pinned to a roaming": func(l *leg) { l.packets(3, elsewhere, 1, verdict.Forward); l.silence(time.Second) },
	} {
		l := newLeg(t, Auth)
		prepare(l)
		for _, src := range []Addr{signalled, elsewhere, six} {
			before := l.s.memory()
			l.s.Glance(l.now, &l.p, src, seed) // the tag is checked, and fails: nothing more
			if _, v := l.s.Judge(l.now, &l.p, src, Evidence{SSRC: 1, KnownPT: true, Fresh: true}); v == verdict.Forward {
				t.Errorf("%s: an unauthenticated packet from %v was accepted", name, src)
			}
			if l.s.memory() != before {
				t.Errorf("%s: an unauthenticated packet from %v changed the state", name, src)
			}
		}
	}
}

func TestReplayFromStrangerDoesNotMovePin(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(5, signalled, 1, verdict.Forward)
	l.silence(time.Minute)
	late := proof
	late.Fresh = false // a copy of a packet that got lost on its way: the tag is good, the index is not new
	for range 20 {
		l.now += packetTime
		if v, _ := l.judge(elsewhere, late); v != verdict.Stranger {
			t.Fatalf("%s, want stranger", v)
		}
	}
	l.sendsTo(signalled)
}

func TestStolenCopyIsNotEvenCheckedWhileThePinIsAlive(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(5, signalled, 1, verdict.Forward)
	for range 100 {
		l.packets(1, elsewhere, 1, verdict.Stranger) // its first copy arrives before the original
		l.packets(1, signalled, 1, verdict.Forward)
	}
	l.sendsTo(signalled)
}

func TestRoamingPeerIsFollowedAfterThreeFreshPacketsAndSilence(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(5, signalled, 1, verdict.Forward)
	l.silence(roamSilence - 2*time.Duration(packetTime))
	l.packets(1, elsewhere, 1, verdict.Stranger) // 180 ms
	l.packets(2, elsewhere, 1, verdict.Forward)  // proved itself: heard at once
	l.sendsTo(signalled)
	l.packets(1, elsewhere, 1, verdict.Forward)
	l.sendsTo(elsewhere)
}

func TestSignalledTupleNeedsThreePacketsToTakeASilentPinBack(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(3, elsewhere, 1, verdict.Forward)
	l.silence(time.Second)
	l.packets(2, signalled, 1, verdict.Forward)
	l.sendsTo(elsewhere)
	l.packets(1, signalled, 1, verdict.Forward)
	l.sendsTo(signalled)
}

func TestLatePacketOfThePinnedSourceIsHeard(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(5, signalled, 1, verdict.Forward)
	late := proof
	late.Fresh = false
	if v, _ := l.judge(signalled, late); v != verdict.Forward {
		t.Fatalf("%s: reordering is not an attack", v)
	}
}

func TestAuthHearsOnlyItsPrefixesIfItHasSome(t *testing.T) {
	p := policy(Auth)
	if err := p.AddPrefix(netip.MustParsePrefix("203.0.113.64/26")); err != nil {
		t.Fatal(err)
	}
	l := newLegWith(t, p)
	l.packets(5, elsewhere, 1, verdict.Stranger)
	l.packets(5, proxy, 1, verdict.Stranger)
	l.packets(2, natted, 1, verdict.Forward) // SDP's own address needs no prefix
	l.packets(3, media, 1, verdict.Forward)
	l.sendsTo(media)
}

func TestAuthPacketsInFlightDoNotWinBackAnAddressThatSignallingLeft(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(3, elsewhere, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Signalled = moved })
	l.packets(10, elsewhere, 1, verdict.Forward)
	l.sendsTo(moved)
	l.packets(1, moved, 1, verdict.Forward)
	if at, _ := l.s.Pinned(); at != moved {
		t.Fatalf("pinned at %v", at)
	}
}

func TestNewKeyOfTheSameEndpointFindsItWhereItWas(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(3, elsewhere, 1, verdict.Forward)
	l.rearm(func(p *Policy) { p.Epoch++ })
	l.sendsTo(signalled)
	l.packets(3, elsewhere, 1, verdict.Forward)
	l.sendsTo(elsewhere)
}
