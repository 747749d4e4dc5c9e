package srtp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// script is what happens in a world, decided by bytes: random ones, or a fuzzer's.
type script []byte

// pick returns a number below n, which is at most 65,536; 0 at the end of the script.
func (s *script) pick(n int) int {
	size := 1
	if n > 256 {
		size = 2
	}
	if len(*s) < size {
		*s = nil
		return 0
	}
	x := 0
	for _, b := range (*s)[:size] {
		x = x<<8 | int(b)
	}
	*s = (*s)[size:]
	return x * n >> (8 * size)
}

// one is true once in n times.
func (s *script) one(n int) bool { return s.pick(n) == n-1 }

// world is legs whose packets arrive and leave in batches, each with a twin to whom the same happens packet by packet.
type world struct {
	t    testing.TB
	legs []*worldLeg
	fast *Scratch
	slow *Scratch // on the reference tier
}

type worldLeg struct {
	keys      Keys
	rtp, rtcp Schedule
	at        [MaxSSRC + 2]int64 // where the far sender is with each SSRC
	reports   int64              // and with its SRTCP
	rx, twin  rxState
	tx, other txState // what is sent, and its twin
}

func newWorld(t testing.TB, way way, s *script) *world {
	w := &world{t: t, fast: way.scratch(), slow: NewScratch(kernel.Generic)}
	for i := range 5 {
		suite := Suites()[s.pick(8)]
		var mki []byte
		if s.one(4) {
			mki = []byte{byte(i), 2, 3}
		}
		l := &worldLeg{keys: mustKeys(t, suite, byte(i), mki, s.one(4))}
		Derive(way.tier, &l.keys, &l.rtp, &l.rtcp)
		for ssrc := range l.at {
			l.at[ssrc] = int64(s.pick(1 << 16))
		}
		w.legs = append(w.legs, l)
	}
	return w
}

// jumps of a sequence number, often a small one.
var jumps = [...]int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0, 0, -1, -3, -130, 127, 129, 3000, 32_000}

// arriving returns a packet as the network may bring it to a leg.
func (w *world) arriving(s *script) OpenJob {
	l := w.legs[s.pick(len(w.legs))]
	ssrc := s.pick(2)
	if s.one(4) {
		ssrc = s.pick(len(l.at))
	}
	if s.one(10) {
		return w.report(s, l, uint32(ssrc))
	}
	l.at[ssrc] = max(0, l.at[ssrc]+jumps[s.pick(len(jumps))])
	if s.one(256) {
		l.at[ssrc] += 33_000 // the receiver must lose its way
	}
	pkt := rtpPacket(uint32(ssrc), uint16(l.at[ssrc]), w.length(s))
	lay := l.rtp.layoutRTP(len(pkt))
	pkt = pkt[:len(pkt)+l.rtp.trailerRTP()]
	l.rtp.putMKI(&l.keys, pkt, lay)
	l.rtp.sealRTP(w.fast, pkt, headerRTP, lay, uint32(ssrc), uint64(l.at[ssrc]))
	hdr := headerRTP
	if s.one(8) {
		switch s.pick(4) {
		case 0:
			pkt = pkt[:s.pick(len(pkt))]
		case 1:
			hdr = s.pick(256) - 20
		case 2:
			pkt[s.pick(len(pkt))] ^= 1 << s.pick(8)
		case 3:
			pkt[len(pkt)-1] ^= 1
		}
	}
	return OpenJob{Key: &l.rtp, Keys: &l.keys, Received: l.rx.both(), Packet: pkt, Header: hdr}
}

