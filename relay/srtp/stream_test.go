package srtp

import (
	"bytes"
	"testing"

	"tandem/relay/verdict"
)

// opensTogether opens copies of the packets in one batch and wants each one's verdict.
func (p *pair) opensTogether(t *testing.T, packets [][]byte, want ...verdict.Verdict) []OpenJob {
	t.Helper()
	jobs := make([]OpenJob, len(packets))
	for i, pkt := range packets {
		jobs[i] = OpenJob{Key: &p.open.rtp, Keys: &p.keys, Received: p.rx.both(), Packet: clone(pkt), Header: headerRTP}
	}
	OpenBatch(jobs, p.open.scratch)
	for i := range jobs {
		if jobs[i].Verdict != want[i] {
			t.Fatalf("packet %d: %v, want %v", i, jobs[i].Verdict, want[i])
		}
	}
	return jobs
}

const (
	good     = verdict.Forward
	replayed = verdict.Replayed
	bad      = verdict.BadTag
	tooOld   = verdict.TooOld
)

func TestDuplicatesInABatchAreOpenedOnce(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		a, b := p.sealedAt(testSSRC, 0, 10), p.sealedAt(testSSRC, 0, 11)
		forged := clone(b)
		forged[headerRTP] ^= 1
		p.opensTogether(t, [][]byte{a, a, forged, b, a, b, forged}, good, replayed, bad, good, replayed, replayed, replayed)
		if p.rx.now.opened != 2 {
			t.Errorf("%d packets are counted", p.rx.now.opened)
		}
	})
}

func TestABatchRollsOver(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		var packets [][]byte
		var want []verdict.Verdict
		for at := 65_500; at < 65_560; at++ {
			packets, want = append(packets, p.sealedAt(testSSRC, uint32(at>>16), uint16(at))), append(want, good)
		}
		for i, j := range p.opensTogether(t, packets, want...) {
			if j.Index != uint64(65_500+i) || !j.Fresh {
				t.Errorf("packet %d: index %#x, fresh %v", i, j.Index, j.Fresh)
			}
		}
	})
}

// Each packet is within half of the sequence number space of the one before it, and not of the first: what the state before the
// batch says about it is wrong.
func TestABatchFollowsAStreamThatLosesNearlyEverything(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(3, 1)}, marks: spoke})
		packets := [][]byte{
			p.sealedAt(testSSRC, 3, 30_000), p.sealedAt(testSSRC, 3, 60_000), p.sealedAt(testSSRC, 4, 24_464), p.sealedAt(testSSRC, 3, 60_000),
			p.sealedAt(testSSRC, 4, 24_400), p.sealedAt(testSSRC, 2, 60_000),
		}
		p.opensTogether(t, packets, good, good, good, tooOld, good, tooOld)
	})
}

func TestANewKeySettlesItsRolloverCounterWithinABatch(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.rx = heardOf(rxSource{ssrc: testSSRC, rtp: window{next: index(5, 40_001)}, marks: spoke})
		p.rx.both().Rekey()
		packets := [][]byte{
			p.sealedAt(testSSRC, 7, 40_099), p.sealedAt(testSSRC, 6, 40_100), p.sealedAt(testSSRC, 6, 40_101), p.sealedAt(testSSRC, 0, 40_102),
			p.sealedAt(testSSRC, 6, 40_100),
		}
		p.opensTogether(t, packets, bad, good, good, bad, replayed)
	})
}

func TestSSRCsThatAlternateInABatchKeepTheirCounters(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		var packets [][]byte
		var want []verdict.Verdict
		for at := 65_530; at < 65_533; at++ {
			for ssrc := range uint32(MaxSSRC) {
				packets, want = append(packets, p.sealedAt(ssrc, 0, uint16(at))), append(want, good)
			}
		}
		packets, want = append(packets, p.sealedAt(MaxSSRC, 0, 1)), append(want, verdict.SSRCFull)
		for ssrc := range uint32(MaxSSRC) {
			packets, want = append(packets, p.sealedAt(ssrc, 1, 1)), append(want, good)
		}
		p.opensTogether(t, packets, want...)
		for ssrc := range uint32(MaxSSRC) {
			if got, known := p.rx.both().Highest(ssrc); got != index(1, 1) || !known {
				t.Errorf("SSRC %d is at %#x", ssrc, got)
			}
		}
	})
}

