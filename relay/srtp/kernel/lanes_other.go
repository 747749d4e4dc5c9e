//go:build !amd64

package kernel

func sideBySide(Tier) []Side { return nil }

// hmac4 hashes two by two: the caller has put those of a length together.
func hmac4(t Tier, s *[narrow]stream, _ int) {
	for i := 0; i < narrow; i += 2 {
		a, b := &s[i], &s[i+1]
		if a.blocks < b.blocks {
			a, b = b, a
		}
		switch {
		case b.blocks > 0:
			hmac2(t, a, b)
		case a.blocks > 0:
			hmac1(t, a)
		}
	}
}
