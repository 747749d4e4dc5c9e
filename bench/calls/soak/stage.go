package soak

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tandem/bench/calls"
	"tandem/internal/authority"
	"tandem/internal/phone"
)

const (
	startLimit = 10 * time.Second
	startPause = 20 * time.Millisecond
	farewell   = 10 * time.Second // from SIGTERM to SIGKILL
	told       = 2000             // bytes of the end of a plane's log that an error shows
	scrapeMost = 10 * time.Second
	valid      = 48 * time.Hour // of the certificates: longer than the longest run

	relaySocket           = "relay.sock"
	relayPart, sipPart    = "relay", "sip"
	tandemName, phoneName = "tandem.soak.invalid", "phone.soak.invalid" // RFC 2606: no resolver is asked
	suite                 = "AES_CM_128_HMAC_SHA1_80"
	sparePorts, firstPort = 40000, 20000
)

// configuration: a UC side over mutual TLS with SRTP, a gateway over UDP with RTP, each party on a loopback address of its own.
const configuration = `
node: soak
log: {level: warn}
control: {socket: %[1]q}
metrics: {relay: "%[2]s", sip: "%[3]s"}
media:
  engine: %[4]s
  sessions: 20000
  networks:
    uc: {addresses: ["%[5]s"], ports: %[15]d-%[16]d}
    pstn: {addresses: ["%[6]s"], ports: %[15]d-%[16]d}
sip:
  socket: %[7]q
  limits: {calls: 20000, trunk_rate: 1000000}
  listeners:
    uc:
      transport: tls
      address: "%[8]s"
      tls: {certificate: %[9]q, key: %[10]q, ca: %[11]q}
    pstn: {transport: udp, address: "%[12]s"}
trunks:
  uc:
    listener: uc
    peer: "%[13]s"
    sources: [127.0.0.0/8]
    tls_names: [` + phoneName + `]
    network: uc
    srtp: required
    pin: auth
    options: {off: true}
  gateway:
    listener: pstn
    peer: "%[14]s"
    network: pstn
    pin: exact
    options: {off: true}
routes:
  - {name: out, from: [uc], to: [gateway]}
  - {name: moved, from: [gateway], to: [gateway]}
`

// stage is both planes between two phones.
type stage struct {
	dir     string
	planes  []*plane
	engine  string // that the relay runs
	client  *http.Client
	proxy   netip.AddrPort // Tandem's listener on the UC side
	back    netip.AddrPort // and the one towards the gateway
	uc      *phone.Phone
	gateway *phone.Phone
}

// plane is one of Tandem's processes.
type plane struct {
	name    string
	metrics string // address of its endpoint
	cmd     *exec.Cmd
	log     *os.File
	done    chan struct{}
	err     error // how it ended; valid once done is closed
}

// openStage opens phones and planes. It must be called, and the stage used, on a goroutine that keeps its thread.
func openStage(ctx context.Context, o *Options) (s *stage, err error) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // sipgo inside the phones tells it of closed connections
	s = &stage{client: &http.Client{Timeout: scrapeMost}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "tandem-soak-"); err != nil {
		return s, err
	}
	path := filepath.Join(s.dir, "tandem.yaml")
	text, err := s.furnish(o)
	if err != nil {
		return s, err
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return s, err
	}
	for _, p := range s.planes {
		if err := p.start(ctx, o.Binary, path); err != nil {
			return s, err
		}
		if err := p.await(ctx, s.client); err != nil {
			return s, err
		}
	}
	_, s.engine, err = calls.Greet(ctx, filepath.Join(s.dir, relaySocket))
	return s, err
}

// furnish opens the phones, makes certificates, and returns the planes' configuration.
func (s *stage) furnish(o *Options) ([]byte, error) {
	trust, err := authority.New(valid)
	if err != nil {
		return nil, err
	}
	ours, err := trust.Issue(tandemName)
	if err != nil {
		return nil, err
	}
	theirs, err := trust.Issue(phoneName)
	if err != nil {
		return nil, err
	}
	ca, cert, key := filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "tandem.pem"), filepath.Join(s.dir, "tandem.key")
	if err := errors.Join(os.WriteFile(ca, trust.PEM, 0o600), ours.Write(cert, key)); err != nil {
		return nil, err
	}
	at := parties()
	s.uc, err = phone.Open(phone.Options{
		User: "phone", Local: at[0], Transport: "tls", SRTP: suite,
		TLS: &tls.Config{Certificates: []tls.Certificate{theirs.TLS}, RootCAs: trust.Roots(), ServerName: tandemName},
	})
	if err != nil {
		return nil, err
	}
	if s.gateway, err = phone.Open(phone.Options{User: "gateway", Local: at[3]}); err != nil {
		return nil, err
	}
	ports, err := freePorts(at[1], 3)
	if err != nil {
		return nil, err
	}
	s.proxy, s.back = netip.AddrPortFrom(at[1], ports[0]), netip.AddrPortFrom(at[2], 5060)
	relay, sip := netip.AddrPortFrom(at[1], ports[1]).String(), netip.AddrPortFrom(at[1], ports[2]).String()
	s.planes = []*plane{{name: relayPart, metrics: relay}, {name: sipPart, metrics: sip}}
	return fmt.Appendf(nil, configuration, filepath.Join(s.dir, relaySocket), relay, sip, o.Engine, at[1], at[2],
		filepath.Join(s.dir, "sip.sock"), s.proxy, cert, key, ca, s.back, s.uc.Address(), s.gateway.Address(),
		firstPort, sparePorts-1), nil
}

