package main

import (
	"bytes"
	"cmp"
	"fmt"

	"tandem/internal/config"
)

// checkCmd reads a configuration and tells what it says.
type checkCmd struct {
	Config   string `short:"c" required:"" type:"path" help:"The configuration file."`
	Node     string `help:"What remains of the file for this node of the pool; without it the whole file."`
	Resolved bool   `help:"Print each trunk with every value of its policy, and the scope and line that give it."`
	Routes   bool   `help:"Hold the routing cases that are stored beside the file against it."`
	Cases    string `type:"path" help:"The file of the routing cases, for --routes."`
	Quiet    bool   `short:"q" help:"Print nothing when all is well."`
}

// Run implements kong's command. Warnings are no failure; a routing case that does not hold is one.
func (c *checkCmd) Run(s streams) error {
	cfg, err := config.LoadFor(c.Config, cmp.Or(c.Node, config.AllNodes))
	if err != nil {
		return reported(s, err)
	}
	holds := true
	switch cases := c.Routes || c.Cases != ""; {
	case cases:
		var out bytes.Buffer
		if holds, err = runCases(&out, c.Config, c.Cases); err != nil {
			return reported(s, err)
		}
		if !holds || !c.Quiet {
			s.out.Write(out.Bytes())
		}
	case c.Quiet:
	case c.Resolved:
		cfg.DescribePolicies(s.out)
	default:
		cfg.Describe(s.out)
	}
	if !c.Quiet {
		fmt.Fprintf(s.err, "%s is valid.\n", c.Config)
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(s.err, "warning: %v\n", w)
	}
	for _, missing := range absent(c.here(cfg)) {
		fmt.Fprintf(s.err, "warning: on this machine %v\n", missing)
	}
	if !holds {
		return exit(1)
	}
	return nil
}

// here is what remains of the file for this machine, whose node it names or the host's name is: other nodes' addresses and files
// need not be here. Of a file with nothing for this machine, all of it.
func (c *checkCmd) here(all *config.Config) *config.Config {
	if mine, err := config.LoadFor(c.Config, c.Node); err == nil {
		return mine
	}
	return all
}

// reported prints a configuration's mistakes, one a line, and is then done with them.
func reported(s streams, err error) error {
	fmt.Fprintln(s.err, err)
	return exit(2)
}
