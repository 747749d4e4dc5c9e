package kernel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// lengths are what a packet can have: each up to 300 bytes, then around the multiples of what the kernels take at a time.
func lengths() (all []int) {
	for n := range 301 {
		all = append(all, n)
	}
	for _, around := range []int{320, 384, 480, 512, 640, 768, 960, 1024, 1200, 1280, 1500, 1536, 2032, 2048} {
		for n := around - 2; n <= around+2; n++ {
			all = append(all, n)
		}
	}
	return append(all, 1<<16-1, 1<<16, 1<<16+1)
}

// eachTier runs a test on every tier that the machine has. What it lacks, TestThisProcessorComputesWhatItClaims names.
func eachTier(t *testing.T, run func(t *testing.T, tier Tier)) {
	for _, tier := range Tiers() {
		t.Run(tier.String(), func(t *testing.T) { run(t, tier) })
	}
}

func random(seed uint64, n int) []byte {
	source := rand.New(rand.NewPCG(seed, uint64(n)))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(source.Uint32())
	}
	return out
}

// misaligned returns a copy of p that begins at this distance from a multiple of 64.
func misaligned(p []byte, by int) []byte {
	room := make([]byte, len(p)+128)
	for at := range room[:64] {
		if address(room[at:])%64 == uintptr(by) {
			return append(room[at:at], p...)
		}
	}
	panic("unreachable")
}

func TestCounterModeMatchesTheStandardLibraryAtEveryLengthAndAlignment(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, keyLen := range []int{16, 24, 32} {
			key := random(1, keyLen)
			var rk RoundKeys
			rounds := Expand(tier, &rk, key)
			block, err := aes.NewCipher(key)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range lengths() {
				iv := [16]byte(random(uint64(n), 16))
				iv[14], iv[15] = 0, 0
				plain := random(2, n)
				want := make([]byte, n)
				cipher.NewCTR(block, iv[:]).XORKeyStream(want, plain)
				got, before := misaligned(plain, n%64), iv
				if CTR(tier, &rk, rounds, &iv, got); !bytes.Equal(got, want) {
					t.Fatalf("key of %d bytes, %d bytes: differs from byte %d on", keyLen, n, mismatch(got, want))
				}
				if iv != before {
					t.Fatal("the IV changed")
				}
			}
		}
	})
}

// TestEveryTierExpandsAKeyAsTheTwinDoes fills the room beforehand: what a shorter key does not need must stay as it was.
func TestEveryTierExpandsAKeyAsTheTwinDoes(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, keyLen := range []int{16, 24, 32} {
			for seed := range uint64(64) {
				key := misaligned(random(seed, keyLen), int(seed))
				before := bytes.Clone(key)
				got := RoundKeys(random(19, len(RoundKeys{})))
				want := got
				expandGeneric(&want, key)
				if Expand(tier, &got, key); got != want {
					t.Fatalf("key of %d bytes at %d: differs from byte %d on", keyLen, seed, mismatch(got[:], want[:]))
				}
				if !bytes.Equal(key, before) {
					t.Fatalf("key of %d bytes: it changed", keyLen)
				}
			}
		}
	})
}

func TestEveryTierSetsAnHMACKeyUpAsTheTwinDoes(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for seed := range uint64(64) {
			key := (*[20]byte)(misaligned(random(seed, 20), int(seed)))
			var got, want HMAC
			hmacKeyGeneric(&want, key)
			if got.Init(tier, key); got != want {
				t.Fatalf("key at %d: got %08x, want %08x", seed, got, want)
			}
			if *key != [20]byte(random(seed, 20)) {
				t.Fatal("the key changed")
			}
		}
	})
}

func TestCounterModeMatchesAtEveryAlignment(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		var rk RoundKeys
		rounds := Expand(tier, &rk, random(1, 16))
		var iv [16]byte
		for _, n := range []int{1, 20, 31, 160, 173, 255, 257} {
			want := random(3, n)
			ctrGeneric(&rk, rounds, &iv, 0, want)
			for by := range 64 {
				got := misaligned(random(3, n), by)
				if CTR(tier, &rk, rounds, &iv, got); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes at %d: differs from byte %d on", n, by, mismatch(got, want))
				}
			}
		}
	})
}

