package srtp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/pion/rtp"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// The unit is one packet of 160 bytes of payload. Opening works on a fresh copy of one sealed packet and an SSRC that is always
// new; the copy costs some nanoseconds, in pion's rows too (it decrypts into another buffer).

func BenchmarkSealRTP(b *testing.B) {
	for _, s := range Suites() {
		b.Run(s.String(), func(b *testing.B) {
			p := newPair(b, s, nil, false)
			pkt, seq := rtpPacket(testSSRC, 0, g711), uint16(0)
			b.ReportAllocs()
			b.SetBytes(g711)
			for b.Loop() {
				binary.BigEndian.PutUint16(pkt[2:], seq)
				seq++
				if _, v := p.seal.SealRTP(&p.tx, pkt, headerRTP); v != verdict.Forward {
					b.Fatal(v)
				}
			}
		})
		b.Run(s.String()+"/pion", func(b *testing.B) {
			if _, ok := pionProfiles[s]; !ok {
				b.Skip("pion/srtp does not have this suite")
			}
			p := newPair(b, s, nil, false)
			peer := pionContext(b, &p.keys)
			pkt, seq := rtpPacket(testSSRC, 0, g711), uint16(0)
			dst, header := make([]byte, 0, maxPacket), new(rtp.Header)
			b.ReportAllocs()
			b.SetBytes(g711)
			for b.Loop() {
				binary.BigEndian.PutUint16(pkt[2:], seq)
				seq++
				if _, err := peer.EncryptRTP(dst, pkt, header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenRTP(b *testing.B) {
	for _, s := range Suites() {
		b.Run(s.String(), func(b *testing.B) {
			p := newPair(b, s, nil, false)
			sealed := rtpPacket(testSSRC, 1, g711)
			n, _ := p.seal.SealRTP(&p.tx, sealed, headerRTP)
			sealed, pkt := sealed[:n], make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(g711)
			for b.Loop() {
				copy(pkt, sealed)
				p.rx.now = RXNow{} // forget the SSRC
				if _, _, v := p.open.OpenRTP(&p.rx, pkt, headerRTP); v != verdict.Forward {
					b.Fatal(v)
				}
			}
		})
		b.Run(s.String()+"/pion", func(b *testing.B) {
			if _, ok := pionProfiles[s]; !ok {
				b.Skip("pion/srtp does not have this suite")
			}
			p := newPair(b, s, nil, false)
			peer := pionContext(b, &p.keys)
			sealed := rtpPacket(testSSRC, 1, g711)
			n, _ := p.seal.SealRTP(&p.tx, sealed, headerRTP)
			dst, header := make([]byte, 0, maxPacket), new(rtp.Header)
			b.ReportAllocs()
			b.SetBytes(g711)
			for b.Loop() {
				if _, err := peer.DecryptRTP(dst, sealed[:n], header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchLegs are as many legs as a batch has packets, each with keys of its own.
type benchLeg struct {
	keys Keys
	rtp  Schedule
	rx   rxState
	tx   txState
	pkt  []byte // sealed
	buf  []byte
}

func benchLegs(b *testing.B, s Suite, tier kernel.Tier) []*benchLeg {
	legs := make([]*benchLeg, MaxBatch)
	scratch := NewScratch(tier)
	for i := range legs {
		l := &benchLeg{keys: mustKeys(b, s, byte(i), nil, false), pkt: rtpPacket(testSSRC, 1, g711)}
		var rtcp Schedule
		Derive(tier, &l.keys, &l.rtp, &rtcp)
		var tx txState
		j := SealJob{Key: &l.rtp, Sent: tx.both(), Packet: l.pkt, Header: headerRTP}
		if v := SealRTP(&j, scratch); v != verdict.Forward {
			b.Fatal(v)
		}
		l.pkt, l.buf = l.pkt[:j.N], rtpPacket(testSSRC, 0, g711)
		legs[i] = l
	}
	return legs
}

var (
	benchSuites = []Suite{AES128CM80, AES256CM80, AES128GCM, AES256GCM}
	benchSizes  = []int{1, 2, 3, 4, 8, 16, 64} // packets of a batch: around those from which on more lanes pay
)

// eachBatch runs a benchmark on every tier but the reference.
func eachBatch(b *testing.B, run func(b *testing.B, s Suite, tier kernel.Tier)) {
	for _, s := range benchSuites {
		for _, tier := range tiers()[1:] {
			b.Run(s.String()+"/"+tier.String(), func(b *testing.B) { run(b, s, tier) })
		}
	}
}

// BenchmarkSealBatch gives the nanoseconds of a packet.
func BenchmarkSealBatch(b *testing.B) {
	eachBatch(b, func(b *testing.B, s Suite, tier kernel.Tier) {
		legs := benchLegs(b, s, tier)
		for _, size := range benchSizes {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				scratch, jobs, seq := NewScratch(tier), make([]SealJob, size), uint16(0)
				for _, l := range legs {
					l.tx = txState{}
				}
				b.ReportAllocs()
				for b.Loop() {
					for i := range jobs {
						l := legs[i]
						binary.BigEndian.PutUint16(l.buf[2:], seq)
						jobs[i] = SealJob{Key: &l.rtp, Keys: &l.keys, Sent: l.tx.both(), Packet: l.buf, Header: headerRTP}
					}
					seq++
					if SealBatch(jobs, scratch); jobs[size-1].Verdict != verdict.Forward {
						b.Fatal(jobs[size-1].Verdict)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/packet")
			})
		}
	})
}

// BenchmarkOpenBatch gives the nanoseconds of a packet, among them those of a fresh copy.
func BenchmarkOpenBatch(b *testing.B) {
	eachBatch(b, func(b *testing.B, s Suite, tier kernel.Tier) {
		legs := benchLegs(b, s, tier)
		for _, size := range benchSizes {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				scratch, jobs := NewScratch(tier), make([]OpenJob, size)
				heard := heardOf(rxSource{ssrc: testSSRC, rtp: window{next: 1, used: [2]uint64{1}}, marks: spoke}) // the packet before
				b.ReportAllocs()
				for b.Loop() {
					for i := range jobs {
						l := legs[i]
						l.rx.now = heard.now
						l.buf = append(l.buf[:0], l.pkt...)
						jobs[i] = OpenJob{Key: &l.rtp, Keys: &l.keys, Received: l.rx.both(), Packet: l.buf, Header: headerRTP}
					}
					if OpenBatch(jobs, scratch); jobs[size-1].Verdict != verdict.Forward {
						b.Fatal(jobs[size-1].Verdict)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/packet")
			})
		}
	})
}

// BenchmarkReject is what a stranger's packet costs at each line of defence.
func BenchmarkReject(b *testing.B) {
	for _, s := range []Suite{AES128CM80, AES128GCM} {
		p := newPair(b, s, nil, false)
		replayed := p.sealed(b, testSSRC, 1)
		p.opens(b, replayed, verdict.Forward, 1)
		forged := clone(p.sealed(b, testSSRC, 2))
		forged[len(forged)-1] ^= 1
		for _, c := range []struct {
			name string
			pkt  []byte
			want verdict.Verdict
		}{{"replayed", replayed, verdict.Replayed}, {"forged", forged, verdict.BadTag}} {
			b.Run(s.String()+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, v := p.open.OpenRTP(&p.rx, c.pkt, headerRTP); v != c.want {
						b.Fatal(v)
					}
				}
			})
		}
	}
}

// BenchmarkDerive is what a key costs: derivation and expansion of both schedules, once per call and direction.
func BenchmarkDerive(b *testing.B) {
	for _, s := range []Suite{AES128CM80, AES256CM80, AES128GCM, AES256GCM} {
		b.Run(s.String(), func(b *testing.B) {
			k := mustKeys(b, s, 1, nil, false)
			for _, tier := range tiers() {
				b.Run(tier.String(), func(b *testing.B) {
					var rtp, rtcp Schedule
					b.ReportAllocs()
					for b.Loop() {
						Derive(tier, &k, &rtp, &rtcp)
					}
				})
			}
		})
	}
}
