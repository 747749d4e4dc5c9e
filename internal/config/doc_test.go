package config_test

import (
	"os"
	"path/filepath"
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
	if len(c.Trunks) != 2 || c.Trunks["uc"].SRTP != config.SRTPRequired {
		t.Errorf("trunks %v", c.Trunks)
	}
}

// Each page that tells how to do something shows a whole configuration, and it is one.
func TestEveryConfigurationOfTheDocumentationIsValid(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
			shown++
			c, err := config.Parse(filepath.Base(path), block[1])
			if err != nil {
				t.Error(err)
				continue
			}
			for _, warning := range c.Warnings() {
				t.Errorf("a reader would be warned: %v", warning)
			}
		}
	}
	if shown < 7 {
		t.Errorf("%d configurations in %d pages, want 7 at least", shown, len(pages))
	}
}
