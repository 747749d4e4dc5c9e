package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/console"
	"tandem/signaling/route"
)

// explainCmd tells where a call would go, and why.
type explainCmd struct {
	Config string `short:"c" type:"path" help:"The configuration file. With --live only its socket is looked at."`
	From   string `help:"Who calls: the number as it stands in the request."`
	To     string `required:"" help:"What was dialled."`
	Trunk  string `help:"By which trunk the call enters; may be left out when there is only one."`
	Node   string `help:"The node of the pool that decides; without it the one that has the trunk."`

	Down    []string `placeholder:"TRUNK" help:"Assume that this trunk is down; again for another."`
	Demoted []string `placeholder:"TRUNK" help:"Assume that it is demoted: tried last."`
	Resting []string `placeholder:"TRUNK" help:"Assume that it asked for rest (Retry-After)."`
	Full    []string `placeholder:"TRUNK" help:"Assume that all its places are taken."`

	JSON    bool          `help:"Print JSON."`
	Live    bool          `help:"Ask the running node, which knows health and places."`
	SIP     string        `name:"sip" env:"TANDEM_SIP_SOCKET" type:"path" help:"The call plane's socket, instead of the configuration's."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the running node."`
}

// Run implements kong's command.
func (c *explainCmd) Run(ctx context.Context, s streams) error {
	q := route.Question{From: c.From, To: c.To, Trunk: c.Trunk, Down: c.Down, Demoted: c.Demoted, Resting: c.Resting, Full: c.Full}
	e, err := c.ask(ctx, q)
	if wrong := (config.Errors)(nil); errors.As(err, &wrong) {
		return reported(s, err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(s.out)
		out.SetEscapeHTML(false) // patterns stay readable
		out.SetIndent("", "  ")
		return out.Encode(e)
	}
	name := "config"
	if c.Config != "" {
		name = filepath.Base(c.Config)
	}
	e.Print(s.out, name)
	return nil
}

// ask finds the explanation: in the file, or at the running node.
func (c *explainCmd) ask(ctx context.Context, q route.Question) (route.Explanation, error) {
	if c.Config == "" && !c.Live {
		return route.Explanation{}, errors.New("explain: name the configuration with -c, or ask the running node with --live")
	}
	var cfg *config.Config
	if c.Config != "" {
		var err error
		if cfg, err = config.LoadFor(c.Config, cmp.Or(c.Node, config.AllNodes)); err != nil {
			return route.Explanation{}, err
		}
	}
	if !c.Live {
		return route.New(cfg).Explain(q, nil)
	}
	socket := defaultSIPSocket
	if cfg != nil {
		override(&socket, cfg.SIP.Socket)
	}
	override(&socket, c.SIP)
	return c.askNode(ctx, socket, q)
}

// askNode asks the running node.
func (c *explainCmd) askNode(ctx context.Context, socket string, q route.Question) (e route.Explanation, err error) {
	params, err := json.Marshal(q)
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	answer, err := control.Raw(ctx, socket, console.MethodExplain, params)
	if errors.Is(err, context.DeadlineExceeded) {
		return e, fmt.Errorf("%s: no answer within %s; is %s the socket of a running tandem sip?", console.MethodExplain, c.Timeout, socket)
	}
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		return e, fmt.Errorf("%s: the node answered something else: %w", console.MethodExplain, err)
	}
	return e, nil
}
