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
	e, file, err := c.ask(ctx, q)
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
	e.Print(s.out, file)
	return nil
}

// ask finds the explanation: in the file, or at the running node. It also returns the name of the file whose lines it tells.
func (c *explainCmd) ask(ctx context.Context, q route.Question) (e route.Explanation, file string, err error) {
	if c.Config == "" && !c.Live {
		return e, "", errors.New("explain: name the configuration with -c, or ask the running node with --live")
	}
	var cfg *config.Config
	if c.Config != "" {
		if cfg, err = config.LoadFor(c.Config, cmp.Or(c.Node, config.AllNodes)); err != nil {
			return e, "", err
		}
	}
	if !c.Live {
		e, err = route.New(cfg).Explain(q, nil)
		return e, filepath.Base(c.Config), err
	}
	socket := defaultSIPSocket
	if cfg != nil {
		override(&socket, cfg.SIP.Socket)
	}
	override(&socket, c.SIP)
	return c.askNode(ctx, socket, q)
}

// noFile stands before lines of the configuration that a node without a file runs with.
const noFile = "built-in"

// askNode asks the running node, and for the name of the file that it runs with.
func (c *explainCmd) askNode(ctx context.Context, socket string, q route.Question) (e route.Explanation, file string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := c.call(ctx, socket, console.MethodExplain, q, &e); err != nil {
		return e, "", err
	}
	var node console.HelloResult
	if err := c.call(ctx, socket, console.MethodHello, console.Hello{Client: "tandem explain"}, &node); err != nil {
		return e, "", err
	}
	if node.Config.Path == "" {
		return e, noFile, nil
	}
	return e, filepath.Base(node.Config.Path), nil
}

// call asks the running node by one method.
func (c *explainCmd) call(ctx context.Context, socket, method string, ask, answer any) error {
	params, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	result, err := control.Raw(ctx, socket, method, params)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %s; is %s the socket of a running tandem sip?", method, c.Timeout, socket)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(result, answer); err != nil {
		return fmt.Errorf("%s: the node answered something else: %w", method, err)
	}
	return nil
}
