package kernel

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestGHASHOverPiecesIsGHASHOverTheWhole cuts a message in each way that GCM does: a block or none, any number, and a last one or
// two. What is no whole block of the body is not read.
func TestGHASHOverPiecesIsGHASHOverTheWhole(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		var rk RoundKeys
		var g GHASH
		rounds := Expand(tier, &rk, random(21, 16))
		g.Init(tier, &rk, rounds)
		for blocks := range 40 {
			for head := range 2 {
				for foot := 1; foot <= 2; foot++ {
					whole := random(uint64(blocks), (head+blocks+foot)*blockSize)
					want := [16]byte(random(22, 16))
					got := want
					ghashGeneric(&g, &want, &runs{foot: whole})
					body := whole[head*blockSize:][:blocks*blockSize]
					ghash(tier, &g, &got, &runs{
						head: whole[:head*blockSize],
						body: append(bytes.Clone(body), make([]byte, blocks%blockSize)...),
						foot: whole[(head+blocks)*blockSize:],
					})
					if got != want {
						t.Fatalf("%d, %d and %d blocks: got %x, want %x", head, blocks, foot, got, want)
					}
				}
			}
		}
	})
}

// TestTheCounterOfBlocksHasFourBytes: a carry beyond them would change the nonce (SP 800-38D section 6.2).
func TestTheCounterOfBlocksHasFourBytes(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, keyLen := range []int{16, 24, 32} {
			var rk RoundKeys
			rounds := Expand(tier, &rk, random(23, keyLen))
			for _, start := range []uint32{0, 1, 0xFF, 0xFFFD, 0xFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF} {
				iv := [16]byte(random(24, 16))
				binary.BigEndian.PutUint32(iv[12:], start)
				for first := range 20 {
					for n := 0; n < 400; n += 13 {
						want := random(25, n)
						got := bytes.Clone(want)
						ctrGeneric(&rk, rounds, &iv, first, want)
						if ctr(tier, &rk, rounds, &iv, first, got); !bytes.Equal(got, want) {
							t.Fatalf("from %#x + %d on, %d bytes: differs from byte %d on", start, first, n, mismatch(got, want))
						}
					}
				}
			}
		}
	})
}
