// Package console answers on the signaling plane's own socket: who this node is, how its trunks and its calls are, why a
// number would go where, and the few commands of an operator (hang up, drain, reload). `tandem ctl`, `tandem top` and a live
// `tandem explain` are its clients; docs/control.md describes it for everybody else.
//
// The failure it prevents is a dashboard that comforts: everything here is read from what serves calls at this moment, by
// the same functions, and nothing is kept beside it but the quality of the last calls of each trunk, which no living part
// remembers (Ledger). What cannot be told is absent, never zero (TestQualityIsAbsentUntilACallHadSome).
//
// What does not live here: the socket, its codec and its limits (internal/control), and what a reload does (its owner, who
// passes it in).
package console

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"tandem/internal/control"
	"tandem/signaling/b2bua"
	"tandem/signaling/identity"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// Calls are what the console needs of the call plane; *b2bua.B2BUA has it.
type Calls interface {
	Calls() []b2bua.CallInfo
	Hangup(id string) bool
	Drain(on bool)
	Draining() bool
	Stats() b2bua.Stats
}

// Relay is what it needs of the media plane; *control.Link has it.
type Relay interface {
	Get(ctx context.Context, ref control.Ref) (control.SessionState, error)
	Up() bool
}

// Now is what new calls see at this moment. A reload replaces it as a whole.
type Now struct {
	Trunks *trunk.Table
	Routes *route.Table
	File   File
}

// Options are what a console tells of. All but Certificates are required.
type Options struct {
	Node, Version, Boot string
	Start               time.Time // of the process
	Clock               func() time.Time
	Log                 *slog.Logger // who hung up on whom, who drained

	Calls  Calls
	Relay  Relay
	Now    func() Now
	Ledger *Ledger
	Reload func(ctx context.Context, check bool) (Reloaded, error) // an *control.Error says what is wrong with the file

	Certificates func() []identity.Expiry // nil: there are none
}

// Console is the control.Handler of the signaling plane's socket.
type Console struct{ o Options }

// New returns a console. It has no goroutine and nothing to close.
func New(o Options) *Console { return &Console{o} }

// Handle implements control.Handler.
func (c *Console) Handle(ctx context.Context, conn *control.Conn, method string, raw json.RawMessage) (any, error) {
	switch method {
	case MethodHello:
		return answer(raw, c.hello)
	case MethodTrunks:
		return answer(raw, c.trunks)
	case MethodCalls:
		return answer(raw, c.calls)
	case MethodCall:
		control.Async(ctx) // it asks the relay
		return answer(raw, func(p Ref) (CallState, error) { return c.call(ctx, p) })
	case MethodHangUp:
		return answer(raw, func(p Ref) (Ref, error) { return c.hangUp(conn.Peer(), p) })
	case MethodExplain:
		return answer(raw, c.explain)
	case MethodReload:
		control.Async(ctx) // it reads files
		return answer(raw, func(p Reload) (Reloaded, error) { return c.o.Reload(ctx, p.Check) })
	case MethodDrain:
		r, err := answer(raw, func(p control.Drain) (DrainResult, error) { return c.drain(conn.Peer(), p) })
		if wrong := (*control.Error)(nil); errors.As(err, &wrong) { // the answer to a bare sip.drain: neither meaning is the safe one to guess
			err = control.Errorf(wrong.Code, `sip.drain: %s; write {"on":true} to take no new calls, {"on":false} to take them again`, wrong.Message)
		}
		return r, err
	}
	return nil, control.UnknownMethod(method, names()...)
}

// answer reads the parameters strictly and calls do.
func answer[P, R any](raw json.RawMessage, do func(P) (R, error)) (any, error) {
	p, err := control.Decode[P](raw)
	if err != nil {
		return nil, err
	}
	r, err := do(p)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// hello says who answers.
func (c *Console) hello(Hello) (HelloResult, error) {
	now := c.o.Now()
	r := HelloResult{
		Protocol: control.Protocol, Node: c.o.Node, Version: c.o.Version, Boot: c.o.Boot,
		UptimeMS: c.o.Clock().Sub(c.o.Start).Milliseconds(), Config: now.File,
		Draining: c.o.Calls.Draining(), Calls: c.o.Calls.Stats().Active, Ended: c.o.Calls.Stats().Ended,
		Trunks: len(now.Trunks.All()), Relay: c.o.Relay.Up(),
	}
	if c.o.Certificates != nil {
		for _, e := range c.o.Certificates() {
			r.Certificates = append(r.Certificates, Certificate{e.File, e.Subject, e.At})
		}
	}
	return r, nil
}

// drain stops new calls from entering, or lets them in again.
func (c *Console) drain(by control.Peer, p control.Drain) (DrainResult, error) {
	c.o.Calls.Drain(p.On)
	left := c.o.Calls.Stats().Active
	c.o.Log.Info("draining", "on", p.On, "calls", left, "uid", by.UID)
	return DrainResult{Draining: p.On, Calls: left}, nil
}

// explain decides a call that nobody makes, by the routes and the trunks that serve calls at this moment.
func (c *Console) explain(p Explain) (route.Explanation, error) {
	now := c.o.Now()
	board := func(name string) (trunk.View, bool) { return now.Trunks.Look(name, c.o.Clock()) }
	e, err := now.Routes.Explain(route.Question(p), board)
	if err != nil {
		return e, control.Errorf(control.CodeParams, "%v", err)
	}
	return e, nil
}
