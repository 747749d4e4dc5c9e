package srtp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"testing"

	"tandem/relay/verdict"
)

// twin is SRTP written a second time, slowly and literally from the RFCs' formulas, with other parts of the standard library.
// It seals; what it seals our code must open, and must itself seal to the same bytes.
type twin struct {
	k Keys
}

// derived returns one session key, RFC 3711 section 4.3.1: x = label * 2^48 XOR salt, keystream from x * 2^16.
func (w twin) derived(label int64, n int) []byte {
	salt := new(big.Int).SetBytes(w.k.salt[:]) // a GCM salt is already followed by its two zero bytes
	x := new(big.Int).Xor(salt, new(big.Int).Lsh(big.NewInt(label), 48))
	return ctr(w.k.key[:w.k.suite.KeyLen()], x.Lsh(x, 16), make([]byte, n))
}

func ctr(key []byte, iv *big.Int, data []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(data))
	cipher.NewCTR(block, iv.FillBytes(make([]byte, 16))).XORKeyStream(out, data)
	return out
}

func mac(key []byte, n int, parts ...[]byte) []byte {
	m := hmac.New(sha1.New, key)
	m.Write(bytes.Join(parts, nil))
	return m.Sum(nil)[:n]
}

func gcmSeal(key, nonce, plain, aad []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return g.Seal(nil, nonce, plain, aad)
}

// ivCM is RFC 3711 section 4.1.1.
func ivCM(salt []byte, ssrc uint32, index uint64) *big.Int {
	iv := new(big.Int).Lsh(new(big.Int).SetBytes(salt), 16)
	iv.Xor(iv, new(big.Int).Lsh(big.NewInt(int64(ssrc)), 64))
	return iv.Xor(iv, new(big.Int).Lsh(big.NewInt(int64(index)), 16))
}

// ivGCM is RFC 7714 sections 8.1 and 9.1: 00 00, SSRC, six bytes of index, all XOR salt.
func ivGCM(salt []byte, ssrc uint32, index uint64) []byte {
	iv := new(big.Int).Lsh(big.NewInt(int64(ssrc)), 48)
	iv.Or(iv, big.NewInt(int64(index)))
	return iv.Xor(iv, new(big.Int).SetBytes(salt)).FillBytes(make([]byte, 12))
}

func (w twin) rtp(pkt []byte, hdr int, index uint64) []byte {
	s, ssrc, mki := w.k.suite, binary.BigEndian.Uint32(pkt[8:]), w.k.mki[:w.k.mkiLen]
	key, salt := w.derived(0, s.KeyLen()), w.derived(2, s.SaltLen())
	if s.SaltLen() == 12 {
		return bytes.Join([][]byte{pkt[:hdr], gcmSeal(key, ivGCM(salt, ssrc, index), pkt[hdr:], pkt[:hdr]), mki}, nil)
	}
	body := append(bytes.Clone(pkt[:hdr]), ctr(key, ivCM(salt, ssrc, index), pkt[hdr:])...)
	roc := binary.BigEndian.AppendUint32(nil, uint32(index>>16))
	return bytes.Join([][]byte{body, mki, mac(w.derived(1, 20), s.TagRTP(), body, roc)}, nil)
}

func (w twin) rtcp(pkt []byte, index uint32) []byte {
	s, ssrc, mki := w.k.suite, binary.BigEndian.Uint32(pkt[4:]), w.k.mki[:w.k.mkiLen]
	key, salt := w.derived(3, s.KeyLen()), w.derived(5, s.SaltLen())
	word := binary.BigEndian.AppendUint32(nil, index|1<<31)
	if w.k.unencryptedRTCP {
		word[0] &= 0x7f
	}
	switch {
	case s.SaltLen() == 12 && w.k.unencryptedRTCP:
		tag := gcmSeal(key, ivGCM(salt, ssrc, uint64(index)), nil, append(bytes.Clone(pkt), word...))
		return bytes.Join([][]byte{pkt, tag, word, mki}, nil)
	case s.SaltLen() == 12:
		aad := append(bytes.Clone(pkt[:8]), word...)
		return bytes.Join([][]byte{pkt[:8], gcmSeal(key, ivGCM(salt, ssrc, uint64(index)), pkt[8:], aad), word, mki}, nil)
	case w.k.unencryptedRTCP:
		return bytes.Join([][]byte{pkt, word, mki, mac(w.derived(4, 20), 10, pkt, word)}, nil)
	}
	body := append(bytes.Clone(pkt[:8]), ctr(key, ivCM(salt, ssrc, uint64(index)), pkt[8:])...)
	return bytes.Join([][]byte{body, word, mki, mac(w.derived(4, 20), 10, body, word)}, nil)
}

func TestEverySuiteMatchesItsSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	everySuite(t, func(t *testing.T, p *pair) {
		w := twin{p.keys}
		for i := range 400 {
			seq := uint16(65_500 + i) // rolls over at 36
			hdr := headerRTP + 4*rng.IntN(6)
			pkt := rtpPacket(testSSRC, seq, hdr-headerRTP+rng.IntN(600))
			want := w.rtp(pkt, hdr, 65_500+uint64(i))
			plain := bytes.Clone(pkt)
			n, v := p.seal.SealRTP(&p.tx, pkt, hdr)
			if v != verdict.Forward || !bytes.Equal(pkt[:n], want) {
				t.Fatalf("packet %d sealed: %v\n%x\n%x", i, v, pkt[:n], want)
			}
			n, at, v := p.open.OpenRTP(&p.rx, pkt[:n], hdr)
			if v != verdict.Forward || at != 65_500+uint64(i) || !bytes.Equal(pkt[:n], plain) {
				t.Fatalf("packet %d opened: %v, index %d", i, v, at)
			}
		}
	})
}

func TestEverySuiteMatchesItsSlowTwinForRTCP(t *testing.T) {
	for _, unencrypted := range []bool{false, true} {
		everySuite(t, func(t *testing.T, p *pair) {
			p = p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], unencrypted))
			w := twin{p.keys}
			for i := range uint32(200) {
				plain := append(rtcpPacket(testSSRC), make([]byte, 4*(i%50))...)
				pkt := clone(plain)
				n, v := p.seal.SealRTCP(&p.tx, pkt)
				if want := w.rtcp(plain, i); v != verdict.Forward || !bytes.Equal(pkt[:n], want) {
					t.Fatalf("packet %d sealed: %v\n%x\n%x", i, v, pkt[:n], want)
				}
				n, v = p.open.OpenRTCP(&p.rx, pkt[:n])
				if v != verdict.Forward || !bytes.Equal(pkt[:n], plain) {
					t.Fatalf("packet %d opened: %v", i, v)
				}
			}
		})
	}
}