func TestAnIndexIsSealedOnceInABatch(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		var jobs []SealJob
		seqs := []uint16{65_535, 65_535, 0, 65_534, 0, 40_000}
		for _, seq := range seqs {
			jobs = append(jobs, SealJob{Key: &p.seal.rtp, Keys: &p.keys, Sent: p.tx.both(), Packet: rtpPacket(testSSRC, seq, 20), Header: headerRTP})
		}
		SealBatch(jobs, p.seal.scratch)
		spent := verdict.AlreadySealed
		for i, want := range []verdict.Verdict{good, spent, good, good, spent, tooOld} {
			if jobs[i].Verdict != want {
				t.Errorf("packet %d: %v, want %v", i, jobs[i].Verdict, want)
			}
			if want != good && (jobs[i].N != 0 || !bytes.Equal(jobs[i].Packet, rtpPacket(testSSRC, seqs[i], 20))) {
				t.Errorf("packet %d was refused, and touched", i)
			}
		}
	})
}

func TestFreshIsWhatIsNewerThanAllBefore(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		const other = testSSRC + 1
		packets := [][]byte{
			p.sealedAt(testSSRC, 0, 65_500), p.sealedAt(testSSRC, 0, 65_498), p.sealedAt(testSSRC, 1, 20), p.sealedAt(testSSRC, 0, 65_535),
			p.sealedAt(other, 0, 5), p.sealedAt(other, 0, 4), p.sealedAt(testSSRC, 1, 21), p.sealedAt(testSSRC, 1, 21),
		}
		jobs := p.opensTogether(t, packets, good, good, good, good, good, good, good, replayed)
		for i, want := range []bool{true, false, true, false, true, false, true, false} {
			if jobs[i].Fresh != want {
				t.Errorf("packet %d: fresh %v", i, jobs[i].Fresh)
			}
		}
	})
}

func TestACopyKnowsWhatTheOriginalKnew(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		for ssrc := range uint32(MaxSSRC) {
			p.opens(t, p.sealedAt(ssrc, 0, 9), verdict.Forward, 9)
		}
		p.rx.both().Retry()
		original, copied := p.rx, heardOf(rxSource{ssrc: 1}, rxSource{ssrc: 2}, rxSource{ssrc: 3})
		if copied.both().Copy(p.rx.both()); copied != original || p.rx != original {
			t.Error("the copy differs")
		}
		if copied.both().Copy(copied.both()); copied != original {
			t.Error("a copy of itself differs")
		}
		if copied.both().Clear(); copied != (rxState{}) {
			t.Error("something is left")
		}
	})
}

// A leg that has one SSRC, and RTCP of the same, leaves the rest of its state alone: memory that is never touched costs nothing.
func TestOneSSRCNeverTouchesTheRest(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.tx.rest.sources[3].ssrc, p.rx.rest.sources[3].ssrc = 77, 77 // whoever clears it is caught
		before, heard := p.tx.rest, p.rx.rest
		for at := uint64(65_530); at < 65_541; at++ {
			p.opens(t, p.sealed(t, testSSRC, uint16(at)), verdict.Forward, at)
		}
		if _, v := p.open.OpenRTCP(&p.rx, p.sealedRTCP(t, testSSRC)); v != verdict.Forward {
			t.Fatal(v)
		}
		p.tx.both().Rekey(true)
		other := heardOf(rxSource{ssrc: 1})
		p.rx.both().Copy(other.both())
		if p.tx.rest != before || p.rx.rest != heard {
			t.Error("the rest was touched")
		}
	})
}
