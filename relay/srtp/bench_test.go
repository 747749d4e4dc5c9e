package srtp

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp"

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
				p.rx.n = 0 // forget the SSRC
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

// BenchmarkNewCipher is what a key costs: derivation and expansion, once per call and direction.
func BenchmarkNewCipher(b *testing.B) {
	for _, s := range []Suite{AES128CM80, AES256GCM} {
		b.Run(s.String(), func(b *testing.B) {
			k := mustKeys(b, s, 1, nil, false)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewCipher(&k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
