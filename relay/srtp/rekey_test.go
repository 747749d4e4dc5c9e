package srtp

import (
	"bytes"
	"testing"

	"tandem/relay/verdict"
)

func TestANewKeyTriesThreeRolloverCountersAndKeepsTheOneThatVerifies(t *testing.T) {
	for _, peer := range []struct {
		name    string
		roc     uint32
		refused uint32 // a counter that was a candidate until another one verified
	}{
		{"resets the counter", 0, 5},
		{"carries the counter", 5, 0},
		{"carries it and has rolled over since", 6, 0},
	} {
		t.Run(peer.name, func(t *testing.T) {
			everySuite(t, func(t *testing.T, p *pair) {
				p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(5, 40_001)}, marks: spoke})
				p.rx.both().Rekey()
				before := p.rx
				p.opens(t, p.sealedAt(testSSRC, 7, 40_100), verdict.BadTag, 0)
				if p.rx != before {
					t.Fatal("a counter that is no candidate settled the question")
				}
				p.opens(t, p.sealedAt(testSSRC, peer.roc, 40_100), verdict.Forward, index(peer.roc, 40_100))
				p.opens(t, p.sealedAt(testSSRC, peer.refused, 40_101), verdict.BadTag, 0)
				p.opens(t, p.sealedAt(testSSRC, peer.roc, 40_101), verdict.Forward, index(peer.roc, 40_101))
				p.opens(t, p.sealedAt(testSSRC, peer.roc, 40_101), verdict.Replayed, 0)
			})
		})
	}
}

func TestAnSSRCThatIsNewUnderANewKeyStartsAtRolloverZero(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(5, 1)}, marks: spoke})
		p.rx.both().Rekey()
		p.opens(t, p.sealedAt(testSSRC+1, 5, 1), verdict.BadTag, 0)
		p.opens(t, p.sealedAt(testSSRC+1, 0, 1), verdict.Forward, 1)
	})
}

func TestHintsOfFormerKeysNeverFillTheTable(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(3 * MaxSSRC) { // a peer that changes its SSRC with every key
			p.opens(t, p.sealedAt(ssrc, 0, 1), verdict.Forward, 1)
			p.rx.both().Rekey()
		}
		for ssrc := range uint32(MaxSSRC) { // sixteen that speak still have their places, and no more
			p.opens(t, p.sealedAt(1000+ssrc, 0, 1), verdict.Forward, 1)
		}
		p.opens(t, p.sealedAt(2000, 0, 1), verdict.SSRCFull, 0)
	})
}

func TestAHintSurvivesAKeyThatWasNeverUsed(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(5, 1)}, marks: spoke})
		p.rx.both().Rekey()
		p.rx.both().Rekey()
		p.opens(t, p.sealedAt(testSSRC, 5, 2), verdict.Forward, index(5, 2))
	})
}

func TestRTCPUnderANewKeyLeavesTheCandidates(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(5, 1)}, marks: spoke})
		p.rx.both().Rekey()
		if _, v := p.open.OpenRTCP(&p.rx, p.sealedRTCP(t, testSSRC)); v != verdict.Forward {
			t.Fatal(v)
		}
		p.opens(t, p.sealedAt(testSSRC, 5, 2), verdict.Forward, index(5, 2))
	})
}

func TestAnSSRCThatSentRTCPAloneHasNothingToCarry(t *testing.T) {
	rx := heardOf(rxSource{ssrc: testSSRC, rtcp: window{next: 1}, marks: spoke})
	rx.both().Rekey()
	if rx != (rxState{}) {
		t.Error("a hint was made of nothing")
	}
}

func TestPacketsUnderTheOldKeyStillOpenAfterTheNewKeyFailedOnThem(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		k := mustKeys(t, p.keys.suite, 99, p.keys.mki[:p.keys.mkiLen], false)
		next := p.way.pair(k)
		p.opens(t, p.sealed(t, testSSRC, 1), verdict.Forward, 1)
		next.rx.both().Copy(p.rx.both())
		next.rx.both().Rekey()

		inFlight, plain := p.sealed(t, testSSRC, 2), rtpPacket(testSSRC, 2, 20)
		if _, _, v := next.open.OpenRTP(&next.rx, inFlight, headerRTP); v != verdict.BadTag {
			t.Fatalf("the new key: %v", v)
		}
		n, _, v := p.open.OpenRTP(&p.rx, inFlight, headerRTP) // the same buffer
		if v != verdict.Forward || !bytes.Equal(inFlight[:n], plain) {
			t.Fatalf("the old key: %v", v)
		}
		inFlight = p.sealedRTCP(t, testSSRC)
		if _, v := next.open.OpenRTCP(&next.rx, inFlight); v != verdict.BadTag {
			t.Fatalf("the new key on RTCP: %v", v)
		}
		if _, v := p.open.OpenRTCP(&p.rx, inFlight); v != verdict.Forward {
			t.Fatalf("the old key on RTCP: %v", v)
		}
	})
}

func TestANewEndpointWithTheSameKeyMayJumpAheadButNeverReplay(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.opens(t, p.sealedAt(testSSRC, 0, 65_535), verdict.Forward, 65_535)
		heard := p.sealedAt(testSSRC, 1, 100)
		p.opens(t, heard, verdict.Forward, index(1, 100))
		jump := p.sealedAt(testSSRC, 1, 50_000) // the nearest index would be in rollover period 0
		p.opens(t, jump, verdict.TooOld, 0)

		p.rx.both().Retry()
		p.opens(t, heard, verdict.BadTag, 0)                           // Replayed at its index, and it fits no other
		p.opens(t, p.sealedAt(testSSRC, 0, 50_000), verdict.BadTag, 0) // old index: not accepted at any counter
		p.opens(t, jump, verdict.Forward, index(1, 50_000))
		p.opens(t, jump, verdict.Replayed, 0)
		p.opens(t, heard, verdict.BadTag, 0)                           // its sequence number now means a period ahead
		p.opens(t, p.sealedAt(testSSRC, 2, 50_001), verdict.BadTag, 0) // settled: candidates are gone
	})
}

