package digest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/config"
)

func TestPasswordIsTheFirstLineOfItsFile(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, content, want, err string }{
		{"unix", "hush\nmore", "hush", ""},
		{"dos", "hush\r\n", "hush", ""},
		{"bare", "hush", "hush", ""},
		{"spaces", " hush \n", " hush ", ""},
		{"empty", "\nhush", "", "its first line is empty"},
		{"void", "", "", "its first line is empty"},
		{"long", strings.Repeat("hush", maxSecret), "", "first line is longer than"},
		{"gone", "", "", "no such file"},
		{"directory", "", "", "not a regular file"},
	} {
		path := filepath.Join(dir, c.name)
		switch c.name {
		case "gone":
		case "directory":
			path = dir
		default:
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Who(config.Auth{User: "alice", Realm: "r", File: path})
		if got.User != "alice" || got.Realm != "r" || string(got.Password) != c.want {
			t.Errorf("%s: %q", c.name, string(got.Password))
		}
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, err := Who(config.Auth{User: "alice", Password: "as it is"}); err != nil || string(got.Password) != "as it is" {
		t.Errorf("without a file: %q, %v", string(got.Password), err)
	}
}
