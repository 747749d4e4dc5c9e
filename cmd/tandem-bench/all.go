package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"tandem/bench/report"
)

// allCmd is what make bench runs.
type allCmd struct {
	bench
	Engines  []string `default:"funnel,xdp,sockets" help:"Engines to measure; sessions with the first."`
	Modes    []string `default:"both,rtp,srtp" help:"Modes to measure each engine in."`
	Streams  int      `default:"2000" help:"Directions with traffic; two are a call."`
	Count    int      `default:"20000" help:"Sessions of the control measurement."`
	Rounds   int      `default:"5" help:"How often each side has its turn."`
	Proxy    string   `default:"kamailio+rtpengine" help:"Whom to measure calls beside; none: nobody."`
	Rival    string   `default:"rtpengine" help:"Whom to measure beside it: rtpengine[:PATH]; none: nobody."`
	Quick    bool     `help:"Short runs and one round: to try the command out, not for figures."`
	Document string   `default:"BENCHMARKS.md" help:"The document whose tables are rewritten." type:"path"`
	Results  string   `default:"bench/results" help:"Where the JSON goes." type:"path"`
}

// Parts of the document.
const (
	relayPart    = "relay"
	sessionsPart = "sessions"
	cryptoPart   = "crypto"
	sipPart      = "sip"
)

// Run implements kong's command. Results are written as they come; the document only when all are there.
func (c *allCmd) Run(ctx context.Context, s streams) error {
	// A document without room for the figures is better known before an hour of measuring than after it.
	if err := report.HasParts(c.Document, relayPart, sessionsPart, cryptoPart, sipPart); err != nil {
		return err
	}
	if len(c.Engines) == 0 {
		return errors.New("--engines names none")
	}
	bare, err := c.crypto(s)
	if err != nil {
		return fmt.Errorf("crypto: %w", err)
	}
	var relays strings.Builder
	for _, engine := range c.Engines {
		for _, mode := range c.Modes {
			result, err := c.relay(ctx, s, engine, mode)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", engine, mode, err)
			}
			fmt.Fprintf(&relays, "### %s, %s\n\n%s\n%s\n", engine, mode, result.Table(), result.Caveats())
		}
	}
	engine := c.Engines[0] // one socket for all ports; with a socket a port, 20,000 sessions want 40,000 open files
	result, err := c.sessions(ctx, s, engine)
	if err != nil {
		return fmt.Errorf("%s, %d sessions: %w", engine, c.Count, err)
	}
	sessions := fmt.Sprintf("%s\n%s\n", result.Table(), result.Conditions.Sentence())
	calls, err := c.calls(ctx, s)
	if err != nil {
		return fmt.Errorf("calls: %w", err)
	}
	return report.Rewrite(c.Document, map[string]string{cryptoPart: bare, relayPart: relays.String(), sessionsPart: sessions, sipPart: calls})
}

func (c *allCmd) relay(ctx context.Context, s streams, engine, mode string) (*report.Comparison, error) {
	run := relayCmd{bench: c.bench, Engine: engine, Mode: mode, Streams: c.Streams, Rounds: c.Rounds, Quick: c.Quick, Rival: c.Rival}
	if c.Rival == "none" {
		run.Rival = ""
	}
	if c.Quick {
		run.Rounds = 1
	}
	s.log("== %s, %s", engine, mode)
	result, err := run.compare(ctx, s)
	if err != nil {
		return nil, err
	}
	result.Conditions.Command = run.command()
	return result, report.SaveJSON(filepath.Join(c.Results, "relay-"+engine+"-"+mode+".json"), result)
}

func (c *allCmd) sessions(ctx context.Context, s streams, engine string) (*report.Sessions, error) {
	run := sessionsCmd{bench: c.bench, Engine: engine, Count: c.Count}
	s.log("== %s, %d sessions", engine, c.Count)
	result, err := run.measure(ctx)
	if err != nil {
		return nil, err
	}
	result.Conditions.Command = fmt.Sprintf("tandem-bench sessions --engine %s --count %d", engine, c.Count)
	return result, report.SaveJSON(filepath.Join(c.Results, "sessions-"+engine+".json"), result)
}

// callSeconds is how long a rate of calls must hold.
const callSeconds = 60

func (c *allCmd) calls(ctx context.Context, s streams) (string, error) {
	run := sipCmd{bench: c.bench, Engine: "auto", Seconds: callSeconds, Rounds: c.Rounds, Quick: c.Quick, Rival: c.Proxy}
	if c.Proxy == "none" {
		run.Rival = ""
	}
	if c.Quick {
		run.Seconds, run.Rounds = 0, 0
	}
	s.log("== calls")
	result, err := run.compare(ctx, s)
	if err != nil {
		return "", err
	}
	return result.Table(), report.SaveJSON(filepath.Join(c.Results, "sip.json"), result)
}

func (c *allCmd) crypto(s streams) (string, error) {
	s.log("== crypto")
	var run cryptoCmd
	results, leftOut, err := run.measure(s)
	if err != nil {
		return "", err
	}
	return run.part(results, leftOut), report.SaveJSON(filepath.Join(c.Results, "crypto.json"), results)
}

// command is what a reader types to repeat one measurement of the set.
func (c *relayCmd) command() string {
	line := fmt.Sprintf("tandem-bench relay --engine %s --mode %s --streams %d --search --rounds %d", c.Engine, c.Mode, c.Streams, c.Rounds)
	if c.Rival != "" {
		line += " --rival " + c.Rival
	}
	if c.Quick {
		line += " --quick"
	}
	return line
}
