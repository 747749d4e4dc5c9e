package srtp

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

const (
	testSSRC = 0xcafebabe
	g711     = 160 // bytes of a 20 ms G.711 payload
)

// everySuite runs a behaviour for each suite, with and without an MKI, in each way that this processor has.
func everySuite(t *testing.T, run func(t *testing.T, p *pair)) {
	t.Helper()
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			for _, s := range Suites() {
				t.Run(s.String(), func(t *testing.T) { run(t, way.pair(mustKeys(t, s, 1, nil, false))) })
				t.Run(s.String()+"/MKI", func(t *testing.T) { run(t, way.pair(mustKeys(t, s, 1, []byte{1, 2, 3, 4}, false))) })
			}
		})
	}
}

// everyWay runs a behaviour in each way that this processor has.
func everyWay(t *testing.T, name string, run func(t *testing.T, way way)) {
	t.Helper()
	for _, way := range ways() {
		t.Run(name+"/"+way.String(), func(t *testing.T) { run(t, way) })
	}
}

// way is how packets are worked on: one by one, in batches, or in batches whose messages go to sixteen lanes however few they are.
type way struct {
	tier  kernel.Tier
	batch bool
	wide  bool
}

// ways returns each tier with packets one by one and in batches. How many lanes there are is the fastest tier's to try.
func ways() (all []way) {
	for _, t := range tiers() {
		all = append(all, way{tier: t}, way{tier: t, batch: true})
	}
	return append(all, way{tier: kernel.Best(), batch: true, wide: true})
}

// scratch returns the space to work in.
func (w way) scratch() *Scratch {
	s := NewScratch(w.tier)
	if w.wide {
		s.sides = []kernel.Side{{Lanes: kernel.Wide, From: 1}}
	}
	return s
}

// tiers returns what this processor has, the reference first.
func tiers() []kernel.Tier { return kernel.Tiers() }

func (w way) String() string {
	switch {
	case w.wide:
		return w.tier.String() + "/wide"
	case w.batch:
		return w.tier.String() + "/batch"
	}
	return w.tier.String() + "/single"
}

// pair is a sender and a receiver with the same key.
type pair struct {
	way
	keys     Keys
	seal     *party
	open     *party
	tx       txState
	rx       rxState
	overhead int // of SRTP
}

func (w way) pair(k Keys) *pair {
	return &pair{way: w, keys: k, seal: w.party(&k), open: w.party(&k), overhead: k.suite.TagRTP() + int(k.mkiLen)}
}

func newPair(t testing.TB, s Suite, mki []byte, unencryptedRTCP bool) *pair {
	t.Helper()
	return way{tier: kernel.Best()}.pair(mustKeys(t, s, 1, mki, unencryptedRTCP))
}

// rx and tx are the states of one key, both halves together.
type rxState struct {
	now  RXNow
	rest RXRest
}

type txState struct {
	now  TXNow
	rest TXRest
}

func (s *rxState) both() Received { return Received{&s.now, &s.rest} }
func (s *txState) both() Sent     { return Sent{&s.now, &s.rest} }

// heardOf and sentOf return states that know these SSRCs.
func heardOf(sources ...rxSource) (s rxState) {
	for i := range sources {
		s.both().put(i, &sources[i])
	}
	s.now.n = uint8(len(sources))
	return s
}

func sentOf(sources ...txSource) (s txState) {
	for i := range sources {
		s.both().put(i, &sources[i])
	}
	s.now.n = uint8(len(sources))
	return s
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
	l := p.seal.rtp.layoutRTP(len(pkt))
	pkt = pkt[:len(pkt)+p.seal.rtp.trailerRTP()]
	p.seal.rtp.putMKI(&p.keys, pkt, l)
	p.seal.rtp.sealRTP(p.seal.scratch, pkt, headerRTP, l, ssrc, uint64(roc)<<16|uint64(seq))
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
