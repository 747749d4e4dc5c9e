package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/internal/metrics"
	"tandem/internal/records"
	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/guard"
	"tandem/signaling/identity"
	"tandem/signaling/register"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// sipCmd runs the call plane alone.
type sipCmd struct {
	Config    string `short:"c" required:"" type:"path" help:"The configuration file. SIGHUP reads it again."`
	Node      string `help:"Which node of the pool this is, instead of the configuration's."`
	Socket    string `env:"TANDEM_SOCKET" type:"path" help:"The relay's control socket, instead of the configuration's."`
	SIPSocket string `name:"sip-socket" env:"TANDEM_SIP_SOCKET" type:"path" help:"The call plane's own socket, instead of the configuration's."`
	Metrics   string `help:"Address of /metrics, instead of the configuration's; off disables it."`
}

// Run implements kong's command.
func (c *sipCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	hangups := onHangup()
	defer signal.Stop(hangups)
	from := source{path: c.Config, node: c.Node, flags: func(cfg *config.Config) {
		override(&cfg.Control.Socket, c.Socket)
		override(&cfg.SIP.Socket, c.SIPSocket)
		override(&cfg.Metrics.SIP, c.Metrics)
	}}
	cfg, err := from.load()
	if err != nil {
		return reported(s, err)
	}
	log := logger(s.err, cfg.Log)
	paceCollector()
	calmMonitor(log)
	p, err := openSIP(cfg, from, log)
	if err != nil {
		return err
	}
	p.serve(ctx, hangups)
	log.Info("sip stops")
	return p.Close()
}

// Times of starting and stopping.
const (
	resolveTimeout  = 5 * time.Second // for the peers' names; later ones are looked up as they are needed
	hangUpTimeout   = 5 * time.Second // for the last answers after everything was hung up
	withdrawTimeout = 3 * time.Second // for registrars that do not answer
	recordsTimeout  = 5 * time.Second // for the last records, on a disk that is full or stuck
)

// sipPlane is the call plane: what it is made of, and what is in force of its configuration.
type sipPlane struct {
	from  source
	log   *slog.Logger
	start time.Time

	identities *identity.Store
	records    *records.Writer
	ledger     *console.Ledger
	stack      *guard.Stack
	link       *control.Link
	hello      atomic.Pointer[control.HelloResult] // the relay's last
	calls      *b2bua.B2BUA
	desk       atomic.Pointer[b2bua.B2BUA] // calls, once it is ready
	registrar  *register.Registrar
	server     *control.Server
	meter      *metrics.Signaling
	metrics    *metrics.Endpoint
	serving    sync.WaitGroup

	now       atomic.Pointer[inForce]
	reloading sync.Mutex // one at a time
}

// inForce is a configuration with what was made from it. It is never changed, only replaced.
type inForce struct {
	cfg    *config.Config
	trunks *trunk.Table
	routes *route.Table
	file   console.File
}

// openSIP starts the call plane as the configuration says. When it returns, the listeners and the plane's own socket answer;
// the relay may be there or come later, and until then calls are refused with 503.
func openSIP(cfg *config.Config, from source, log *slog.Logger) (*sipPlane, error) {
	if len(cfg.SIP.Listeners) == 0 {
		return nil, errors.New("sip.listeners: there is none, so nobody could call; docs/first-config.md has an example")
	}
	p := &sipPlane{from: from, log: log, start: time.Now(), ledger: console.NewLedger()}
	if err := p.open(cfg); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	log.Info("sip ready", "node", cfg.Node, "trunks", len(cfg.Trunks), "routes", len(cfg.Routes),
		"socket", cfg.SIP.Socket, "metrics", p.metrics.Address())
	return p, nil
}

