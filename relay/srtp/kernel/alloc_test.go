package kernel

import (
	"testing"
	"unsafe"
)

func TestNoOperationAllocates(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		var rk RoundKeys
		var g GHASH
		var h HMAC
		var iv, tag [16]byte
		var nonce [12]byte
		var key, mac [20]byte
		rounds := Expand(&rk, make([]byte, 32))
		g.Init(tier, &rk, rounds)
		other := rk
		aad, p := make([]byte, 12), make([]byte, 171)
		for name, call := range map[string]func(){
			"Expand":     func() { Expand(&other, key[:16]); Expand(&other, p[:32]) },
			"HMAC.Init":  func() { h.Init(&key) },
			"GHASH.Init": func() { g.Init(tier, &rk, rounds) },
			"CTR":        func() { CTR(tier, &rk, rounds, &iv, p) },
			"HMAC1":      func() { HMAC1(tier, &h, p, 7, true, &mac) },
			"HMAC2": func() {
				HMAC2(tier, &Lane{Key: &h, Msg: p, Tag: &mac}, &Lane{Key: &h, Msg: aad, Tag: &key, WithSuffix: true})
			},
			"SealGCM": func() { SealGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag) },
			"OpenGCM, a good tag and then a wrong one": func() {
				SealGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag)
				good := OpenGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag)
				if forged := OpenGCM(tier, &rk, rounds, &g, &nonce, aad, p, &tag); !good || forged {
					t.Errorf("opened: good %t, forged %t", good, forged)
				}
			},
		} {
			if n := testing.AllocsPerRun(20, call); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	})
}

// TestAKeyFitsItsRoom: the layer above keeps a direction's GCM key, with sixteen bytes of salt, in six lines of the cache.
func TestAKeyFitsItsRoom(t *testing.T) {
	const room, salt = 384, 16
	if size := unsafe.Sizeof(RoundKeys{}) + unsafe.Sizeof(GHASH{}) + salt; size > room {
		t.Errorf("a GCM key takes %d bytes, more than %d", size, room)
	}
	if size := unsafe.Sizeof(RoundKeys{}) + unsafe.Sizeof(HMAC{}) + salt; size > room {
		t.Errorf("a counter mode key takes %d bytes, more than %d", size, room)
	}
}
