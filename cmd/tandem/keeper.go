package main

import (
	"bufio"
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
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/config"
	"tandem/relay"
	"tandem/relay/netio"
	"tandem/relay/netio/nic"
)

const (
	// A device waits for a poll flushPerPoll of the longest naps, and not more than mostFlushBeyond longer than one, before it does its
	// work itself: a worker that has a batch to finish comes in time, and what arrives while it waits to be woken, or is not ours, is
	// late by no more than that.
	flushPerPoll    = 5
	mostFlushBeyond = 2 * time.Millisecond

	// claimPatience is how long the keeper of a relay that has just ended may take to put its devices back, and claimAgain how long
	// between two looks.
	claimPatience = 2 * time.Second
	claimAgain    = 10 * time.Millisecond

	// keeperPatience is how long a keeper may take to start.
	keeperPatience = 5 * time.Second

	keeperReady = "ready\n" // what it says then
)

// keeper holds devices in a state in which they wait to be polled. The relay gives up its capabilities and may end in any way, so
// that it could not put the devices back: a child process does. It reads the former state from a pipe, says that it is ready to put it
// back, and does so when the pipe ends. Nothing is changed before it is ready.
type keeper struct {
	pipe    io.Closer
	closing atomic.Bool // the child is to end
	ended   chan error  // how it did
}

// keptDevice is a device, how its NAPIs were, and how they wait now.
type keptDevice struct {
	Name   string
	Index  int
	Former []nic.NAPI
	Defer  uint32
	Flush  time.Duration
}

// keepPolled makes the devices of the media addresses wait for polls, when the configuration says so. An engine that cannot poll these
// devices, as one that looks at sockets only, is given by them what they have as often as it would poll. What cannot be had is said in the
// log: polling works without, and saves less. The keeper is nil when there is nothing to put back.
func keepPolled(cfg *config.Config, media *relay.Relay, log *slog.Logger) *keeper {
	flush := cfg.Media.Poll
	if flush == 0 {
		return nil
	}
	if media.Polls() {
		flush = min(flush*flushPerPoll, flush+mostFlushBeyond)
	}
	devices, claims, err := keptDevices(cfg, flush, log)
	defer func() { closeAll(claims) }() // the child has copies
	if err != nil {
		log.Warn("devices do not wait to be polled: media.poll saves less than it could", "error", err,
			"do", "echo 1 >/sys/class/net/DEVICE/napi_defer_hard_irqs; echo NANOSECONDS >/sys/class/net/DEVICE/gro_flush_timeout")
		return nil
	}
	if len(devices) == 0 {
		return nil
	}
	k, err := startKeeper(devices, claims, log)
	if err == nil {
		if err = errors.Join(each(devices, (*keptDevice).wait)...); err != nil {
			err = errors.Join(err, k.Close())
		}
	}
	if err != nil {
		log.Warn("devices do not wait to be polled: media.poll saves less than it could", "error", err)
		return nil
	}
	for _, d := range devices {
		log.Info("device waits to be polled", "device", d.Name, "napis", len(d.Former), "polled", media.Polls(), "flush", flush)
	}
	return k
}

// keptDevices returns everything that receives for the media addresses, and the claims to it.
func keptDevices(cfg *config.Config, flush time.Duration, log *slog.Logger) (kept []keptDevice, claims []*os.File, err error) {
	var addresses []netip.Addr
	for _, n := range cfg.Media.Networks {
		addresses = append(addresses, n.Addresses...)
	}
	found, err := nic.Find(addresses)
	if err != nil {
		return nil, nil, err
	}
	until := time.Now().Add(claimPatience)
	for _, d := range found {
		mine, err := claim(d.Index, until)
		if errors.Is(err, unix.EADDRINUSE) {
			log.Warn("another relay has set when this device waits to be polled: it is left as it is until that one ends", "device", d.Name)
			continue
		}
		if err != nil {
			return nil, claims, fmt.Errorf("device %s: %w", d.Name, err)
		}
		claims = append(claims, mine)
		napis, err := nic.NAPIs(d.Index) // as they are now: nobody of ours changes them any more
		if err != nil {
			return nil, claims, fmt.Errorf("device %s: %w", d.Name, err)
		}
		if len(napis) == 0 {
			log.Info("nothing to poll on this device", "device", d.Name)
			continue
		}
		kept = append(kept, keptDevice{Name: d.Name, Index: d.Index, Former: napis, Defer: 1, Flush: flush})
	}
	return kept, claims, nil
}

