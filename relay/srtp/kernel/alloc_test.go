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
		var key [20]byte
		rounds := Expand(tier, &rk, make([]byte, 32))
		g.Init(tier, &rk, rounds)
		other := rk
		aad, p := make([]byte, 12), make([]byte, 171)
		for name, call := range map[string]func(){
			"Expand":     func() { Expand(tier, &other, key[:16]); Expand(tier, &other, p[:32]) },
			"HMAC.Init":  func() { h.Init(tier, &key) },
			"GHASH.Init": func() { g.Init(tier, &rk, rounds) },
			"CTR":        func() { CTR(tier, &rk, rounds, &iv, p) },
			"HMAC1, its arguments on the stack": func() {
				var h HMAC
				var msg [171]byte
				var mac [20]byte
				HMAC1(tier, &h, msg[:], 7, true, &mac)
			},
			"HMAC2, its arguments on the stack": func() {
				var h HMAC
				var msg [171]byte
				var macs [2][20]byte
				HMAC2(tier, &Lane{Key: &h, Msg: msg[:], Tag: &macs[0]}, &Lane{Key: &h, Msg: msg[:12], Tag: &macs[1], WithSuffix: true})
			},
			"HMAC16 of five, their arguments on the stack": func() {
				var h HMAC
				var msg [171]byte
				var mac [20]byte
				l := &Lane{Key: &h, Msg: msg[:], Tag: &mac}
				HMAC16(tier, []*Lane{l, l, l, l, l})
			},
			"HMAC16, its arguments on the stack": func() {
				var h HMAC
				var msg [171]byte
				var macs [2][20]byte
				HMAC16(tier, []*Lane{{Key: &h, Msg: msg[:], Tag: &macs[0]}, {Key: &h, Msg: msg[:12], Tag: &macs[1], WithSuffix: true}})
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
