package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"tandem/internal/config"
	"tandem/relay/netio"
)

// engine is a way of moving media that this build knows.
type engine struct {
	name string
	open func(netio.Options) (netio.Engine, error)
}

// engines returns them best first. The last one works everywhere.
func engines() []engine {
	return []engine{
		{config.EngineXDP, netio.OpenXDP},
		{config.EngineFunnel, netio.OpenFunnel},
		{config.EngineSockets, netio.OpenSockets},
	}
}

// chooseEngine returns what opens the engine asked for. Auto takes the first that opens, and the log says why a better one
// did not; an engine asked for by name opens or is an error.
func chooseEngine(asked string, known []engine, log *slog.Logger) (func(netio.Options) (netio.Engine, error), error) {
	if asked != config.EngineAuto {
		for _, e := range known {
			if e.name == asked {
				return e.open, nil
			}
		}
		return nil, fmt.Errorf("media.engine: %q is unknown to this build; use auto or one of %s", asked, names(known))
	}
	return func(o netio.Options) (netio.Engine, error) {
		o.XDP.Native = true // elsewhere it is not proven to be the better one: it has to be asked for
		var refused []error
		for _, e := range known {
			opened, err := e.open(o)
			if err == nil {
				log.Info("engine chosen", "engine", e.name, "asked", asked)
				return opened, nil
			}
			log.Info("engine not used", "engine", e.name, "reason", oneLine(err))
			refused = append(refused, err)
		}
		return nil, errors.Join(refused...)
	}, nil
}

// oneLine is an error of several lines, one an address or a device, on one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func names(known []engine) string {
	var all []string
	for _, e := range known {
		all = append(all, e.name)
	}
	return strings.Join(all, ", ")
}

// dropCapabilities gives up what only setting up needed: who takes over the process gains nothing but its sockets.
func dropCapabilities(log *slog.Logger) {
	if err := netio.DropCapabilities(); err != nil {
		log.Warn("capabilities kept", "error", err)
		return
	}
	log.Info("capabilities dropped")
}
