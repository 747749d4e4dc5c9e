package kernel

import (
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
	for _, name := range []string{"", "VAES", "tier 9", "avx512"} {
		_, err := ParseTier(name)
		if err == nil || !strings.Contains(err.Error(), "generic, aesni, shani, vaes") {
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
