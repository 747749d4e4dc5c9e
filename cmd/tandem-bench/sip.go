package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/bench/calls"
	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
)

// sipCmd measures calls.
type sipCmd struct {
	bench
	Engine  string        `default:"auto" help:"Engine of the relay: auto, funnel, sockets, xdp."`
	Rate    float64       `xor:"rate" help:"Calls per second."`
	Search  bool          `xor:"rate" help:"Search the highest rate of each side without a failed call, then compare at 90 % of the lower one; the default without --rate."`
	Seconds int           `help:"How long a run lasts, and how long the highest rate must hold; default 10, with --quick 4."`
	Within  time.Duration `help:"How long the whole search may take; default: by rounds and seconds, at most 14 minutes a round with a rival when runs last 10 s."`
	Rival   string        `placeholder:"kamailio+rtpengine" help:"Measure this one beside it, in turn."`
	Untuned bool          `help:"Leave it to the kernel who interrupts whom, and when idle CPUs halt. Without it everything under test, a rival too, runs under SCHED_BATCH (sched(7)), and no CPU halts."`
	Rounds  int           `help:"How often each side has its turn; default 3, with --quick 1."`
	Quick   bool          `help:"A look: short runs, coarse search, no wait for memory and goroutines afterwards."`
	JSON    bool          `name:"json" help:"Print JSON instead of a table."`
}

// Defaults of a run, and in a hurry.
const (
	sipSeconds, sipSecondsQuick = 10, 4
	sipRounds                   = 3
)

// Run implements kong's command. A comparison that ended early is printed, and fails.
func (c *sipCmd) Run(ctx context.Context, s streams) error {
	result, err := c.compare(ctx, s)
	switch {
	case result == nil:
	case c.JSON:
		err = errors.Join(err, report.WriteJSON(s.out, result))
	default:
		fmt.Fprint(s.out, result.Table())
	}
	return err
}

// compare measures. A result may come with an error: it is of what was done before.
func (c *sipCmd) compare(ctx context.Context, s streams) (result *calls.Result, err error) {
	if err := calls.FindSipp(); err != nil {
		return nil, err
	}
	var rival calls.Gateway
	if c.Rival != "" {
		if rival, err = calls.Find(c.Rival); err != nil {
			return nil, err
		}
	}
	binary, err := subject.FindBinary(c.Tandem)
	if err != nil {
		return nil, err
	}
	c.settle()
	ours := &calls.Tandem{Binary: binary, Engine: c.Engine}
	err = c.place(ctx, rig.Options{Calm: !c.Untuned}, func(place *rig.Place) (err error) {
		o := calls.Options{
			Scene: calls.NewScene(place), Rate: c.Rate, For: time.Duration(c.Seconds) * time.Second, Rounds: c.Rounds,
			Within: c.Within, Quick: c.Quick, Rest: !c.Quick, Log: s.log,
		}
		if result, err = calls.Compare(ctx, o, ours, rival); result == nil {
			return err
		}
		result.Conditions = report.Here([]string{c.command()})
		result.Conditions.RelayCPU, result.Conditions.LoadCPU, result.Conditions.Tandem = place.RelayCPU(), place.LoadCPU(), result.Version
		if !c.Untuned {
			result.Conditions.Tuning = "SCHED_BATCH"
			if place.NoHalt() {
				result.Conditions.Tuning += ", no CPU halts"
			}
		}
		if result.Rival != nil {
			result.Conditions.Rival = result.Rival.Version
		}
		return err
	})
	return result, err
}

// settle fills in the defaults.
func (c *sipCmd) settle() {
	if c.Seconds == 0 {
		c.Seconds = sipSeconds
		if c.Quick {
			c.Seconds = sipSecondsQuick
		}
	}
	if c.Rounds == 0 {
		c.Rounds = sipRounds
		if c.Quick {
			c.Rounds = 1
		}
	}
}

// command is what a reader types to repeat the measurement.
func (c *sipCmd) command() string {
	line := "tandem-bench sip --engine " + c.Engine
	if c.Rate > 0 {
		line += fmt.Sprintf(" --rate %g", c.Rate)
	} else {
		line += " --search"
		if c.Within > 0 {
			line += " --within " + c.Within.String()
		}
	}
	line += fmt.Sprintf(" --seconds %d --rounds %d", c.Seconds, c.Rounds)
	if c.Rival != "" {
		line += " --rival " + c.Rival
	}
	if c.Untuned {
		line += " --untuned"
	}
	if c.Quick {
		line += " --quick"
	}
	return line
}
