package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/console"
)

// topCmd shows a running node: its trunks and its calls.
type topCmd struct {
	sockets `embed:""`
	Every   time.Duration `default:"1s" help:"Between two looks."`
	Calls   bool          `help:"Begin with the calls."`
	Filter  string        `help:"Only trunks and calls with this text in a name, an id or a number."`
	Once    bool          `help:"Print one frame as text, and end."`
	JSON    bool          `help:"Print everything as one JSON object, and end."`
}

// Bounds of one look.
const (
	lookTimeout = 2 * time.Second        // a node that does not answer for that long is shown as gone
	lookLeast   = 100 * time.Millisecond // between two looks: more often nobody reads
	lookCalls   = 2000                   // calls that are fetched to be sorted and shown; a filter finds the others
)

// Run implements kong's command.
func (c *topCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	socket, _, err := c.find()
	if errs := (config.Errors)(nil); errors.As(err, &errs) {
		return reported(s, err)
	}
	if err != nil {
		return err
	}
	eye := &eye{socket: socket}
	defer eye.close()
	v := &view{filter: c.Filter, calls: c.Calls}
	if !c.Once && !c.JSON {
		return c.live(ctx, s, eye, v)
	}
	p, err := eye.look(ctx, question{match: c.Filter, calls: true})
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(p)
	}
	_, err = fmt.Fprint(s.out, v.text(p))
	return err
}

// picture is a node at one moment.
type picture struct {
	Node   console.HelloResult `json:"node"`
	Trunks []console.Trunk     `json:"trunks"`
	Calls  []b2bua.CallInfo    `json:"calls"`
	Found  int                 `json:"calls_found"` // of those that match the filter; Calls may be fewer
	At     time.Time           `json:"at"`
}

// question is what a look asks for.
type question struct {
	match string
	calls bool // the calls too: there may be thousands
}

// eye looks at a node, over a connection that it keeps.
type eye struct {
	socket string
	client *control.Client // nil: none
}

func (e *eye) close() {
	if e.client != nil {
		e.client.Close()
		e.client = nil
	}
}

// look asks for everything. After an error the next look connects anew.
func (e *eye) look(ctx context.Context, q question) (p *picture, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.client == nil {
		if e.client, err = control.Dial(ctx, e.socket, control.DialOptions{}); err != nil {
			return nil, err
		}
	}
	p = &picture{At: time.Now(), Trunks: []console.Trunk{}, Calls: []b2bua.CallInfo{}}
	if err := e.client.Call(ctx, console.MethodHello, console.Hello{Client: "tandem top"}, &p.Node); err != nil {
		return nil, err
	}
	for l := (console.List{Match: q.match}); ; {
		var page console.TrunkList
		if err := e.client.Call(ctx, console.MethodTrunks, l, &page); err != nil {
			return nil, err
		}
		p.Trunks = append(p.Trunks, page.Trunks...)
		if l.After = page.Next; l.After == "" {
			break
		}
	}
	for l := (console.List{Match: q.match}); q.calls && len(p.Calls) < lookCalls; {
		var page console.CallList
		if err := e.client.Call(ctx, console.MethodCalls, l, &page); err != nil {
			return nil, err
		}
		p.Calls, p.Found = append(p.Calls, page.Calls...), page.Found
		if l.After = page.Next; l.After == "" {
			break
		}
	}
	return p, nil
}

// seen is what came of a look.
type seen struct {
	picture *picture
	err     error
	fault   any // a panic: it is raised again where the terminal is put in order
}

// watch looks again and again, and at once when the question changes, until ctx ends.
func (e *eye) watch(ctx context.Context, every time.Duration, questions <-chan question, out chan<- seen) {
	var s seen
	defer func() {
		if s.fault = recover(); s.fault != nil {
			out <- s
		}
	}()
	tick := time.NewTicker(max(every, lookLeast))
	defer tick.Stop()
	q := <-questions
	for {
		s.picture, s.err = e.look(ctx, q)
		select {
		case out <- s:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case q = <-questions:
		case <-ctx.Done():
			return
		}
	}
}

// live draws until somebody quits.
func (c *topCmd) live(ctx context.Context, s streams, e *eye, v *view) error {
	term, err := openTerminal(os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	defer term.restore() // on a panic too
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	looks, questions := make(chan seen, 1), make(chan question, 1)
	v.color, v.socket = term.color(), e.socket
	questions <- v.question()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		e.watch(ctx, c.Every, questions, looks)
	}()
	defer func() {
		cancel()
		<-watched
	}()
	keys := term.keys()
	for {
		term.draw(v.frame(term.size()))
		select {
		case look := <-looks:
			if look.fault != nil {
				panic(look.fault)
			}
			v.saw(look.picture, look.err)
		case k := <-keys:
			before := v.question()
			if quit := v.key(k); quit {
				return nil
			}
			if q := v.question(); q != before {
				replace(questions, q)
			}
		case <-resized:
		case <-ctx.Done():
			return nil
		}
	}
}

// replace puts the latest question in place of one that nobody took yet. Only live sends.
func replace(questions chan question, q question) {
	select {
	case <-questions:
	default:
	}
	questions <- q
}
