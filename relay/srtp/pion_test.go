package srtp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	pion "github.com/pion/srtp/v2"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// pionProfiles are the six suites that pion/srtp has; it has no AES_192.
var pionProfiles = map[Suite]pion.ProtectionProfile{
	AES128CM80: pion.ProtectionProfileAes128CmHmacSha1_80,
	AES128CM32: pion.ProtectionProfileAes128CmHmacSha1_32,
	AES256CM80: pion.ProtectionProfileAes256CmHmacSha1_80,
	AES256CM32: pion.ProtectionProfileAes256CmHmacSha1_32,
	AES128GCM:  pion.ProtectionProfileAeadAes128Gcm,
	AES256GCM:  pion.ProtectionProfileAeadAes256Gcm,
}

// pionContext returns a context of pion/srtp with the keys of k. Its replay protection is off: it is the oracle for bytes
// and rollover, and the model in window_test.go for replays.
func pionContext(t testing.TB, k *Keys) *pion.Context {
	t.Helper()
	var options []pion.ContextOption
	if k.mkiLen > 0 {
		options = append(options, pion.MasterKeyIndicator(bytes.Clone(k.mki[:k.mkiLen])))
	}
	if k.unencryptedRTCP {
		options = append(options, pion.SRTCPNoEncryption())
	}
	s := k.suite
	c, err := pion.CreateContext(bytes.Clone(k.key[:s.KeyLen()]), bytes.Clone(k.salt[:s.SaltLen()]), pionProfiles[s], options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func everyPionSuite(t *testing.T, run func(t *testing.T, p *pair)) {
	t.Helper()
	everySuite(t, func(t *testing.T, p *pair) {
		if _, ok := pionProfiles[p.keys.suite]; !ok {
			return // AES_192: its oracle is the twin, run for every suite
		}
		run(t, p)
	})
}

// shapedPacket returns an RTP packet with CSRCs and a header extension (RFC 3550 section 5.3.1), and its header's length.
func shapedPacket(ssrc uint32, seq uint16, csrcs, words int, extension bool, payload int) ([]byte, int) {
	hdr := headerRTP + 4*csrcs
	if extension {
		hdr += 4 + 4*words
	}
	pkt := rtpPacket(ssrc, seq, hdr-headerRTP+payload)
	pkt[0] |= byte(csrcs)
	if extension {
		pkt[0] |= 0x10
		at := headerRTP + 4*csrcs
		copy(pkt[at:], []byte{0xab, 0xcd, 0, byte(words)}) // a profile that nobody parses further
	}
	return pkt, hdr
}

func TestPionOpensWhatWeSealAcrossRollovers(t *testing.T) {
	everyPionSuite(t, func(t *testing.T, p *pair) {
		peer, rng := pionContext(t, &p.keys), rand.New(rand.NewPCG(10, 11))
		at := 64_900 // the first packet is before the first rollover
		for range 500 {
			at += 1 + rng.IntN(600) // up to four rollovers
			pkt, hdr := shapedPacket(testSSRC, uint16(at), rng.IntN(16), rng.IntN(4), rng.IntN(2) == 0, rng.IntN(400))
			plain := bytes.Clone(pkt)
			n, v := p.seal.SealRTP(&p.tx, pkt, hdr)
			if v != verdict.Forward {
				t.Fatalf("index %d: %v", at, v)
			}
			got, err := peer.DecryptRTP(nil, pkt[:n], nil)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("index %d: %v", at, err)
			}
		}
	})
}

func TestWeOpenWhatPionSealsAcrossRollovers(t *testing.T) {
	everyPionSuite(t, func(t *testing.T, p *pair) {
		peer, rng := pionContext(t, &p.keys), rand.New(rand.NewPCG(12, 13))
		at := 64_900 // the first packet is before the first rollover
		for range 500 {
			at += 1 + rng.IntN(600)
			pkt, hdr := shapedPacket(testSSRC, uint16(at), rng.IntN(16), rng.IntN(4), rng.IntN(2) == 0, rng.IntN(400))
			sealed, err := peer.EncryptRTP(nil, pkt, nil)
			if err != nil {
				t.Fatal(err)
			}
			n, got, v := p.open.OpenRTP(&p.rx, sealed, hdr)
			if v != verdict.Forward || got != uint64(at) || !bytes.Equal(sealed[:n], pkt) {
				t.Fatalf("index %d: %v at %d", at, v, got)
			}
		}
	})
}

func TestRTCPGoesBothWaysBetweenPionAndUs(t *testing.T) {
	for _, unencrypted := range []bool{false, true} {
		everyPionSuite(t, func(t *testing.T, p *pair) {
			p = p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], unencrypted))
			theirs, ours := pionContext(t, &p.keys), pionContext(t, &p.keys)
			for i := range 100 {
				plain := append(rtcpPacket(testSSRC), make([]byte, 4*i)...)
				binary.BigEndian.PutUint16(plain[2:], uint16(len(plain)/4-1))
				sealed, err := theirs.EncryptRTCP(nil, plain, nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, v := p.open.OpenRTCP(&p.rx, sealed); v != verdict.Forward || !bytes.Equal(sealed[:n], plain) {
					t.Fatalf("theirs, packet %d, unencrypted %v: %v", i, unencrypted, v)
				}
				pkt := clone(plain)
				n, v := p.seal.SealRTCP(&p.tx, pkt)
				if v != verdict.Forward {
					t.Fatal(v)
				}
				if got, err := ours.DecryptRTCP(nil, pkt[:n], nil); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("ours, packet %d, unencrypted %v: %v", i, unencrypted, err)
				}
			}
		})
	}
}