// reference is HMAC-SHA1 by the standard library.
func reference(key *[20]byte, msg []byte, suffix uint32, withSuffix bool) (tag [20]byte) {
	mac := hmac.New(sha1.New, key[:])
	mac.Write(msg)
	if withSuffix {
		mac.Write(binary.BigEndian.AppendUint32(nil, suffix))
	}
	mac.Sum(tag[:0])
	return tag
}

func TestHMACMatchesTheStandardLibraryAtEveryLengthAndAlignment(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		key := [20]byte(random(4, 20))
		var h HMAC
		h.Init(tier, &key)
		for _, n := range lengths() {
			for _, withSuffix := range []bool{false, true} {
				msg, suffix := misaligned(random(5, n), n*7%64), uint32(n)*0x01030507
				var got [20]byte
				HMAC1(tier, &h, msg, suffix, withSuffix, &got)
				if want := reference(&key, msg, suffix, withSuffix); got != want {
					t.Fatalf("%d bytes, suffix %t: got %x, want %x", n, withSuffix, got, want)
				}
			}
		}
	})
}

func TestTwoHMACLanesOfDifferentLengthsAreTwoHMACs(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		source := rand.New(rand.NewPCG(6, 6))
		keys := [2][20]byte{[20]byte(random(7, 20)), [20]byte(random(8, 20))}
		var h [2]HMAC
		h[0].Init(tier, &keys[0])
		h[1].Init(tier, &keys[1])
		check := func(n, m int, withN, withM bool) {
			t.Helper()
			var tags [2][20]byte
			a := Lane{Key: &h[0], Msg: random(9, n), Suffix: source.Uint32(), WithSuffix: withN, Tag: &tags[0]}
			b := Lane{Key: &h[1], Msg: random(10, m), Suffix: source.Uint32(), WithSuffix: withM, Tag: &tags[1]}
			HMAC2(tier, &a, &b)
			if want := reference(&keys[0], a.Msg, a.Suffix, withN); tags[0] != want {
				t.Fatalf("%d beside %d bytes: first tag %x, want %x", n, m, tags[0], want)
			}
			if want := reference(&keys[1], b.Msg, b.Suffix, withM); tags[1] != want {
				t.Fatalf("%d beside %d bytes: second tag %x, want %x", n, m, tags[1], want)
			}
		}
		for n := range 140 {
			for m := range 140 {
				check(n, m, (n+m)%3 > 0, n%2 > 0)
			}
		}
		for range 300 {
			check(source.IntN(2048), source.IntN(2048), true, source.IntN(2) > 0)
		}
	})
}

func TestGCMMatchesTheStandardLibraryAtEveryLengthAndAlignment(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, keyLen := range []int{16, 32} {
			key := random(11, keyLen)
			var rk RoundKeys
			var g GHASH
			rounds := Expand(tier, &rk, key)
			g.Init(tier, &rk, rounds)
			block, _ := aes.NewCipher(key)
			std, err := cipher.NewGCM(block)
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range lengths() {
				nonce := [12]byte(random(uint64(n), 12))
				aad, plain := misaligned(random(12, i%77), i%64), random(13, n)
				want := std.Seal(nil, nonce[:], plain, aad)
				got := misaligned(plain, i*5%64)
				var tag [16]byte
				SealGCM(tier, &rk, rounds, &g, &nonce, aad, got, &tag)
				if !bytes.Equal(append(bytes.Clone(got), tag[:]...), want) {
					t.Fatalf("key of %d bytes, %d bytes of data, %d of aad: got\n%x %x, want\n%x", keyLen, n, len(aad), got, tag, want)
				}
				if !OpenGCM(tier, &rk, rounds, &g, &nonce, aad, got, &tag) || !bytes.Equal(got, plain) {
					t.Fatalf("key of %d bytes, %d bytes of data, %d of aad: does not open", keyLen, n, len(aad))
				}
			}
		}
	})
}

