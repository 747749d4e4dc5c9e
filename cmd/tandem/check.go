package main

import (
	"fmt"
	"log/slog"

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
		fmt.Fprintf(s.err, "%s is valid.\n", c.Config)
	}
	for _, missing := range absent(cfg) {
		fmt.Fprintf(s.err, "warning: on this machine %v\n", missing)
	}
	return nil
}

// absent tells what the configuration names and this machine does not have. The file may be meant for another machine, so
// this is no error of the file.
func absent(cfg *config.Config) []error {
	var all []error
	if _, err := guardListeners(&cfg.SIP); err != nil {
		all = append(all, err)
	}
	if _, err := serverOptions(&cfg.Control, slog.New(slog.DiscardHandler)); err != nil {
		all = append(all, err)
	}
	if cfg.Control.Group != "" {
		if _, err := groupID(cfg.Control.Group); err != nil {
			all = append(all, fmt.Errorf("control.group: %w", err))
		}
	}
	return all
}

// reported prints a configuration's mistakes, one a line, and is then done with them.
func reported(s streams, err error) error {
	fmt.Fprintln(s.err, err)
	return exit(2)
}
