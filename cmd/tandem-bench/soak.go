package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/bench/calls/soak"
	"tandem/bench/report"
	"tandem/bench/subject"
)

// soakCmd keeps calls going.
type soakCmd struct {
	Tandem  string        `type:"path" help:"The tandem binary; default: the one beside this program."`
	Engine  string        `default:"auto" help:"Engine of the relay: auto, funnel, sockets, xdp."`
	Minutes float64       `xor:"time" help:"How long calls are begun; default 20."`
	Seconds float64       `xor:"time" help:"The same in seconds."`
	Calls   int           `default:"500" help:"Calls up at any time."`
	Churn   float64       `default:"50" help:"Calls begun, and ended, a second."`
	Talk    time.Duration `default:"1s" help:"How long both ends of a call talk: with the default churn 1 s is 5,000 packets/s."`
	Moved   float64       `name:"transfers" default:"0.1" help:"Share of the calls that one of the ends transfers, 0 to 1."`
	JSON    bool          `name:"json" help:"Print JSON."`
}

const soakMinutes = 20 // by default

// Run implements kong's command.
func (c *soakCmd) Run(ctx context.Context, s streams) error {
	binary, err := subject.FindBinary(c.Tandem)
	if err != nil {
		return err
	}
	if _, err := subject.RaiseFileLimit(); err != nil {
		return err
	}
	length := time.Duration(soakMinutes * float64(time.Minute))
	switch {
	case c.Seconds > 0:
		length = time.Duration(c.Seconds * float64(time.Second))
	case c.Minutes > 0:
		length = time.Duration(c.Minutes * float64(time.Minute))
	}
	result, err := soak.Run(ctx, soak.Options{
		Binary: binary, Engine: c.Engine, For: length, Calls: c.Calls, Churn: c.Churn, Talk: c.Talk, Moved: c.Moved, Log: s.log,
	})
	if err != nil {
		return err
	}
	result.Conditions = report.Here([]string{fmt.Sprintf("tandem-bench soak --engine %s --seconds %g --calls %d --churn %g --talk %s --transfers %g",
		c.Engine, length.Seconds(), c.Calls, c.Churn, c.Talk, c.Moved)})
	if c.JSON {
		err = report.WriteJSON(s.out, result)
	} else {
		_, err = fmt.Fprint(s.out, result.Text())
	}
	if n := len(result.Problems); n > 0 {
		err = errors.Join(err, fmt.Errorf("soak: %d problems; the first: %s", n, result.Problems[0]))
	}
	return err
}
