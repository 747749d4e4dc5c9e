package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/internal/near"
	"tandem/signaling/console"
)

// ctlCmd calls one method by hand.
type ctlCmd struct {
	Method string `arg:"" optional:"" help:"For example trunk.list, call.list, session.list; without one: what there is."`
	Params string `arg:"" optional:"" help:"The parameters, a JSON object; - reads standard input."`

	sockets `embed:""`
	Socket  string        `type:"path" help:"Ask this socket, whatever the method."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the answer."`
	Compact bool          `help:"Print the answer on one line."`
}

// sockets say where a running Tandem is to be found.
type sockets struct {
	Config string `short:"c" type:"path" help:"The configuration file of the node: it names the sockets."`
	SIP    string `name:"sip" env:"TANDEM_SIP_SOCKET" type:"path" help:"The call plane's socket, instead of the configuration's."`
	Relay  string `name:"relay" env:"TANDEM_SOCKET" type:"path" help:"The relay's socket, instead of the configuration's."`
}

// Where the sockets are unless the configuration says otherwise; internal/config has the same.
const (
	defaultSIPSocket   = "/run/tandem/sip.sock"
	defaultRelaySocket = "/run/tandem/relay.sock"
)

// find fills in what no flag says.
func (w sockets) find() (sip, relay string, err error) {
	sip, relay = defaultSIPSocket, defaultRelaySocket
	if w.Config != "" {
		cfg, err := config.LoadFor(w.Config, config.AllNodes)
		if err != nil {
			return "", "", err
		}
		sip, relay = cfg.SIP.Socket, cfg.Control.Socket
	}
	override(&sip, w.SIP)
	override(&relay, w.Relay)
	return sip, relay, nil
}

// long stands for parameters that no line has room for.
const long = "{...}"

// relayMethods are the relay's, for people; docs/control.md has all about them.
var relayMethods = []console.Method{
	{Name: control.MethodHello, Does: "who answers: engine, networks, limits"},
	{Name: control.MethodStats, Does: "packets, drops by reason, system calls"},
	{Name: control.MethodList, Params: `{"limit":10}`, Does: "sessions with their counters, page by page"},
	{Name: control.MethodGet, Params: `{"id":"..."}`, Does: "one session"},
	{Name: control.MethodOpen, Params: long, Does: "lease ports"},
	{Name: control.MethodUpdate, Params: long, Does: "addresses, keys, pins"},
	{Name: control.MethodClose, Params: `{"id":"..."}`, Does: "end a session; its final counters"},
	{Name: control.MethodDrain, Params: `{"on":true}`, Does: "open no new sessions, or open them again"},
}

// Run implements kong's command.
func (c *ctlCmd) Run(ctx context.Context, s streams) error {
	if c.Method == "" {
		return listMethods(s.out)
	}
	socket, err := c.choose()
	if errs := (config.Errors)(nil); errors.As(err, &errs) {
		return reported(s, err)
	}
	if err != nil {
		return err
	}
	params, err := c.params(s.in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	result, err := control.Raw(ctx, socket, c.Method, params)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %s; is %s a control socket of Tandem?", c.Method, c.Timeout, socket)
	}
	if err != nil {
		return c.advise(err)
	}
	if !c.Compact {
		var pretty bytes.Buffer
		if json.Indent(&pretty, result, "", "  ") == nil {
			result = pretty.Bytes()
		}
	}
	fmt.Fprintf(s.out, "%s\n", readable.Replace(string(result)))
	return nil
}

// advise adds to an answer about wrong parameters what right ones look like.
func (c *ctlCmd) advise(err error) error {
	methods := slices.Concat(console.Methods(), relayMethods)
	i := slices.IndexFunc(methods, func(m console.Method) bool { return m.Name == c.Method })
	if control.CodeOf(err) != control.CodeParams || i < 0 {
		return err
	}
	switch params := methods[i].Params; params {
	case "":
		return fmt.Errorf("%w; %s needs no parameters", err, c.Method)
	case long:
		return fmt.Errorf("%w; docs/control.md has the parameters of %s", err, c.Method)
	default:
		return fmt.Errorf("%w; an example: tandem ctl %s '%s'", err, c.Method, params)
	}
}

// readable undoes what the encoder does for the sake of HTML: arrows and patterns stay readable, and it is the same JSON. A
// doubled backslash goes first, so that text that only looks like an escape is left alone.
var readable = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// choose finds the socket by the first word of the method.
func (c *ctlCmd) choose() (string, error) {
	if c.Socket != "" {
		return c.Socket, nil
	}
	sip, relay, err := c.find()
	if err != nil {
		return "", err
	}
	word, _, _ := strings.Cut(c.Method, ".")
	begins := func(m console.Method) bool { return strings.HasPrefix(m.Name, word+".") }
	switch {
	case slices.ContainsFunc(console.Methods(), begins):
		return sip, nil
	case slices.ContainsFunc(relayMethods, begins):
		return relay, nil
	}
	var known []string
	for _, m := range slices.Concat(console.Methods(), relayMethods) {
		known = append(known, m.Name)
	}
	hint := ""
	if meant, ok := near.Word(c.Method, known); ok {
		hint = fmt.Sprintf(" (did you mean %s?)", meant)
	}
	return "", fmt.Errorf("%q is no method%s; tandem ctl without one lists them", c.Method, hint)
}

// params reads the parameters, which are {} where none are given.
func (c *ctlCmd) params(in io.Reader) (json.RawMessage, error) {
	params := json.RawMessage(c.Params)
	if c.Params == "-" {
		read, err := io.ReadAll(io.LimitReader(in, control.MaxLine))
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		params = read
	}
	if params = bytes.TrimSpace(params); len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if !json.Valid(params) {
		return nil, fmt.Errorf("parameters: not valid JSON: %s", params)
	}
	return params, nil
}

// listMethods prints what can be asked.
func listMethods(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, group := range []struct {
		title   string
		methods []console.Method
	}{
		{"The call plane (tandem sip, or run):", console.Methods()},
		{"The relay (tandem relay, or run):", relayMethods},
	} {
		fmt.Fprintln(t, group.title)
		for _, m := range group.methods {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Name, m.Params, m.Does)
		}
	}
	fmt.Fprintln(t, "Parameters and answers: docs/control.md.")
	return t.Flush()
}
