package kernel

import (
	"errors"
	"strings"
	"testing"
)

func TestEveryTierIsReadByItsName(t *testing.T) {
	for tier := Generic; tier < tiers; tier++ {
		if got, err := ParseTier(tier.String()); got != tier || err != nil {
			t.Errorf("%s reads as %s: %v", tier, got, err)
		}
	}
}

func TestAnUnknownTierIsRefusedWithTheKnownNames(t *testing.T) {
	for _, name := range []string{"", "VAES", "tier 9", "avx-512"} {
		_, err := ParseTier(name)
		if err == nil || !strings.Contains(err.Error(), "generic, aesni, shani, vaes, avx512") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := Tier(200).String(); got != "tier 200" {
		t.Errorf("a tier that does not exist prints as %q", got)
	}
}

// TestTheMachineHasEachTierUpToItsBest: a later tier has what the earlier ones have.
func TestTheMachineHasEachTierUpToItsBest(t *testing.T) {
	if !Have(Generic) {
		t.Error("generic is missing")
	}
	for tier := Generic; tier < tiers; tier++ {
		if Have(tier) != (tier <= Best()) {
			t.Errorf("have %s: %t, and the best is %s", tier, Have(tier), Best())
		}
	}
	if Have(tiers) {
		t.Error("there is a tier beyond the last")
	}
}

func TestATierThatFailsItsCheckIsRefusedAndTheNextOneIsTaken(t *testing.T) {
	for bad, want := range map[Tier]Tier{Generic: AVX512, AESNI: Generic, SHANI: AESNI, VAES: SHANI, AVX512: VAES} {
		r := prove(AVX512, func(tier Tier) error {
			if bad != Generic && tier >= bad {
				return errors.New("a wrong sum")
			}
			return nil
		})
		if r.tier != want || len(r.refused) != int(AVX512-want) {
			t.Errorf("%s is broken: %s taken, %d refused", bad, r.tier, len(r.refused))
		}
		for i, err := range r.refused {
			if name := (AVX512 - Tier(i)).String(); !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "wrong sum") {
				t.Errorf("%q does not name %s and the reason", err, name)
			}
		}
	}
}

// TestACheckFindsOneWrongBit flips one for each pair of messages, further on in the results each time.
func TestACheckFindsOneWrongBit(t *testing.T) {
	if err := agree(Generic, digest); err != nil {
		t.Fatal(err)
	}
	for tried := range checked {
		calls := 0
		err := agree(AESNI, func(tier Tier, material *[materialSize]byte, keyLen int, first, second []byte) []byte {
			out := digest(Generic, material, keyLen, first, second)
			if tier == AESNI {
				if calls == tried {
					out[len(out)*tried/len(checked)] ^= 4
				}
				calls++
			}
			return out
		})
		if err == nil {
			t.Errorf("a wrong bit in message %d went unnoticed", tried)
		}
	}
}

// TestThisProcessorComputesWhatItClaims: a tier that is refused would leave the tests of it out without a word.
func TestThisProcessorComputesWhatItClaims(t *testing.T) {
	if err := Refused(); err != nil {
		t.Error(err)
	}
	for tier := Best() + 1; tier < tiers; tier++ {
		t.Logf("this processor does not have %s: its tests run elsewhere", tier)
	}
}
