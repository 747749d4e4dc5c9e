package main

import (
	"context"
	"fmt"

	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
	"tandem/bench/trial"
)

// sessionsCmd measures control.
type sessionsCmd struct {
	bench
	Engine string `default:"auto" help:"Engine of the relay: auto, xdp, funnel, sockets."`
	Count  int    `default:"20000" help:"Sessions open at once."`
	JSON   bool   `name:"json" help:"Print JSON instead of a table."`
}

// Run implements kong's command.
func (c *sessionsCmd) Run(ctx context.Context, s streams) error {
	result, err := c.measure(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return report.WriteJSON(s.out, result)
	}
	fmt.Fprintf(s.out, "%s\n%s\n", result.Table(), result.Conditions.Sentence())
	return nil
}

func (c *sessionsCmd) measure(ctx context.Context) (*report.Sessions, error) {
	binary, err := subject.FindBinary(c.Tandem)
	if err != nil {
		return nil, err
	}
	t := &subject.Tandem{Binary: binary, Engine: c.Engine, Sessions: c.Count}
	var result report.Sessions
	err = c.place(ctx, rig.Options{}, func(place *rig.Place) error {
		conditions := c.conditions(place, t)
		result, err = trial.Sessions(ctx, place, t, c.Count)
		conditions.Tandem = t.Version()
		result.Conditions = conditions
		return err
	})
	return &result, err
}