// open opens one part after the other; what stands after an error is Close's to take down.
func (p *sipPlane) open(cfg *config.Config) (err error) {
	made := &inForce{cfg: cfg, routes: route.New(cfg), file: console.File{Path: p.from.path, SHA256: p.from.sum, Loaded: p.start, Restart: []string{}}}
	if made.trunks, err = trunk.New(cfg, nil, nil); err != nil {
		return err
	}
	p.now.Store(made)
	resolving, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	if err := made.trunks.Refresh(resolving); err != nil {
		p.log.Warn("peers not resolved yet", "error", err)
	}
	if p.identities, err = identity.Open(cfg, identity.Options{Log: p.log}); err != nil {
		return errors.Join(allUnread(cfg, err)...)
	}
	if p.records, err = openRecords(cfg, p.log); err != nil {
		return err
	}
	p.meter = metrics.NewSignaling(version, planeState{p})
	p.stack, err = guard.Open(context.Background(), guard.Options{
		Listeners: p.listeners(&cfg.SIP), Limits: cfg.SIP.Limits, UserAgent: cfg.SIP.UserAgent,
		Methods: b2bua.Methods(), Supported: b2bua.Extensions(),
		Known: p.known, Handler: p.take, Log: p.log, Metrics: guardMeter{p.meter},
	})
	if err != nil {
		return unboundListener(cfg, err)
	}
	if err := p.openCalls(cfg, made); err != nil {
		return err
	}
	if err := p.openConsole(cfg); err != nil {
		return err
	}
	if p.metrics, err = metrics.Serve(cfg.Metrics.SIP, p.meter.Gatherer()); err != nil {
		return unboundMetrics("metrics.sip", err)
	}
	p.serving.Go(func() {
		if err := p.stack.Serve(context.Background()); err != nil {
			p.log.Error("nobody can call any more", "error", err)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(cfg.SIP.Listeners)) {
		p.log.Info("listening", "listener", name, "transport", cfg.SIP.Listeners[name].Transport, "address", p.stack.Address(name))
	}
	return nil
}

// openCalls joins trunks, routes and relay into calls.
func (p *sipPlane) openCalls(cfg *config.Config, made *inForce) (err error) {
	ready := make(chan struct{}) // closed when desk is set, or never will be
	p.link = control.NewLink(control.LinkOptions{
		Path: cfg.Control.Socket, Hello: control.Hello{Client: "tandem sip", Owner: cfg.Node, Events: true}, Log: p.log,
		OnUp: func(_ *control.Client, hello control.HelloResult) {
			p.log.Info("relay connected", "boot", hello.Boot, "engine", hello.Engine)
			p.hello.Store(&hello)
			<-ready
			if calls := p.desk.Load(); calls != nil {
				calls.RelayUp(hello)
			}
		},
		OnDown: func(err error) { p.log.Warn("relay lost; its sessions live on", "error", err) },
		OnEvent: func(method string, e control.Event) {
			<-ready
			if calls := p.desk.Load(); calls != nil {
				calls.MediaEvent(method, e)
			}
		},
	})
	defer close(ready)
	p.calls, err = b2bua.New(b2bua.Options{
		Config: cfg, Stack: p.stack, Relay: p.link, Trunks: made.trunks, Routes: made.routes,
		Ready: p.link.Up, Identity: p.identities.Trunk, OnRecord: p.record, Log: p.log, Metrics: callMeter{p.meter},
	})
	if err != nil {
		return err
	}
	p.desk.Store(p.calls)
	p.registrar = register.Start(register.Options{Stack: p.stack, Trunks: made.trunks, TLS: p.identities.Trunk, Log: p.log})
	return nil
}

// openConsole opens the plane's own socket: who may speak to the relay may speak here.
func (p *sipPlane) openConsole(cfg *config.Config) error {
	o, err := serverOptions(&cfg.Control, p.log)
	if err != nil {
		return err
	}
	o.Path = cfg.SIP.Socket
	o.Handler = console.New(console.Options{
		Node: cfg.Node, Version: version, Boot: rand.Text(), Start: p.start, Clock: time.Now, Log: p.log,
		Calls: p.calls, Relay: p.link, Ledger: p.ledger, Reload: p.reload, Certificates: p.identities.Expiries,
		Now: func() console.Now {
			now := p.now.Load()
			return console.Now{Trunks: now.trunks, Routes: now.routes, File: now.file}
		},
	})
	if p.server, err = control.Listen(o); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; choose a path of your own with sip.socket or --sip-socket", err)
		}
		return err
	}
	p.serving.Go(func() {
		if err := p.server.Serve(); err != nil {
			p.log.Error("nobody can ask this node any more; its calls go on", "error", err)
		}
	})
	return nil
}