// report returns an SRTCP packet as the network may bring it to a leg.
func (w *world) report(s *script, l *worldLeg, ssrc uint32) OpenJob {
	l.reports = max(0, l.reports+jumps[s.pick(len(jumps))])
	word := uint32(l.reports) | encryptedRTCP
	if l.rtcp.mayBeClear() {
		word = uint32(l.reports)
	}
	pkt := rtcpPacket(ssrc)
	lay := l.rtcp.layoutRTCP(len(pkt))
	pkt = pkt[:len(pkt)+l.rtcp.trailerRTCP()]
	l.rtcp.putMKI(&l.keys, pkt, lay)
	binary.BigEndian.PutUint32(pkt[lay.word:], word)
	l.rtcp.sealRTCP(w.fast, pkt, lay, ssrc, word)
	if s.one(8) {
		pkt[s.pick(len(pkt))] ^= 1 << s.pick(8)
	}
	return OpenJob{RTCP: true, Key: &l.rtcp, Keys: &l.keys, Received: l.rx.both(), Packet: pkt[:len(pkt)-s.pick(2)*s.pick(2)]}
}

func (w *world) length(s *script) int {
	if s.one(2) {
		return g711
	}
	return s.pick(1489)
}

// open opens a batch in both ways and wants the same of both.
func (w *world) open(jobs []OpenJob) {
	w.t.Helper()
	twins := make([]OpenJob, len(jobs))
	for i, j := range jobs {
		twins[i] = j
		twins[i].Packet = clone(j.Packet)
		for _, l := range w.legs {
			if j.Key == &l.rtp || j.Key == &l.rtcp {
				twins[i].Received = l.twin.both()
			}
		}
		if j.RTCP {
			OpenRTCP(&twins[i], w.slow)
		} else {
			OpenRTP(&twins[i], w.slow)
		}
	}
	OpenBatch(jobs, w.fast)
	for i := range jobs {
		a, b := &jobs[i], &twins[i]
		if a.Verdict != b.Verdict || a.N != b.N || a.Index != b.Index || a.Fresh != b.Fresh || !bytes.Equal(a.Packet, b.Packet) {
			w.t.Fatalf("%s, packet %d of %d: in a batch %v (%d bytes, index %#x, fresh %v), alone %v (%d, %#x, %v), or other bytes",
				a.Key.Suite(), i, len(jobs), a.Verdict, a.N, a.Index, a.Fresh, b.Verdict, b.N, b.Index, b.Fresh)
		}
	}
	for i, l := range w.legs {
		if l.rx != l.twin {
			w.t.Fatalf("leg %d: another state than alone", i)
		}
	}
}

// leaving returns a packet to seal.
func (w *world) leaving(s *script) SealJob {
	l := w.legs[s.pick(len(w.legs))]
	ssrc := uint32(s.pick(2))
	if s.one(4) {
		ssrc = uint32(s.pick(len(l.at)))
	}
	if s.one(10) {
		pkt := rtcpPacket(ssrc)
		return SealJob{RTCP: true, Key: &l.rtcp, Keys: &l.keys, Sent: l.tx.both(), Packet: pkt[:len(pkt)-s.pick(2)*s.pick(28)]}
	}
	next, _ := l.tx.both().Next(ssrc)
	pkt := rtpPacket(ssrc, next+uint16(s.pick(64))+uint16(jumps[s.pick(len(jumps))]), w.length(s))
	hdr := headerRTP
	if s.one(16) {
		switch s.pick(3) {
		case 0:
			pkt = pkt[:s.pick(len(pkt)+1)]
		case 1:
			hdr = s.pick(256) - 20
		case 2:
			pkt = pkt[: len(pkt) : len(pkt)+s.pick(MaxOverhead)]
		}
	}
	return SealJob{Key: &l.rtp, Keys: &l.keys, Sent: l.tx.both(), Packet: pkt, Header: hdr}
}

