package srtp

import (
	"testing"

	"tandem/relay/verdict"
)

// freeOfAllocation wants the verdict of step and no allocation in it.
func freeOfAllocation(t *testing.T, name string, want verdict.Verdict, step func() verdict.Verdict) {
	t.Helper()
	var v verdict.Verdict
	if n := testing.AllocsPerRun(20, func() { v = step() }); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
	if v != want {
		t.Errorf("%s: %v, want %v", name, v, want)
	}
}

func TestSealingAllocatesNothing(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		buf, rtcp := rtpPacket(testSSRC, 0, g711), rtcpPacket(testSSRC)
		seal := func(tx TX, pkt []byte, hdr int) func() verdict.Verdict {
			return func() verdict.Verdict { fresh := tx; _, v := p.seal.SealRTP(&fresh, pkt, hdr); return v }
		}
		sealRTCP := func(tx TX, pkt []byte) func() verdict.Verdict {
			return func() verdict.Verdict { fresh := tx; _, v := p.seal.SealRTCP(&fresh, pkt); return v }
		}
		var full TX
		for full.n < MaxSSRC {
			full.sources[full.n].spoke = true
			full.n++
		}
		one := func(s txSource) TX { return TX{n: 1, sources: [MaxSSRC]txSource{s}} }
		for _, c := range []struct {
			name string
			want verdict.Verdict
			step func() verdict.Verdict
		}{
			{"RTP", verdict.Forward, seal(TX{}, buf, headerRTP)},
			{"RTP too short", verdict.TooShort, seal(TX{}, buf[:11], headerRTP)},
			{"RTP header", verdict.BadHeader, seal(TX{}, buf, 1000)},
			{"RTP without room", verdict.TooLong, seal(TX{}, buf[:len(buf):len(buf)], headerRTP)},
			{"RTP table full", verdict.SealFull, seal(full, buf, headerRTP)},
			{"RTP duplicate", verdict.AlreadySealed, seal(one(txSource{ssrc: testSSRC, rtp: window{next: 1, used: [2]uint64{1}}}), buf, headerRTP)},
			{"RTP too old", verdict.TooOld, seal(one(txSource{ssrc: testSSRC, rtp: window{next: 1000}}), buf, headerRTP)},
			{"RTP expired", verdict.KeyExpired, seal(TX{sealed: lifeRTP}, buf, headerRTP)},
			{"RTCP", verdict.Forward, sealRTCP(TX{}, rtcp)},
			{"RTCP too short", verdict.TooShort, sealRTCP(TX{}, rtcp[:7])},
			{"RTCP without room", verdict.TooLong, sealRTCP(TX{}, rtcp[:28:28])},
			{"RTCP table full", verdict.SealFull, sealRTCP(full, rtcp)},
			{"RTCP expired", verdict.KeyExpired, sealRTCP(TX{sealedRTCP: lifeRTCP}, rtcp)},
		} {
			freeOfAllocation(t, c.name, c.want, c.step)
		}
	})
}

