package kernel

import "golang.org/x/sys/cpu"

// Feature bits of CPUID leaf 7 (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.3.6).
const (
	ebxSHA        = 1 << 29
	ecxVAES       = 1 << 9
	ecxVPCLMULQDQ = 1 << 10
)

// probe returns the last tier whose features are all there. HasAVX2 says that the system saves 256-bit registers too,
// HasAVX512F that it saves 512-bit ones and masks (XGETBV: bits 5 to 7 of XCR0).
func probe() Tier {
	if !cpu.X86.HasAES || !cpu.X86.HasPCLMULQDQ || !cpu.X86.HasSSSE3 {
		return Generic
	}
	ebx, ecx := cpuid7()
	if !cpu.X86.HasSSE41 || ebx&ebxSHA == 0 {
		return AESNI
	}
	if !cpu.X86.HasAVX2 || ecx&ecxVAES == 0 || ecx&ecxVPCLMULQDQ == 0 {
		return SHANI
	}
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512VL || !cpu.X86.HasBMI2 {
		return VAES
	}
	return AVX512
}

func expand(t Tier, rk *RoundKeys, key []byte) {
	if t >= AESNI {
		expandAESNI(rk, key)
		return
	}
	expandGeneric(rk, key)
}

func ctr(t Tier, rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte) {
	switch {
	case t >= AVX512:
		ctrAVX512(rk, rounds, iv, first, p)
	case t >= VAES:
		ctrVAES(rk, rounds, iv, first, p)
	case t >= AESNI:
		ctrAESNI(rk, rounds, iv, first, p)
	default:
		ctrGeneric(rk, rounds, iv, first, p)
	}
}

func hmacKey(t Tier, h *HMAC, key *[20]byte) {
	if t >= SHANI {
		hmacKeySHANI(h, key)
		return
	}
	hmacKeyGeneric(h, key)
}

func ghash(t Tier, g *GHASH, acc *[16]byte, r *runs) {
	switch {
	case t >= VAES:
		ghashVPCLMULQDQ(g, acc, r)
	case t >= AESNI:
		ghashPCLMULQDQ(g, acc, r)
	default:
		ghashGeneric(g, acc, r)
	}
}
