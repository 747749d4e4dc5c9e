// Package phone is a small SIP phone: the far ends of the demo, of load and of tests. It speaks SIP by sipgo's messages,
// transports and transactions, and media by pion: nothing of it is Tandem's own, so that what two phones agree about
// through a gateway is no agreement of the gateway with itself.
//
// What it prevents is a test that counts packets and calls it audio. Every sample that a phone says is a function of the call's
// number, the direction and the RTP timestamp; the far phone says the same function to itself and compares byte for byte
// (voice.go, ear.go). Audio of another call, of another moment, of one's own echo or with one bit changed is not heard.
//
// In the order of a call: phone (sockets), dial (a call out), incoming (a call in), dialog and transact (its requests),
// call (what one does with it), transfer, referred and replaces (the three parties of a transfer), sdp (what both agree),
// media (its sockets), voice, ear.
//
// What does not live here: registration, proxies between the phones (Record-Route), DNS, forks, PRACK, any codec but G.711
// mu-law. A request goes to the address of the peer's Contact or, where that is a name, to where the call went.
package phone

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"
)

// Options describe a phone. The zero value is a phone without media security on 127.0.0.1, SIP over UDP.
type Options struct {
	User      string     // user part of From and Contact; default "phone"
	Transport string     // udp (default), tcp, tls
	Local     netip.Addr // SIP address; default 127.0.0.1
	Port      int        // SIP port; 0: any

	// TLS is the identity of both directions, needed with tls. Peers' certificates must chain to RootCAs, those who call
	// must show one. ServerName is the name that the proxy's certificate must carry; default: its address.
	TLS *tls.Config

	SRTP  string     // the suite by its RFC name, required of every peer: one of pion's six; "": plain RTP, and only that
	Media netip.Addr // address of media; default Local

	// Trace is told of every message that arrives and every one the phone itself sends; not of those that sipgo repeats or
	// makes (a retransmitted request, the ACK of a failure, the answers to CANCEL). It runs on the reader: it must not block.
	Trace func(Message)
}

// Phone is one open phone.
type Phone struct {
	opt    Options
	suite  *suite // nil: plain RTP
	voices voices
	local  netip.AddrPort
	wire   *sip.TransportLayer
	txs    *sip.TransactionLayer
	in     net.PacketConn // udp
	accept net.Listener   // tcp, tls
	done   chan struct{}
	wait   sync.WaitGroup

	onCall     atomic.Pointer[func(*Incoming)]
	onTransfer atomic.Pointer[func(old, new *Call)]

	mu        sync.Mutex
	calls     map[dialogID]*Call
	transfers map[dialogID]chan news // by the call whose REFER waits for them
}

// Open binds the phone's socket. When it returns, the phone can be called. It logs nothing, but sipgo itself tells slog's
// default logger of some connections that close.
func Open(o Options) (*Phone, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	p := &Phone{
		opt: o, voices: newVoices(), done: make(chan struct{}),
		calls: make(map[dialogID]*Call), transfers: make(map[dialogID]chan news),
	}
	if o.SRTP != "" {
		if p.suite = suiteNamed(o.SRTP); p.suite == nil {
			return nil, fmt.Errorf("phone: SRTP: suite %q is unknown; use one of %s", o.SRTP, strings.Join(suiteNames(), ", "))
		}
	}
	silent := slog.New(slog.DiscardHandler) // what sipgo logs holds whole messages, keys included
	p.wire = sip.NewTransportLayer(net.DefaultResolver, sip.NewParser(), clientTLS(o.TLS), sip.WithTransportLayerLogger(silent))
	p.wire.OnMessage(p.arrived) // before the transactions: a message is traced before its answer is
	p.txs = sip.NewTransactionLayer(p.wire,
		sip.WithTransactionLayerLogger(silent),
		sip.WithTransactionLayerUnhandledResponseHandler(p.stray))
	p.txs.OnRequest(p.requested)
	if err := p.listen(); err != nil {
		p.txs.Close()
		return nil, fmt.Errorf("phone: %w", err)
	}
	return p, nil
}

