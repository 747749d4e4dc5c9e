package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"tandem/internal/config"
	"tandem/relay"
	"tandem/relay/netio"
	"tandem/relay/netio/nic"
)

// flushPerPoll is how many of the longest naps a device waits for a poll before it does its work itself: a worker that has a batch to
// finish comes in time, and what arrives while it waits to be woken is not late by more.
const flushPerPoll = 5

// keeper holds devices in a state in which they wait to be polled. The relay gives up its capabilities and may end in any way, so
// that it could not put the devices back: a child process does. It reads the former state from a pipe, and puts it back when the
// pipe ends.
type keeper struct {
	child *exec.Cmd
	pipe  io.Closer
}

// keepPolled makes the devices of the media addresses wait for polls, when the configuration says so and the engine is not one that looks
// at sockets only. An engine that cannot poll these devices is woken by them, as often as it would poll. What cannot be set is said
// in the log: polling works without, and saves less.
func keepPolled(cfg *config.Config, media *relay.Relay, log *slog.Logger) (*keeper, error) {
	flush := cfg.Media.Poll
	if flush == 0 || media.Engine() == config.EngineSockets {
		return nil, nil
	}
	if media.Polls() {
		flush *= flushPerPoll
	}
	former, err := polledNAPIs(cfg, log)
	if err != nil {
		log.Warn("devices do not wait to be polled: media.poll saves less than it could", "error", err,
			"do", "echo 1 >/sys/class/net/DEVICE/napi_defer_hard_irqs; echo NANOSECONDS >/sys/class/net/DEVICE/gro_flush_timeout")
		return nil, nil
	}
	if len(former) == 0 {
		return nil, nil
	}
	k, err := startKeeper(former)
	if err != nil {
		return nil, fmt.Errorf("media.poll: start what puts the devices back at the end: %w", err)
	}
	for _, n := range former {
		n.Defer, n.Flush = 1, flush
		if err := n.Set(); err != nil {
			return nil, errors.Join(fmt.Errorf("media.poll: %w", err), k.Close())
		}
	}
	log.Info("devices wait to be polled", "napis", len(former), "polled", media.Polls(), "flush", flush)
	return k, nil
}

// polledNAPIs returns the state of everything that receives for the media addresses.
func polledNAPIs(cfg *config.Config, log *slog.Logger) ([]nic.NAPI, error) {
	var addresses []netip.Addr
	for _, n := range cfg.Media.Networks {
		addresses = append(addresses, n.Addresses...)
	}
	devices, err := nic.Find(addresses)
	if err != nil {
		return nil, err
	}
	var all []nic.NAPI
	for i := range devices {
		found, err := nic.NAPIs(devices[i].Index)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", devices[i].Name, err)
		}
		if len(found) == 0 {
			log.Info("nothing to poll on this device", "device", devices[i].Name)
		}
		all = append(all, found...)
	}
	return all, nil
}

func startKeeper(former []nic.NAPI) (*keeper, error) {
	k := &keeper{child: exec.Command("/proc/self/exe", "keep-devices")}
	k.child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is the relay's alone
	k.child.Stderr = os.Stderr
	pipe, err := k.child.StdinPipe()
	if err != nil {
		return nil, err
	}
	k.pipe = pipe
	if err := k.child.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(pipe).Encode(former); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Close puts the devices back and waits until that is done.
func (k *keeper) Close() error {
	if k == nil {
		return nil
	}
	k.pipe.Close()
	if err := k.child.Wait(); err != nil {
		return fmt.Errorf("put the devices back: %w", err)
	}
	return nil
}

// keepDevicesCmd is the child. It lives exactly as long as its standard input.
type keepDevicesCmd struct{}

// Run implements kong's command.
func (*keepDevicesCmd) Run(_ context.Context, s streams) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // meant for the relay, whose end is the pipe's
	var former []nic.NAPI
	if err := json.NewDecoder(s.in).Decode(&former); err != nil {
		return fmt.Errorf("keep-devices is for the relay's own use: no state of devices on standard input: %w", err)
	}
	if err := netio.KeepNetAdmin(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, s.in)
	return errors.Join(each(former)...)
}

func each(former []nic.NAPI) (errs []error) {
	for _, n := range former {
		if err := n.Set(); err != nil && !errors.Is(err, syscall.ENOENT) { // a device that is gone needs nothing
			errs = append(errs, err)
		}
	}
	return errs
}