// claim makes the device ours alone among the relays of its network namespace, until the last copy of the descriptor is closed: a
// second one would take for the former state what the first has set, and leave the device like that. It is an abstract name (unix(7)),
// which the kernel takes back however its owner ends.
func claim(index int, until time.Time) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_UNIX)", err)
	}
	name := fmt.Sprintf("@tandem-polled-device-%d", index)
	for {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(until) {
			break
		}
		time.Sleep(claimAgain)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("claim %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// startKeeper returns when the child is ready to put the devices back.
func startKeeper(devices []keptDevice, claims []*os.File, log *slog.Logger) (*keeper, error) {
	child := exec.Command("/proc/self/exe", "keep-devices")
	child.Env, child.Dir = []string{}, "/"                  // it needs nothing of ours and holds on to nothing
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is the relay's alone
	child.Stderr, child.ExtraFiles = os.Stderr, claims
	state, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	answer, said, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	child.Stdout = said
	err = child.Start()
	said.Close()
	if err != nil {
		return nil, err
	}
	k := &keeper{pipe: state, ended: make(chan error, 1)}
	if err := k.awaitReady(devices, state, answer); err != nil {
		_ = child.Process.Kill() // it has nothing to put back
		return nil, errors.Join(err, child.Wait())
	}
	go func() {
		err := child.Wait()
		if !k.closing.Load() {
			log.Error("what puts the devices back when the relay ends is gone: they will stay as they are, waiting to be polled",
				"keeper", child.Process.Pid, "error", err)
		}
		k.ended <- err
	}()
	return k, nil
}

// awaitReady tells the child what to put back, and waits until it could do so.
func (k *keeper) awaitReady(devices []keptDevice, state io.Writer, answer *os.File) error {
	if err := json.NewEncoder(state).Encode(devices); err != nil {
		return fmt.Errorf("tell what puts the devices back about them: %w", err)
	}
	if err := answer.SetReadDeadline(time.Now().Add(keeperPatience)); err != nil {
		return err
	}
	if line, err := bufio.NewReader(answer).ReadString('\n'); line != keeperReady {
		return fmt.Errorf("what puts the devices back at the end did not start, nothing was changed: %w", err)
	}
	return nil
}

// Close puts the devices back and waits until that is done.
func (k *keeper) Close() error {
	if k == nil {
		return nil
	}
	k.closing.Store(true)
	k.pipe.Close()
	if err := <-k.ended; err != nil {
		return fmt.Errorf("put the devices back: %w", err)
	}
	return nil
}

// keepDevicesCmd is the child. It lives exactly as long as its standard input.
type keepDevicesCmd struct{}

// Run implements kong's command.
func (*keepDevicesCmd) Run(_ context.Context, s streams) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // meant for the relay, whose end is the pipe's
	var devices []keptDevice
	if err := json.NewDecoder(s.in).Decode(&devices); err != nil {
		return fmt.Errorf("keep-devices is for the relay's own use: no state of devices on standard input: %w", err)
	}
	if err := netio.KeepNetAdmin(); err != nil {
		fmt.Fprintf(s.err, "tandem keep-devices: more capabilities than needed: %v\n", err) // no reason to leave devices as they are
	}
	if err := errors.Join(each(devices, (*keptDevice).prove)...); err != nil {
		return err
	}
	if _, err := io.WriteString(s.out, keeperReady); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, s.in)
	return errors.Join(each(devices, (*keptDevice).putBack)...)
}

func each(devices []keptDevice, do func(*keptDevice) error) (errs []error) {
	for i := range devices {
		if err := do(&devices[i]); err != nil {
			errs = append(errs, fmt.Errorf("device %s: %w", devices[i].Name, err))
		}
	}
	return errs
}

// wait makes the device wait to be polled.
func (d *keptDevice) wait() error {
	for _, n := range d.Former {
		if err := d.waiting(n).Set(); err != nil {
			return err
		}
	}
	return nil
}

// waiting is how one of its NAPIs is while the device waits to be polled.
func (d *keptDevice) waiting(n nic.NAPI) nic.NAPI {
	return nic.NAPI{ID: n.ID, Defer: d.Defer, Flush: d.Flush}
}

// prove sets the device to what it is: what may do that may put it back.
func (d *keptDevice) prove() error {
	for _, n := range d.Former {
		if err := n.Set(); err != nil {
			return err
		}
	}
	return nil
}

// putBack gives each NAPI its former state, but for those that are not as the relay had set them: somebody has decided otherwise since. A
// device that is gone, here or into another namespace, needs nothing.
func (d *keptDevice) putBack() error {
	now, err := nic.NAPIs(d.Index)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range d.Former {
		if !slices.Contains(now, d.waiting(n)) {
			continue
		}
		if err := n.Set(); err != nil && !errors.Is(err, unix.ENOENT) { // it went just now
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
