package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// Tier is a set of processor features that the kernels use. A later tier has what the earlier ones of its architecture have.
type Tier uint8

const (
	Generic Tier = iota // Go alone, on every processor; the reference
	ARMCE               // arm64: AES, SHA-1 and the multiplication of polynomials of 64 bits (FEAT_AES, FEAT_SHA1, FEAT_PMULL)
	AESNI               // amd64: AES-NI and PCLMULQDQ on 128-bit registers; SHA-1 of eight messages side by side where AVX2 is, else in Go
	SHANI               // AESNI, and SHA-1 with the SHA extensions
	VAES                // SHANI, with AES and carry-less multiplication on 256-bit registers (AVX2, VAES, VPCLMULQDQ)
	AVX512              // VAES, with AES on 512-bit registers and SHA-1 of sixteen messages side by side (AVX-512 F, BW and VL)
	tiers               // how many there are
)

var (
	tierNames = [tiers]string{"generic", "armce", "aesni", "shani", "vaes", "avx512"}
	tierArchs = [tiers]string{runtime.GOARCH, "arm64", "amd64", "amd64", "amd64", "amd64"} // which has the kernels
)

// found is what this processor has, as far as it has proven itself. It is looked for once, when somebody asks first.
var found = sync.OnceValue(func() result { return prove(probe(), check) })

// result is a tier, and why each later one that the processor seems to have is not used.
type result struct {
	tier    Tier
	refused []error
}

// prove returns the last tier up to the one given that computes what the reference does.
func prove(t Tier, check func(Tier) error) (r result) {
	for ; t > Generic; t-- {
		if tierArchs[t] != runtime.GOARCH {
			continue
		}
		err := check(t)
		if err == nil {
			break
		}
		r.refused = append(r.refused, fmt.Errorf("crypto tier %s is not used: %w", t, err))
	}
	r.tier = t
	return r
}

// Best returns the fastest tier that this processor has and that computes what the reference does.
func Best() Tier { return found().tier }

// Refused returns why Best is not what the processor says that it has, a line a tier; nil if it is.
func Refused() error { return errors.Join(found().refused...) }

// Have tells whether this processor can run tier t.
func Have(t Tier) bool { return t <= Best() && tierArchs[t] == runtime.GOARCH }

// Tiers returns what this processor can run, the reference first and the fastest last.
func Tiers() (all []Tier) {
	for t := Generic; t < tiers; t++ {
		if Have(t) {
			all = append(all, t)
		}
	}
	return all
}

// String returns the name that ParseTier reads.
func (t Tier) String() string {
	if t >= tiers {
		return fmt.Sprintf("tier %d", uint8(t))
	}
	return tierNames[t]
}

// ParseTier returns the tier of that name: generic, armce, aesni, shani, vaes or avx512. Whether this processor has it is Have's to say.
func ParseTier(name string) (Tier, error) {
	for t, known := range tierNames {
		if name == known {
			return Tier(t), nil
		}
	}
	return Generic, fmt.Errorf("crypto tier %q: not one of %s", name, strings.Join(tierNames[:], ", "))
}