// FuzzAgainstPion plays a stream of packets between pion/srtp and us. Each group of four bytes is a packet: a jump of the
// sequence number, the shape of the header, the payload's length, and which byte the network damages, if any.
func FuzzAgainstPion(f *testing.F) {
	f.Add(uint8(0), uint16(65_533), []byte{1, 0, 20, 0, 1, 0, 20, 0, 1, 0x1f, 160, 0, 255, 0, 0, 0, 0, 0, 9, 0})
	f.Add(uint8(3), uint16(0), []byte{128, 0, 20, 0, 127, 2, 20, 5, 129, 0x81, 20, 0, 1, 0x90, 20, 200})
	f.Add(uint8(129), uint16(65_533), []byte{1, 0, 20, 0, 1, 0, 20, 0, 1, 0x1f, 160, 0, 255, 0, 0, 0, 0, 0, 9, 0})
	f.Add(uint8(5), uint16(32_767), []byte{127, 0x40, 20, 0, 127, 0x40, 20, 0, 127, 0x40, 3, 0, 127, 0x40, 0, 0})
	suites := make([]Suite, 0, len(pionProfiles))
	for _, s := range Suites() {
		if _, ok := pionProfiles[s]; ok {
			suites = append(suites, s)
		}
	}
	f.Fuzz(func(t *testing.T, suite uint8, seq uint16, script []byte) {
		p := way{tier: kernel.Best(), batch: suite >= 128}.pair(mustKeys(t, suites[int(suite)%len(suites)], 1, nil, false))
		theirTX, theirRX, oracle := pionContext(t, &p.keys), pionContext(t, &p.keys), pionContext(t, &p.keys)
		seen := model{used: map[uint64]bool{}}
		for ; len(script) >= 4; script = script[4:] {
			jump, shape, damage := int16(int8(script[0])), script[1], script[3]
			if shape&0x40 != 0 {
				jump *= 256
			}
			seq += uint16(jump)
			pkt, hdr := shapedPacket(testSSRC, seq, int(shape&15), int(shape>>5&1), shape&0x10 != 0, int(script[2]))

			fromPion(t, p, theirTX, oracle, &seen, pkt, hdr, damage)

			n, v := p.seal.SealRTP(&p.tx, pkt, hdr)
			if v != verdict.Forward {
				continue
			}
			want, _ := shapedPacket(testSSRC, seq, int(shape&15), int(shape>>5&1), shape&0x10 != 0, int(script[2]))
			if got, err := theirRX.DecryptRTP(nil, pkt[:n], nil); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("ours, sequence %d: %v", seq, err)
			}
		}
	})
}

// fromPion lets pion seal plain, damages it, and wants us to open it exactly when pion itself would and the index is new.
func fromPion(t *testing.T, p *pair, tx, oracle *pion.Context, seen *model, plain []byte, hdr int, damage byte) {
	t.Helper()
	sealed, err := tx.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if damage != 0 {
		sealed[headerRTP+int(damage)%(len(sealed)-headerRTP)] ^= damage
	}
	// The window decides before the tag is looked at, and pion has none: ask it with the index that we should take.
	index := uint64(binary.BigEndian.Uint16(sealed[2:]))
	if seen.next > 0 {
		index = estimate(seen.next-1, uint16(index))
	}
	want := seen.check(index)
	if want == verdict.Forward {
		if _, err := oracle.DecryptRTP(nil, bytes.Clone(sealed), nil); err != nil {
			want = verdict.BadTag
			if seen.next == 0 && index < halfSeq && opensWrapped(oracle, sealed) {
				index, want = index|1<<16, verdict.Forward
			}
		}
		if want == verdict.Forward {
			seen.mark(index)
		}
	}
	before := p.rx
	n, at, v := p.open.OpenRTP(&p.rx, sealed, hdr)
	if v != want {
		t.Fatalf("index %#x, damage %d: %v, want %v", index, damage, v, want)
	}
	if v != verdict.Forward {
		if p.rx != before {
			t.Fatalf("index %#x: %v, but the state moved", index, v)
		}
		return
	}
	if at != index || !bytes.Equal(sealed[:n], plain) {
		t.Fatalf("index %#x: opened at %#x or to other bytes", index, at)
	}
}

// opensWrapped tells whether pion opens the packet once it is told that the numbers have wrapped: we try that by ourselves with what
// may be the first packet that came through.
func opensWrapped(oracle *pion.Context, sealed []byte) bool {
	oracle.SetROC(testSSRC, 1)
	if _, err := oracle.DecryptRTP(nil, bytes.Clone(sealed), nil); err != nil {
		oracle.SetROC(testSSRC, 0)
		return false
	}
	return true
}
