package kernel

import (
	"fmt"
	"strings"
)

// Tier is a set of processor features that the kernels use. A later tier has what the earlier ones have.
type Tier uint8

// A tier of AVX-512 would follow VAES: it needs a name here, a probe, and a case in the dispatch of each operation.
const (
	Generic Tier = iota // Go alone, on every processor; the reference
	AESNI               // AES-NI and PCLMULQDQ on 128-bit registers; SHA-1 in Go
	SHANI               // AESNI, and SHA-1 with the SHA extensions
	VAES                // SHANI, with AES and carry-less multiplication on 256-bit registers (AVX2, VAES, VPCLMULQDQ)
	tiers               // how many there are
)

var tierNames = [tiers]string{"generic", "aesni", "shani", "vaes"}

// best is what this processor has; it is found once, before main.
var best = probe()

// Best returns the fastest tier that this processor has.
func Best() Tier { return best }

// Have tells whether this processor can run tier t.
func Have(t Tier) bool { return t <= best }

// String returns the name that ParseTier reads.
func (t Tier) String() string {
	if t >= tiers {
		return fmt.Sprintf("tier %d", uint8(t))
	}
	return tierNames[t]
}

// ParseTier returns the tier of that name: generic, aesni, shani or vaes. Whether this processor has it is Have's to say.
func ParseTier(name string) (Tier, error) {
	for t, known := range tierNames {
		if name == known {
			return Tier(t), nil
		}
	}
	return Generic, fmt.Errorf("crypto tier %q: not one of %s", name, strings.Join(tierNames[:], ", "))
}
