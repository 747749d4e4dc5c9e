package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The part of a document that belongs to a run stands between two lines of their own, which a reader does not see:
//
//	<!-- bench:relay -->
//	<!-- /bench:relay -->
func markers(name string) (begin, end string) {
	return "<!-- bench:" + name + " -->", "<!-- /bench:" + name + " -->"
}

// Replace returns the document with body between the markers of name.
func Replace(document, name, body string) (string, error) {
	begin, end := markers(name)
	before, rest, found := strings.Cut(document, begin+"\n")
	if !found {
		return "", fmt.Errorf("no line %q: write it, and %q below it, where the figures belong", begin, end)
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("no line %q after %q", end, begin)
	}
	if strings.Contains(after, begin+"\n") {
		return "", fmt.Errorf("the line %q comes twice", begin)
	}
	return before + begin + "\n" + strings.TrimRight(body, "\n") + "\n" + end + after, nil
}

// HasParts returns an error unless the document at path has the markers of every part.
func HasParts(path string, parts ...string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, name := range parts {
		if _, err := Replace(string(raw), name, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Rewrite replaces parts of the document at path, all or none.
func Rewrite(path string, parts map[string]string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(raw)
	for name, body := range parts {
		if text, err = Replace(text, name, body); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return writeWhole(path, []byte(text))
}

// writeWhole writes beside path and renames, so that nobody ever reads half a document.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".bench-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	if _, err = f.Write(content); err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
