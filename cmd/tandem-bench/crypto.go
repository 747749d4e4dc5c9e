package main

import (
	"fmt"
	"strings"

	"tandem/bench/crypto"
	"tandem/bench/report"
	"tandem/relay/srtp"
)

// cryptoCmd measures SRTP without a relay around it.
type cryptoCmd struct {
	Suites  []string `help:"Suites by their RFC names; default: all."`
	Libsrtp string   `name:"libsrtp" placeholder:"PREFIX" help:"Where another libsrtp is installed (include, lib); default: the system's." type:"existingdir"`
	JSON    bool     `name:"json" help:"Print JSON instead of a table."`
}

// Run implements kong's command.
func (c *cryptoCmd) Run(s streams) error {
	results, leftOut, err := c.measure(s)
	if err != nil {
		return err
	}
	if c.JSON {
		return report.WriteJSON(s.out, results)
	}
	fmt.Fprint(s.out, c.part(results, leftOut))
	return nil
}

// measure takes the figures; what could not be measured is named at once.
func (c *cryptoCmd) measure(s streams) ([]crypto.Result, []string, error) {
	o := crypto.Options{LibSRTP: c.Libsrtp, Log: s.log}
	for _, name := range c.Suites {
		suite, ok := srtp.ParseSuite(name)
		if !ok {
			return nil, nil, fmt.Errorf("--suites: there is no suite %q; the suites are %v", name, srtp.Suites())
		}
		o.Suites = append(o.Suites, suite)
	}
	results, leftOut, err := crypto.Measure(o)
	for _, name := range leftOut {
		s.log("left out: %s", name)
	}
	return results, leftOut, err
}

// part is the document's: the table, what is not in it, and how it came to be.
func (c *cryptoCmd) part(results []crypto.Result, leftOut []string) string {
	text := crypto.Table(results) + "\n"
	for _, name := range leftOut {
		text += "* left out: " + name + "\n"
	}
	command := "tandem-bench crypto"
	if len(c.Suites) > 0 {
		command += " --suites " + strings.Join(c.Suites, ",")
	}
	if c.Libsrtp != "" {
		command += " --libsrtp PREFIX"
	}
	here := report.Here([]string{command})
	here.Tandem = version
	return text + here.Sentence() + "\n"
}
