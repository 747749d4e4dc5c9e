package kernel

import "golang.org/x/sys/cpu"

// probe returns the last tier whose features are all there, as the kernel's auxiliary vector names them (Arm ARM D19.2.61,
// ID_AA64ISAR0_EL1).
func probe() Tier {
	if !cpu.ARM64.HasAES || !cpu.ARM64.HasPMULL || !cpu.ARM64.HasSHA1 {
		return Generic
	}
	return ARMCE
}

func expand(t Tier, rk *RoundKeys, key []byte) {
	if t == ARMCE {
		expandARMCE(rk, key)
		return
	}
	expandGeneric(rk, key)
}

func ctr(t Tier, rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte) {
	if t == ARMCE {
		ctrARMCE(rk, rounds, iv, first, p)
		return
	}
	ctrGeneric(rk, rounds, iv, first, p)
}

func hmacKey(t Tier, h *HMAC, key *[20]byte) {
	if t == ARMCE {
		hmacKeyARMCE(h, key)
		return
	}
	hmacKeyGeneric(h, key)
}

func hmac1(t Tier, a *stream) {
	if t == ARMCE {
		hmac1ARMCE(a)
		return
	}
	hmacGeneric(a)
}

func hmac2(t Tier, a, b *stream) {
	if t == ARMCE {
		hmac2ARMCE(a, b)
		return
	}
	hmacGeneric(a)
	hmacGeneric(b)
}

func hmac16(t Tier, s *[Wide]stream, _ int) {
	if t == ARMCE {
		hmac16ARMCE(s)
		return
	}
	for i := range s {
		if s[i].blocks > 0 {
			hmacGeneric(&s[i])
		}
	}
}

func ghash(t Tier, g *GHASH, acc *[16]byte, r *runs) {
	if t == ARMCE {
		ghashARMCE(g, acc, r)
		return
	}
	ghashGeneric(g, acc, r)
}
