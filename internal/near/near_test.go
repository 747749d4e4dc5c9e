package near

import (
	"strings"
	"testing"
)

func TestAMistypedWordFindsTheOneThatWasMeant(t *testing.T) {
	known := []string{"listeners", "trunks", "pin", "session.open", "tls_names"}
	for word, want := range map[string]string{
		"listner": "listeners", "trunsk": "trunks", "pinn": "pin", "session.opne": "session.open", "TLS-Names": "tls_names",
		"": "", "x": "", "routes": "", strings.Repeat("p", 50): "",
	} {
		if got, ok := Word(word, known); got != want || ok != (want != "") {
			t.Errorf("%q found %q, %v; want %q", word, got, ok, want)
		}
	}
}
