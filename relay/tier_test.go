package relay

import (
	"strings"
	"testing"

	"tandem/relay/srtp/kernel"
)

func TestTheCryptoTierIsTheNamedOneOrTheBest(t *testing.T) {
	for _, c := range []struct {
		option, environment string
		want                kernel.Tier
	}{
		{"", "", kernel.Best()},
		{"", "generic", kernel.Generic},
		{"generic", "nonsense", kernel.Generic},
	} {
		t.Setenv("TANDEM_CRYPTO", c.environment)
		if got, err := chooseTier(c.option); err != nil || got != c.want {
			t.Errorf("option %q, environment %q: %s, %v; want %s", c.option, c.environment, got, err, c.want)
		}
	}
	t.Setenv("TANDEM_CRYPTO", "nonsense")
	if _, err := chooseTier(""); err == nil || !strings.Contains(err.Error(), "TANDEM_CRYPTO") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a tier that does not exist: %v", err)
	}
}
