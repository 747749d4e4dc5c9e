package srtp

import (
	"bytes"
	"encoding/binary"
	"testing"

	"tandem/relay/verdict"
)

func TestForgedRTPChangesNeitherStateNorPacket(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.opens(t, p.sealed(t, testSSRC, 100), verdict.Forward, 100)
		good := p.sealed(t, testSSRC, 101)
		before := p.rx
		for at := range good {
			for _, bit := range []byte{0x01, 0x80} {
				forged := clone(good)
				forged[at] ^= bit
				sent := bytes.Clone(forged)
				n, _, v := p.open.OpenRTP(&p.rx, forged, headerRTP)
				if v == verdict.Forward || n != 0 {
					t.Fatalf("byte %d bit %#x changed: %v, %d bytes", at, bit, v, n)
				}
				if p.rx != before {
					t.Fatalf("byte %d changed: the state moved", at)
				}
				if !bytes.Equal(forged, sent) {
					t.Fatalf("byte %d changed: the packet was touched", at)
				}
			}
		}
		p.opens(t, good, verdict.Forward, 101)
	})
}

func TestForgedRTCPChangesNeitherStateNorPacket(t *testing.T) {
	for _, unencrypted := range []bool{false, true} {
		everySuite(t, func(t *testing.T, p *pair) {
			p = p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], unencrypted))
			good := p.sealedRTCP(t, testSSRC)
			before := p.rx
			for at := range good {
				forged := clone(good)
				forged[at] ^= 0x80
				sent := bytes.Clone(forged)
				if n, v := p.open.OpenRTCP(&p.rx, forged); v == verdict.Forward || n != 0 {
					t.Fatalf("byte %d changed: %v, %d bytes", at, v, n)
				}
				if p.rx != before || !bytes.Equal(forged, sent) {
					t.Fatalf("byte %d changed: state or packet was touched", at)
				}
			}
			if _, v := p.open.OpenRTCP(&p.rx, clone(good)); v != verdict.Forward {
				t.Fatalf("the genuine packet: %v", v)
			}
		})
	}
}

func TestLongForgedPacketIsLeftAsItCame(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for _, payload := range []int{240, 241, 1400} {
			pkt := rtpPacket(testSSRC, 1, payload)
			n, _ := p.seal.SealRTP(&txState{}, pkt, headerRTP)
			pkt = pkt[:n]
			pkt[20] ^= 1
			sent := bytes.Clone(pkt)
			if _, _, v := p.open.OpenRTP(&p.rx, pkt, headerRTP); v != verdict.BadTag || !bytes.Equal(pkt, sent) {
				t.Fatalf("payload of %d: %v, or the packet was touched", payload, v)
			}
		}
	})
}

func TestReplayedRTPIsDropped(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		first := p.sealed(t, testSSRC, 65_500)
		p.opens(t, first, verdict.Forward, 65_500)
		p.opens(t, first, verdict.Replayed, 0)
		for seq := 65_501; seq < 65_500+windowSize; seq++ { // rolls over
			p.opens(t, p.sealed(t, testSSRC, uint16(seq)), verdict.Forward, uint64(seq))
		}
		p.opens(t, first, verdict.Replayed, 0)
		p.opens(t, p.sealed(t, testSSRC, 92), verdict.Forward, index(1, 92))
		before := p.rx
		p.opens(t, first, verdict.TooOld, 0)
		if p.rx != before {
			t.Error("a packet left of the window moved the state")
		}
	})
}

func TestReplayedRTCPIsDropped(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		var sent [][]byte
		for range windowSize + 1 {
			sent = append(sent, p.sealedRTCP(t, testSSRC))
		}
		opens := func(i int, want verdict.Verdict) {
			t.Helper()
			if _, v := p.open.OpenRTCP(&p.rx, clone(sent[i])); v != want {
				t.Fatalf("index %d: %v, want %v", i, v, want)
			}
		}
		opens(1, verdict.Forward)
		opens(0, verdict.Forward) // late, but new
		opens(1, verdict.Replayed)
		opens(windowSize, verdict.Forward)
		opens(1, verdict.Replayed)
		opens(0, verdict.TooOld)
	})
}

func TestReorderedPacketsAcrossARolloverAreAcceptedOnce(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		order := []uint16{65_533, 65_535, 1, 65_534, 0, 3, 2}
		at := map[uint16]uint64{65_533: 65_533, 65_535: 65_535, 65_534: 65_534, 0: 65_536, 1: 65_537, 2: 65_538, 3: 65_539}
		for _, seq := range order {
			p.opens(t, p.sealedAt(testSSRC, uint32(at[seq]>>16), seq), verdict.Forward, at[seq])
		}
		for _, seq := range order {
			p.opens(t, p.sealedAt(testSSRC, uint32(at[seq]>>16), seq), verdict.Replayed, 0)
		}
	})
}

func TestRTPAndRTCPHaveWindowsOfTheirOwn(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		rtp, rtcp := p.sealed(t, testSSRC, 0), p.sealedRTCP(t, testSSRC) // index 0 both
		p.opens(t, rtp, verdict.Forward, 0)
		if _, v := p.open.OpenRTCP(&p.rx, clone(rtcp)); v != verdict.Forward {
			t.Fatalf("SRTCP index 0 after SRTP index 0: %v", v)
		}
		if p.rx.now.n != 1 {
			t.Errorf("one SSRC takes %d places", p.rx.now.n)
		}
	})
}

