package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/internal/metrics"
	"tandem/signaling/b2bua"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// sipCmd runs the call plane alone.
type sipCmd struct {
	Config  string `short:"c" required:"" type:"path" help:"The configuration file."`
	Socket  string `env:"TANDEM_SOCKET" type:"path" help:"The relay's control socket, instead of the configuration's."`
	Metrics string `help:"Address of /metrics, instead of the configuration's; off disables it."`
}

// Run implements kong's command.
func (c *sipCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	cfg, err := config.Load(c.Config)
	if err != nil {
		return reported(s, err)
	}
	override(&cfg.Control.Socket, c.Socket)
	override(&cfg.Metrics.SIP, c.Metrics)
	log := logger(s.err, cfg.Log)
	p, err := openSIP(cfg, log)
	if err != nil {
		return err
	}
	<-ctx.Done()
	log.Info("sip stops")
	return p.Close()
}

// Times of starting and stopping.
const (
	resolveTimeout = 5 * time.Second // for the peers' names at the start; later ones are looked up as they are needed
	hangUpTimeout  = 5 * time.Second // for the last answers after everything was hung up
)

// sipPlane is the call plane with its link to the relay and its metrics.
type sipPlane struct {
	calls   *b2bua.B2BUA
	stack   *guard.Stack
	link    *control.Link
	metrics *metrics.Endpoint
	log     *slog.Logger
}

// openSIP starts the call plane as the configuration says. When it returns, the listeners answer; the relay may be there
// or come later, and until then calls are refused with 503.
func openSIP(cfg *config.Config, log *slog.Logger) (*sipPlane, error) {
	if len(cfg.SIP.Listeners) == 0 {
		return nil, errors.New("sip.listeners: there is none, so nobody could call; docs/first-config.md has an example")
	}
	trunks, err := trunk.New(&cfg.SIP, nil, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	if err := trunks.Refresh(ctx); err != nil {
		log.Warn("peers not resolved yet", "error", err)
	}
	listeners, err := guardListeners(&cfg.SIP)
	if err != nil {
		return nil, err
	}
	p := &sipPlane{log: log}
	meter := metrics.NewSignaling(version, func() int { return p.calls.Stats().Active }, func() []metrics.Trunk { return trunkStates(trunks) })
	p.stack, err = guard.Open(context.Background(), guard.Options{
		Listeners: listeners, Limits: cfg.SIP.Limits, Known: trunks.Known, UserAgent: cfg.SIP.UserAgent,
		Handler: func(in *guard.Inbound) { p.calls.Handle(in) },
		Log:     log, Metrics: guardMeter{meter},
	})
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	p.link = control.NewLink(control.LinkOptions{
		Path: cfg.Control.Socket, Hello: control.Hello{Client: "tandem sip", Owner: cfg.Node, Events: true}, Log: log,
		OnUp: func(_ *control.Client, hello control.HelloResult) {
			<-ready
			log.Info("relay connected", "boot", hello.Boot, "engine", hello.Engine)
			p.calls.RelayUp(hello)
		},
		OnDown:  func(err error) { log.Warn("relay lost; its sessions live on", "error", err) },
		OnEvent: func(method string, e control.Event) { <-ready; p.calls.MediaEvent(method, e) },
	})
	p.calls, err = b2bua.New(b2bua.Options{
		Config: cfg, Stack: p.stack, Relay: p.link, Trunks: trunks, Routes: route.New(cfg.SIP.Routes), Log: log, Metrics: callMeter{meter},
	})
	if err != nil {
		return nil, errors.Join(err, p.stack.Close(), p.link.Close())
	}
	close(ready)
	if p.metrics, err = metrics.Serve(cfg.Metrics.SIP, meter.Gatherer()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	go func() {
		if err := p.stack.Serve(context.Background()); err != nil {
			log.Error("nobody can call any more", "error", err)
		}
	}()
	for _, l := range listeners {
		log.Info("listening", "listener", l.Name, "transport", l.Transport, "address", p.stack.Address(l.Name))
	}
	log.Info("sip ready", "node", cfg.Node, "trunks", len(trunks.All()), "routes", len(cfg.SIP.Routes), "metrics", p.metrics.Address())
	return p, nil
}

// Close hangs up every call, waits a moment for the last answers, and closes the sockets.
func (p *sipPlane) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	err := p.calls.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a peer that does not answer is no failure of ours
		p.log.Warn("closed without every last answer", "waited", hangUpTimeout)
		err = nil
	}
	errs := []error{err, p.stack.Close(), p.link.Close()}
	if p.metrics != nil {
		errs = append(errs, p.metrics.Close())
	}
	return errors.Join(errs...)
}

// guardListeners turns the configuration's listeners into those of the SIP stack, identities included. What TLS peers see in
// Contact is a name, which our certificate carries, unless the listener advertises something else.
func guardListeners(c *config.SIP) ([]guard.Listener, error) {
	var listeners []guard.Listener
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		l := c.Listeners[name]
		made := guard.Listener{Name: name, Transport: l.Transport, Addr: l.Address, Advertise: l.Advertise}
		if l.TLS != nil {
			if made.Advertise == "" {
				made.Advertise = c.FQDN
			}
			var err error
			if made.TLS, made.ClientTLS, err = identities(l.TLS); err != nil {
				return nil, fmt.Errorf("sip.listeners.%s.tls: %w", name, err)
			}
		}
		listeners = append(listeners, made)
	}
	return listeners, nil
}

func identities(c *config.TLS) (server, client *tls.Config, err error) {
	if server, err = trunk.ServerTLS(c); err != nil {
		return nil, nil, err
	}
	client, err = trunk.ClientTLS(c)
	return server, client, err
}

// trunkStates reads the trunks' health for the metrics.
func trunkStates(trunks *trunk.Table) []metrics.Trunk {
	var states []metrics.Trunk
	level := map[trunk.State]int{trunk.Up: 2, trunk.Demoted: 1, trunk.Down: 0}
	for _, t := range trunks.All() {
		states = append(states, metrics.Trunk{Name: t.Name, State: level[t.State(time.Now())], Calls: t.Active()})
	}
	return states
}

// guardMeter and callMeter put the planes' own words for what they count into the metrics' plain ones.
type guardMeter struct{ to *metrics.Signaling }

func (m guardMeter) Message(listener string, o guard.Outcome) { m.to.Message(listener, o.String()) }
func (m guardMeter) Connection(listener string, e guard.ConnectionEvent) {
	m.to.Connection(listener, e.String())
}
func (m guardMeter) Status(listener string, code int) { m.to.Status(listener, code) }

type callMeter struct{ *metrics.Signaling }

func (m callMeter) Drop(reason b2bua.DropReason) { m.Signaling.Drop(reason.String()) }
