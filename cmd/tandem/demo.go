package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
)

// demoCmd places real calls through both planes on loopback and says what was heard.
type demoCmd struct {
	Seconds int  `default:"5" help:"How long both ends talk once all calls are up (1 to 600)."`
	Calls   int  `default:"1" help:"How many calls at once (1 to 1000)."`
	JSON    bool `name:"json" help:"Print the report as one JSON object."`
	Verbose bool `short:"v" help:"Write the log of both planes to standard error."`
}

// Bounds of the demo.
const (
	demoSeconds = 600
	demoCalls   = 1000 // four descriptors each in the relay and four in the phones

	settleWithin = 5 * time.Second // for the relay's sessions to go after the last BYE
	settleEvery  = 20 * time.Millisecond
)

// Run implements kong's command.
func (c *demoCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	if c.Seconds < 1 || c.Seconds > demoSeconds {
		return fmt.Errorf("demo: --seconds=%d: give 1 to %d", c.Seconds, demoSeconds)
	}
	if c.Calls < 1 || c.Calls > demoCalls {
		return fmt.Errorf("demo: --calls=%d: give 1 to %d", c.Calls, demoCalls)
	}
	log := slog.New(slog.DiscardHandler)
	if c.Verbose {
		log = logger(s.err, config.Log{Level: "debug"})
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // sipgo inside the phones tells it of closed connections
	if !c.JSON {
		fmt.Fprintf(s.out, "%s through Tandem on loopback, %d s of audio both ways ...\n", count(c.Calls, "call"), c.Seconds)
	}
	r, err := c.play(ctx, log)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if c.JSON {
		err = r.printJSON(s.out)
	} else {
		err = r.print(s.out)
	}
	if err != nil {
		return err
	}
	return r.complain(s.err)
}

// play sets the stage, places the calls, and reads the relay's books when all is quiet.
func (c *demoCmd) play(ctx context.Context, log *slog.Logger) (*demoReport, error) {
	stage, err := openStage(log)
	if err != nil {
		return nil, err
	}
	defer stage.close()
	relay, err := control.Dial(ctx, stage.cfg.Control.Socket, control.DialOptions{})
	if err != nil {
		return nil, err
	}
	defer relay.Close()
	calls := stage.converse(ctx, c.Calls, time.Duration(c.Seconds)*time.Second)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("interrupted: %w", err)
	}
	stats, err := settled(ctx, relay)
	if err != nil {
		return nil, err
	}
	return newDemoReport(stage, calls, stats), nil
}

// settled returns the relay's totals once it has no session left, or what they are after a while.
func settled(ctx context.Context, relay *control.Client) (control.Stats, error) {
	late := time.NewTimer(settleWithin)
	defer late.Stop()
	again := time.NewTicker(settleEvery)
	defer again.Stop()
	for {
		stats, err := relay.Stats(ctx)
		if err != nil || stats.Sessions == 0 {
			return stats, err
		}
		select {
		case <-again.C:
		case <-late.C:
			return stats, nil // the report says what is left
		case <-ctx.Done():
			return stats, ctx.Err()
		}
	}
}

// complain says in one line each what went wrong, and makes it the exit code.
func (r *demoReport) complain(w io.Writer) error {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "tandem: demo: %s\n", p)
	}
	if len(r.Problems) > 0 {
		return exit(1)
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
