package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tandem/bench/rig"
	"tandem/bench/subject"
	"tandem/internal/control"
)

const (
	startLimit = 10 * time.Second      // from a program's start to its first answer
	startPause = 20 * time.Millisecond // between two looks
	scrapeMost = 10 * time.Second      // of a program that has the CPU for itself and more calls than it can bear

	mostSessions = 60_000 // at 2,000 calls/s that take 30 s: never the limit
	relaySocket  = "relay.sock"
	relayPart    = "relay"
	sipPart      = "sip"
)

// The metrics endpoints, on the loopback of the relay's namespace.
const (
	relayMetrics = "127.0.0.1:9640"
	sipMetrics   = "127.0.0.1:9641"
)

// Tandem is `tandem relay` and `tandem sip`, two processes joined by the control socket.
type Tandem struct {
	Binary string // path of the tandem binary
	Engine string // of the relay: auto, funnel, sockets, xdp

	dir     string
	parts   []Part
	client  *http.Client
	version string
	engine  string
}

// Name implements Gateway.
func (t *Tandem) Name() string { return "tandem" }

// Version implements Gateway.
func (t *Tandem) Version() string { return t.version + ", engine " + t.engine }

// Parts implements Gateway.
func (t *Tandem) Parts() []Part { return t.parts }

// Start implements Gateway.
func (t *Tandem) Start(ctx context.Context, s Scene) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Stop())
		}
	}()
	if t.dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
		return err
	}
	path := filepath.Join(t.dir, "tandem.yaml")
	if err := os.WriteFile(path, t.configuration(s), 0o600); err != nil {
		return err
	}
	t.client = &http.Client{Timeout: scrapeMost, Transport: &http.Transport{DialContext: inRelay(s.Place)}}
	for _, part := range []struct{ name, metrics string }{{relayPart, relayMetrics}, {sipPart, sipMetrics}} {
		process, err := s.Place.Start(ctx, t.Binary, []string{part.name, "-c", path})
		if err != nil {
			return err
		}
		t.parts = append(t.parts, Part{part.name, process})
		if err := t.await(ctx, process, part.metrics); err != nil {
			return err
		}
	}
	return t.greet(ctx)
}

// configuration is both planes' file: two trunks on one UDP listener, plain RTP on both legs, no limit that a rate could meet.
func (t *Tandem) configuration(s Scene) []byte {
	addresses := make([]string, len(s.Media))
	for i, a := range s.Media {
		addresses[i] = a.String()
	}
	return fmt.Appendf(nil, `node: bench
log: {level: warn}
control: {socket: %[1]q}
metrics: {relay: %[2]q, sip: %[3]q}
media:
  engine: %[4]s
  workers: 1
  sessions: %[5]d
  networks:
    bench: {addresses: [%[6]s], ports: %[7]d-%[8]d}
sip:
  socket: %[9]q
  listeners:
    bench: {transport: udp, address: %[10]q}
  limits: {calls: %[5]d, trunk_rate: 1000000}
trunks:
  caller: {listener: bench, peer: %[11]q, network: bench, options: {off: true}}
  called: {listener: bench, peer: %[12]q, network: bench, options: {off: true}}
routes:
  - {name: all, from: [caller], to: [called]}
`, filepath.Join(t.dir, relaySocket), relayMetrics, sipMetrics, t.Engine, mostSessions, strings.Join(addresses, ", "),
		subject.FirstPort, subject.LastPort, filepath.Join(t.dir, "sip.sock"), s.At, s.Caller, s.Called)
}

// inRelay dials from inside the relay's namespace.
func inRelay(place *rig.Place) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		gone := place.InRelay(func() error {
			to, e := netip.ParseAddrPort(address) // dialled on this very thread: a name would be looked up on another
			if e != nil {
				return e
			}
			c, err = net.DialTCP(network, nil, net.TCPAddrFromAddrPort(to))
			return nil
		})
		return c, errors.Join(gone, err)
	}
}

// await returns when a program answers at its metrics endpoint.
func (t *Tandem) await(ctx context.Context, process *rig.Process, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := Scrape(ctx, t.client, address)
		if err == nil {
			return nil
		}
		select {
		case <-process.Done():
			return fmt.Errorf("tandem did not start: %s", strings.TrimSpace(process.Output()))
		case <-ctx.Done():
			return fmt.Errorf("tandem does not answer: %w\n%s", err, process.Output())
		case <-time.After(startPause):
		}
	}
}

// greet asks for the version and the engine.
func (t *Tandem) greet(ctx context.Context) (err error) {
	t.version, t.engine, err = Greet(ctx, filepath.Join(t.dir, relaySocket))
	return err
}

// Greet asks the relay behind a control socket for its version and the engine that it runs.
func Greet(ctx context.Context, socket string) (version, engine string, err error) {
	client, err := control.Dial(ctx, socket, control.DialOptions{Hello: &control.Hello{Client: "tandem-bench"}})
	if err != nil {
		return "", "", err
	}
	hello := client.Greeting()
	return hello.Version, hello.Engine, client.Close()
}

// Books implements Gateway.
func (t *Tandem) Books(ctx context.Context) (Books, error) {
	relay, err := Scrape(ctx, t.client, relayMetrics)
	if err != nil {
		return Books{}, err
	}
	sip, err := Scrape(ctx, t.client, sipMetrics)
	if err != nil {
		return Books{}, err
	}
	b := Books{
		Opened: uint64(relay.Sum("tandem_relay_sessions_opened_total")), Sessions: int(relay.Sum("tandem_relay_sessions")),
		Calls: int(sip.Sum("tandem_sip_calls")), Goroutines: map[string]int{}, Heap: map[string]uint64{},
	}
	for name, m := range map[string]Series{relayPart: relay, sipPart: sip} {
		b.Goroutines[name] = int(m.Sum("go_goroutines"))
		b.Heap[name] = uint64(m.Sum("go_memstats_heap_alloc_bytes"))
	}
	return b, nil
}

// Stop implements Gateway.
func (t *Tandem) Stop() error {
	var errs []error
	for i := len(t.parts) - 1; i >= 0; i-- { // calls before media
		errs = append(errs, t.parts[i].Process.Stop())
	}
	if t.client != nil {
		t.client.CloseIdleConnections()
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	t.parts, t.client, t.dir = nil, nil, ""
	return errors.Join(errs...)
}
