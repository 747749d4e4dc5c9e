package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/internal/authority"
	"tandem/internal/config"
	"tandem/internal/phone"
)

// The cast. The names are in the reserved domain .invalid (RFC 2606): no resolver is asked.
const (
	tandemName = "tandem.demo.invalid"
	phoneName  = "phone.demo.invalid"
	demoSuite  = "AES_CM_128_HMAC_SHA1_80"

	demoValid = 24 * time.Hour // of the certificates; they are gone when the demo ends
)

// demoConfig is the configuration of the demo: a UC side over mutual TLS with SRTP, a gateway over UDP with RTP. The media
// ports lie below those that the kernel gives to the phones.
const demoConfig = `
node: demo
control: {socket: %[1]q}
metrics: {relay: "off", sip: "off"}
media:
  networks:
    uc: {addresses: ["%[2]s"], ports: 20000-24999}
    pstn: {addresses: ["%[2]s"], ports: 25000-29999}
sip:
  listeners:
    uc:
      transport: tls
      address: "%[3]s"
      tls: {certificate: %[5]q, key: %[6]q, ca: %[7]q}
    pstn: {transport: udp, address: "%[4]s"}
trunks:
  uc:
    listener: uc
    peer: "%[8]s"
    sources: [127.0.0.0/8]
    tls_names: [` + phoneName + `]
    network: uc
    srtp: required
    pin: auth
    options: {off: true}
  gateway:
    listener: pstn
    peer: "%[9]s"
    sources: [127.0.0.0/8]
    network: pstn
    pin: exact
    options: {off: true}
routes:
  - {name: out, from: [uc], to: [gateway]}
`

// stage is everything that a demo needs: both planes between two phones.
type stage struct {
	dir     string // temporary: keys, certificates, the control socket
	cfg     *config.Config
	proxy   netip.AddrPort // Tandem's listener on the UC side
	uc      *phone.Phone
	gateway *phone.Phone
	media   *relayPlane
	calls   *sipPlane

	mu    sync.Mutex
	trace []phone.Message
}

// openStage opens the phones, then Tandem between them.
func openStage(log *slog.Logger) (*stage, error) {
	s := new(stage)
	if err := s.open(log); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) open(log *slog.Logger) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "tandem-demo-"); err != nil {
		return err
	}
	host := demoHost()
	trust, err := authority.New(demoValid)
	if err != nil {
		return err
	}
	ours, err := trust.Issue(tandemName)
	if err != nil {
		return err
	}
	theirs, err := trust.Issue(phoneName)
	if err != nil {
		return err
	}
	ca, cert, key := filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "tandem.pem"), filepath.Join(s.dir, "tandem.key")
	if err := errors.Join(os.WriteFile(ca, trust.PEM, 0o600), ours.Write(cert, key)); err != nil {
		return err
	}
	if s.uc, err = phone.Open(phone.Options{
		User: "phone", Transport: "tls", SRTP: demoSuite, Trace: s.note,
		TLS: &tls.Config{Certificates: []tls.Certificate{theirs.TLS}, RootCAs: trust.Roots(), ServerName: tandemName},
	}); err != nil {
		return err
	}
	if s.gateway, err = phone.Open(phone.Options{User: "gateway", Trace: s.note}); err != nil {
		return err
	}
	socket := filepath.Join(s.dir, "relay.sock")
	tlsPort, err := freePort("tcp", host)
	if err != nil {
		return err
	}
	udpPort, err := freePort("udp", host)
	if err != nil {
		return err
	}
	s.proxy = netip.AddrPortFrom(host, tlsPort)
	if s.cfg, err = config.Parse("the demo's configuration", fmt.Appendf(nil, demoConfig, socket, host, s.proxy,
		netip.AddrPortFrom(host, udpPort), cert, key, ca, s.uc.Address(), s.gateway.Address())); err != nil {
		return err
	}
	s.cfg.SIP.Socket = filepath.Join(s.dir, "sip.sock")
	if s.media, err = openRelay(s.cfg, log); err != nil {
		return err
	}
	s.calls, err = openSIP(s.cfg, source{}, log)
	return err
}

// close takes down what stands, in the order in which it depends on each other.
func (s *stage) close() error {
	var errs []error
	if s.calls != nil {
		errs = append(errs, s.calls.Close())
	}
	if s.media != nil {
		errs = append(errs, s.media.Close())
	}
	for _, p := range []*phone.Phone{s.uc, s.gateway} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// note keeps a message for the ladder.
func (s *stage) note(m phone.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, m)
}

// demoHost is a loopback address for Tandem that nobody else is likely to use: two demos, or a demo beside a running
// Tandem, do not meet. All of 127.0.0.0/8 is loopback on Linux; where it is not, 127.0.0.1 serves.
func demoHost() netip.Addr {
	octet := func() byte { return byte(1 + mathrand.IntN(254)) }
	host := netip.AddrFrom4([4]byte{127, octet(), octet(), octet()})
	if _, err := freePort("udp", host); err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return host
}

// freePort finds a port that nobody has at the moment.
func freePort(network string, host netip.Addr) (uint16, error) {
	if network == "udp" {
		c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
	}
	l, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}