func TestRetryOfAnUnusedStateChangesNothing(t *testing.T) {
	var rx rxState
	rx.both().Retry()
	if rx != (rxState{}) {
		t.Error("the zero RX changed")
	}
}

func TestRolloverIsFollowedOverLostPackets(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for _, at := range []uint64{65_500, 65_536 + 30_000, 65_536 + 62_000, 2*65_536 + 28_000, 2*65_536 + 60_768} {
			p.opens(t, p.sealedAt(testSSRC, uint32(at>>16), uint16(at)), verdict.Forward, at)
		}
	})
}

func TestAKeysLifeIsCountedInProvenPackets(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for i := range 3 {
			pkt := p.sealed(t, uint32(i), 7)
			p.opens(t, pkt, verdict.Forward, 7)
			p.opens(t, pkt, verdict.Replayed, 0)
			if _, v := p.open.OpenRTCP(&p.rx, p.sealedRTCP(t, testSSRC)); v != verdict.Forward {
				t.Fatal(v)
			}
		}
		p.sealedRTCP(t, testSSRC)
		if p.rx.now.opened != 3 || p.rx.now.openedRTCP != 3 || p.tx.now.sealed != 3 || p.tx.now.sealedRTCP != 4 {
			t.Errorf("opened %d and %d, sealed %d and %d", p.rx.now.opened, p.rx.now.openedRTCP, p.tx.now.sealed, p.tx.now.sealedRTCP)
		}
	})
}

func TestAKeyExpires(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		rtp, rtcp := p.sealed(t, testSSRC, 1), p.sealedRTCP(t, testSSRC)
		for _, full := range []struct {
			name string
			rx   rxState
			rtp  verdict.Verdict
			rtcp verdict.Verdict
		}{
			{"2^48 SRTP packets", rxState{now: RXNow{opened: lifeRTP}}, verdict.KeyExpired, verdict.Forward},
			{"2^31 SRTCP packets", rxState{now: RXNow{openedRTCP: lifeRTCP}}, verdict.Forward, verdict.KeyExpired},
		} {
			rx := full.rx
			if _, _, v := p.open.OpenRTP(&rx, clone(rtp), headerRTP); v != full.rtp {
				t.Errorf("%s, RTP: %v", full.name, v)
			}
			if _, v := p.open.OpenRTCP(&rx, clone(rtcp)); v != full.rtcp {
				t.Errorf("%s, RTCP: %v", full.name, v)
			}
		}
		// The rollover counter has 32 bits and must not come round.
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: lifeRTP - 1}, marks: spoke})
		p.opens(t, p.sealedAt(testSSRC, 1<<32-1, 65_535), verdict.Forward, lifeRTP-1)
		before := p.rx
		p.opens(t, p.sealedAt(testSSRC, 0, 0), verdict.KeyExpired, 0)
		if p.rx != before {
			t.Error("the state moved")
		}
	})
}

func TestAKeyAnnouncesItsEnd(t *testing.T) {
	one := func(s rxSource) rxState { return heardOf(s) }
	two := func(s rxSource) rxState { return heardOf(rxSource{ssrc: 1}, s) }
	for _, c := range []struct {
		name string
		rx   rxState
		want bool
	}{
		{"new", rxState{}, false},
		{"SRTP packets before", rxState{now: RXNow{opened: lifeRTP/16*15 - 1}}, false},
		{"SRTP packets", rxState{now: RXNow{opened: lifeRTP / 16 * 15}}, true},
		{"SRTCP packets before", rxState{now: RXNow{openedRTCP: lifeRTCP/16*15 - 1}}, false},
		{"SRTCP packets", rxState{now: RXNow{openedRTCP: lifeRTCP / 16 * 15}}, true},
		{"SRTP index", one(rxSource{rtp: window{next: lifeRTP / 16 * 15}}), true},
		{"SRTCP index", one(rxSource{rtcp: window{next: lifeRTCP / 16 * 15}}), true},
		{"indices before", one(rxSource{rtp: window{next: 1 << 47}, rtcp: window{next: 1 << 30}}), false},
		{"SRTP index of another SSRC", two(rxSource{rtp: window{next: lifeRTP / 16 * 15}}), true},
		{"SRTCP index of another SSRC", two(rxSource{rtcp: window{next: lifeRTCP / 16 * 15}}), true},
		{"indices of another SSRC before", two(rxSource{rtp: window{next: 1 << 47}, rtcp: window{next: 1 << 30}}), false},
	} {
		if got := c.rx.both().Expiring(); got != c.want {
			t.Errorf("receiving, %s: %v", c.name, got)
		}
		n, other := &c.rx.now, &c.rx.rest.sources[0]
		tx := txState{now: TXNow{sealed: n.opened, sealedRTCP: n.openedRTCP, n: n.n, rtp: n.rtp, rtcp: n.rtcpNext}}
		tx.rest.sources[0] = txSource{rtp: other.rtp, rtcp: other.rtcpNext}
		if got := tx.both().Expiring(); got != c.want {
			t.Errorf("sending, %s: %v", c.name, got)
		}
	}
}