// parties are four loopback addresses that nobody else uses: the phone's, Tandem's towards it, Tandem's towards the gateway,
// the gateway's.
func parties() (at [4]netip.Addr) {
	pid := os.Getpid()
	for i := range at {
		at[i] = netip.AddrFrom4([4]byte{127, byte(64 + pid>>8%128), byte(pid), byte(101 + i)})
	}
	return at
}

// freePorts finds TCP ports that nobody has at the moment.
func freePorts(at netip.Addr, n int) (ports []uint16, err error) {
	for range n {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			return nil, err
		}
		defer l.Close() // all of them are open until the last is found
		ports = append(ports, l.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	return ports, nil
}

// start runs a plane. It is killed when ctx ends or this process does.
func (p *plane) start(ctx context.Context, binary, config string) (err error) {
	if p.log, err = os.Create(filepath.Join(filepath.Dir(config), p.name+".log")); err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, binary, p.name, "-c", config)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true} // a terminal's ^C is ours to pass on
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	p.done = make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// await returns when the plane answers.
func (p *plane) await(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := calls.Scrape(ctx, client, p.metrics)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("tandem %s does not answer: %w\n%s", p.name, err, p.said())
		case <-time.After(startPause):
		}
	}
}

func (p *plane) ended() error {
	return fmt.Errorf("tandem %s ended: %v\n%s", p.name, p.err, p.said())
}

// said is the end of the plane's log.
func (p *plane) said() string {
	text, _ := os.ReadFile(p.log.Name()) // it is for an error already
	return string(bytes.TrimSpace(text[max(0, len(text)-told):]))
}

// close takes down what stands: calls before media before phones.
func (s *stage) close() error {
	var errs []error
	for i := len(s.planes) - 1; i >= 0; i-- {
		errs = append(errs, s.planes[i].stop())
	}
	for _, p := range []*phone.Phone{s.uc, s.gateway} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	s.client.CloseIdleConnections()
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (p *plane) stop() error {
	if p.cmd == nil {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone: done tells
	select {
	case <-p.done:
	case <-time.After(farewell):
		p.cmd.Process.Kill()
		<-p.done
	}
	err := p.err
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		err = nil // by us, or by the context
	}
	if err != nil {
		err = p.ended()
	}
	return errors.Join(err, p.log.Close())
}

// readings are the planes' own numbers at one moment.
type readings struct {
	in, out, drops, overflows float64 // datagrams
	sessions, calls           float64
	goroutines                map[string]float64
	cpu                       map[string]time.Duration
	lost                      uint64 // datagrams that found a full socket, of the whole machine
}

func (s *stage) read(ctx context.Context) (r readings, err error) {
	r.goroutines, r.cpu = map[string]float64{}, map[string]time.Duration{}
	for _, p := range s.planes {
		m, err := calls.Scrape(ctx, s.client, p.metrics)
		if err != nil {
			select {
			case <-p.done:
				return r, p.ended()
			default:
				return r, err
			}
		}
		r.goroutines[p.name] = m.Sum("go_goroutines")
		if r.cpu[p.name], err = calls.SessionTime(p.cmd.Process.Pid); err != nil {
			return r, err
		}
		if p.name == relayPart {
			r.in, r.out = m[`tandem_relay_packets_total{direction="in"}`], m[`tandem_relay_packets_total{direction="out"}`]
			r.drops, r.overflows, r.sessions = m.Sum("tandem_relay_drops_total"), m.Sum("tandem_relay_overflows_total"), m.Sum("tandem_relay_sessions")
		} else {
			r.calls = m.Sum("tandem_sip_calls")
		}
	}
	r.lost, err = calls.Overflows()
	return r, err
}
