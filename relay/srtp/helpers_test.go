package srtp

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"tandem/relay/verdict"
)

const (
	testSSRC = 0xcafebabe
	g711     = 160 // bytes of a 20 ms G.711 payload
)

// everySuite runs a behaviour for each suite, with and without an MKI.
func everySuite(t *testing.T, run func(t *testing.T, p *pair)) {
	t.Helper()
	for _, s := range Suites() {
		t.Run(s.String(), func(t *testing.T) { run(t, newPair(t, s, nil, false)) })
		t.Run(s.String()+"/MKI", func(t *testing.T) { run(t, newPair(t, s, []byte{1, 2, 3, 4}, false)) })
	}
}

// pair is a sender and a receiver with the same key.
type pair struct {
	keys     Keys
	seal     *Cipher
	open     *Cipher
	tx       TX
	rx       RX
	overhead int // of SRTP
}

func newPair(t testing.TB, s Suite, mki []byte, unencryptedRTCP bool) *pair {
	t.Helper()
	return pairFrom(t, mustKeys(t, s, 1, mki, unencryptedRTCP))
}

func pairFrom(t testing.TB, k Keys) *pair {
	t.Helper()
	return &pair{keys: k, seal: mustCipher(t, &k), open: mustCipher(t, &k), overhead: k.suite.TagRTP() + int(k.mkiLen)}
}

// mustKeys returns keys whose material is told apart by id.
func mustKeys(t testing.TB, s Suite, id byte, mki []byte, unencryptedRTCP bool) Keys {
	t.Helper()
	k, err := NewKeys(s, material(s, id), mki, unencryptedRTCP)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func material(s Suite, id byte) []byte {
	b := make([]byte, s.KeyLen()+s.SaltLen())
	for i := range b {
		b[i] = id + byte(i)*7
	}
	return b
}

func mustCipher(t testing.TB, k *Keys) *Cipher {
	t.Helper()
	c, err := NewCipher(k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rtpPacket returns an RTP packet with a fixed header and room for the tag behind it.
func rtpPacket(ssrc uint32, seq uint16, payload int) []byte {
	pkt := make([]byte, headerRTP+payload, headerRTP+payload+MaxOverhead)
	pkt[0], pkt[1] = 0x80, 8
	binary.BigEndian.PutUint16(pkt[2:], seq)
	binary.BigEndian.PutUint32(pkt[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(pkt[8:], ssrc)
	for i := range pkt[headerRTP:] {
		pkt[headerRTP+i] = byte(i) ^ byte(seq)
	}
	return pkt
}

// rtcpPacket returns a sender report of 28 bytes with room for the trailer behind it.
func rtcpPacket(ssrc uint32) []byte {
	pkt := make([]byte, 28, 28+MaxOverhead)
	copy(pkt, []byte{0x80, 200, 0, 6})
	binary.BigEndian.PutUint32(pkt[4:], ssrc)
	for i := range pkt[8:] {
		pkt[8+i] = byte(i) + 3
	}
	return pkt
}

// sealed returns the next SRTP packet of the pair's sender.
func (p *pair) sealed(t testing.TB, ssrc uint32, seq uint16) []byte {
	t.Helper()
	pkt := rtpPacket(ssrc, seq, 20)
	n, v := p.seal.SealRTP(&p.tx, pkt, headerRTP)
	if v != verdict.Forward {
		t.Fatalf("seal of sequence %d: %v", seq, v)
	}
	return pkt[:n]
}

// sealedAt returns an SRTP packet as a sender with the given rollover counter would make it.
func (p *pair) sealedAt(ssrc, roc uint32, seq uint16) []byte {
	pkt := rtpPacket(ssrc, seq, 20)
	l := p.seal.rtp.from(len(pkt))
	pkt = pkt[:l.size]
	copy(pkt[l.mki:], p.seal.mki[:p.seal.mkiLen])
	p.seal.kernel.sealRTP(pkt, headerRTP, l, ssrc, uint64(roc)<<16|uint64(seq))
	return pkt
}

func (p *pair) sealedRTCP(t testing.TB, ssrc uint32) []byte {
	t.Helper()
	pkt := rtcpPacket(ssrc)
	n, v := p.seal.SealRTCP(&p.tx, pkt)
	if v != verdict.Forward {
		t.Fatalf("seal of RTCP: %v", v)
	}
	return pkt[:n]
}

// opens opens a copy of pkt and wants the verdict and, on Forward, the index.
func (p *pair) opens(t testing.TB, pkt []byte, want verdict.Verdict, index uint64) {
	t.Helper()
	_, got, v := p.open.OpenRTP(&p.rx, clone(pkt), headerRTP)
	if v != want || v == verdict.Forward && got != index {
		t.Fatalf("open: %v with index %#x, want %v with %#x", v, got, want, index)
	}
}

func clone(b []byte) []byte { return append(make([]byte, 0, len(b)+MaxOverhead), b...) }

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func index(roc uint32, seq uint16) uint64 { return uint64(roc)<<16 | uint64(seq) }
