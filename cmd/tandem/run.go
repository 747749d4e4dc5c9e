package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"tandem/internal/config"
	"tandem/internal/metrics"
)

// runCmd runs both planes in one process, still speaking over the control socket.
type runCmd struct {
	Config    string `short:"c" type:"path" help:"The configuration file; without one: loopback, ready for a call. SIGHUP reads it again."`
	Node      string `help:"Which node of the pool this is, instead of the configuration's."`
	Socket    string `env:"TANDEM_SOCKET" type:"path" help:"The relay's control socket, instead of the configuration's."`
	SIPSocket string `name:"sip-socket" env:"TANDEM_SIP_SOCKET" type:"path" help:"The call plane's own socket, instead of the configuration's."`

	Metrics string `enum:"on,off" default:"on" help:"off: no /metrics."`
}

// Run implements kong's command.
func (c *runCmd) Run(ctx context.Context, s streams) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	hangups := onHangup()
	defer signal.Stop(hangups)
	var dir string // of the sockets, without a file
	from := source{path: c.Config, node: c.Node, flags: func(cfg *config.Config) { c.flags(cfg, dir) }}
	if c.Config == "" {
		var err error
		if dir, err = os.MkdirTemp("", "tandem-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	cfg, err := from.loadOr(config.Embedded)
	if err != nil {
		return reported(s, err)
	}
	log := logger(s.err, cfg.Log)
	paceCollector()
	calmMonitor(log)
	media, err := openRelay(cfg, log)
	if err != nil {
		return err
	}
	calls, err := openSIP(cfg, from, log)
	if err != nil {
		return errors.Join(err, media.Close())
	}
	dropCapabilities(log)
	if c.Config == "" {
		invite(s.out, cfg)
	}
	calls.serve(ctx, hangups)
	log.Info("tandem stops")
	return errors.Join(calls.Close(), media.Close())
}

// flags lays the command line over a configuration. dir is where the sockets are if nothing else says so.
func (c *runCmd) flags(cfg *config.Config, dir string) {
	if dir != "" {
		cfg.Control.Socket, cfg.SIP.Socket = filepath.Join(dir, "relay.sock"), filepath.Join(dir, "sip.sock")
	}
	override(&cfg.Control.Socket, c.Socket)
	override(&cfg.SIP.Socket, c.SIPSocket)
	if c.Metrics == metrics.Off {
		cfg.Metrics.Relay, cfg.Metrics.SIP = metrics.Off, metrics.Off
	}
}

// Where commands look for the sockets unless a flag says so: the names in the env tags of their structs.
const (
	envSIPSocket   = "TANDEM_SIP_SOCKET"
	envRelaySocket = "TANDEM_SOCKET"
)

// invite tells a newcomer how to send the first call.
func invite(w io.Writer, cfg *config.Config) {
	in, out := cfg.Trunks["caller"], cfg.Trunks["callee"]
	numbers := ""
	if cfg.Metrics.SIP != metrics.Off {
		numbers = "  curl http://" + cfg.Metrics.SIP + "/metrics\n"
	}
	fmt.Fprintf(w, `
Tandem is running on loopback. A call that comes to %[1]s goes on to %[2]s.
Send it one with two sipp (Debian package sip-tester), in two other terminals; sipp's own scenario has signaling only,
and "tandem demo" has audio:

  sipp -sn uas -i 127.0.0.1 -p 5090
  sipp -sn uac -i 127.0.0.1 -p 5080 -m 1 -d 3000 %[1]s

To look at it from another terminal, tell that terminal where its sockets are:

  export %[4]s=%[5]s %[6]s=%[7]s
  %[3]s top
  %[3]s ctl call.list        (%[3]s ctl alone lists what else can be asked)
%[8]s
Your own: start from docs/first-config.md, then tandem check -c FILE and tandem run -c FILE.
Ctrl-C ends it.
`, cfg.SIP.Listeners[in.Listener].Address, out.Peer, os.Args[0],
		envSIPSocket, cfg.SIP.Socket, envRelaySocket, cfg.Control.Socket, numbers)
}
