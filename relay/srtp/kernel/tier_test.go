package kernel

import (
	"errors"
	"runtime"
	"slices"
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
		if err == nil || !strings.Contains(err.Error(), "generic, armce, aesni, shani, vaes, avx512") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := Tier(200).String(); got != "tier 200" {
		t.Errorf("a tier that does not exist prints as %q", got)
	}
}

// TestTheMachineHasEachTierUpToItsBest: a later tier has what the earlier ones of its architecture have.
func TestTheMachineHasEachTierUpToItsBest(t *testing.T) {
	if !Have(Generic) {
		t.Error("generic is missing")
	}
	for tier := Generic; tier < tiers; tier++ {
		if want := tier <= Best() && tierArchs[tier] == runtime.GOARCH; Have(tier) != want {
			t.Errorf("have %s: %t, and the best is %s", tier, Have(tier), Best())
		}
	}
	if Have(tiers) {
		t.Error("there is a tier beyond the last")
	}
	all := Tiers()
	if all[0] != Generic || all[len(all)-1] != Best() || !slices.IsSorted(all) {
		t.Errorf("the tiers are %s, and the best is %s", all, Best())
	}
}

func TestATierThatFailsItsCheckIsRefusedAndTheNextOneIsTaken(t *testing.T) {
	var ladder []Tier
	for tier := Generic; tier < tiers; tier++ {
		if tierArchs[tier] == runtime.GOARCH {
			ladder = append(ladder, tier)
		}
	}
	last := len(ladder) - 1
	for bad := range ladder { // 0: none is
		r := prove(ladder[last], func(tier Tier) error {
			if bad > 0 && tier >= ladder[bad] {
				return errors.New("a wrong sum")
			}
			return nil
		})
		want := (bad + last) % (last + 1) // the one before, of none the last
		if r.tier != ladder[want] || len(r.refused) != last-want {
			t.Errorf("%s is broken: %s taken, %d refused", ladder[bad], r.tier, len(r.refused))
		}
		for i, err := range r.refused {
			if name := ladder[last-i].String(); !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "wrong sum") {
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
	for tier := Generic; tier < tiers; tier++ {
		if !Have(tier) {
			t.Logf("this processor does not have %s: its tests run elsewhere", tier)
		}
	}
}