func TestEveryLengthAndHeaderIsRefusedOrOpenedWithoutPanic(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		good := p.sealed(t, testSSRC, 1)
		for n := range len(good) + 1 {
			for hdr := -1; hdr <= len(good)+1; hdr++ {
				genuine := n == len(good) && hdr == headerRTP
				_, _, v := p.open.OpenRTP(&p.rx, clone(good[:n]), hdr)
				if (v == verdict.Forward) != genuine {
					t.Fatalf("%d of %d bytes, header of %d: %v", n, len(good), hdr, v)
				}
				switch {
				case n < headerRTP && v != verdict.TooShort,
					n >= headerRTP && (hdr < headerRTP || hdr > n) && v != verdict.BadHeader,
					n >= headerRTP && hdr >= headerRTP && hdr <= n && n < hdr+p.overhead && v != verdict.TooShort:
					t.Fatalf("%d of %d bytes, header of %d: %v", n, len(good), hdr, v)
				}
			}
		}
		goodRTCP := p.sealedRTCP(t, testSSRC)
		for n := range len(goodRTCP) {
			_, v := p.open.OpenRTCP(&p.rx, clone(goodRTCP[:n]))
			if tooShort := n < headerRTCP+p.open.rtcp.trailerRTCP(); v == verdict.Forward || tooShort != (v == verdict.TooShort) {
				t.Fatalf("%d of %d bytes of RTCP: %v", n, len(goodRTCP), v)
			}
		}
		long := make([]byte, maxPacket+1)
		if _, _, v := p.open.OpenRTP(&p.rx, long, headerRTP); v != verdict.TooLong {
			t.Errorf("%d bytes of RTP: %v", len(long), v)
		}
		if _, v := p.open.OpenRTCP(&p.rx, long); v != verdict.TooLong {
			t.Errorf("%d bytes of RTCP: %v", len(long), v)
		}
	})
}

func TestThePayloadMayBeEmpty(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		pkt := rtpPacket(testSSRC, 7, 0)
		n, v := p.seal.SealRTP(&p.tx, pkt, headerRTP)
		if v != verdict.Forward {
			t.Fatal(v)
		}
		if n, _, v = p.open.OpenRTP(&p.rx, pkt[:n], headerRTP); v != verdict.Forward || n != headerRTP {
			t.Fatalf("%v, %d bytes", v, n)
		}
	})
}

func TestAnotherMKIIsRefused(t *testing.T) {
	for _, s := range Suites() {
		t.Run(s.String(), func(t *testing.T) {
			p := newPair(t, s, []byte{1, 2, 3, 4}, false)
			other := newPair(t, s, []byte{1, 2, 3, 5}, false)
			before := p.rx
			if _, _, v := p.open.OpenRTP(&p.rx, other.sealed(t, testSSRC, 1), headerRTP); v != verdict.BadMKI {
				t.Errorf("RTP: %v", v)
			}
			if _, v := p.open.OpenRTCP(&p.rx, other.sealedRTCP(t, testSSRC)); v != verdict.BadMKI {
				t.Errorf("RTCP: %v", v)
			}
			if p.rx != before {
				t.Error("the state moved")
			}
		})
	}
}

func TestUnencryptedRTCPIsRefusedUnlessNegotiated(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		clear := p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], true))
		plain := rtcpPacket(testSSRC)
		pkt := clear.sealedRTCP(t, testSSRC)
		if !bytes.Equal(pkt[:len(plain)], plain) {
			t.Error("UNENCRYPTED_SRTCP was encrypted")
		}
		before := p.rx
		if _, v := p.open.OpenRTCP(&p.rx, clone(pkt)); v != verdict.Unencrypted || p.rx != before {
			t.Errorf("without the parameter: %v, or the state moved", v)
		}
		if n, v := clear.open.OpenRTCP(&clear.rx, clone(pkt)); v != verdict.Forward || n != len(plain) {
			t.Errorf("with the parameter: %v", v)
		}
		// The E bit says what this packet is, so an encrypted one is welcome all the same.
		if _, v := clear.open.OpenRTCP(&clear.rx, p.sealedRTCP(t, testSSRC+1)); v != verdict.Forward {
			t.Errorf("an encrypted one: %v", v)
		}
	})
}

func TestSeventeenthSSRCIsRefusedAndNobodyIsEvicted(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(MaxSSRC) {
			p.opens(t, p.sealedAt(ssrc, 0, 65_535), verdict.Forward, 65_535)
			p.opens(t, p.sealedAt(ssrc, 1, 0), verdict.Forward, index(1, 0))
		}
		before := p.rx
		p.opens(t, p.sealedAt(MaxSSRC, 0, 1), verdict.SSRCFull, 0)
		var other txState
		rtcp := rtcpPacket(MaxSSRC)
		n, _ := p.seal.SealRTCP(&other, rtcp)
		if _, v := p.open.OpenRTCP(&p.rx, rtcp[:n]); v != verdict.SSRCFull {
			t.Errorf("RTCP of the seventeenth: %v", v)
		}
		if p.rx != before {
			t.Error("a refused SSRC changed the table")
		}
		for ssrc := range uint32(MaxSSRC) {
			p.opens(t, p.sealedAt(ssrc, 1, 0), verdict.Replayed, 0) // its rollover counter is still there
			p.opens(t, p.sealedAt(ssrc, 1, 1), verdict.Forward, index(1, 1))
		}
	})
}

func TestUnprovenSSRCsTakeNoPlace(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(1000) {
			forged := p.sealedAt(ssrc, 0, 1)
			forged[len(forged)-1] ^= 1
			binary.BigEndian.PutUint32(forged[8:], ssrc)
			if _, _, v := p.open.OpenRTP(&p.rx, forged, headerRTP); v == verdict.Forward {
				t.Fatal("a forged packet was accepted")
			}
		}
		if p.rx != (rxState{}) {
			t.Error("forged packets left state behind")
		}
	})
}