// fill gives the defaults and refuses what cannot work.
func (o *Options) fill() error {
	if o.User == "" {
		o.User = "phone"
	}
	if o.Transport == "" {
		o.Transport = "udp"
	}
	if !slices.Contains([]string{"udp", "tcp", "tls"}, o.Transport) {
		return fmt.Errorf("transport %q is unknown; use udp, tcp or tls", o.Transport)
	}
	if o.Transport == "tls" && o.TLS == nil {
		return fmt.Errorf("transport tls needs TLS: an identity and the roots of the peers")
	}
	if !o.Local.IsValid() {
		o.Local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !o.Media.IsValid() {
		o.Media = o.Local
	}
	for _, a := range []netip.Addr{o.Local, o.Media} {
		if a.IsUnspecified() {
			return fmt.Errorf("address %s: SIP and SDP carry it to the peer; name a concrete one", a)
		}
	}
	return nil
}

func clientTLS(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	return c.Clone()
}

// serverTLS asks those who call for a certificate of the same roots.
func serverTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	if c.ClientCAs == nil {
		c.ClientCAs = c.RootCAs
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c
}

// listen binds the socket and reads from it.
func (p *Phone) listen() error {
	at := netip.AddrPortFrom(p.opt.Local, uint16(p.opt.Port))
	if p.opt.Transport == "udp" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		ready := make(chan struct{})
		p.in, p.local = &announcer{UDPConn: c, ready: ready}, localOf(c)
		p.wait.Go(func() { p.wire.ServeUDP(p.in) })
		<-ready
		return nil
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	p.local = l.Addr().(*net.TCPAddr).AddrPort()
	if p.opt.Transport == "tls" {
		p.accept = tls.NewListener(l, serverTLS(p.opt.TLS))
		p.wait.Go(func() { p.wire.ServeTLS(p.accept) })
		return nil
	}
	p.accept = l
	p.wait.Go(func() { p.wire.ServeTCP(p.accept) })
	return nil
}

// announcer tells when somebody reads for the first time: by then sipgo knows the socket, and requests leave by it.
type announcer struct {
	*net.UDPConn
	once  sync.Once
	ready chan struct{}
}

func (a *announcer) ReadFrom(b []byte) (int, net.Addr, error) {
	a.once.Do(func() { close(a.ready) })
	return a.UDPConn.ReadFrom(b)
}

func localOf(c *net.UDPConn) netip.AddrPort {
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Address is where the phone can be called.
func (p *Phone) Address() netip.AddrPort { return p.local }

// Contact is the phone's SIP URI, as its Contact header has it.
func (p *Phone) Contact() string {
	u := p.contact()
	return u.String()
}

func (p *Phone) contact() sip.Uri {
	return sip.Uri{
		Scheme: "sip", User: p.opt.User, Host: p.local.Addr().String(), Port: int(p.local.Port()),
		UriParams: sip.HeaderParams{{K: "transport", V: p.opt.Transport}},
	}
}

// OnCall sets who takes calls. f runs on a goroutine of its own for each; a call that it neither answered nor rejected when it
// returns gets 480, and so does every call before OnCall.
func (p *Phone) OnCall(f func(*Incoming)) { p.onCall.Store(&f) }

// Close drops the calls that are left without a word to their peers, closes all sockets and waits for the readers.
func (p *Phone) Close() error {
	p.mu.Lock()
	select {
	case <-p.done:
		p.mu.Unlock()
		return nil
	default:
	}
	close(p.done)
	left := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		left = append(left, c)
	}
	p.mu.Unlock()
	for _, c := range left {
		c.end()
	}
	p.txs.Close()
	var err error
	if p.in != nil {
		err = p.in.Close()
	}
	if p.accept != nil {
		err = p.accept.Close()
	}
	p.wire.Close() // its errors are of connections that peers closed first
	p.wait.Wait()
	return err
}

// enter files a call under its dialog; false: the phone is closed.
func (p *Phone) enter(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
	}
	p.calls[c.d.id] = c
	return true
}

func (p *Phone) leave(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.d.id)
}

func (p *Phone) find(id dialogID) *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}
