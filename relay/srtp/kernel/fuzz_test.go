package kernel

import (
	"bytes"
	"testing"
)

// FuzzEveryTierComputesWhatTheTwinDoes cuts the input into two messages and takes keys and nonce from seed.
func FuzzEveryTierComputesWhatTheTwinDoes(f *testing.F) {
	for _, n := range []int{0, 1, 12, 32, 55, 64, 172, 300, 1212} {
		f.Add(uint64(n), uint16(n/3), uint8(n), random(uint64(n), n))
	}
	f.Fuzz(func(t *testing.T, seed uint64, cut uint16, choice uint8, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		at := int(cut) % (len(data) + 1)
		keyLen := []int{16, 24, 32}[int(choice)%3]
		want := everything(Generic, seed, keyLen, data[:at], data[at:])
		for tier := Generic + 1; tier <= Best(); tier++ {
			if got := everything(tier, seed, keyLen, data[:at], data[at:]); !bytes.Equal(got, want) {
				t.Fatalf("%s, key of %d bytes, %d and %d bytes: byte %d of the results differs",
					tier, keyLen, at, len(data)-at, mismatch(got, want))
			}
		}
	})
}

// everything returns what the operations of a tier make of two messages, one after the other.
func everything(tier Tier, seed uint64, keyLen int, first, second []byte) (out []byte) {
	keys := random(seed, 128)
	var rk RoundKeys
	var g GHASH
	var h [2]HMAC
	var tags [3][20]byte
	var tag [16]byte
	rounds := Expand(tier, &rk, keys[:keyLen])
	g.Init(tier, &rk, rounds)
	iv, nonce := [16]byte(keys[32:]), [12]byte(keys[48:])
	iv[14], iv[15] = 0, 0
	h[0].Init(tier, (*[20]byte)(keys[60:]))
	h[1].Init(tier, (*[20]byte)(keys[80:]))

	stream := bytes.Clone(second)
	CTR(tier, &rk, rounds, &iv, stream)
	HMAC1(tier, &h[0], second, uint32(seed), seed%2 > 0, &tags[0])
	HMAC2(tier,
		&Lane{Key: &h[0], Msg: first, Tag: &tags[1], Suffix: uint32(seed), WithSuffix: seed%3 > 0},
		&Lane{Key: &h[1], Msg: second, Tag: &tags[2], Suffix: uint32(seed), WithSuffix: seed%5 > 0})
	sealed := bytes.Clone(second)
	SealGCM(tier, &rk, rounds, &g, &nonce, first, sealed, &tag)

	opened, forged := bytes.Clone(sealed), bytes.Clone(sealed)
	if !OpenGCM(tier, &rk, rounds, &g, &nonce, first, opened, &tag) || !bytes.Equal(opened, second) {
		panic("what was sealed does not open")
	}
	wrong := tag
	wrong[seed%16] ^= 1 << (seed >> 8 % 8)
	if OpenGCM(tier, &rk, rounds, &g, &nonce, first, forged, &wrong) || !bytes.Equal(forged, sealed) {
		panic("a wrong tag opened, or changed the packet")
	}
	for _, part := range [][]byte{stream, tags[0][:], tags[1][:], tags[2][:], sealed, tag[:]} {
		out = append(out, part...)
	}
	return out
}
