package srtp

import (
	"bytes"
	"testing"

	"tandem/relay/verdict"
)

// seals seals sequence number seq and wants the verdict.
func (p *pair) seals(t testing.TB, ssrc uint32, seq uint16, want verdict.Verdict) {
	t.Helper()
	before, pkt := p.tx, rtpPacket(ssrc, seq, 20)
	plain := bytes.Clone(pkt)
	if _, v := p.seal.SealRTP(&p.tx, pkt, headerRTP); v != want {
		t.Fatalf("seal of sequence %d: %v, want %v", seq, v, want)
	}
	if want != verdict.Forward && (p.tx != before || !bytes.Equal(pkt, plain)) {
		t.Fatalf("seal of sequence %d: refused, but state or packet was touched", seq)
	}
}

func TestAnIndexIsSealedOnce(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.seals(t, testSSRC, 65_530, verdict.Forward)
		p.seals(t, testSSRC, 65_530, verdict.AlreadySealed) // the input sent a duplicate
		p.seals(t, testSSRC, 2, verdict.Forward)            // rolls over
		p.seals(t, testSSRC, 65_531, verdict.Forward)       // late, at its own index
		p.seals(t, testSSRC, 65_531, verdict.AlreadySealed)
		p.seals(t, testSSRC, 65_530, verdict.AlreadySealed)
		p.seals(t, testSSRC, 2, verdict.AlreadySealed)
		p.seals(t, testSSRC, 60_000, verdict.TooOld) // the input jumped back
		p.seals(t, testSSRC, 32_771, verdict.TooOld) // more than half ahead is behind
		p.seals(t, testSSRC, 32_769, verdict.Forward)
		p.seals(t, testSSRC, 2, verdict.TooOld)
	})
}

func TestNothingIsSealedBeforeTheFirstRolloverPeriod(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.seals(t, testSSRC, 3, verdict.Forward)
		p.seals(t, testSSRC, 65_535, verdict.TooOld)
		p.seals(t, testSSRC, 0, verdict.Forward)
	})
}

func TestWhatIsSealedOpensAcrossRolloverInAnyOrderWithinTheWindow(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for block := range 20 { // blocks of eight, backwards
			for i := 7; i >= 0; i-- {
				seq := 65_500 + 8*block + i
				pkt := p.sealed(t, testSSRC, uint16(seq))
				n, at, v := p.open.OpenRTP(&p.rx, pkt, headerRTP)
				if v != verdict.Forward || at != uint64(seq) || !bytes.Equal(pkt[:n], rtpPacket(testSSRC, uint16(seq), 20)) {
					t.Fatalf("sequence %d: %v at %#x", seq, v, at)
				}
			}
		}
	})
}

func TestSealingStaysInItsBuffer(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		const hdr = headerRTP + 8
		slab := bytes.Repeat([]byte{0xee}, 400)
		pkt := slab[100:300]
		copy(pkt, rtpPacket(testSSRC, 1, 188))
		header := bytes.Clone(pkt[:hdr])
		n, v := p.seal.SealRTP(&p.tx, pkt, hdr)
		if v != verdict.Forward || n != 200+p.overhead {
			t.Fatalf("%v, %d bytes", v, n)
		}
		if !bytes.Equal(slab[100:100+hdr], header) {
			t.Error("the header changed")
		}
		untouched := bytes.Repeat([]byte{0xee}, 400)
		if !bytes.Equal(slab[:100], untouched[:100]) || !bytes.Equal(slab[100+n:], untouched[100+n:]) {
			t.Error("bytes around the packet changed")
		}
		if bytes.Equal(slab[100+hdr:300], rtpPacket(testSSRC, 1, 188)[hdr:]) {
			t.Error("the payload was not encrypted")
		}
	})
}

func TestTooLittleCapacityIsAVerdictAndNoPanic(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		pkt := rtpPacket(testSSRC, 1, g711)
		for room := range p.overhead {
			if _, v := p.seal.SealRTP(&p.tx, pkt[:len(pkt):len(pkt)+room], headerRTP); v != verdict.TooLong {
				t.Fatalf("RTP with %d bytes behind it: %v", room, v)
			}
		}
		rtcp := rtcpPacket(testSSRC)
		for room := range p.keys.suite.TagRTCP() + wordRTCP + int(p.keys.mkiLen) {
			if _, v := p.seal.SealRTCP(&p.tx, rtcp[:len(rtcp):len(rtcp)+room]); v != verdict.TooLong {
				t.Fatalf("RTCP with %d bytes behind it: %v", room, v)
			}
		}
		if p.tx != (txState{}) {
			t.Error("a refused packet spent an index")
		}
		if _, v := p.seal.SealRTP(&p.tx, make([]byte, maxPacket, 2*maxPacket), headerRTP); v != verdict.TooLong {
			t.Errorf("a packet that would exceed %d bytes: %v", maxPacket, v)
		}
	})
}

