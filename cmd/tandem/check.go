package main

import (
	"fmt"

	"tandem/internal/config"
)

// checkCmd reads a configuration and tells what it says.
type checkCmd struct {
	Config string `short:"c" required:"" type:"path" help:"The configuration file."`
	Quiet  bool   `short:"q" help:"Print nothing when all is well."`
}

// Run implements kong's command.
func (c *checkCmd) Run(s streams) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return reported(s, err)
	}
	if !c.Quiet {
		cfg.Describe(s.out)
		fmt.Fprintf(s.out, "\n%s is valid.\n", c.Config)
	}
	return nil
}

// reported prints a configuration's mistakes, one a line, and is then done with them.
func reported(s streams, err error) error {
	fmt.Fprintln(s.err, err)
	return exit(2)
}
