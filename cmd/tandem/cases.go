package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"tandem/internal/cases"
	"tandem/internal/config"
	"tandem/signaling/route"
)

// runCases holds the routing cases stored beside a config against it and writes what is wrong with each that fails; ok: they
// all hold. An empty path is the file that belongs to the config by its name. The cases are about the whole pool: which node
// decides a call is told by the trunk it enters by.
func runCases(w io.Writer, configPath, path string) (ok bool, err error) {
	cfg, err := config.LoadFor(configPath, config.AllNodes)
	if err != nil {
		return false, err
	}
	stored := path == ""
	if stored {
		path = cases.Path(configPath)
	}
	list, err := cases.Load(path)
	if errors.Is(err, fs.ErrNotExist) && stored {
		return false, fmt.Errorf("there are no routing cases for %s: write them to %s, or name their file with --cases", configPath, path)
	}
	if err != nil {
		return false, err
	}
	table, failed := route.New(cfg), 0
	for _, c := range list {
		wrong, e, err := table.Try(c)
		if err == nil && len(wrong) == 0 {
			continue
		}
		failed++
		fmt.Fprintf(w, "%s:%d: %s\n", path, c.Line, c.Name)
		if err != nil {
			fmt.Fprintf(w, "  %v\n\n", err)
			continue
		}
		for _, x := range wrong {
			fmt.Fprintf(w, "  %-9s expected  %s\n  %9s got       %s\n", x.What, x.Want, "", x.Got)
		}
		if c.Answer == nil {
			io.WriteString(w, "  because\n")
			e.PrintDeciding(w, configPath)
			fmt.Fprintf(w, "  every step: %s\n", explainLine(configPath, &c))
		}
		io.WriteString(w, "\n")
	}
	if failed > 0 {
		fmt.Fprintf(w, "%s: %d of %d cases fail.\n", path, failed, len(list))
		return false, nil
	}
	fmt.Fprintf(w, "%s: all %d cases hold.\n", path, len(list))
	return true, nil
}

// explainLine is the command that tells every step of a case's call.
func explainLine(configPath string, c *cases.Case) string {
	line := fmt.Sprintf("tandem explain -c %s --trunk %s --from %s --to %s", quoted(configPath), quoted(c.Trunk), quoted(c.From), quoted(c.To))
	for _, f := range []struct {
		flag  string
		names []string
	}{{"--down", c.Down}, {"--demoted", c.Demoted}, {"--resting", c.Resting}, {"--full", c.Full}} {
		for _, name := range f.names {
			line += " " + f.flag + " " + quoted(name)
		}
	}
	return line
}

// quoted is a word for a shell.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-_./:@", r)
	}
	if word != "" && strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
