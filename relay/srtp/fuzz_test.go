package srtp

import (
	"bytes"
	"testing"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// FuzzOpen feeds bytes of strangers, who do not have the key, to a state that has heard a genuine packet and to one that has
// not: nothing passes, nothing panics, nothing changes.
func FuzzOpen(f *testing.F) {
	for i, s := range Suites() {
		p := newPair(f, s, nil, false)
		rtp, rtcp := p.sealed(f, testSSRC, 7), p.sealedRTCP(f, testSSRC)
		invert(rtp[headerRTP:]) // genuine but for so many bits that no mutation mends them all
		invert(rtcp[headerRTCP : headerRTCP+16])
		f.Add(uint8(i), headerRTP, rtp)
		f.Add(uint8(i), headerRTP+4, rtcp)
	}
	f.Add(uint8(0), -1, []byte{})
	f.Add(uint8(9), 12, bytes.Repeat([]byte{0x80}, 40))
	f.Add(uint8(32), 12, bytes.Repeat([]byte{0x80}, 40))
	f.Fuzz(func(t *testing.T, choice uint8, hdr int, pkt []byte) {
		var mki []byte
		if choice&8 != 0 {
			mki = []byte{0x80, 0x80, 0x80}
		}
		p := way{tier: kernel.Best(), batch: choice&32 != 0}.pair(mustKeys(t, Suites()[choice&7], 1, mki, choice&16 != 0))
		for _, rx := range []rxState{{}, p.heard(t)} {
			state, buf := rx, clone(pkt)
			if n, _, v := p.open.OpenRTP(&state, buf, hdr); v == verdict.Forward || n != 0 {
				t.Fatalf("RTP: %v, %d bytes", v, n)
			}
			if n, v := p.open.OpenRTCP(&state, buf); v == verdict.Forward || n != 0 {
				t.Fatalf("RTCP: %v, %d bytes", v, n)
			}
			if state != rx || !bytes.Equal(buf, pkt) {
				t.Fatal("state or packet was touched")
			}
		}
	})
}

func invert(b []byte) {
	for i := range b {
		b[i] ^= 0xff
	}
}

// heard returns a state that has opened a packet, and has candidates to try.
func (p *pair) heard(t testing.TB) rxState {
	t.Helper()
	var rx rxState
	if _, _, v := p.open.OpenRTP(&rx, p.sealedAt(testSSRC, 0, 6), headerRTP); v != verdict.Forward {
		t.Fatal(v)
	}
	rx.both().Retry()
	return rx
}

// FuzzRoundTrip seals whatever the bytes are and wants them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), headerRTP, []byte("0123456789abpayload"))
	f.Add(uint8(7), headerRTP+4, bytes.Repeat([]byte{0xff}, 300))
	f.Add(uint8(20), headerRTP, make([]byte, headerRTP))
	f.Add(uint8(36), headerRTP, make([]byte, 300))
	f.Fuzz(func(t *testing.T, choice uint8, hdr int, pkt []byte) {
		var mki []byte
		if choice&8 != 0 {
			mki = []byte{1, 2, 3}
		}
		p := way{tier: kernel.Best(), batch: choice&32 != 0}.pair(mustKeys(t, Suites()[choice&7], 1, mki, choice&16 != 0))
		buf := clone(pkt)
		if n, v := p.seal.SealRTP(&p.tx, buf, hdr); v == verdict.Forward {
			back, _, v := p.open.OpenRTP(&p.rx, buf[:n], hdr)
			if v != verdict.Forward || !bytes.Equal(buf[:back], pkt) {
				t.Fatalf("RTP: %v", v)
			}
		} else if !bytes.Equal(buf, pkt) {
			t.Fatalf("RTP: %v, but the packet was touched", v)
		}
		buf = clone(pkt)
		if n, v := p.seal.SealRTCP(&p.tx, buf); v == verdict.Forward {
			back, v := p.open.OpenRTCP(&p.rx, buf[:n])
			if v != verdict.Forward || !bytes.Equal(buf[:back], pkt) {
				t.Fatalf("RTCP: %v", v)
			}
		} else if !bytes.Equal(buf, pkt) {
			t.Fatalf("RTCP: %v, but the packet was touched", v)
		}
	})
}