// known tells the stack whose messages have the rate of a trunk, and take hands it a request. A peer may answer a connection
// of ours with requests before openCalls is done: nobody is known then, and a request waits for its retransmission.
func (p *sipPlane) known(listener string, src netip.Addr) bool {
	calls := p.desk.Load()
	return calls != nil && calls.Known(listener, src)
}

func (p *sipPlane) take(in *guard.Inbound) {
	if calls := p.desk.Load(); calls != nil {
		calls.Handle(in)
	}
}

// record takes what is left of a call.
func (p *sipPlane) record(r b2bua.CallRecord) {
	p.ledger.Note(&r)
	p.records.Write(r)
}

// onHangup takes SIGHUP from now on: before that it would end the process.
func onHangup() chan os.Signal {
	hangups := make(chan os.Signal, 1) // one more that waits is as good as many
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// serve reloads on each SIGHUP, until ctx ends.
func (p *sipPlane) serve(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-hangups:
			p.reload(ctx, false) //nolint:errcheck // the log has it
		case <-ctx.Done():
			return
		}
	}
}

// Close hangs up every call, waits a moment for the last answers, and takes down what stands: first who asks, then the
// registrations and the calls, then what they need; the records when no call can write one any more.
func (p *sipPlane) Close() error {
	var errs []error
	if p.server != nil {
		errs = append(errs, p.server.Close())
	}
	if p.registrar != nil {
		p.withdraw()
	}
	if p.calls != nil {
		errs = append(errs, p.hangUp())
	}
	if p.stack != nil {
		errs = append(errs, p.stack.Close())
	}
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.records != nil {
		ctx, cancel := context.WithTimeout(context.Background(), recordsTimeout)
		errs = append(errs, p.records.Close(ctx))
		cancel()
	}
	if p.identities != nil {
		errs = append(errs, p.identities.Close())
	}
	if p.metrics != nil {
		errs = append(errs, p.metrics.Close())
	}
	p.serving.Wait()
	return errors.Join(errs...)
}

// withdraw tells registrars that we go, while new calls are refused already.
func (p *sipPlane) withdraw() {
	p.calls.Drain(true)
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTimeout)
	defer cancel()
	if err := p.registrar.Close(ctx); err != nil { // a binding also ends by itself
		p.log.Warn("registrations not withdrawn", "error", err)
	}
}

// hangUp ends the calls.
func (p *sipPlane) hangUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	err := p.calls.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a peer that does not answer is no failure of ours
		p.log.Warn("closed without every last answer", "waited", hangUpTimeout)
		return nil
	}
	return err
}

// listeners turns the configuration's listeners into those of the SIP stack, identities included. What TLS peers see in
// Contact is a name, which our certificate carries, unless the listener advertises something else.
func (p *sipPlane) listeners(c *config.SIP) []guard.Listener {
	var listeners []guard.Listener
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		l := c.Listeners[name]
		made := guard.Listener{Name: name, Transport: l.Transport, Addr: l.Address, Advertise: l.Advertise}
		if l.TLS != nil {
			if made.Advertise == "" {
				made.Advertise = c.FQDN
			}
			made.TLS, made.ClientTLS = p.identities.Server(name), p.identities.Client(name)
		}
		listeners = append(listeners, made)
	}
	return listeners
}