func TestSealRefusesMalformedPackets(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		pkt := rtpPacket(testSSRC, 1, 20)
		for n := range headerRTP {
			if _, v := p.seal.SealRTP(&p.tx, pkt[:n], headerRTP); v != verdict.TooShort {
				t.Errorf("RTP of %d bytes: %v", n, v)
			}
		}
		for _, hdr := range []int{-1, 0, 11, len(pkt) + 1} {
			if _, v := p.seal.SealRTP(&p.tx, pkt, hdr); v != verdict.BadHeader {
				t.Errorf("header of %d: %v", hdr, v)
			}
		}
		for n := range headerRTCP {
			if _, v := p.seal.SealRTCP(&p.tx, pkt[:n]); v != verdict.TooShort {
				t.Errorf("RTCP of %d bytes: %v", n, v)
			}
		}
		if p.tx != (txState{}) {
			t.Error("a refused packet spent an index")
		}
	})
}

func TestASeventeenthSSRCIsNotSealed(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(MaxSSRC) {
			if !p.tx.both().Room(ssrc) {
				t.Fatalf("no room for SSRC %d", ssrc)
			}
			p.seals(t, ssrc, 1, verdict.Forward)
		}
		if p.tx.both().Room(MaxSSRC) || !p.tx.both().Room(0) {
			t.Error("Room is wrong about a full table")
		}
		p.seals(t, MaxSSRC, 1, verdict.SealFull)
		if _, v := p.seal.SealRTCP(&p.tx, rtcpPacket(MaxSSRC)); v != verdict.SealFull {
			t.Errorf("RTCP: %v", v)
		}
		p.seals(t, 0, 1, verdict.AlreadySealed) // nobody was evicted
	})
}

func TestNextIsWhereARestartedInputContinues(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		if _, known := p.tx.both().Next(testSSRC); known {
			t.Error("known before anything was sealed")
		}
		p.sealedRTCP(t, testSSRC)
		if _, known := p.tx.both().Next(testSSRC); known {
			t.Error("RTCP alone made it known")
		}
		p.seals(t, testSSRC, 65_535, verdict.Forward)
		if seq, known := p.tx.both().Next(testSSRC); seq != 0 || !known {
			t.Errorf("after 65535: %d, %v", seq, known)
		}
		p.seals(t, testSSRC, 65_530, verdict.Forward)
		if seq, _ := p.tx.both().Next(testSSRC); seq != 0 {
			t.Errorf("a late packet moved it to %d", seq)
		}
		if seq, known := p.tx.both().Next(testSSRC + 1); known {
			t.Errorf("a stranger is known at %d", seq)
		}
	})
}

func TestANewKeyStartsAtRolloverZeroOrCarriesOn(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.seals(t, testSSRC, 65_535, verdict.Forward)
		p.seals(t, testSSRC, 0, verdict.Forward)
		p.sealedRTCP(t, testSSRC)

		k := mustKeys(t, p.keys.suite, 2, p.keys.mki[:p.keys.mkiLen], false)
		reset, carried := p.way.pair(k), p.way.pair(k)
		reset.opens(t, reset.sealed(t, testSSRC, 1), verdict.Forward, 1)

		carried.tx = p.tx
		carried.tx.both().Rekey(true)
		if seq, known := carried.tx.both().Next(testSSRC); seq != 1 || !known {
			t.Errorf("next is %d, %v", seq, known)
		}
		carried.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(1, 1)}})
		carried.rx.both().Rekey()
		carried.opens(t, carried.sealed(t, testSSRC, 1), verdict.Forward, index(1, 1))
		rtcp := carried.sealedRTCP(t, testSSRC)
		if l := carried.seal.rtcp.layoutRTCP(28); rtcp[l.word+3] != 1 {
			t.Errorf("SRTCP index is %x, must continue at 1 (RFC 3711 section 3.4)", rtcp[l.word:l.word+4])
		}
	})
}

func TestCarriedSSRCsNeverFillTheTable(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(3 * MaxSSRC) {
			p.seals(t, ssrc, 1, verdict.Forward)
			p.tx.both().Rekey(true)
		}
		for ssrc := range uint32(MaxSSRC) {
			p.seals(t, 1000+ssrc, 1, verdict.Forward)
		}
		p.seals(t, 2000, 1, verdict.SealFull)
	})
}

func TestSealingStopsAtTheEndOfAKeysLife(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.tx = sentOf(txSource{ssrc: testSSRC, rtp: window{next: lifeRTP - 1}, rtcp: lifeRTCP - 1})
		p.seals(t, testSSRC, 65_535, verdict.Forward)
		p.seals(t, testSSRC, 0, verdict.KeyExpired) // the rollover counter must not come round
		p.sealedRTCP(t, testSSRC)
		if _, v := p.seal.SealRTCP(&p.tx, rtcpPacket(testSSRC)); v != verdict.KeyExpired {
			t.Errorf("SRTCP index beyond 2^31: %v", v)
		}
		p.tx = txState{now: TXNow{sealed: lifeRTP, sealedRTCP: lifeRTCP}}
		p.seals(t, testSSRC, 1, verdict.KeyExpired)
		if _, v := p.seal.SealRTCP(&p.tx, rtcpPacket(testSSRC)); v != verdict.KeyExpired {
			t.Errorf("2^31 SRTCP packets: %v", v)
		}
	})
}
