package config

import (
	"strings"
	"testing"
)

func TestNestingIsBoundedBeforeTheParserSeesIt(t *testing.T) {
	for _, open := range []string{"[", "{a: ", "[\n"} {
		_, err := Parse("t.yaml", []byte("media: "+strings.Repeat(open, 100_000)))
		if err == nil || !strings.Contains(err.Error(), "brackets are open") {
			t.Errorf("%q 100,000 times: %v", open, err)
		}
	}
	if _, err := Parse("t.yaml", []byte(broken+"    # "+strings.Repeat("[", 100)+"\n      domain: '"+strings.Repeat("{", 100)+"'\n")); err != nil && strings.Contains(err.Error(), "brackets") {
		t.Errorf("brackets in a comment and in quotes were counted: %v", err)
	}
}