func TestEveryTierHasTheSameHashKey(t *testing.T) {
	var rk RoundKeys
	rounds := Expand(Generic, &rk, random(14, 16))
	var want GHASH
	want.Init(Generic, &rk, rounds)
	eachTier(t, func(t *testing.T, tier Tier) {
		var got GHASH
		if got.Init(tier, &rk, rounds); got != want {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

// TestForgedGCMLeavesThePacketAsItCame: another rollover counter or another key may still open it.
func TestForgedGCMLeavesThePacketAsItCame(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		var rk RoundKeys
		var g GHASH
		rounds := Expand(tier, &rk, random(15, 16))
		g.Init(tier, &rk, rounds)
		nonce, aad := [12]byte(random(16, 12)), random(17, 12)
		for _, n := range []int{0, 1, 15, 16, 20, 160, 161, 300, 1200} {
			sealed := random(18, n)
			var tag [16]byte
			SealGCM(tier, &rk, rounds, &g, &nonce, aad, sealed, &tag)
			for bit := range 8 * (len(tag) + len(aad) + n) {
				forgedTag, forgedAAD, forged := tag, bytes.Clone(aad), bytes.Clone(sealed)
				part, at := forgedTag[:], bit
				if at >= 128 {
					part, at = forgedAAD, at-128
					if at >= 8*len(aad) {
						part, at = forged, at-8*len(aad)
					}
				}
				part[at/8] ^= 1 << (at % 8)
				before := bytes.Clone(forged)
				if OpenGCM(tier, &rk, rounds, &g, &nonce, forgedAAD, forged, &forgedTag) {
					t.Fatalf("%d bytes: opened with bit %d flipped", n, bit)
				}
				if !bytes.Equal(forged, before) {
					t.Fatalf("%d bytes: bit %d flipped, and the packet changed at byte %d", n, bit, mismatch(forged, before))
				}
				if n >= 300 && bit > 1000 && tier == Generic {
					break // the twin is slow; its first thousand bits make the point
				}
			}
		}
	})
}

func TestAPayloadThatWouldRepeatAKeystreamPanics(t *testing.T) {
	var rk RoundKeys
	var g GHASH
	var iv, tag [16]byte
	var nonce [12]byte
	long := make([]byte, MaxCTR+1)
	for name, call := range map[string]func(){
		"CTR":     func() { CTR(Generic, &rk, 10, &iv, long) },
		"SealGCM": func() { SealGCM(Generic, &rk, 10, &g, &nonce, nil, long[:MaxCTR-16], &tag) },
		"OpenGCM": func() { OpenGCM(Generic, &rk, 10, &g, &nonce, nil, long[:MaxCTR-16], &tag) },
	} {
		func() {
			defer func() {
				if fmt.Sprint(recover()) == "<nil>" {
					t.Errorf("%s took %d bytes", name, MaxCTR+1)
				}
			}()
			call()
		}()
	}
}

func mismatch(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestUpToSixteenHMACLanesOfAnyLengthsAreAsManyHMACs(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		source := rand.New(rand.NewPCG(20, 20))
		var keys [Wide][20]byte
		var h [Wide]HMAC
		for i := range keys {
			keys[i] = [20]byte(random(uint64(i), 20))
			h[i].Init(tier, &keys[i])
		}
		check := func(count int, length func() int) {
			t.Helper()
			var tags [Wide][20]byte
			var lanes []*Lane
			for i := range count {
				n := length()
				lanes = append(lanes, &Lane{Key: &h[i], Msg: misaligned(random(uint64(i), n), source.IntN(64)), Suffix: source.Uint32(), WithSuffix: source.IntN(2) > 0, Tag: &tags[i]})
			}
			HMAC16(tier, lanes)
			for i, l := range lanes {
				if want := reference(&keys[i], l.Msg, l.Suffix, l.WithSuffix); tags[i] != want {
					t.Fatalf("message %d of %d, %d bytes: tag %x, want %x", i, count, len(l.Msg), tags[i], want)
				}
			}
		}
		for n := range 260 {
			check(Wide, func() int { return n })
			check(narrow, func() int { return n })
		}
		for count := range Wide + 1 {
			for range 20 {
				check(count, func() int { return source.IntN(300) })
			}
			check(count, func() int { return source.IntN(2048) })
			check(count, func() int { return source.IntN(2) * 2048 }) // whole blocks alone, beside nothing at all
		}
	})
}

func TestMoreThanSixteenLanesPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("they were hashed")
		}
	}()
	HMAC16(Generic, make([]*Lane, Wide+1))
}
