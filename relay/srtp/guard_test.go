package srtp

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"tandem/relay/verdict"
)

// guarded returns a page between two that nobody may touch.
func guarded(t *testing.T) (page []byte) {
	t.Helper()
	size := os.Getpagesize()
	all, err := syscall.Mmap(-1, 0, 3*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("map three pages: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Errorf("unmap three pages: %v", err)
		}
	})
	for _, guard := range [][]byte{all[:size], all[2*size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatalf("protect a page: %v", err)
		}
	}
	return all[size : 2*size : 2*size]
}

func TestNothingBeyondAPacketIsTouched(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		high, low := guarded(t), guarded(t)
		seq, at := uint16(0), 0
		for payload := 0; payload < 400; payload += 1 + payload/100*3 {
			plain := rtpPacket(testSSRC, seq, payload)
			sealed := len(plain) + p.overhead
			spots := [][]byte{high[len(high)-sealed:], low[:sealed:sealed]}
			var sealing [2]SealJob
			var opening [2]OpenJob
			for i, spot := range spots {
				copy(spot, plain)
				seq++
				spot[2], spot[3] = byte(seq>>8), byte(seq)
				sealing[i] = SealJob{Key: &p.seal.rtp, Keys: &p.keys, Sent: p.tx.both(), Packet: spot[:len(plain)], Header: headerRTP}
				opening[i] = OpenJob{Key: &p.open.rtp, Keys: &p.keys, Received: p.rx.both(), Packet: spot[:sealed], Header: headerRTP}
			}
			if p.batch {
				SealBatch(sealing[:], p.seal.scratch)
				OpenBatch(opening[:], p.open.scratch)
			} else {
				for i := range spots {
					SealRTP(&sealing[i], p.seal.scratch)
					OpenRTP(&opening[i], p.open.scratch)
				}
			}
			for i, spot := range spots {
				at++
				if sealing[i].Verdict != verdict.Forward || opening[i].Verdict != verdict.Forward || opening[i].Index != uint64(at) {
					t.Fatalf("payload of %d: sealed %v, opened %v", payload, sealing[i].Verdict, opening[i].Verdict)
				}
				if !bytes.Equal(spot[headerRTP:len(plain)], plain[headerRTP:]) {
					t.Fatalf("payload of %d: other bytes", payload)
				}
			}
		}
	})
}

func TestNothingBeyondAReportIsTouched(t *testing.T) {
	for _, clear := range []bool{false, true} {
		everySuite(t, func(t *testing.T, p *pair) {
			p = p.way.pair(mustKeys(t, p.keys.suite, 1, p.keys.mki[:p.keys.mkiLen], clear))
			page := guarded(t)
			for length := headerRTCP; length < 300; length += 4 {
				plain := append(rtcpPacket(testSSRC), make([]byte, 300)...)[:length]
				sealed := length + p.seal.rtcp.trailerRTCP()
				for _, spot := range [][]byte{page[len(page)-sealed:], page[:sealed:sealed]} {
					copy(spot, plain)
					if n, v := p.seal.SealRTCP(&p.tx, spot[:length]); v != verdict.Forward || n != sealed {
						t.Fatalf("%d bytes sealed: %v", length, v)
					}
					if n, v := p.open.OpenRTCP(&p.rx, spot[:sealed]); v != verdict.Forward || !bytes.Equal(spot[:n], plain) {
						t.Fatalf("%d bytes opened: %v", length, v)
					}
				}
			}
		})
	}
}
