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
		seal := func(tx txState, pkt []byte, hdr int) func() verdict.Verdict {
			return func() verdict.Verdict { p.tx = tx; _, v := p.seal.SealRTP(&p.tx, pkt, hdr); return v }
		}
		sealRTCP := func(tx txState, pkt []byte) func() verdict.Verdict {
			return func() verdict.Verdict { p.tx = tx; _, v := p.seal.SealRTCP(&p.tx, pkt); return v }
		}
		var full txState
		for slot := range MaxSSRC {
			full.both().put(slot, &txSource{marks: spoke})
		}
		full.now.n = MaxSSRC
		one := func(s txSource) txState { return sentOf(s) }
		for _, c := range []struct {
			name string
			want verdict.Verdict
			step func() verdict.Verdict
		}{
			{"RTP", verdict.Forward, seal(txState{}, buf, headerRTP)},
			{"RTP too short", verdict.TooShort, seal(txState{}, buf[:11], headerRTP)},
			{"RTP header", verdict.BadHeader, seal(txState{}, buf, 1000)},
			{"RTP without room", verdict.TooLong, seal(txState{}, buf[:len(buf):len(buf)], headerRTP)},
			{"RTP table full", verdict.SealFull, seal(full, buf, headerRTP)},
			{"RTP duplicate", verdict.AlreadySealed, seal(one(txSource{ssrc: testSSRC, rtp: window{next: 1, used: [2]uint64{1}}}), buf, headerRTP)},
			{"RTP too old", verdict.TooOld, seal(one(txSource{ssrc: testSSRC, rtp: window{next: 1000}}), buf, headerRTP)},
			{"RTP expired", verdict.KeyExpired, seal(txState{now: TXNow{sealed: lifeRTP}}, buf, headerRTP)},
			{"RTCP", verdict.Forward, sealRTCP(txState{}, rtcp)},
			{"RTCP too short", verdict.TooShort, sealRTCP(txState{}, rtcp[:7])},
			{"RTCP without room", verdict.TooLong, sealRTCP(txState{}, rtcp[:28:28])},
			{"RTCP table full", verdict.SealFull, sealRTCP(full, rtcp)},
			{"RTCP expired", verdict.KeyExpired, sealRTCP(txState{now: TXNow{sealedRTCP: lifeRTCP}}, rtcp)},
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
		p.tx = txState{}
		good, rtcp := p.sealed(t, testSSRC, 0), p.sealedRTCP(t, testSSRC)
		clear := p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], true))
		buf := make([]byte, 0, maxPacket+1)
		open := func(rx rxState, pkt []byte, hdr int) func() verdict.Verdict {
			return func() verdict.Verdict {
				p.rx = rx
				_, _, v := p.open.OpenRTP(&p.rx, append(buf, pkt...), hdr)
				return v
			}
		}
		openRTCP := func(rx rxState, pkt []byte) func() verdict.Verdict {
			return func() verdict.Verdict { p.rx = rx; _, v := p.open.OpenRTCP(&p.rx, append(buf, pkt...)); return v }
		}
		forged := func(pkt []byte) []byte { pkt = clone(pkt); pkt[10] ^= 1; return pkt }
		var full rxState
		for slot := range MaxSSRC {
			full.both().put(slot, &rxSource{marks: spoke})
		}
		full.now.n = MaxSSRC
		one := func(s rxSource) rxState { s.ssrc = testSSRC; return heardOf(s) }
		type test struct {
			name string
			want verdict.Verdict
			step func() verdict.Verdict
		}
		tests := []test{
			{"RTP", verdict.Forward, open(rxState{}, good, headerRTP)},
			{"RTP after a re-key", verdict.Forward, open(one(rxSource{roc: 5, marks: retry}), good, headerRTP)},
			{"RTP long", verdict.Forward, open(rxState{}, long, headerRTP)},
			{"RTP too short", verdict.TooShort, open(rxState{}, good[:11], headerRTP)},
			{"RTP header", verdict.BadHeader, open(rxState{}, good, 1000)},
			{"RTP without a tag", verdict.TooShort, open(rxState{}, good[:13], headerRTP)},
			{"RTP too long", verdict.TooLong, open(rxState{}, make([]byte, maxPacket+1), headerRTP)},
			{"RTP table full", verdict.SSRCFull, open(full, good, headerRTP)},
			{"RTP forged SSRC", verdict.BadTag, open(rxState{}, forged(good), headerRTP)},
			{"RTP forged, long", verdict.BadTag, open(rxState{}, forged(long), headerRTP)},
			{"RTP of no candidate", verdict.BadTag, open(one(rxSource{roc: 5, marks: retry}), p.sealedAt(testSSRC, 3, 0), headerRTP)},
			{"RTP replayed", verdict.Replayed, open(one(rxSource{rtp: window{next: 1, used: [2]uint64{1}}}), good, headerRTP)},
			{"RTP too old", verdict.TooOld, open(one(rxSource{rtp: window{next: 1000}}), good, headerRTP)},
			{"RTP expired", verdict.KeyExpired, open(rxState{now: RXNow{opened: lifeRTP}}, good, headerRTP)},
			{"RTCP", verdict.Forward, openRTCP(rxState{}, rtcp)},
			{"RTCP too short", verdict.TooShort, openRTCP(rxState{}, rtcp[:7])},
			{"RTCP without a trailer", verdict.TooShort, openRTCP(rxState{}, rtcp[:12])},
			{"RTCP too long", verdict.TooLong, openRTCP(rxState{}, make([]byte, maxPacket+1))},
			{"RTCP unencrypted", verdict.Unencrypted, openRTCP(rxState{}, clear.sealedRTCP(t, testSSRC))},
			{"RTCP table full", verdict.SSRCFull, openRTCP(full, rtcp)},
			{"RTCP forged", verdict.BadTag, openRTCP(rxState{}, forged(rtcp))},
			{"RTCP replayed", verdict.Replayed, openRTCP(one(rxSource{rtcp: window{next: 1, used: [2]uint64{1}}}), rtcp)},
			{"RTCP too old", verdict.TooOld, openRTCP(one(rxSource{rtcp: window{next: 1000}}), rtcp)},
			{"RTCP expired", verdict.KeyExpired, openRTCP(rxState{now: RXNow{openedRTCP: lifeRTCP}}, rtcp)},
		}
		if p.keys.mkiLen > 0 {
			other := p.way.pair(mustKeys(t, p.keys.suite, 1, []byte{9, 9, 9, 9}, false))
			tests = append(tests,
				test{"RTP MKI", verdict.BadMKI, open(rxState{}, other.sealed(t, testSSRC, 0), headerRTP)},
				test{"RTCP MKI", verdict.BadMKI, openRTCP(rxState{}, other.sealedRTCP(t, testSSRC))})
		}
		for _, c := range tests {
			freeOfAllocation(t, c.name, c.want, c.step)
		}
	})
}

func TestUnencryptedRTCPAllocatesNothing(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p = p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], true))
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
	var rx, newRX rxState
	var tx, newTX txState
	rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: 5}, marks: spoke})
	tx = sentOf(txSource{ssrc: testSSRC, rtp: window{next: 5}, marks: spoke})
	freeOfAllocation(t, "re-key", verdict.Forward, func() verdict.Verdict {
		newRX.both().Copy(rx.both())
		newRX.both().Rekey()
		newRX.both().Retry()
		newTX = tx
		newTX.both().Rekey(true)
		if seq, known := newTX.both().Next(testSSRC); seq != 5 || !known || !newTX.both().Room(1) || newTX.both().Expiring() || newRX.both().Expiring() {
			return verdict.BadTag
		}
		return verdict.Forward
	})
}
