package config_test

import (
	"os"
	"regexp"
	"testing"

	"tandem/internal/config"
)

func TestTheFirstConfigurationOfTheDocumentationIsValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/first-config.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/first-config.md has no YAML block")
	}
	c, err := config.Parse("docs/first-config.md", block[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(c.SIP.Trunks) != 2 || c.SIP.Trunks["uc"].SRTP != config.SRTPRequired {
		t.Errorf("trunks %v", c.SIP.Trunks)
	}
}
