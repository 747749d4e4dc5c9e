package kernel

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"fmt"
	"testing"
)

// sizes are payloads: G.729, G.711 at 20 and 40 ms, and a large video packet.
var sizes = []int{20, 160, 320, 1200}

func benchEachTier(b *testing.B, run func(b *testing.B, tier Tier)) {
	for _, tier := range Tiers() {
		b.Run(tier.String(), func(b *testing.B) {
			b.ReportAllocs()
			run(b, tier)
		})
	}
}

func BenchmarkCTR(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchEachTier(b, func(b *testing.B, tier Tier) {
				var rk RoundKeys
				rounds := Expand(tier, &rk, make([]byte, 16))
				var iv [16]byte
				p := make([]byte, n)
				for b.Loop() {
					CTR(tier, &rk, rounds, &iv, p)
				}
			})
		})
	}
}

// BenchmarkHMAC1 hashes a payload, its header of 12 bytes and the rollover counter.
func BenchmarkHMAC1(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchEachTier(b, func(b *testing.B, tier Tier) {
				var h HMAC
				var tag [20]byte
				p := make([]byte, 12+n)
				for b.Loop() {
					HMAC1(tier, &h, p, 1, true, &tag)
				}
			})
		})
	}
}

// BenchmarkHMAC2 counts a packet, not a pair, as an operation.
func BenchmarkHMAC2(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchEachTier(b, func(b *testing.B, tier Tier) {
				var h HMAC
				var tags [2][20]byte
				lanes := [2]Lane{
					{Key: &h, Msg: make([]byte, 12+n), WithSuffix: true, Tag: &tags[0]},
					{Key: &h, Msg: make([]byte, 12+n), WithSuffix: true, Tag: &tags[1]},
				}
				pairs := 0
				for b.Loop() {
					HMAC2(tier, &lanes[0], &lanes[1])
					pairs++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*pairs), "ns/packet")
			})
		})
	}
}

// BenchmarkHMAC16 counts a packet, not a group, as an operation. By how many there are it shows from how many on each kernel pays.
func BenchmarkHMAC16(b *testing.B) {
	for _, n := range sizes {
		for _, fill := range []int{3, 4, 8, Wide} {
			b.Run(fmt.Sprintf("%d/%d", n, fill), func(b *testing.B) {
				benchEachTier(b, func(b *testing.B, tier Tier) {
					var h [Wide]HMAC
					var tags [Wide][20]byte
					var lanes []*Lane
					for i := range fill {
						lanes = append(lanes, &Lane{Key: &h[i], Msg: make([]byte, 12+n), WithSuffix: true, Tag: &tags[i]})
					}
					groups := 0
					for b.Loop() {
						HMAC16(tier, lanes)
						groups++
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fill*groups), "ns/packet")
				})
			})
		}
	}
}

func BenchmarkGCM(b *testing.B) {
	var rk RoundKeys
	var g GHASH
	var nonce [12]byte
	var tag [16]byte
	rounds := Expand(Best(), &rk, make([]byte, 16))
	aad := make([]byte, 12)
	for _, n := range sizes {
		p := make([]byte, n)
		b.Run(fmt.Sprint("seal/", n), func(b *testing.B) {
			benchEachTier(b, func(b *testing.B, tier Tier) {
				g.Init(tier, &rk, rounds)
				for b.Loop() {
					SealGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag)
				}
			})
		})
		b.Run(fmt.Sprint("open/", n), func(b *testing.B) {
			benchEachTier(b, func(b *testing.B, tier Tier) {
				g.Init(tier, &rk, rounds)
				sealed := make([]byte, n)
				SealGCM(tier, &rk, rounds, &g, &nonce, aad, sealed, &tag)
				for b.Loop() {
					copy(p, sealed)
					if !OpenGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag) {
						b.Fatal("does not open")
					}
				}
			})
		})
	}
}

// BenchmarkForgedGCM is the cost of a reject.
func BenchmarkForgedGCM(b *testing.B) {
	benchEachTier(b, func(b *testing.B, tier Tier) {
		var rk RoundKeys
		var g GHASH
		var nonce [12]byte
		var tag [16]byte
		rounds := Expand(tier, &rk, make([]byte, 16))
		g.Init(tier, &rk, rounds)
		aad, p := make([]byte, 12), make([]byte, 160)
		for b.Loop() {
			if OpenGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag) {
				b.Fatal("a forged packet opened")
			}
		}
	})
}

func BenchmarkKeySetup(b *testing.B) {
	benchEachTier(b, func(b *testing.B, tier Tier) {
		var rk RoundKeys
		var g GHASH
		var h HMAC
		var key [20]byte
		for b.Loop() {
			rounds := Expand(tier, &rk, key[:16])
			g.Init(tier, &rk, rounds)
			h.Init(tier, &key)
		}
	})
}

// BenchmarkStandardLibrary is what the kernels replace, on the packet of 160 bytes.
func BenchmarkStandardLibrary(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	p, aad, iv := make([]byte, 160, 200), make([]byte, 12), make([]byte, 16)
	b.Run("CTR", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cipher.NewCTR(block, iv).XORKeyStream(p, p)
		}
	})
	b.Run("HMAC", func(b *testing.B) {
		b.ReportAllocs()
		mac := hmac.New(sha1.New, make([]byte, 20))
		tag := make([]byte, 20)
		for b.Loop() {
			mac.Reset()
			mac.Write(p)
			mac.Write(iv) // header and rollover counter are sixteen bytes
			mac.Sum(tag[:0])
		}
	})
	b.Run("GCM", func(b *testing.B) {
		b.ReportAllocs()
		aead, err := cipher.NewGCM(block)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			aead.Seal(p[:0], iv[:12], p, aad)
		}
	})
}
