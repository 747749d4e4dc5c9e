package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tandem/internal/config"
	"tandem/internal/metrics"
)

// runCmd runs both planes in one process, still speaking over the control socket.
type runCmd struct {
	Config string `short:"c" type:"path" help:"The configuration file; without one: loopback, ready for a call."`
	Socket string `env:"TANDEM_SOCKET" type:"path" help:"The control socket, instead of the configuration's."`

	Metrics string `enum:"on,off" default:"on" help:"off: no /metrics."`
}

// Run implements kong's command.
func (c *runCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	cfg, err := loadOr(c.Config, config.Embedded)
	if err != nil {
		return reported(s, err)
	}
	override(&cfg.Control.Socket, c.Socket)
	if c.Metrics == metrics.Off {
		cfg.Metrics.Relay, cfg.Metrics.SIP = metrics.Off, metrics.Off
	}
	if c.Config == "" && c.Socket == "" {
		dir, err := os.MkdirTemp("", "tandem-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		cfg.Control.Socket = filepath.Join(dir, "relay.sock")
	}
	log := logger(s.err, cfg.Log)
	media, err := openRelay(cfg, log)
	if err != nil {
		return err
	}
	calls, err := openSIP(cfg, log)
	if err != nil {
		return errors.Join(err, media.Close())
	}
	dropCapabilities(log)
	if c.Config == "" {
		invite(s.out, cfg)
	}
	<-ctx.Done()
	log.Info("tandem stops")
	return errors.Join(calls.Close(), media.Close())
}

// invite tells a newcomer how to send the first call.
func invite(w io.Writer, cfg *config.Config) {
	in, out := cfg.SIP.Trunks["caller"], cfg.SIP.Trunks["callee"]
	fmt.Fprintf(w, `
Tandem is running on loopback. A call that comes to %s goes on to %s.
Send it one with two sipp (Debian package sip-tester), in two other terminals; sipp's own scenario has signaling only,
and "tandem demo" has audio:

  sipp -sn uas -i 127.0.0.1 -p 5090
  sipp -sn uac -i 127.0.0.1 -p 5080 -m 1 -d 3000 %s

  look at it:   %s ctl --socket %s session.list
  or at:        curl http://%s/metrics
  your own:     start from docs/first-config.md, then tandem check -c FILE and tandem run -c FILE

Ctrl-C ends it.
`, cfg.SIP.Listeners[in.Listener].Address, out.Peer, cfg.SIP.Listeners[in.Listener].Address, os.Args[0], cfg.Control.Socket, cfg.Metrics.Relay)
}
