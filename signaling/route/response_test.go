package route

import (
	"testing"

	"tandem/internal/config"
)

func TestFailuresAreTranslatedByTheLowestPriorityThatFits(t *testing.T) {
	rules := []config.ResponseRule{
		{Priority: 5, Code: 0, Cause: config.AnyCause, To: 500},
		{Priority: 2, Code: 486, Cause: 34, To: 503},
		{Priority: 2, Code: 486, Cause: config.AnyCause, To: 480},
		{Priority: 3, Code: 0, Cause: 34, To: 504},
		{Priority: 2, Code: 404, To: 410},
	}
	for _, tc := range []struct {
		name        string
		code, cause int
		to, rule    int
		ok          bool
	}{
		{"code and cause, of equals the first", 486, 34, 503, 1, true},
		{"code alone", 486, 17, 480, 2, true},
		{"no cause told", 486, 0, 480, 2, true},
		{"cause alone", 480, 34, 504, 3, true},
		{"any code and any cause", 480, 16, 500, 0, true},
		{"a cause that no file set is any", 404, 1, 410, 4, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if to, rule, ok := Translate(rules, tc.code, tc.cause); to != tc.to || rule != tc.rule || ok != tc.ok {
				t.Errorf("Translate(%d, %d) = %d, %d, %v; want %d, %d, %v", tc.code, tc.cause, to, rule, ok, tc.to, tc.rule, tc.ok)
			}
		})
	}
	if to, rule, ok := Translate(rules[1:2], 404, 34); to != 404 || rule != -1 || ok {
		t.Errorf("without a rule that fits: %d, %d, %v", to, rule, ok)
	}
}
