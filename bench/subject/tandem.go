package subject

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tandem/bench/load"
	"tandem/bench/rig"
	"tandem/internal/control"
)

const (
	InFlight   = 32                    // requests at once: enough that neither side waits for the other
	startLimit = 10 * time.Second      // from the process's start to its first answer
	startPause = 10 * time.Millisecond // between two looks at whether it answers
	spare      = 1000                  // sessions that the relay may have beyond the calls
	owner      = "tandem-bench"        // of the sessions
	network    = "bench"               // the one media network
	leastPath  = 0.999                 // share of the packets that must leave by the engine's own way: a neighbour entry may lapse
)

// Tandem is `tandem relay` with one worker.
type Tandem struct {
	Binary   string        // path of the tandem binary
	Engine   string        // sockets, funnel, auto
	Sessions int           // most sessions at once
	Poll     time.Duration // media.poll

	dir     string
	process *rig.Process
	client  *control.Client
	hello   control.HelloResult
}

// FindBinary returns path, or without one the tandem binary beside this program.
func FindBinary(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find the tandem binary: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "tandem")
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("no tandem binary at %s: build it with make build, or name it with --tandem", path)
	}
	return path, nil
}

// Name implements Subject: before Start the engine asked for, then the one that runs.
func (t *Tandem) Name() string {
	if t.hello.Engine != "" {
		return t.hello.Engine
	}
	return t.Engine
}

// Version implements Subject.
func (t *Tandem) Version() string { return t.hello.Version }

// Process implements Subject.
func (t *Tandem) Process() *rig.Process { return t.process }

// Client is the connection to the relay's control socket.
func (t *Tandem) Client() *control.Client { return t.client }

// Start implements Subject.
func (t *Tandem) Start(ctx context.Context, place *rig.Place) (err error) {
	defer func() {
		if err != nil {
			t.Stop() // how it ended is in err
		}
	}()
	if t.dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
		return err
	}
	path, socket := filepath.Join(t.dir, "tandem.yaml"), filepath.Join(t.dir, "relay.sock")
	if err = os.WriteFile(path, t.configuration(socket, place.RelayAddresses()), 0o600); err != nil {
		return err
	}
	if t.process, err = place.Start(ctx, t.Binary, []string{"relay", "-c", path}); err != nil {
		return err
	}
	if t.client, err = t.dial(ctx, socket); err != nil {
		return err
	}
	t.hello = t.client.Greeting()
	if t.Engine != "auto" && t.hello.Engine != t.Engine {
		return fmt.Errorf("tandem relay runs engine %s, asked for was %s", t.hello.Engine, t.Engine)
	}
	return nil
}

// configuration is the relay's file: one network of all IPv4 addresses, one worker, nothing that is not needed.
func (t *Tandem) configuration(socket string, addresses []netip.Addr) []byte {
	var list []byte
	for _, a := range addresses {
		if !a.Is4() {
			continue
		}
		if list != nil {
			list = append(list, ", "...)
		}
		list = append(list, a.String()...)
	}
	return fmt.Appendf(nil, `log: {level: warn}
control: {socket: %q}
metrics: {relay: "off", sip: "off"}
media:
  engine: %s
  workers: 1
  poll: %s
  sessions: %d
  networks:
    %s: {addresses: [%s], ports: %d-%d}
`, socket, t.Engine, t.Poll, t.Sessions+spare, network, list, FirstPort, LastPort)
}

// dial waits until the relay answers, or ended.
func (t *Tandem) dial(ctx context.Context, socket string) (*control.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		client, err := control.Dial(ctx, socket, control.DialOptions{Hello: &control.Hello{Client: owner, Owner: owner}})
		if err == nil {
			return client, nil
		}
		select {
		case <-t.process.Done():
			return nil, fmt.Errorf("tandem relay did not start: %s", strings.TrimSpace(t.process.Output()))
		case <-ctx.Done():
			return nil, fmt.Errorf("tandem relay does not answer: %w\n%s", err, t.process.Output())
		case <-time.After(startPause):
		}
	}
}

// Open implements Subject.
func (t *Tandem) Open(ctx context.Context, calls []load.Call) error {
	return InParallel(ctx, len(calls), func(ctx context.Context, i int) error {
		state, err := t.client.Open(ctx, Session(i, &calls[i]))
		if err != nil {
			return fmt.Errorf("open call %d: %w", i, err)
		}
		for j, side := range []*load.Side{&calls[i].A, &calls[i].B} {
			if side.Relay, err = netip.ParseAddrPort(state.Streams[0].Legs[j].Local); err != nil {
				return fmt.Errorf("open call %d: %w", i, err)
			}
		}
		return nil
	})
}

// InParallel calls f for 0 to n-1, 32 at once, and returns the first error, after which no more are begun.
func InParallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(InFlight, n) {
		workers.Go(func() {
			for i := range work {
				if ctx.Err() == nil {
					if err := f(ctx, i); err != nil {
						cancel(err) // the first one stays
					}
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// Session is call i as session.open wants it.
func Session(i int, c *load.Call) control.Open {
	watch := false
	return control.Open{
		ID: SessionID(i), Owner: owner,
		Streams: []control.Stream{{Name: "audio", Watch: &watch, Legs: []control.Leg{leg("a", &c.A), leg("b", &c.B)}}},
	}
}

// SessionID names call i.
func SessionID(i int) string { return fmt.Sprintf("bench-%06d", i) }

func leg(name string, s *load.Side) control.Leg {
	mux := true
	l := control.Leg{
		Name: name, Network: network, RTCP: "mux", RTCPMux: &mux, Remote: s.Peer.String(), Pin: "exact",
		Payloads: &[]control.Payload{{Type: 0, Name: "PCMU"}},
	}
	if s.Suite != "" {
		l.Pin = "auth"
		l.RX = &control.Crypto{Suite: s.Suite, Key: base64.StdEncoding.EncodeToString(s.PeerKey)}
		l.TX = &control.Crypto{Suite: s.Suite, Key: base64.StdEncoding.EncodeToString(s.RelayKey)}
	}
	return l
}

// Counters implements Subject.
func (t *Tandem) Counters(ctx context.Context) (Counters, error) {
	s, err := t.client.Stats(ctx)
	if err != nil {
		return Counters{}, err
	}
	return Counters{
		Received: s.Received, Forwarded: s.Forwarded, Drops: s.Drops, Ways: s.Sent, RecvCalls: s.RecvCalls, SendCalls: s.SendCalls,
		Overflows: s.Overflows, Unmatched: s.Unmatched, Allocs: s.Allocs, TellsCalls: true, TellsAllocs: true,
	}, nil
}

// Stop implements Subject.
func (t *Tandem) Stop() error {
	var errs []error
	if t.client != nil {
		errs = append(errs, t.client.Close())
	}
	if t.process != nil {
		errs = append(errs, t.process.Stop())
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	t.client, t.process, t.dir = nil, nil, ""
	return errors.Join(errs...)
}
