package main

import (
	"context"
	"fmt"
	"time"

	"tandem/bench/load"
	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/rival"
	"tandem/bench/subject"
	"tandem/bench/trial"
)

// relayCmd measures packets.
type relayCmd struct {
	bench
	Engine  string        `default:"auto" help:"Engine of the relay: auto, xdp, funnel, sockets."`
	Mode    string        `default:"both" enum:"rtp,srtp,both" help:"rtp: both legs plain. srtp: both secure, with different keys. both: one of each."`
	Streams int           `default:"2000" help:"Directions with traffic; two are a call."`
	Rate    float64       `xor:"rate" help:"Packets per second, all streams together."`
	Search  bool          `xor:"rate" help:"Search the lossless rate of each side, then compare at 90 % of the lower one; the default without --rate."`
	Rival   string        `placeholder:"rtpengine[:PATH]" help:"Measure this one beside it, in turn."`
	Rounds  int           `help:"How often each side has its turn; default 5, with --quick 1."`
	Poll    time.Duration `help:"The relay's media.poll: how far apart its worker looks at the device itself; 0: it is woken."`
	Quick   bool          `help:"A look within 50 s: short runs, coarse search."`
	JSON    bool          `name:"json" help:"Print JSON instead of a table."`
}

const rounds = 5 // by default: the least of which a median means something

// Run implements kong's command.
func (c *relayCmd) Run(ctx context.Context, s streams) error {
	result, err := c.compare(ctx, s)
	if err != nil {
		return err
	}
	if c.JSON {
		return report.WriteJSON(s.out, result)
	}
	fmt.Fprintf(s.out, "%s\n%s", result.Table(), result.Caveats())
	return nil
}

// compare runs the whole comparison.
func (c *relayCmd) compare(ctx context.Context, s streams) (*report.Comparison, error) {
	if c.Rounds == 0 {
		c.Rounds = rounds
		if c.Quick {
			c.Rounds = 1
		}
	}
	binary, err := subject.FindBinary(c.Tandem)
	if err != nil {
		return nil, err
	}
	ours := &subject.Tandem{Binary: binary, Engine: c.Engine, Sessions: c.Streams / 2, Poll: c.Poll}
	var theirs *rival.Rtpengine
	var other subject.Subject
	if c.Rival != "" {
		if theirs, err = rival.Find(c.Rival); err != nil {
			return nil, err
		}
		other = theirs
	}
	var result report.Comparison
	err = c.place(ctx, rig.Options{}, func(place *rig.Place) error {
		conditions := c.conditions(place, ours)
		result, err = trial.Compare(ctx, trial.Options{
			Place: place, Mode: load.Mode(c.Mode), Streams: c.Streams, Rate: c.Rate, Rounds: c.Rounds, Quick: c.Quick, Log: s.log,
		}, ours, other)
		conditions.Tandem = ours.Version()
		if theirs != nil {
			conditions.Rival = theirs.Version()
			conditions.RivalArguments = rival.Arguments(place.RelayAddresses())
		}
		result.Conditions = conditions
		return err
	})
	return &result, err
}
