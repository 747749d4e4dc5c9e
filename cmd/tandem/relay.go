package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strconv"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/internal/metrics"
	"tandem/relay"
	"tandem/relay/netio"
)

// relayCmd runs the media plane alone.
type relayCmd struct {
	Config  string `short:"c" type:"path" help:"The configuration file; without one: loopback, network \"local\"."`
	Socket  string `env:"TANDEM_SOCKET" type:"path" help:"The control socket, instead of the configuration's."`
	Metrics string `help:"Address of /metrics, instead of the configuration's; off disables it."`
	Probe   bool   `help:"Print what each engine would do on this machine, and end."`
}

// Run implements kong's command.
func (c *relayCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	cfg, err := loadOr(c.Config, config.Embedded)
	if err != nil {
		return reported(s, err)
	}
	if c.Probe {
		return probe(s.out, cfg, engines())
	}
	override(&cfg.Control.Socket, c.Socket)
	override(&cfg.Metrics.Relay, c.Metrics)
	log := logger(s.err, cfg.Log)
	calmMonitor(log)
	p, err := openRelay(cfg, log)
	if err != nil {
		return err
	}
	dropCapabilities(log)
	<-ctx.Done()
	log.Info("relay stops")
	return p.Close()
}

// relayPlane is the media plane with its control socket and its metrics.
type relayPlane struct {
	relay   *relay.Relay
	server  *control.Server
	metrics *metrics.Endpoint
	keeper  *keeper // nil: there is nothing to put back
}

// spareThreads beside the workers keep collector and control from taking a worker's turn, which costs it milliseconds.
const spareThreads = 2

// openRelay starts the media plane as the configuration says. When it returns, the control socket answers.
func openRelay(cfg *config.Config, log *slog.Logger) (*relayPlane, error) {
	files, err := netio.RaiseFileLimit()
	if err != nil {
		log.Warn("file limit not raised", "error", err)
	}
	o, err := relayOptions(cfg, log)
	if err != nil {
		return nil, err
	}
	if threads := o.Workers + spareThreads; runtime.GOMAXPROCS(0) < threads {
		runtime.GOMAXPROCS(threads)
	}
	p := &relayPlane{}
	if p.relay, err = relay.Open(o); err != nil {
		return nil, err
	}
	tellAbsentMedia(cfg, log)
	p.keeper = keepPolled(cfg, p.relay, log)
	so, err := serverOptions(&cfg.Control, log)
	if err == nil {
		so.Handler, so.OnClose = p.relay, p.relay.Gone
		p.server, err = control.Listen(so)
	}
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; choose a path of your own with control.socket or --socket", err)
		}
		return nil, errors.Join(err, p.relay.Close(), p.keeper.Close())
	}
	go func() {
		if err := p.server.Serve(); err != nil {
			log.Error("nobody can control the relay any more; its sessions go on", "error", err)
		}
	}()
	if p.metrics, err = metrics.Serve(cfg.Metrics.Relay, metrics.NewRelay(version, p.relay.Stats)); err != nil {
		return nil, errors.Join(unboundMetrics("metrics.relay", err), p.server.Close(), p.relay.Close(), p.keeper.Close())
	}
	log.Info("relay ready", "engine", p.relay.Engine(), "workers", o.Workers, "sessions", o.Sessions, "open_files", files,
		"socket", cfg.Control.Socket, "metrics", p.metrics.Address())
	return p, nil
}

// Close ends the sessions and gives everything back.
func (p *relayPlane) Close() error {
	return errors.Join(p.server.Close(), p.metrics.Close(), p.relay.Close(), p.keeper.Close())
}

// relayOptions turns the media part of the configuration into the relay's options.
func relayOptions(cfg *config.Config, log *slog.Logger) (relay.Options, error) {
	m := &cfg.Media
	o := relay.Options{
		Workers: m.Workers, Sessions: m.Sessions,
		Initial: m.Timeouts.Initial, Running: m.Timeouts.Running, Orphan: m.Timeouts.Orphan,
		PortsPrefer: m.Ports.Prefer, PortsNever: m.Ports.Never,
		Version: version, Log: log,
	}
	if o.Workers == 0 {
		o.Workers = max(1, runtime.NumCPU()-1)
	}
	open, err := chooseEngine(m.Engine, engines(), log)
	if err != nil {
		return o, err
	}
	o.Open = func(eo netio.Options) (netio.Engine, error) {
		eo.RcvBuf, eo.Poll = m.Buffer, m.Poll
		return open(eo)
	}
	names := make([]string, 0, len(m.Networks))
	for name := range m.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n := m.Networks[name]
		made := relay.Network{
			Name: name, Addresses: n.Addresses, Low: n.Ports.Low, High: n.Ports.High, Advertise: n.Advertise, DSCP: uint8(*n.DSCP),
			UDP: n.Send == config.SendUDP,
		}
		o.Networks = append(o.Networks, made)
	}
	return o, nil
}

// serverOptions turns the control part of the configuration into the socket's options.
func serverOptions(c *config.Control, log *slog.Logger) (control.ServerOptions, error) {
	mode, err := strconv.ParseUint(c.Mode, 8, 32)
	if err != nil {
		return control.ServerOptions{}, fmt.Errorf("control.mode: %q is no octal mode", c.Mode)
	}
	o := control.ServerOptions{Path: c.Socket, Mode: os.FileMode(mode), Group: c.Group, Log: log}
	for _, name := range c.Users {
		id, err := userID(name)
		if err != nil {
			return o, fmt.Errorf("control.users: %s: %w", name, err)
		}
		o.AllowUIDs = append(o.AllowUIDs, id)
	}
	for _, name := range c.Groups {
		id, err := groupID(name)
		if err != nil {
			return o, fmt.Errorf("control.groups: %s: %w", name, err)
		}
		o.AllowGIDs = append(o.AllowGIDs, id)
	}
	if c.Group != "" {
		if _, err := groupID(c.Group); err != nil {
			return o, fmt.Errorf("control.group: %s: %w", c.Group, err)
		}
	}
	return o, nil
}

func userID(name string) (uint32, error) {
	return numeric(name, func() (string, error) {
		u, err := user.Lookup(name)
		if errors.As(err, new(user.UnknownUserError)) {
			return "", errors.New("there is no such user; make it (useradd --system), or name another")
		}
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func groupID(name string) (uint32, error) {
	return numeric(name, func() (string, error) {
		g, err := user.LookupGroup(name)
		if errors.As(err, new(user.UnknownGroupError)) {
			return "", errors.New("there is no such group; make it (groupadd --system), or name another")
		}
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// numeric returns name as an id, or what the system's database says.
func numeric(name string, lookup func() (string, error)) (uint32, error) {
	text := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		if text, err = lookup(); err != nil {
			return 0, err
		}
	}
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}

// loadOr reads the configuration, or without a path makes the given one.
func loadOr(path string, otherwise func() *config.Config) (*config.Config, error) {
	if path == "" {
		return otherwise(), nil
	}
	return config.Load(path)
}

func override(field *string, flag string) {
	if flag != "" {
		*field = flag
	}
}

// logger writes events as the configuration says.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