func TestOpeningAllocatesNothing(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		long := rtpPacket(testSSRC, 5, 1000)
		n, _ := p.seal.SealRTP(&p.tx, long, headerRTP)
		long = long[:n]
		p.tx = TX{}
		good, rtcp := p.sealed(t, testSSRC, 0), p.sealedRTCP(t, testSSRC)
		clear := pairFrom(t, mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], true))
		buf := make([]byte, 0, maxPacket+1)
		open := func(rx RX, pkt []byte, hdr int) func() verdict.Verdict {
			return func() verdict.Verdict {
				fresh := rx
				_, _, v := p.open.OpenRTP(&fresh, append(buf, pkt...), hdr)
				return v
			}
		}
		openRTCP := func(rx RX, pkt []byte) func() verdict.Verdict {
			return func() verdict.Verdict { fresh := rx; _, v := p.open.OpenRTCP(&fresh, append(buf, pkt...)); return v }
		}
		forged := func(pkt []byte) []byte { pkt = clone(pkt); pkt[10] ^= 1; return pkt }
		var full RX
		for full.n < MaxSSRC {
			full.sources[full.n].spoke = true
			full.n++
		}
		one := func(s rxSource) RX { s.ssrc = testSSRC; return RX{n: 1, sources: [MaxSSRC]rxSource{s}} }
		type test struct {
			name string
			want verdict.Verdict
			step func() verdict.Verdict
		}
		tests := []test{
			{"RTP", verdict.Forward, open(RX{}, good, headerRTP)},
			{"RTP after a re-key", verdict.Forward, open(one(rxSource{roc: 5, retry: true}), good, headerRTP)},
			{"RTP long", verdict.Forward, open(RX{}, long, headerRTP)},
			{"RTP too short", verdict.TooShort, open(RX{}, good[:11], headerRTP)},
			{"RTP header", verdict.BadHeader, open(RX{}, good, 1000)},
			{"RTP without a tag", verdict.TooShort, open(RX{}, good[:13], headerRTP)},
			{"RTP too long", verdict.TooLong, open(RX{}, make([]byte, maxPacket+1), headerRTP)},
			{"RTP table full", verdict.SSRCFull, open(full, good, headerRTP)},
			{"RTP forged SSRC", verdict.BadTag, open(RX{}, forged(good), headerRTP)},
			{"RTP forged, long", verdict.BadTag, open(RX{}, forged(long), headerRTP)},
			{"RTP of no candidate", verdict.BadTag, open(one(rxSource{roc: 5, retry: true}), p.sealedAt(testSSRC, 3, 0), headerRTP)},
			{"RTP replayed", verdict.Replayed, open(one(rxSource{rtp: window{next: 1, used: [2]uint64{1}}}), good, headerRTP)},
			{"RTP too old", verdict.TooOld, open(one(rxSource{rtp: window{next: 1000}}), good, headerRTP)},
			{"RTP expired", verdict.KeyExpired, open(RX{opened: lifeRTP}, good, headerRTP)},
			{"RTCP", verdict.Forward, openRTCP(RX{}, rtcp)},
			{"RTCP too short", verdict.TooShort, openRTCP(RX{}, rtcp[:7])},
			{"RTCP without a trailer", verdict.TooShort, openRTCP(RX{}, rtcp[:12])},
			{"RTCP too long", verdict.TooLong, openRTCP(RX{}, make([]byte, maxPacket+1))},
			{"RTCP unencrypted", verdict.Unencrypted, openRTCP(RX{}, clear.sealedRTCP(t, testSSRC))},
			{"RTCP table full", verdict.SSRCFull, openRTCP(full, rtcp)},
			{"RTCP forged", verdict.BadTag, openRTCP(RX{}, forged(rtcp))},
			{"RTCP replayed", verdict.Replayed, openRTCP(one(rxSource{rtcp: window{next: 1, used: [2]uint64{1}}}), rtcp)},
			{"RTCP too old", verdict.TooOld, openRTCP(one(rxSource{rtcp: window{next: 1000}}), rtcp)},
			{"RTCP expired", verdict.KeyExpired, openRTCP(RX{openedRTCP: lifeRTCP}, rtcp)},
		}
		if p.keys.mkiLen > 0 {
			other := pairFrom(t, mustKeys(t, p.keys.suite, 1, []byte{9, 9, 9, 9}, false))
			tests = append(tests,
				test{"RTP MKI", verdict.BadMKI, open(RX{}, other.sealed(t, testSSRC, 0), headerRTP)},
				test{"RTCP MKI", verdict.BadMKI, openRTCP(RX{}, other.sealedRTCP(t, testSSRC))})
		}
		for _, c := range tests {
			freeOfAllocation(t, c.name, c.want, c.step)
		}
	})
}

func TestUnencryptedRTCPAllocatesNothing(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p = pairFrom(t, mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], true))
		rtcp := rtcpPacket(testSSRC)
		freeOfAllocation(t, "seal and open", verdict.Forward, func() verdict.Verdict {
			n, _ := p.seal.SealRTCP(&p.tx, rtcp)
			_, v := p.open.OpenRTCP(&p.rx, rtcp[:n])
			return v
		})
		forged := p.sealedRTCP(t, testSSRC)
		forged[9] ^= 1
		freeOfAllocation(t, "forged", verdict.BadTag, func() verdict.Verdict {
			_, v := p.open.OpenRTCP(&p.rx, forged)
			return v
		})
	})
}

func TestBookkeepingAllocatesNothing(t *testing.T) {
	var rx, newRX RX
	var tx, newTX TX
	rx.sources[0], rx.n = rxSource{ssrc: testSSRC, rtp: window{next: 5}, spoke: true}, 1
	tx.sources[0], tx.n = txSource{ssrc: testSSRC, rtp: window{next: 5}, spoke: true}, 1
	freeOfAllocation(t, "re-key", verdict.Forward, func() verdict.Verdict {
		newRX.Rekey(&rx)
		newRX.Retry()
		newTX.Carry(&tx)
		if seq, known := newTX.Next(testSSRC); seq != 5 || !known || !newTX.Room(1) || newTX.Expiring() || newRX.Expiring() {
			return verdict.BadTag
		}
		return verdict.Forward
	})
}
