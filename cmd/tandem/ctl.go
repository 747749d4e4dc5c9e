package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"tandem/internal/control"
)

// ctlCmd calls one method by hand.
type ctlCmd struct {
	Method string `arg:"" help:"For example relay.hello, session.list, relay.stats."`
	Params string `arg:"" optional:"" help:"The parameters, a JSON object; - reads standard input."`

	Socket  string        `default:"/run/tandem/relay.sock" env:"TANDEM_SOCKET" type:"path" help:"The control socket."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the answer."`
	Compact bool          `help:"Print the answer on one line."`
}

// Run implements kong's command.
func (c *ctlCmd) Run(ctx context.Context, s streams) error {
	params := json.RawMessage(c.Params)
	if c.Params == "-" {
		read, err := io.ReadAll(io.LimitReader(s.in, control.MaxLine))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		params = read
	}
	if params = bytes.TrimSpace(params); len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if !json.Valid(params) {
		return fmt.Errorf("parameters: not valid JSON: %s", params)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	result, err := control.Raw(ctx, c.Socket, c.Method, params)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %s; is %s a control socket of Tandem?", c.Method, c.Timeout, c.Socket)
	}
	if err != nil {
		return err
	}
	if !c.Compact {
		var pretty bytes.Buffer
		if json.Indent(&pretty, result, "", "  ") == nil {
			result = pretty.Bytes()
		}
	}
	fmt.Fprintf(s.out, "%s\n", result)
	return nil
}