func (w *world) seal(jobs []SealJob) {
	w.t.Helper()
	twins := make([]SealJob, len(jobs))
	for i, j := range jobs {
		twins[i] = j
		whole := j.Packet[:cap(j.Packet)]
		twins[i].Packet = append(make([]byte, 0, len(whole)), whole...)[:len(j.Packet):len(whole)]
		for _, l := range w.legs {
			if j.Key == &l.rtp || j.Key == &l.rtcp {
				twins[i].Sent = l.other.both()
			}
		}
		if j.RTCP {
			SealRTCP(&twins[i], w.slow)
		} else {
			SealRTP(&twins[i], w.slow)
		}
	}
	SealBatch(jobs, w.fast)
	for i := range jobs {
		a, b := &jobs[i], &twins[i]
		whole := cap(a.Packet)
		if a.Verdict != b.Verdict || a.N != b.N || !bytes.Equal(a.Packet[:whole], b.Packet[:whole]) {
			w.t.Fatalf("%s, packet %d of %d: in a batch %v (%d bytes), alone %v (%d), or other bytes",
				a.Key.Suite(), i, len(jobs), a.Verdict, a.N, b.Verdict, b.N)
		}
	}
	for i, l := range w.legs {
		if l.tx != l.other {
			w.t.Fatalf("leg %d: another state than alone", i)
		}
	}
}

// run plays a script to its end and returns how many packets of each verdict there were.
func (w *world) run(s *script) (opened, sealed verdict.Counters) {
	w.t.Helper()
	for len(*s) > 0 {
		size := s.pick(MaxBatch + 1)
		if s.one(32) {
			size += MaxBatch // longer than the scratch space
		}
		if s.one(2) {
			jobs := make([]OpenJob, 0, size)
			for range size {
				jobs = append(jobs, w.arriving(s))
			}
			w.open(jobs)
			for i := range jobs {
				opened[jobs[i].Verdict]++
			}
		} else {
			jobs := make([]SealJob, 0, size)
			for range size {
				jobs = append(jobs, w.leaving(s))
			}
			w.seal(jobs)
			for i := range jobs {
				sealed[jobs[i].Verdict]++
			}
		}
		w.signal(s)
	}
	return opened, sealed
}

// signal is what signalling may do to a leg between two batches.
func (w *world) signal(s *script) {
	l := w.legs[s.pick(len(w.legs))]
	switch s.pick(48) {
	case 0:
		l.rx.both().Retry()
		l.twin.both().Retry()
	case 1:
		l.rx.both().Rekey()
		l.twin.both().Rekey()
	case 2:
		l.tx.both().Rekey(true)
		l.other.both().Rekey(true)
	case 3:
		l.tx.both().Rekey(false)
		l.other.both().Rekey(false)
	}
}

func TestABatchGivesWhatItsPacketsGiveOneByOne(t *testing.T) {
	for _, way := range ways() {
		if !way.batch {
			continue
		}
		t.Run(way.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(14, uint64(way.tier)))
			var opened, sealed verdict.Counters
			for range 6 {
				s := make(script, 30_000)
				for i := range s {
					s[i] = byte(rng.Uint32())
				}
				o, c := newWorld(t, way, &s).run(&s)
				opened.Add(&o)
				sealed.Add(&c)
			}
			for _, v := range []verdict.Verdict{
				verdict.Forward, verdict.TooShort, verdict.BadHeader, verdict.BadTag, verdict.Replayed, verdict.TooOld, verdict.BadMKI, verdict.SSRCFull, verdict.Unencrypted,
			} {
				if opened[v] == 0 {
					t.Errorf("no packet met %v in opening", v)
				}
			}
			for _, v := range []verdict.Verdict{
				verdict.Forward, verdict.TooShort, verdict.TooLong, verdict.BadHeader, verdict.AlreadySealed, verdict.TooOld, verdict.SealFull,
			} {
				if sealed[v] == 0 {
					t.Errorf("no packet met %v in sealing", v)
				}
			}
			t.Logf("opened %d, refused %v; sealed %d, refused %v", opened[0], opened.Drops(), sealed[0], sealed.Drops())
		})
	}
}

func FuzzBatch(f *testing.F) {
	rng := rand.New(rand.NewPCG(16, 17))
	for _, size := range []int{0, 30, 300, 1500} {
		s := make([]byte, size)
		for i := range s {
			s[i] = byte(rng.Uint32())
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := script(data[:min(len(data), 3000)])
		newWorld(t, way{tier: kernel.Best(), batch: true, wide: s.one(2)}, &s).run(&s)
	})
}
