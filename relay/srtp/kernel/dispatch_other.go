//go:build !amd64 && !arm64

package kernel

// probe: assembly exists for amd64 and arm64 only.
func probe() Tier { return Generic }

func expand(_ Tier, rk *RoundKeys, key []byte) { expandGeneric(rk, key) }

func ctr(_ Tier, rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte) {
	ctrGeneric(rk, rounds, iv, first, p)
}

func hmacKey(_ Tier, h *HMAC, key *[20]byte) { hmacKeyGeneric(h, key) }

func hmac1(_ Tier, a *stream) { hmacGeneric(a) }

func hmac2(_ Tier, a, b *stream) {
	hmacGeneric(a)
	hmacGeneric(b)
}

func hmac16(_ Tier, s *[Wide]stream, _ int) {
	for i := range s {
		if s[i].blocks > 0 {
			hmacGeneric(&s[i])
		}
	}
}

func ghash(_ Tier, g *GHASH, acc *[16]byte, r *runs) { ghashGeneric(g, acc, r) }
